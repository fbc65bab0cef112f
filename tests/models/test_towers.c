/* The picture tower asked in one go equals being asked for each kind alone; recording, recomputing
 * and neither are the same; text rows do not depend on their company; degenerate cases of box
 * features and of the value-only path; wrong calls. */
#include "models/clip_parts.h"
#include "tests/models/fixture.h"

enum { PICTURES = 3, CROPS = 2, ALL = PICTURES + CROPS };

typedef struct outputs {
    double *cls, *dense;
} outputs;

/* Sequences [first, first+count) of the planes. */
static outputs run(const fc_clip *m, fc_tape *tape, const double *planes, int64_t first,
                   int64_t count, int64_t dense_count, int64_t class_first, bool record,
                   bool recompute)
{
    int64_t each = 3 * m->image_size * m->image_size;
    fc_pixels pixels = {
        .size = m->image_size, .count = {count, 0}, .planes = planes + first * each};
    fc_tensor *cls, *dense;
    outputs out = {0};
    fc_tape_reset(tape);
    (void)fc_tape_record(tape, record);
    FX_NEED(fc_clip_vision(m, tape, &pixels, dense_count, class_first,
                           recompute ? FC_ALL_BLOCKS : 0, &cls, &dense));
    FC_CHECK_INT(cls != NULL, class_first < count);
    FC_CHECK_INT(dense != NULL, dense_count > 0);
    if (cls != NULL && FC_CHECK_INT(cls->rows, count - class_first)) {
        out.cls = fx_values(cls);
    }
    if (dense != NULL && FC_CHECK_INT(dense->rows, dense_count * m->patches)) {
        out.dense = fx_values(dense);
    }
    return out;
}

static void release(outputs *o)
{
    fc_free(&o->cls);
    fc_free(&o->dense);
}

static void check_shared_trunk(fc_vision_kind kind, int layers)
{
    fc_clip *m = fx_tiny(kind, layers, 0);
    fc_tape *tape = fc_tape_create(FC_F64);
    double *planes = fx_planes(m, ALL);
    int64_t dim = m->config.embed_dim, map = m->patches * dim;
    outputs classes = run(m, tape, planes, 0, ALL, 0, 0, true, false);
    outputs maps = run(m, tape, planes, 0, PICTURES, PICTURES, PICTURES, false, false);
    /* dense_count, class_first of one call over all sequences. */
    static const int64_t asks[][2] = {
        {PICTURES, 0}, {PICTURES, PICTURES}, {PICTURES, 1}, {1, 0}, {1, 2}};
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        int64_t dense_count = asks[i][0], class_first = asks[i][1];
        for (int way = 0; way < 3; way++) {
            outputs o = run(m, tape, planes, 0, ALL, dense_count, class_first, way > 0, way > 1);
            FC_CHECK_NEAR(
                fc_check_max_abs(o.cls, classes.cls + class_first * dim, (ALL - class_first) * dim),
                0, 1e-12);
            FC_CHECK_NEAR(fc_check_max_abs(o.dense, maps.dense, dense_count * map), 0, 1e-12);
            release(&o);
        }
    }
    for (int64_t p = 0; p < PICTURES * m->patches; p++) {
        double norm = 0;
        for (int64_t c = 0; c < dim; c++) {
            norm += maps.dense[p * dim + c] * maps.dense[p * dim + c];
        }
        FC_CHECK_NEAR(norm, 1, 1e-12);
    }
    release(&classes);
    release(&maps);
    fc_free(&planes);
    fc_tape_destroy(&tape);
    fc_clip_destroy(&m);
}

