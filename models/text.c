/* The text tower: rows cut after their end token and packed; the last block for end tokens only.
 * Source: METHOD.md section 4. T packed tokens, U different rows, W width, D embed_dim. */
#include "core/memory.h"
#include "models/clip_parts.h"

#include <math.h>
#include <string.h>

static const double NORM_EPS = 1e-5;

struct fci_text {
    fc_tensor *token_embedding, *positions, *ln_final[2], *text_projection;
    fci_block *blocks;
};

const char *fci_text_prefix(const fc_model_config *config)
{
    return config->vision.kind == FC_VISION_EVA02 ? "text." : "";
}

void fci_text_build(fc_clip *m)
{
    const fc_model_config *c = &m->config;
    const char *prefix = fci_text_prefix(c);
    int64_t width = c->text.width;
    fci_text *t = m->text = fc_alloc(1, sizeof *t);

    t->positions = fci_add_matrix(m, FCI_NORMAL(0.01), c->text.context_length, width,
                                  "%spositional_embedding", prefix);
    t->text_projection = fci_add_matrix(m, FCI_NORMAL(1.0 / sqrt((double)width)), width,
                                        c->embed_dim, "%stext_projection", prefix);
    t->token_embedding = fci_add_matrix(m, FCI_NORMAL(0.02), c->text.vocab_size, width,
                                        "%stoken_embedding.weight", prefix);
    fci_align(m);
    t->blocks = fc_alloc((size_t)c->text.layers, sizeof *t->blocks);
    for (int l = 0; l < c->text.layers; l++) {
        char *name = fc_format("%stransformer.resblocks.%d", prefix, l);
        fci_block_add(m, &t->blocks[l], name, width, 4 * width, c->text.layers);
        fc_free(&name);
    }
    fci_add_norm(m, t->ln_final, width, "%sln_final", prefix);
}

void fci_text_destroy(fc_clip *m)
{
    if (m->text != NULL) {
        fc_free(&m->text->blocks);
        fc_free(&m->text);
    }
}

/* Token rows without their padding and without repeats; all in step memory. */
typedef struct packed {
    int64_t unique;
    int64_t *offsets;         /* (U+1) */
    int64_t *which;           /* (rows) the different row that row i is */
    int32_t *ids, *positions; /* (T) */
    int64_t *ends;            /* (U) index of the end token among the T */
} packed;

/* Tokens of a row up to its end token, or -1 after a failure. */
static int64_t cut_length(const fc_clip *m, fc_tape *tape, int64_t row, const int32_t *ids,
                          int64_t count)
{
    int64_t end = 0;
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= m->config.text.vocab_size) {
            fci_tape_fail(tape, FC_DATA, "token %d of row %lld is outside the vocabulary of %d",
                          (int)ids[i], (long long)row, m->config.text.vocab_size);
            return -1;
        }
        end = ids[i] > ids[end] ? i : end;
    }
    if (count == 0) {
        fci_tape_fail(tape, FC_DATA, "row %lld has no tokens", (long long)row);
        return -1;
    }
    if (end >= m->config.text.context_length) {
        fci_tape_fail(tape, FC_DATA, "row %lld has %lld tokens, context_length is %d",
                      (long long)row, (long long)end + 1, m->config.text.context_length);
        return -1;
    }
    return end + 1;
}

static uint64_t hash_row(const int32_t *ids, int64_t count)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a over whole ids */
    for (int64_t i = 0; i < count; i++) {
        h = (h ^ (uint32_t)ids[i]) * 1099511628211u;
    }
    return h ^ (h >> 32);
}

/* The different row equal to ids, added where it is new. slots: open addressing over different
 * rows, -1 empty. */
static int64_t find_or_add(packed *p, int64_t *slots, uint64_t mask, const int32_t *ids,
                           int64_t count)
{
    uint64_t at = hash_row(ids, count) & mask;
    for (; slots[at] >= 0; at = (at + 1) & mask) {
        int64_t u = slots[at], first = p->offsets[u];
        if (p->offsets[u + 1] - first == count &&
            memcmp(p->ids + first, ids, (size_t)count * sizeof *ids) == 0) {
            return u;
        }
    }
    int64_t u = slots[at] = p->unique++, first = p->offsets[u];
    memcpy(p->ids + first, ids, (size_t)count * sizeof *ids);
    for (int64_t i = 0; i < count; i++) {
        p->positions[first + i] = (int32_t)i;
    }
    p->offsets[u + 1] = first + count;
    p->ends[u] = first + count - 1;
    return u;
}

