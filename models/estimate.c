/* Costs counted along the forward code of vision.c, vit.c, eva02.c, block.c and text.c: whoever
 * changes what they compute changes it here; tests/models/test_estimate.c compares with the tape.
 * T rows, L tokens a sequence, W width, F hidden width, D embed_dim. */
#include "models/estimate.h"

#include "models/clip_parts.h"

/* Of one tower. */
typedef struct tally {
    double linear;    /* FLOPs forward; twice that backward */
    double input;     /* of which the input needs no gradient: once that backward */
    double attention; /* FLOPs forward; 2.5 times that backward */
    double locked;    /* backward FLOPs of these that locked parts save */
} tally;

static void linear(tally *t, double rows, double in, double out)
{
    t->linear += 2 * rows * in * out;
}

/* MLP and output projection of a block for some rows. */
static void finish(tally *t, double rows, double width, double hidden, bool eva)
{
    linear(t, rows, width, width);
    linear(t, rows, width, eva ? 2 * hidden : hidden);
    linear(t, rows, hidden, width);
}

/* All blocks but the last, of which the first `locked` do not train. pairs: queries times keys of
 * all sequences. */
static void whole_blocks(tally *t, double rows, double pairs, double width, double hidden,
                         int count, int locked, bool eva)
{
    for (int l = 0; l < count; l++) {
        double before = t->linear, attention = t->attention;
        linear(t, rows, width, 3 * width);
        t->attention += 4 * pairs * width;
        finish(t, rows, width, hidden, eva);
        if (l < locked) {
            t->locked += 2 * (t->linear - before) + 2.5 * (t->attention - attention);
        }
    }
}

/* The last block from its norm on, for rows it is wanted for. whole: rows that get norm, k and v;
 * queries: rows that attend; values: rows that take the value-only path; gathered: copies of rows
 * made on the way. */
static void last_block(tally *t, double whole, double queries, double values, double alone,
                       double pairs, double width, double hidden, bool eva)
{
    linear(t, queries, width, width);
    linear(t, whole, width, 2 * width);
    linear(t, alone, width, width);
    t->attention += 4 * pairs * width;
    finish(t, queries + values, width, hidden, eva);
}

static void vision_cost(tally *t, const fc_model_config *c, int image_size, const fc_clip_work *w)
{
    bool eva = c->vision.kind == FC_VISION_EVA02;
    double grid = image_size / c->vision.patch_size, patches = grid * grid, length = 1 + patches;
    double width = c->vision.width, hidden = (double)fci_vision_hidden(c), dim = c->embed_dim;
    double pixels = 3.0 * c->vision.patch_size * c->vision.patch_size;
    double n = (double)w->sequences, first = (double)w->class_first;
    double dense = (double)w->dense_count * patches, classes = n - first;
    double alone = (double)(w->dense_count < w->class_first ? w->dense_count : w->class_first);

    /* With a locked tower all but the last blocks are frozen, the embedding and the head, too. */
    int train = fci_train_last_blocks(w->freeze), layers = c->vision.layers;
    int locked = train > 0 && train < layers ? layers - train : 0;

    linear(t, n * patches, pixels, width);
    t->input = t->linear;
    t->locked = train > 0 ? t->linear : 0;
    whole_blocks(t, n * length, n * length * length, width, hidden, layers - 1, locked, eva);
    last_block(t, classes * length, classes, dense, alone * patches, classes * length, width,
               hidden, eva);
    linear(t, classes + dense, width, dim);
    t->locked += train > 0 ? 2 * (classes + dense) * width * dim : 0;
}

static void text_cost(tally *t, const fc_model_config *c, const fc_clip_work *w)
{
    double width = c->text.width, rows = (double)w->text_rows, tokens = (double)w->text_tokens;
    double length = rows > 0 ? tokens / rows : 0; /* as if all rows were equally long */
    whole_blocks(t, tokens, tokens * length / 2, width, 4 * width, c->text.layers - 1, 0, false);
    last_block(t, tokens, rows, 0, 0, tokens, width, 4 * width, false);
    linear(t, rows, width, c->embed_dim);
}

static void add_tower(fc_clip_cost *out, const tally *t, bool frozen)
{
    double forward = t->linear + t->attention;
    double backward = 2 * t->linear - t->input + 2.5 * t->attention - t->locked;
    out->forward_flops += forward;
    out->step_flops += frozen ? forward : forward + backward;
}

/* ---- Parameters ---- */

static int64_t block_parameters(int64_t width, int64_t hidden, bool eva)
{
    int64_t norms = 4 * width, attention = 4 * width * width + 4 * width;
    if (!eva) {
        return norms + attention + 2 * width * hidden + hidden + width;
    }
    /* No key bias; the inner norms; w1, w2, w3. */
    return norms + attention - width + 2 * width + 3 * width * hidden + 2 * hidden + width +
           2 * hidden;
}

static int64_t vision_parameters(const fc_model_config *c, int image_size)
{
    bool eva = c->vision.kind == FC_VISION_EVA02;
    int64_t width = c->vision.width, grid = image_size / c->vision.patch_size;
    int64_t patch = 3 * (int64_t)c->vision.patch_size * c->vision.patch_size;
    /* Convolution, class token, positions, norms: eva02 has a bias, vit another norm. */
    int64_t embed = width * (patch + grid * grid + (eva ? 5 : 6));
    return embed + c->vision.layers * block_parameters(width, fci_vision_hidden(c), eva) +
           width * c->embed_dim + (eva ? c->embed_dim : 0);
}

static int64_t trained_vision(const fc_model_config *c, int64_t all, unsigned freeze)
{
    int blocks = fci_train_last_blocks(freeze);
    bool eva = c->vision.kind == FC_VISION_EVA02;
    return blocks > 0 ? blocks * block_parameters(c->vision.width, fci_vision_hidden(c), eva) : all;
}

static int64_t text_parameters(const fc_model_config *c)
{
    int64_t width = c->text.width;
    return width * (c->text.context_length + (int64_t)c->text.vocab_size + c->embed_dim) +
           2 * width + c->text.layers * block_parameters(width, 4 * width, false);
}

void fc_clip_estimate(fc_clip_cost *out, const fc_model_config *config, int image_size,
                      const fc_clip_work *work)
{
    bool image_frozen = (work->freeze & FC_FREEZE_IMAGE) != 0;
    bool text_frozen = (work->freeze & FC_FREEZE_TEXT) != 0;
    int64_t image = vision_parameters(config, image_size), text = text_parameters(config);
    tally vision = {0}, words = {0};
    *out = (fc_clip_cost){.parameters = 1 + image + text};
    out->trained = (work->freeze & FC_FREEZE_LOGIT_SCALE ? 0 : 1) +
                   (image_frozen ? 0 : trained_vision(config, image, work->freeze)) +
                   (text_frozen ? 0 : text);
    vision_cost(&vision, config, image_size, work);
    text_cost(&words, config, work);
    add_tower(out, &vision, image_frozen);
    add_tower(out, &words, text_frozen);
}