/* Without a record a deep tower needs hardly more memory than a shallow one. */
static void check_memory(void)
{
    enum { N = 40 };
    size_t peak[2];
    for (int deep = 0; deep < 2; deep++) {
        fc_clip *m = fx_tiny(FC_VISION_EVA02, deep ? 16 : 3, 0);
        fc_tape *tape = fc_tape_create(FC_F64);
        double *planes = fx_planes(m, N);
        outputs o = run(m, tape, planes, 0, N, N, N, false, false);
        peak[deep] = fc_tape_peaks(tape).activations;
        release(&o);
        fc_free(&planes);
        fc_tape_destroy(&tape);
        fc_clip_destroy(&m);
    }
    fc_check_true((double)peak[1] <= 1.5 * (double)peak[0], __FILE__, __LINE__,
                  "3 blocks need %zu bytes, 16 need %zu", peak[0], peak[1]);
    printf("3 blocks need %zu bytes, 16 need %zu\n", peak[0], peak[1]);
}

/* 8-bit pictures in two groups equal normalised planes. */
static void check_pixels(void)
{
    static const double mean[3] = {0.48145466, 0.4578275, 0.40821073};
    static const double deviation[3] = {0.26862954, 0.26130258, 0.27577711};
    fc_clip *m = fx_tiny(FC_VISION_VIT, 2, 0);
    fc_tape *tape = fc_tape_create(FC_F64);
    int64_t area = m->image_size * m->image_size;
    uint8_t *rgb = fc_alloc((size_t)(ALL * area), 3);
    double *planes = fx_planes(m, ALL);
    fc_rng rng = fc_rng_stream(17, FC_RNG_TEST, 0, 0);
    for (int64_t i = 0; i < ALL * area * 3; i++) {
        int64_t picture = i / (3 * area), at = i / 3 % area, channel = i % 3;
        rgb[i] = (uint8_t)fc_rng_below(&rng, 256);
        planes[(picture * 3 + channel) * area + at] =
            (rgb[i] / 255.0 - mean[channel]) / deviation[channel];
    }
    outputs want = run(m, tape, planes, 0, ALL, PICTURES, 0, true, false);
    fc_pixels pixels = {
        .size = m->image_size, .count = {PICTURES, CROPS}, .rgb = {rgb, rgb + PICTURES * area * 3}};
    fc_tensor *cls, *dense;
    FX_NEED(fc_clip_vision(m, tape, &pixels, PICTURES, 0, 0, &cls, &dense));
    FC_CHECK_NEAR(fc_check_max_abs(cls->data, want.cls, fc_tensor_count(cls)), 0, 1e-6);
    FC_CHECK_NEAR(fc_check_max_abs(dense->data, want.dense, fc_tensor_count(dense)), 0, 1e-6);
    release(&want);
    fc_free(&rgb);
    fc_free(&planes);
    fc_tape_destroy(&tape);
    fc_clip_destroy(&m);
}

/* What stands after the end token and which rows are beside a row changes nothing; the first of
 * several end tokens counts. */
static void check_text(void)
{
    static const int32_t packed[] = {18, 3, 4, 19, 18, 19, 18, 3, 4, 19, 18, 7, 8, 9, 2, 6, 1, 19};
    static const int64_t packed_at[] = {0, 4, 6, 10, 18};
    static const int32_t padded[] = {18, 3, 4, 19, 7, 19, 18, 2, 18, 19, 0, 0, 0, 0, 0, 0,
                                     18, 3, 4, 19, 0, 0,  0,  0, 18, 7,  8, 9, 2, 6, 1, 19};
    static const int64_t padded_at[] = {0, 8, 16, 24, 32};
    fc_clip *m = fx_tiny(FC_VISION_EVA02, 1, 0);
    fc_tape *tape = fc_tape_create(FC_F64);
    int64_t dim = m->config.embed_dim;
    fc_tensor *a = fc_clip_text(m, tape, 4, packed, packed_at, 0);
    fc_tensor *b = fc_clip_text(m, tape, 4, padded, padded_at, FC_ALL_BLOCKS);
    FX_NEED(fc_tape_status(tape));
    const double *x = a->data, *y = b->data;
    FC_CHECK_INT(a->rows, 4);
    FC_CHECK_NEAR(fc_check_max_abs(x, y, 4 * dim), 0, 0);
    FC_CHECK_NEAR(fc_check_max_abs(x, x + 2 * dim, dim), 0, 0);
    FC_CHECK(fc_check_max_abs(x, x + dim, dim) > 1e-3);
    for (int64_t i = 0; i < 4; i++) {
        int64_t alone_at[] = {packed_at[i], packed_at[i + 1]};
        fc_tensor *alone = fc_clip_text(m, tape, 1, packed, alone_at, 0);
        FX_NEED(fc_tape_status(tape));
        FC_CHECK_NEAR(fc_check_max_abs(alone->data, x + i * dim, dim), 0, 1e-12);
    }
    static const int32_t zeros[8] = {0}, one[1] = {0};
    fc_tensor *dummy = fc_clip_text(m, tape, 1, zeros, (int64_t[]){0, 8}, 0);
    fc_tensor *single = fc_clip_text(m, tape, 1, one, (int64_t[]){0, 1}, 0);
    FX_NEED(fc_tape_status(tape));
    FC_CHECK_NEAR(fc_check_max_abs(dummy->data, single->data, dim), 0, 0);
    fc_tape_destroy(&tape);
    fc_clip_destroy(&m);
}

