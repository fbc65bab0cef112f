/* What enters a tower: patches of pictures, class token and positions, token embeddings. */
#include "core/cpu/threads.h"

enum { LINE = 16 }; /* columns in a thread's smallest share: whole cache lines */

/* CLIP's normalisation (METHOD.md section 2). */
static const double MEAN[3] = {0.48145466, 0.4578275, 0.40821073};
static const double DEVIATION[3] = {0.26862954, 0.26130258, 0.27577711};

/* One patch from pixels, row by row of one channel after the other. */
static void patch_from_rgb(real *restrict y, const uint8_t *restrict rgb, int size, int patch,
                           const real (*level)[256])
{
    for (int c = 0; c < 3; c++) {
        for (int row = 0; row < patch; row++) {
            const uint8_t *from = rgb + (size_t)row * (size_t)size * 3 + c;
            for (int column = 0; column < patch; column++) {
                *y++ = level[c][from[3 * column]];
            }
        }
    }
}

static void patch_from_planes(real *restrict y, const real *restrict planes, int size, int patch)
{
    for (int c = 0; c < 3; c++) {
        for (int row = 0; row < patch; row++, y += patch) {
            memcpy(y, planes + ((int64_t)c * size + row) * size, (size_t)patch * sizeof(real));
        }
    }
}

void FC_FN(patchify_fwd)(const fci_patchify_args *a, fc_arena *scratch)
{
    real(*level)[256] = (real(*)[256])fci_reals(scratch, 3 * 256);
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < 256; i++) {
            level[c][i] = (real)((i / 255.0 - MEAN[c]) / DEVIATION[c]);
        }
    }
    const int64_t grid = a->size / a->patch, values = 3 * (int64_t)a->patch * a->patch;
    const int64_t plane = (int64_t)a->size * a->size;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < (a->count[0] + a->count[1]) * grid; i++) {
        const int64_t picture = i / grid, at = i % grid * a->patch * a->size;
        for (int64_t column = 0; column < grid; column++) {
            real *y = (real *)a->y + (i * grid + column) * values;
            if (a->planes != NULL) {
                patch_from_planes(
                    y, (const real *)a->planes + picture * 3 * plane + at + column * a->patch,
                    a->size, a->patch);
                continue;
            }
            const int group = picture < a->count[0] ? 0 : 1;
            const int64_t inside = group == 0 ? picture : picture - a->count[0];
            patch_from_rgb(y, a->rgb[group] + (inside * plane + at + column * a->patch) * 3,
                           a->size, a->patch, (const real(*)[256])level);
        }
    }
}

static void add_rows(real *restrict y, const real *restrict a, const real *restrict b, int64_t n)
{
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        y[j] = a[j] + b[j];
    }
}

/* y = or += x. */
static void put_row(real *restrict y, const real *restrict x, int64_t n, bool add)
{
    if (!add) {
        memcpy(y, x, (size_t)n * sizeof(real));
        return;
    }
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        y[j] += x[j];
    }
}

void FC_FN(tokens_fwd)(const fci_tokens_args *a, fc_arena *scratch)
{
    (void)scratch;
    const int64_t n = a->cols, length = 1 + a->patches;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->pictures * length; i++) {
        const int64_t token = i % length;
        const real *from =
            token == 0 ? a->cls : (const real *)a->x + (i / length * a->patches + token - 1) * n;
        add_rows((real *)a->y + i * n, from, (const real *)a->pos + token * n, n);
    }
}

void FC_FN(tokens_bwd)(const fci_tokens_args *a, fc_arena *scratch)
{
    (void)scratch;
    const int64_t n = a->cols, length = 1 + a->patches;
    const real *dy = a->dy;
#pragma omp parallel for schedule(static)
    for (int64_t token = 0; token < length; token++) {
        real *dpos = a->dpos.at == NULL ? NULL : (real *)a->dpos.at + token * n;
        real *dcls = token > 0 ? NULL : a->dcls.at;
        if (dpos != NULL && !a->dpos.add) {
            memset(dpos, 0, (size_t)n * sizeof(real));
        }
        if (dcls != NULL && !a->dcls.add) {
            memset(dcls, 0, (size_t)n * sizeof(real));
        }
        for (int64_t picture = 0; picture < a->pictures; picture++) {
            const real *from = dy + (picture * length + token) * n;
            if (dpos != NULL) {
                put_row(dpos, from, n, true);
            }
            if (dcls != NULL) {
                put_row(dcls, from, n, true);
            }
            if (token > 0 && a->dx.at != NULL) {
                put_row((real *)a->dx.at + (picture * a->patches + token - 1) * n, from, n,
                        a->dx.add);
            }
        }
    }
}

void FC_FN(embed_fwd)(const fci_embed_args *a, fc_arena *scratch)
{
    (void)scratch;
    const int64_t n = a->cols;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < a->rows; i++) {
        add_rows((real *)a->y + i * n, (const real *)a->table + a->ids[i] * n,
                 (const real *)a->pos + a->positions[i] * n, n);
    }
}

/* Columns [begin, end) of the rows named by index, which may repeat. */
static void scatter(fci_out to, int64_t to_rows, const int32_t *index, const real *dy, int64_t rows,
                    int64_t n, int64_t begin, int64_t end)
{
    real *y = to.at;
    if (y == NULL || begin == end) {
        return;
    }
    for (int64_t i = 0; !to.add && i < to_rows; i++) {
        memset(y + i * n + begin, 0, (size_t)(end - begin) * sizeof(real));
    }
    for (int64_t i = 0; i < rows; i++) {
        put_row(y + index[i] * n + begin, dy + i * n + begin, end - begin, true);
    }
}

void FC_FN(embed_bwd)(const fci_embed_args *a, fc_arena *scratch)
{
    (void)scratch;
#pragma omp parallel
    {
        int64_t begin, end;
        fci_share(a->cols, LINE, &begin, &end);
        scatter(a->dtable, a->vocabulary, a->ids, a->dy, a->rows, a->cols, begin, end);
        scatter(a->dpos, a->context, a->positions, a->dy, a->rows, a->cols, begin, end);
    }
}
