/* The picture tower's way through a batch, for every kind of tower: all blocks but the last over
 * all sequences, then the branch. Source: METHOD.md section 3.
 *
 * n sequences of L = 1+P tokens, W width, D embed_dim; C = n - class_first class embeddings. In the
 * last block a sequence wanted with its class embedding is whole (all L rows go through the norm,
 * keys and values), one wanted for its dense features alone is its P patch rows. */
#include "models/clip_parts.h"

const fci_vision_def *fci_vision_kind(const fc_model_config *config)
{
    return config->vision.kind == FC_VISION_EVA02 ? &fci_eva02 : &fci_vit;
}

int fci_vision_heads(const fc_model_config *config)
{
    return config->vision.width / config->vision.head_width;
}

int64_t fci_vision_hidden(const fc_model_config *config)
{
    return (int64_t)(config->vision.width * config->vision.mlp_ratio);
}

const char *fci_vision_positions(const fc_model_config *config)
{
    return config->vision.kind == FC_VISION_EVA02 ? "visual.pos_embed"
                                                  : "visual.positional_embedding";
}

typedef struct branch {
    const fc_clip *m;
    const fci_vision_def *def;
    fc_tape *tape;
    int64_t sequences, length, class_first, dense_count;
} branch;

/* Indices of rows of sequences [first, last), all of them or the patches alone, written at `index`;
 * returns how many. */
static int64_t list_rows(const branch *b, int64_t *index, int64_t first, int64_t last,
                         bool patches_only)
{
    int64_t skip = patches_only ? 1 : 0, each = b->length - skip, n = (last - first) * each;
    for (int64_t i = 0; i < n; i++) {
        index[i] = (first + i / each) * b->length + skip + i % each;
    }
    return n;
}

static int64_t list_class_rows(const branch *b, int64_t *index, int64_t first, int64_t last)
{
    for (int64_t s = first; s < last; s++) {
        index[s - first] = s * b->length;
    }
    return last - first;
}

static fc_tensor *gather_sequences(const branch *b, fc_tensor *x, int64_t first, int64_t last,
                                   bool patches_only)
{
    int64_t *index = fc_tape_alloc(b->tape, (size_t)((last - first) * b->length) * sizeof *index);
    return fc_gather_rows(b->tape, x, index, list_rows(b, index, first, last, patches_only));
}

/* Either side may be absent (want false); a NULL where something is wanted is a failure. */
static fc_tensor *concat(fc_tape *tape, fc_tensor *a, bool want_a, fc_tensor *b, bool want_b)
{
    return !want_b ? a : !want_a ? b : fc_concat_rows(tape, a, b);
}

/* Attention of the class tokens, and the values of the sequences that are wanted both ways:
 * *attended (C,W), *values ((dense_count-class_first)*P, W). */
static void class_path(const branch *b, fc_tensor *x, fc_tensor **attended, fc_tensor **values)
{
    const fc_clip *m = b->m;
    int64_t count = b->sequences - b->class_first;
    fc_attention_spec spec = {.heads = fci_vision_heads(&m->config),
                              .sequences = count,
                              .q_offsets = fci_even_offsets(b->tape, count, 1),
                              .k_offsets = fci_even_offsets(b->tape, count, b->length),
                              .rope_cos = m->rope_cos,
                              .rope_sin = m->rope_sin};
    if (b->class_first > 0) {
        x = gather_sequences(b, x, b->class_first, b->sequences, false);
    }
    fc_tensor *h = b->def->norm(m, b->tape, x); /* (C*L,W) */
    int64_t *index = fc_tape_alloc(b->tape, (size_t)count * sizeof *index);
    fc_tensor *class_rows = fc_gather_rows(b->tape, h, index, list_class_rows(b, index, 0, count));
    fc_tensor *q = b->def->part(m, b->tape, FCI_Q, class_rows);
    fc_tensor *k = b->def->part(m, b->tape, FCI_K, h);
    fc_tensor *v = b->def->part(m, b->tape, FCI_V, h);
    *attended = fc_attention_cross(b->tape, q, k, v, &spec);
    if (b->dense_count > b->class_first) {
        *values = gather_sequences(b, v, 0, b->dense_count - b->class_first, true);
    }
}