/* A box of one cell is that cell, a box of everything the mean, an empty box zero. */
static void check_boxes(void)
{
    enum { GRID = 3, DIM = 4, CELLS = GRID * GRID };
    fc_tape *tape = fc_tape_create(FC_F64);
    fc_tensor *dense = fc_tape_matrix(tape, 2 * CELLS, DIM, true);
    double *z = dense->data, mean[DIM] = {0};
    fc_rng rng = fc_rng_stream(19, FC_RNG_TEST, 0, 0);
    for (int i = 0; i < 2 * CELLS * DIM; i++) {
        z[i] = fc_rng_normal(&rng);
        mean[i % DIM] += i < CELLS * DIM ? 0 : z[i] / CELLS;
    }
    const float third = 1.0F / 3;
    const float boxes[4][4] = {{third, 2 * third, 2 * third, 1},
                               {0, 0, 1, 1},
                               {0.5F, 0.5F, 0.5F, 0.5F},
                               {0.5F, 0.2F, 0.5F, 0.9F}};
    static const int32_t image[4] = {0, 1, 0, 1};
    fc_tensor *roi = fc_roi_align(tape, dense, GRID, boxes[0], image, 4);
    fc_tensor *unit = fc_clip_box_features(tape, dense, GRID, boxes[0], image, 4);
    FX_NEED(fc_tape_status(tape));
    const double *r = roi->data, *u = unit->data;
    FC_CHECK_NEAR(fc_check_max_abs(r, z + (2 * GRID + 1) * DIM, DIM), 0, 1e-6);
    FC_CHECK_NEAR(fc_check_max_abs(r + DIM, mean, DIM), 0, 1e-12);
    double norm = 0;
    for (int c = 0; c < DIM; c++) {
        norm += u[c] * u[c];
        FC_CHECK_NEAR(u[2 * DIM + c], 0, 0);
        FC_CHECK_NEAR(u[3 * DIM + c], 0, 0);
    }
    FC_CHECK_NEAR(norm, 1, 1e-12);
    double seed[4 * DIM];
    for (int i = 0; i < 4 * DIM; i++) {
        seed[i] = fc_rng_normal(&rng);
    }
    fc_tape_seed(tape, unit, seed);
    FX_NEED(fc_backward(tape, 0, NULL, NULL));
    for (int i = 0; dense->grad != NULL && i < 2 * CELLS * DIM; i++) {
        FC_CHECK(isfinite(((const double *)dense->grad)[i]));
    }
    FC_CHECK(dense->grad != NULL);
    fc_tape_destroy(&tape);
}

