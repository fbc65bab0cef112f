/* The inner loops of resizing, plain and for AVX2.
 *
 * A result is (2^21 + sum of weight * pixel) >> 22, clipped. The weights of an output add up to
 * 2^22 and their magnitudes to less than 2^23 (the triangle has no negative ones; the cubic's take
 * the magnitudes to 1.27 * 2^22, which tests/data/test_resize.c watches), so the sum stays below
 * 255 * 2^23 + 2^21 < 2^31.
 *
 * AVX2 multiplies 16-bit numbers and adds neighbouring products in 32 bits (vpmaddwd), so weights
 * are split: w = high * 2^11 + low with 0 <= low < 2^11 and, as |w| < 2^23, -2^12 <= high < 2^12.
 * Two products of a part with pixels stay below 2 * 2^12 * 255 < 2^21. What is added up of them may
 * wrap, that is, addition is modulo 2^32: sum(high * p) * 2^11 + sum(low * p) is the sum above,
 * which fits. */
#include "data/picture/resize_passes.h"

#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

enum { HALF = 1 << (FCI_WEIGHT_BITS - 1), FEW = 16, WIDE = 32 };

static uint8_t clip(int32_t sum)
{
    int32_t v = sum >> FCI_WEIGHT_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void across_plain(const fci_axis *ax, const uint8_t *const rows[FCI_BAND], uint8_t *out,
                         size_t stride)
{
    for (int i = 0; i < FCI_BAND * ax->count; i++) {
        int row = i / ax->count, pixel = i % ax->count;
        const int32_t *w = ax->weights + (size_t)pixel * (size_t)ax->taps;
        const uint8_t *in = rows[row] + 3 * (size_t)ax->start[pixel];
        int32_t sum[3] = {HALF, HALF, HALF};
        for (int k = 0; k < ax->used[pixel]; k++) {
            for (int c = 0; c < 3; c++) {
                sum[c] += in[3 * k + c] * w[k];
            }
        }
        uint8_t *to = out + (size_t)row * stride + 3 * (size_t)pixel;
        for (int c = 0; c < 3; c++) {
            to[c] = clip(sum[c]);
        }
    }
}

static void down_plain(const fci_axis *ax, int i, const uint8_t *rows, size_t stride, size_t values,
                       uint8_t *out)
{
    const int32_t *w = ax->weights + (size_t)i * (size_t)ax->taps;
    for (size_t first = 0; first < values; first += FEW) { /* few enough for registers */
        int32_t sum[FEW];
        size_t n = values - first < FEW ? values - first : FEW;
        for (int v = 0; v < FEW; v++) {
            sum[v] = HALF;
        }
        for (int k = 0; k < ax->used[i]; k++) {
            const uint8_t *row = rows + (size_t)k * stride + first; /* whole strides are there */
            for (int v = 0; v < FEW; v++) {
                sum[v] += row[v] * w[k];
            }
        }
        for (size_t v = 0; v < n; v++) {
            out[first + v] = clip(sum[v]);
        }
    }
}

const fci_passes fci_passes_plain = {across_plain, down_plain};

size_t fci_across_beyond(const fci_axis *ax)
{
    return 6 * (size_t)ax->pairs + 16; /* the pairs of the last output, the last load of 16 */
}

size_t fci_across_row(int count)
{
    size_t groups = ((size_t)count + FCI_GROUP - 1) / FCI_GROUP;
    return (3 * FCI_GROUP * groups + 4 + WIDE - 1) / WIDE * WIDE; /* 12 bytes are written as 16 */
}

#ifdef __AVX2__
/* Always, so that the number of pairs is a constant within the loops. */
#define INLINE static inline __attribute__((always_inline))

/* Both weights of a pair, eight times. */
INLINE __m256i eight(const int16_t pair[2])
{
    int32_t two;
    memcpy(&two, pair, sizeof two);
    return _mm256_set1_epi32(two);
}

/* Sums of products with upper and lower parts, of which one holds the half -> results. */
INLINE __m256i scale_down(__m256i high, __m256i low)
{
    __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, FCI_WEIGHT_LOW), low);
    return _mm256_srai_epi32(sum, FCI_WEIGHT_BITS);
}

/* The same 16 bytes in both halves, as an operand of _mm256_shuffle_epi8. */
INLINE __m256i each_half(__m128i bytes)
{
    return _mm256_broadcastsi128_si256(bytes);
}

/* Of each of two rows the pixels from byte `at` on: one row a half. */
INLINE __m256i load_rows(const uint8_t *const rows[FCI_BAND], size_t at)
{
    __m128i one = _mm_loadu_si128((const void *)(rows[0] + at));
    __m128i other = _mm_loadu_si128((const void *)(rows[1] + at));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(one), other, 1);
}