/* x (n*L,W), input of the last block -> (C + dense_count*P, D): class embeddings, then patches. */
static fc_tensor *last_block(const branch *b, fc_tensor *x)
{
    int64_t alone = b->class_first < b->dense_count ? b->class_first : b->dense_count;
    bool want_class = b->class_first < b->sequences;
    bool want_dense = b->dense_count > 0;
    bool both = want_class && b->dense_count > b->class_first;
    fc_tensor *attended = NULL, *values = NULL, *values_alone = NULL;
    int64_t *index = fc_tape_alloc(b->tape, (size_t)(b->sequences * b->length) * sizeof *index);
    int64_t rows = 0;
    if (want_class) {
        class_path(b, x, &attended, &values);
        rows += list_class_rows(b, index, b->class_first, b->sequences);
    }
    if (alone > 0) {
        fc_tensor *h = gather_sequences(b, x, 0, alone, true);
        values_alone = b->def->part(b->m, b->tape, FCI_V, b->def->norm(b->m, b->tape, h));
    }
    if (want_dense) {
        rows += list_rows(b, index + rows, 0, b->dense_count, true);
        values = concat(b->tape, values_alone, alone > 0, values, both);
    }
    fc_tensor *mixed = concat(b->tape, attended, want_class, values, want_dense);
    return b->def->finish(b->m, b->tape, mixed, fc_gather_rows(b->tape, x, index, rows));
}

static void split(const branch *b, fc_tensor *y, fc_tensor **cls, fc_tensor **dense)
{
    int64_t count = b->sequences - b->class_first, patches = b->dense_count * b->m->patches;
    fc_tensor *parts[2] = {y, y};
    if (count > 0 && patches > 0) {
        int64_t *index = fc_tape_alloc(b->tape, (size_t)(count + patches) * sizeof *index);
        for (int64_t i = 0; i < count + patches; i++) {
            index[i] = i;
        }
        parts[0] = fc_gather_rows(b->tape, y, index, count);
        parts[1] = fc_gather_rows(b->tape, y, index + count, patches);
    }
    if (count > 0) {
        *cls = parts[0];
    }
    if (patches > 0) {
        *dense = fc_l2norm(b->tape, parts[1]);
    }
}

static bool check_call(const fc_clip *m, fc_tape *tape, const fc_pixels *pixels, int64_t sequences,
                       int64_t dense_count, int64_t class_first)
{
    if (fc_tape_dtype(tape) != m->params->compute) {
        fci_tape_fail(tape, FC_BUG, "the tape's type is not the model's");
    } else if (pixels->size != m->image_size) {
        fci_tape_fail(tape, FC_BUG, "pictures of side %d for a model of side %d", pixels->size,
                      m->image_size);
    } else if (sequences < 1 || dense_count < 0 || dense_count > sequences || class_first < 0 ||
               class_first > sequences || (dense_count == 0 && class_first == sequences)) {
        fci_tape_fail(tape, FC_BUG,
                      "%lld pictures, dense features of the first %lld, class embeddings from %lld",
                      (long long)sequences, (long long)dense_count, (long long)class_first);
    }
    return fc_tape_status(tape) == FC_OK;
}

fc_status fc_clip_vision(const fc_clip *m, fc_tape *tape, const fc_pixels *pixels,
                         int64_t dense_count, int64_t class_first, int recompute, fc_tensor **cls,
                         fc_tensor **dense)
{
    const fci_vision_def *def = fci_vision_kind(&m->config);
    int64_t sequences = pixels->count[0] + (pixels->planes == NULL ? pixels->count[1] : 0);
    bool recording = fc_tape_recording(tape);
    *cls = *dense = NULL;
    if ((m->freeze & FC_FREEZE_IMAGE) && fc_tape_relevance(tape) == NULL) {
        (void)fc_tape_record(tape, false);
    }
    fc_tape_push(tape, "visual");
    if (check_call(m, tape, pixels, sequences, dense_count, class_first)) {
        branch b = {m, def, tape, sequences, 1 + m->patches, class_first, dense_count};
        fc_attention_spec spec = {.heads = fci_vision_heads(&m->config),
                                  .sequences = sequences,
                                  .q_offsets = fci_even_offsets(tape, sequences, b.length),
                                  .rope_cos = m->rope_cos,
                                  .rope_sin = m->rope_sin};
        fc_tensor *x = def->embed(m, tape, pixels);
        x = fci_run_blocks(m, tape, def->block, m->config.vision.layers - 1, &spec, x, recompute);
        split(&b, last_block(&b, x), cls, dense);
    }
    fc_tape_pop(tape);
    (void)fc_tape_record(tape, recording);
    return fc_tape_status(tape);
}