/* With one token in the sequence attention is its value. */
static void check_value_path(fc_vision_kind kind)
{
    enum { N = 4 };
    fc_clip *m = fx_tiny(kind, 2, 0);
    fc_tape *tape = fc_tape_create(FC_F64);
    const fci_vision_def *def = fci_vision_kind(&m->config);
    fc_tensor *x = fc_tape_matrix(tape, N, m->config.vision.width, false);
    fc_rng rng = fc_rng_stream(23, FC_RNG_TEST, 0, 0);
    for (int64_t i = 0; i < fc_tensor_count(x); i++) {
        ((double *)x->data)[i] = fc_rng_normal(&rng);
    }
    fc_attention_spec spec = {.heads = fci_vision_heads(&m->config),
                              .sequences = N,
                              .q_offsets = fci_even_offsets(tape, N, 1),
                              .rope_cos = m->rope_cos,
                              .rope_sin = m->rope_sin};
    fc_tensor *h = def->norm(m, tape, x);
    fc_tensor *v = def->part(m, tape, FCI_V, h);
    fc_tensor *attended = fc_attention_cross(tape, def->part(m, tape, FCI_Q, h),
                                             def->part(m, tape, FCI_K, h), v, &spec);
    fc_tensor *a = def->finish(m, tape, attended, x), *b = def->finish(m, tape, v, x);
    FX_NEED(fc_tape_status(tape));
    FC_CHECK_NEAR(fc_check_max_abs(a->data, b->data, fc_tensor_count(a)), 0, 1e-13);
    fc_tape_destroy(&tape);
    fc_clip_destroy(&m);
}

static void check_wrong_calls(void)
{
    fc_clip *m = fx_tiny(FC_VISION_EVA02, 1, 0), *none = NULL;
    fc_tape *tape = fc_tape_create(FC_F64), *single = fc_tape_create(FC_F32);
    double *planes = fx_planes(m, 2);
    fc_tensor *cls, *dense;
    fc_pixels pixels = {.size = m->image_size, .count = {2, 0}, .planes = planes};
    FC_CHECK_FAILS(fc_clip_vision(m, tape, &pixels, 1, 3, 0, &cls, &dense), FC_BUG, "from 3");
    fc_tape_reset(tape);
    FC_CHECK_FAILS(fc_clip_vision(m, tape, &pixels, 0, 2, 0, &cls, &dense), FC_BUG, "from 2");
    fc_tape_reset(tape);
    FC_CHECK_FAILS(fc_clip_vision(m, single, &pixels, 1, 0, 0, &cls, &dense), FC_BUG, "type");
    pixels.size = 8;
    FC_CHECK_FAILS(fc_clip_vision(m, tape, &pixels, 1, 0, 0, &cls, &dense), FC_BUG, "side 8");
    static const int32_t long_row[] = {18, 1, 1, 1, 1, 1, 1, 1, 19}, alien[] = {18, 20, 19};
    fc_tape_reset(tape);
    FC_CHECK(fc_clip_text(m, tape, 1, long_row, (int64_t[]){0, 9}, 0) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_DATA, "text: row 0 has 9 tokens, context_length is 8");
    fc_tape_reset(tape);
    FC_CHECK(fc_clip_text(m, tape, 1, alien, (int64_t[]){0, 3}, 0) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_DATA, "token 20 of row 0");
    fc_tape_reset(tape);
    FC_CHECK(fc_clip_text(m, tape, 2, alien, (int64_t[]){0, 1, 1}, 0) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_DATA, "row 1 has no tokens");
    fc_tape_reset(tape);
    fc_model_config config = m->config;
    FC_CHECK_FAILS(fc_clip_create(&none, &config, 13, FC_F32, 0), FC_USAGE, "image_size: 13");
    FC_CHECK_FAILS(fc_clip_resized(&none, m, 6), FC_USAGE, "patch size 4");
    FC_CHECK(none == NULL);
    fc_free(&planes);
    fc_tape_destroy(&tape);
    fc_tape_destroy(&single);
    fc_clip_destroy(&m);
}

int main(void)
{
    for (int layers = 1; layers <= 4; layers++) {
        check_shared_trunk(FC_VISION_EVA02, layers);
        check_shared_trunk(FC_VISION_VIT, layers);
    }
    check_memory();
    check_pixels();
    check_text();
    check_boxes();
    check_value_path(FC_VISION_EVA02);
    check_value_path(FC_VISION_VIT);
    check_wrong_calls();
    return fc_check_end();
}