/* Output pixel of both rows: r g b 0 in each half. w: its weights; at: its first input. */
INLINE __m256i weigh(const fci_weight_pair *w, int pairs, const uint8_t *const rows[FCI_BAND],
                     size_t at)
{
    /* of four pixels the first or the last two: r0 r1 g0 g1 b0 b1 0 0, as 16-bit numbers */
    const __m256i pick[2] = {
        each_half(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1)),
        each_half(_mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1))};
    __m256i high = _mm256_setzero_si256(), low = _mm256_set1_epi32(HALF), in = high;
    for (int k = 0; k < pairs; k++) {
        if (k % 2 == 0) {
            in = load_rows(rows, at + 6 * (size_t)k);
        }
        __m256i x = _mm256_shuffle_epi8(in, pick[k % 2]);
        high = _mm256_add_epi32(high, _mm256_madd_epi16(x, eight(w[k].high)));
        low = _mm256_add_epi32(low, _mm256_madd_epi16(x, eight(w[k].low)));
    }
    return scale_down(high, low);
}

INLINE void across_pairs(const fci_axis *ax, int pairs, const uint8_t *const rows[FCI_BAND],
                         uint8_t *out, size_t stride)
{
    const __m256i rgb =
        each_half(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    const uint8_t *const in[FCI_BAND] = {rows[0], rows[1]}; /* which `out` cannot be */
    for (int i = 0; i < ax->count; i += FCI_GROUP, out += 3 * FCI_GROUP) {
        const fci_weight_pair *w = ax->split + (size_t)i * (size_t)pairs;
        const int *start = ax->start + i;
        __m256i a = weigh(w, pairs, in, 3 * (size_t)start[0]);
        __m256i b = weigh(w + pairs, pairs, in, 3 * (size_t)start[1]);
        __m256i c = weigh(w + 2 * pairs, pairs, in, 3 * (size_t)start[2]);
        __m256i d = weigh(w + 3 * pairs, pairs, in, 3 * (size_t)start[3]);
        __m256i four = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        four = _mm256_shuffle_epi8(four, rgb); /* and four zeros, which the next group overwrites */
        _mm_storeu_si128((void *)out, _mm256_castsi256_si128(four));
        _mm_storeu_si128((void *)(out + stride), _mm256_extracti128_si256(four, 1));
    }
}

static void across_avx2(const fci_axis *ax, const uint8_t *const rows[FCI_BAND], uint8_t *out,
                        size_t stride)
{
    switch (ax->pairs) { /* unrolled for all that is common */
    case 1:
        across_pairs(ax, 1, rows, out, stride);
        break;
    case 2:
        across_pairs(ax, 2, rows, out, stride);
        break;
    case 3:
        across_pairs(ax, 3, rows, out, stride);
        break;
    case 4:
        across_pairs(ax, 4, rows, out, stride);
        break;
    default:
        across_pairs(ax, ax->pairs, rows, out, stride);
        break;
    }
}

/* WIDE neighbouring values. Unpacking and packing both keep to the halves of a register. */
INLINE void down_values(const fci_weight_pair *w, int pairs, const uint8_t *rows, size_t stride,
                        uint8_t *to)
{
    const __m256i zero = _mm256_setzero_si256(), half = _mm256_set1_epi32(HALF);
    __m256i high[4] = {zero, zero, zero, zero}, low[4] = {half, half, half, half};
    for (int k = 0; k < pairs; k++, rows += 2 * stride) {
        const __m256i upper = eight(w[k].high), lower = eight(w[k].low);
        __m256i p = _mm256_loadu_si256((const void *)rows);
        __m256i q = _mm256_loadu_si256((const void *)(rows + stride));
        __m256i first = _mm256_unpacklo_epi8(p, q), second = _mm256_unpackhi_epi8(p, q);
        __m256i x[4] = {_mm256_unpacklo_epi8(first, zero), _mm256_unpackhi_epi8(first, zero),
                        _mm256_unpacklo_epi8(second, zero), _mm256_unpackhi_epi8(second, zero)};
        for (int i = 0; i < 4; i++) {
            high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(x[i], upper));
            low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(x[i], lower));
        }
    }
    __m256i first = _mm256_packs_epi32(scale_down(high[0], low[0]), scale_down(high[1], low[1]));
    __m256i second = _mm256_packs_epi32(scale_down(high[2], low[2]), scale_down(high[3], low[3]));
    _mm256_storeu_si256((void *)to, _mm256_packus_epi16(first, second));
}

static void down_avx2(const fci_axis *ax, int i, const uint8_t *rows, size_t stride, size_t values,
                      uint8_t *out)
{
    const fci_weight_pair *w = ax->split + (size_t)i * (size_t)ax->pairs;
    int pairs = (ax->used[i] + 1) / 2;
    if (values < WIDE) {
        uint8_t few[WIDE];
        down_values(w, pairs, rows, stride, few);
        memcpy(out, few, values);
        return;
    }
    for (size_t j = 0; j + WIDE <= values; j += WIDE) {
        down_values(w, pairs, rows + j, stride, out + j);
    }
    if (values % WIDE != 0) { /* some of them a second time */
        size_t last = values - WIDE;
        down_values(w, pairs, rows + last, stride, out + last);
    }
}

const fci_passes fci_passes_used = {across_avx2, down_avx2};
#else
const fci_passes fci_passes_used = {across_plain, down_plain};
#endif