static bool pack(packed *p, const fc_clip *m, fc_tape *tape, int64_t rows, const int32_t *tokens,
                 const int64_t *offsets)
{
    size_t n = (size_t)rows, total = (size_t)(offsets[rows] - offsets[0]);
    uint64_t size = 16;
    while (size < 2 * (uint64_t)rows) {
        size *= 2;
    }
    int64_t *slots = fc_tape_alloc(tape, (size_t)size * sizeof *slots);
    memset(slots, 0xff, (size_t)size * sizeof *slots);
    *p = (packed){.offsets = fc_tape_alloc(tape, (n + 1) * sizeof(int64_t)),
                  .which = fc_tape_alloc(tape, n * sizeof(int64_t)),
                  .ids = fc_tape_alloc(tape, total * sizeof(int32_t)),
                  .positions = fc_tape_alloc(tape, total * sizeof(int32_t)),
                  .ends = fc_tape_alloc(tape, n * sizeof(int64_t))};
    p->offsets[0] = 0;
    for (int64_t i = 0; i < rows; i++) {
        const int32_t *row = tokens + offsets[i];
        int64_t count = cut_length(m, tape, i, row, offsets[i + 1] - offsets[i]);
        if (count < 0) {
            return false;
        }
        p->which[i] = find_or_add(p, slots, size - 1, row, count);
    }
    return true;
}

static fc_tensor *block(const fc_clip *m, fc_tape *tape, int layer, fc_tensor *x,
                        const fc_attention_spec *spec)
{
    fc_tape_push(tape, "%stransformer.resblocks.%d", fci_text_prefix(&m->config), layer);
    x = fci_block_forward(&m->text->blocks[layer], tape, x, spec);
    fc_tape_pop(tape);
    return x;
}

/* x (T,W), input of the last block -> features of the end tokens (U,D). An end token sees all
 * tokens of its row, so that its attention needs no mask. */
static fc_tensor *last_block(const fc_clip *m, fc_tape *tape, const packed *p, fc_tensor *x)
{
    const fci_text *t = m->text;
    const fci_block *b = &t->blocks[m->config.text.layers - 1];
    fc_attention_spec spec = {.heads = m->config.text.heads,
                              .sequences = p->unique,
                              .q_offsets = fci_even_offsets(tape, p->unique, 1),
                              .k_offsets = p->offsets};
    fc_tensor *h = fci_block_norm(b, tape, x);
    fc_tensor *q = fci_block_part(b, tape, FCI_Q, fc_gather_rows(tape, h, p->ends, p->unique));
    fc_tensor *k = fci_block_part(b, tape, FCI_K, h);
    fc_tensor *v = fci_block_part(b, tape, FCI_V, h);
    fc_tensor *y = fci_block_finish(b, tape, fc_attention_cross(tape, q, k, v, &spec),
                                    fc_gather_rows(tape, x, p->ends, p->unique));
    return fc_project(tape, fci_norm(tape, y, t->ln_final, NORM_EPS), t->text_projection);
}

/* Through the first `blocks` blocks: (T,W). */
static fc_tensor *trunk(const fc_clip *m, fc_tape *tape, const packed *p, int blocks, int recompute)
{
    const fci_text *t = m->text;
    fc_attention_spec spec = {.heads = m->config.text.heads,
                              .sequences = p->unique,
                              .q_offsets = p->offsets,
                              .causal = true};
    fc_tensor *x = fc_embed(tape, t->token_embedding, t->positions, p->ids, p->positions,
                            p->offsets[p->unique]);
    return fci_run_blocks(m, tape, block, blocks, &spec, x, recompute);
}

static fc_tensor *run(const fc_clip *m, fc_tape *tape, int64_t rows, const packed *p, int recompute)
{
    fc_tensor *x = trunk(m, tape, p, m->config.text.layers - 1, recompute);
    fc_tensor *y = last_block(m, tape, p, x);
    return p->unique == rows ? y : fc_gather_rows(tape, y, p->which, rows);
}

fc_tensor *fc_clip_text(const fc_clip *m, fc_tape *tape, int64_t rows, const int32_t *tokens,
                        const int64_t *offsets, int recompute)
{
    bool recording = fc_tape_recording(tape);
    fc_tensor *features = NULL;
    packed p;
    if ((m->freeze & FC_FREEZE_TEXT) && fc_tape_relevance(tape) == NULL) {
        (void)fc_tape_record(tape, false);
    }
    fc_tape_push(tape, "text");
    if (fc_tape_dtype(tape) != m->params->compute || rows < 1) {
        fci_tape_fail(tape, FC_BUG, "%lld rows, or the tape's type is not the model's",
                      (long long)rows);
    } else if (pack(&p, m, tape, rows, tokens, offsets)) {
        features = run(m, tape, rows, &p, recompute);
    }
    fc_tape_pop(tape);
    (void)fc_tape_record(tape, recording);
    return features;
}

fc_tensor *fc_clip_text_tokens(const fc_clip *m, fc_tape *tape, const int32_t *tokens,
                               int64_t count)
{
    const fci_text *t = m->text;
    const int64_t offsets[2] = {0, count};
    fc_tensor *features = NULL;
    packed p;
    bool recording = fc_tape_record(tape, false);
    fc_tape_push(tape, "text");
    if (fc_tape_dtype(tape) != m->params->compute) {
        fci_tape_fail(tape, FC_BUG, "the tape's type is not the model's");
    } else if (pack(&p, m, tape, 1, tokens, offsets)) {
        fc_tensor *x = trunk(m, tape, &p, m->config.text.layers, 0);
        features = fc_project(tape, fci_norm(tape, x, t->ln_final, NORM_EPS), t->text_projection);
    }
    fc_tape_pop(tape);
    (void)fc_tape_record(tape, recording);
    return features;
}
