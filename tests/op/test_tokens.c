/* fc_patchify, fc_tokens and fc_embed. */
#include "tests/check.h"
#include "tests/op/grad.h"

#include <string.h>

#include <omp.h>

static fc_tensor *tokens(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_tokens(tape, in[0], in[1], in[2]);
}

static fc_tensor *tokens_twice(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_concat_rows(tape, fc_tokens(tape, in[0], in[1], in[2]),
                          fc_tokens(tape, in[0], in[1], in[2]));
}

static const int32_t IDS[] = {3, 0, 3, 6, 6, 3, 1}, POSITIONS[] = {0, 1, 2, 0, 1, 0, 2};

static fc_tensor *embed(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_embed(tape, in[0], in[1], IDS, POSITIONS, 7);
}

static fc_tensor *embed_twice(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_concat_rows(tape, fc_embed(tape, in[0], in[1], IDS, POSITIONS, 7),
                          fc_embed(tape, in[0], in[1], IDS + 3, POSITIONS + 3, 4));
}

static fc_tensor *embed_none(fc_tape *tape, fc_tensor *const *in, const void *ctx)
{
    (void)ctx;
    return fc_embed(tape, in[0], in[1], IDS, POSITIONS, 0);
}

static int tables(fc_params *p, fc_tensor **views)
{
    const int64_t table[2] = {8, 5}, pos[2] = {3, 5};
    const int first = fc_params_add(p, "token_embedding.weight", 2, table);
    const int second = fc_params_add(p, "positional_embedding", 2, pos);
    views[0] = fc_params_view(p, first, 1, 8, 5);
    views[1] = fc_params_view(p, second, 1, 3, 5);
    return 2;
}

static void check_token_values(void)
{
    fc_tape *tape = fc_tape_create(FC_F64);
    fc_tensor *x = fc_tape_matrix(tape, 4, 1, false), *cls = fc_tape_matrix(tape, 1, 1, false);
    fc_tensor *pos = fc_tape_matrix(tape, 3, 1, false);
    memcpy(x->data, (const double[]){1, 2, 3, 4}, 4 * sizeof(double));
    *(double *)cls->data = 7;
    memcpy(pos->data, (const double[]){10, 20, 30}, 3 * sizeof(double));
    const fc_tensor *y = fc_tokens(tape, x, cls, pos);
    const double want[6] = {17, 21, 32, 17, 23, 34};
    FC_CHECK_INT(y->rows, 6);
    FC_CHECK(memcmp(y->data, want, sizeof want) == 0);
    FC_CHECK(fc_tokens(tape, fc_tape_matrix(tape, 5, 1, false), cls, pos) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "tokens: pos (3,1) does not fit patches (5,1)");
    fc_tape_reset(tape);
    x = fc_tape_matrix(tape, 4, 1, false);
    const int32_t ids[2] = {1, 4}, positions[2] = {0, 0};
    FC_CHECK(fc_embed(tape, x, x, ids, positions, 2) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "embed: token 1 has id 4 of 4");
    fc_tape_destroy(&tape);
}

/* Where pixel (channel, y, x) of a picture lands: row and column of the result. */
static double patch_value(const fc_tensor *t, int picture, int size, int patch, int channel, int y,
                          int x)
{
    const int grid = size / patch;
    const int64_t row = (int64_t)picture * grid * grid + y / patch * grid + x / patch;
    const int64_t column = (channel * patch + y % patch) * patch + x % patch;
    const int64_t at = row * t->cols + column;
    return t->dtype == FC_F64 ? ((const double *)t->data)[at]
                              : (double)((const float *)t->data)[at];
}

static void check_patchify(fc_dtype dtype, double tolerance)
{
    enum { SIZE = 6, PATCH = 3, FIRST = 2, SECOND = 1, VALUES = SIZE * SIZE * 3 };
    const double mean[3] = {0.48145466, 0.4578275, 0.40821073};
    const double std[3] = {0.26862954, 0.26130258, 0.27577711};
    uint8_t rgb[(FIRST + SECOND) * VALUES];
    double planes64[FIRST * VALUES];
    float planes32[FIRST * VALUES];
    for (int i = 0; i < (FIRST + SECOND) * VALUES; i++) {
        rgb[i] = (uint8_t)(i * 37 + i / 7);
    }
    for (int i = 0; i < FIRST * VALUES; i++) {
        planes32[i] = (float)i;
        planes64[i] = i;
    }
    fc_tape *tape = fc_tape_create(dtype);
    const fc_pixels pixels = {
        .size = SIZE, .count = {FIRST, SECOND}, .rgb = {rgb, rgb + FIRST * VALUES}};
    const fc_tensor *y = fc_patchify(tape, &pixels, PATCH);
    const fc_pixels planes = {.size = SIZE,
                              .count = {FIRST, 0},
                              .planes = dtype == FC_F64 ? (const void *)planes64 : planes32};
    const fc_tensor *z = fc_patchify(tape, &planes, PATCH);
    FC_CHECK_INT(y->rows, (FIRST + SECOND) * 4);
    FC_CHECK_INT(y->cols, 27);
    FC_CHECK_INT(z->rows, FIRST * 4);
    double worst = 0, worst_plane = 0;
    for (int i = 0; i < (FIRST + SECOND) * VALUES; i++) {
        const int picture = i / VALUES, c = i % 3, row = i % VALUES / 3 / SIZE, x = i / 3 % SIZE;
        const double got = patch_value(y, picture, SIZE, PATCH, c, row, x);
        const double error = got - (rgb[i] / 255.0 - mean[c]) / std[c];
        worst = error * error <= worst ? worst : error * error;
        if (picture < FIRST) {
            const int at = picture * VALUES + (c * SIZE + row) * SIZE + x;
            const double off = patch_value(z, picture, SIZE, PATCH, c, row, x) - planes64[at];
            worst_plane = off * off <= worst_plane ? worst_plane : off * off;
        }
    }
    FC_CHECK_NEAR(worst, 0, tolerance * tolerance);
    FC_CHECK_NEAR(worst_plane, 0, 0);
    FC_CHECK(!y->needs_grad);
    FC_CHECK_INT(fc_patchify(tape, &(fc_pixels){.size = SIZE}, PATCH)->rows, 0);
    FC_CHECK(fc_patchify(tape, &pixels, 4) == NULL);
    FC_CHECK_FAILS(fc_tape_status(tape), FC_BUG, "patchify: pictures of side 6, patches of side 4");
    fc_tape_destroy(&tape);
}

int main(void)
{
    const fc_grad_case cases[] = {
        {"tokens", 3, {{8, 5}, {1, 5}, {5, 5}}, .forward = tokens},
        {"tokens, one picture", 3, {{4, 5}, {1, 5}, {5, 5}}, .forward = tokens},
        {"tokens, no pictures", 3, {{0, 5}, {1, 5}, {5, 5}}, .forward = tokens},
        {"tokens, used twice", 3, {{6, 3}, {1, 3}, {3, 3}}, .forward = tokens_twice},
        {"embed", 2, {{8, 35}, {3, 35}}, .forward = embed},
        {"embed, parameters", .parameters = tables, .forward = embed},
        {"embed, used twice", 2, {{8, 5}, {3, 5}}, .forward = embed_twice},
        {"embed, none", 2, {{8, 5}, {3, 5}}, .forward = embed_none},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fc_check_gradient(&cases[i]);
    }
    omp_set_num_threads(2);
    check_token_values();
    check_patchify(FC_F64, 1e-15);
    check_patchify(FC_F32, 1e-7 * 3);
    return fc_check_end();
}
