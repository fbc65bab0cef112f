#include "core/op/shared.h"

/* Pixels that lie in the process's memory are on the way for the kernel's time alone. */
static const void *to_backend(fc_tape *tape, const void *from, int64_t count, size_t bytes)
{
    const fc_backend *backend = fc_tape_backend(tape);
    if (backend->on_host || from == NULL || count == 0) {
        return from;
    }
    void *to = fc_arena_alloc(fci_tape_scratch(tape), (size_t)count * bytes);
    backend->upload(to, from, (size_t)count * bytes);
    return to;
}

fc_tensor *fc_patchify(fc_tape *tape, const fc_pixels *pixels, int patch)
{
    if (!fci_op_ready(tape, "patchify", 0, NULL, 0)) {
        return NULL;
    }
    const int size = pixels->size;
    if (patch < 1 || size < patch || size % patch != 0) {
        return fci_tape_fail(tape, FC_BUG, "patchify: pictures of side %d, patches of side %d",
                             size, patch);
    }
    if (pixels->planes != NULL && pixels->count[1] != 0) {
        return fci_tape_fail(tape, FC_BUG, "patchify: planes have one group of pictures");
    }
    const int64_t grid = size / patch, pictures = pixels->count[0] + pixels->count[1];
    fc_tensor *y = fc_tape_matrix(tape, pictures * grid * grid, 3 * (int64_t)patch * patch, false);
    const int64_t values = 3 * (int64_t)size * size;
    const fc_arena_mark mark = fc_arena_save(fci_tape_scratch(tape));
    fci_patchify_args args = {.size = size,
                              .patch = patch,
                              .count = {pixels->count[0], pixels->count[1]},
                              .planes = to_backend(tape, pixels->planes, pixels->count[0] * values,
                                                   fc_dtype_bytes(fc_tape_dtype(tape))),
                              .y = y->data};
    for (int i = 0; pixels->planes == NULL && i < 2; i++) {
        args.rgb[i] = pixels->on_device
                          ? pixels->rgb[i]
                          : to_backend(tape, pixels->rgb[i], pixels->count[i] * values, 1);
    }
    FCI_RUN(tape, patchify_fwd, &args);
    fc_arena_rewind(fci_tape_scratch(tape), mark);
    return y;
}

typedef struct tokens_ctx {
    fc_tensor *x, *cls, *pos, *y;
    fci_tokens_args args;
} tokens_ctx;

static void tokens_backward(fc_tape *tape, void *ctx)
{
    tokens_ctx *c = ctx;
    c->args.dy = c->y->grad;
    c->args.dx = fci_op_grad(tape, c->x);
    c->args.dcls = fci_op_grad(tape, c->cls);
    c->args.dpos = fci_op_grad(tape, c->pos);
    FCI_RUN(tape, tokens_bwd, &c->args);
}

fc_tensor *fc_tokens(fc_tape *tape, fc_tensor *patches, fc_tensor *cls, fc_tensor *pos)
{
    fc_tensor *inputs[3] = {patches, cls, pos};
    if (patches == NULL || cls == NULL || pos == NULL ||
        !fci_op_ready(tape, "tokens", 3, inputs, 6U)) {
        return NULL;
    }
    const int64_t each = pos->rows - 1;
    if (fc_tensor_count(cls) != patches->cols) {
        return fci_op_misfit(tape, "tokens", "cls", cls, "patches", patches);
    }
    if (pos->cols != patches->cols || each < 1 || patches->rows % each != 0) {
        return fci_op_misfit(tape, "tokens", "pos", pos, "patches", patches);
    }
    const int64_t pictures = patches->rows / each;
    fc_tensor *y =
        fc_tape_matrix(tape, pictures * (1 + each), patches->cols, fci_needs_grad(tape, 3, inputs));
    fci_tokens_args args = {.pictures = pictures,
                            .patches = each,
                            .cols = patches->cols,
                            .x = patches->data,
                            .cls = cls->data,
                            .pos = pos->data,
                            .y = y->data};
    FCI_RUN(tape, tokens_fwd, &args);
    tokens_ctx *c = fci_tape_node(tape, tokens_backward, sizeof *c, y, 3, inputs);
    if (c != NULL) {
        *c = (tokens_ctx){patches, cls, pos, y, args};
    }
    return y;
}

typedef struct embed_ctx {
    fc_tensor *table, *pos, *y;
    fci_embed_args args;
} embed_ctx;

static void embed_backward(fc_tape *tape, void *ctx)
{
    embed_ctx *c = ctx;
    c->args.dy = c->y->grad;
    c->args.dtable = fci_op_grad(tape, c->table);
    c->args.dpos = fci_op_grad(tape, c->pos);
    FCI_RUN(tape, embed_bwd, &c->args);
}

fc_tensor *fc_embed(fc_tape *tape, fc_tensor *table, fc_tensor *pos, const int32_t *ids,
                    const int32_t *positions, int64_t n)
{
    fc_tensor *inputs[2] = {table, pos};
    if (table == NULL || pos == NULL || !fci_op_ready(tape, "embed", 2, inputs, 0)) {
        return NULL;
    }
    if (table->cols != pos->cols) {
        return fci_op_misfit(tape, "embed", "table", table, "pos", pos);
    }
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= table->rows || positions[i] < 0 || positions[i] >= pos->rows) {
            return fci_tape_fail(
                tape, FC_BUG, "embed: token %lld has id %d of %lld and position %d of %lld",
                (long long)i, ids[i], (long long)table->rows, positions[i], (long long)pos->rows);
        }
    }
    fc_tensor *y = fc_tape_matrix(tape, n, table->cols, fci_needs_grad(tape, 2, inputs));
    fci_embed_args args = {.rows = n,
                           .cols = table->cols,
                           .vocabulary = table->rows,
                           .context = pos->rows,
                           .ids = fci_tape_copy(tape, ids, (size_t)n * sizeof *ids),
                           .positions =
                               fci_tape_copy(tape, positions, (size_t)n * sizeof *positions),
                           .table = table->data,
                           .pos = pos->data,
                           .y = y->data};
    FCI_RUN(tape, embed_fwd, &args);
    embed_ctx *c = fci_tape_node(tape, embed_backward, sizeof *c, y, 2, inputs);
    if (c != NULL) {
        *c = (embed_ctx){table, pos, y, args};
    }
    return y;
}
