/* Position tables: learned ones resized to another grid, rotary ones computed for it. */
#include "models/clip_parts.h"

#include <math.h>
#include <string.h>

/* Keys' cubic convolution kernel with a = -0.75, as torch's bicubic has it. */
static void cubic_weights(double t, double weight[4])
{
    const double a = -0.75;
    double far0 = t + 1, near1 = 1 - t, far1 = 2 - t;
    weight[0] = ((a * far0 - 5 * a) * far0 + 8 * a) * far0 - 4 * a;
    weight[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    weight[2] = ((a + 2) * near1 - (a + 3)) * near1 * near1 + 1;
    weight[3] = ((a * far1 - 5 * a) * far1 + 8 * a) * far1 - 4 * a;
}

/* The four samples and weights behind output sample i of `to`, out of `from`. */
static void cubic_taps(int i, int from, int to, int64_t index[4], double weight[4])
{
    double at = (i + 0.5) * from / to - 0.5;
    double base = floor(at);
    cubic_weights(at - base, weight);
    for (int k = 0; k < 4; k++) {
        int sample = (int)base - 1 + k;
        index[k] = sample < 0 ? 0 : sample >= from ? from - 1 : sample;
    }
}

void fci_positions_resize(const double *in, int from, double *out, int to, int64_t width)
{
    memcpy(out, in, (size_t)width * sizeof *out);
    for (int y = 0; y < to; y++) {
        int64_t row[4];
        double row_weight[4];
        cubic_taps(y, from, to, row, row_weight);
        for (int x = 0; x < to; x++) {
            int64_t col[4];
            double col_weight[4];
            double *o = out + (1 + (int64_t)y * to + x) * width;
            cubic_taps(x, from, to, col, col_weight);
            memset(o, 0, (size_t)width * sizeof *o);
            for (int k = 0; k < 16; k++) {
                double w = row_weight[k / 4] * col_weight[k % 4];
                const double *s = in + (1 + row[k / 4] * from + col[k % 4]) * width;
                for (int64_t c = 0; c < width; c++) {
                    o[c] += w * s[c];
                }
            }
        }
    }
}

void fci_rope_tables(int grid, int head_width, int pt_hw_seq_len, double *cosines, double *sines)
{
    int axis = head_width / 4; /* pairs an axis */
    for (int patch = 0; patch < grid * grid; patch++) {
        int place[2] = {patch / grid, patch % grid};
        for (int pair = 0; pair < 2 * axis; pair++) {
            double t = (double)place[pair / axis] / grid * pt_hw_seq_len;
            double angle = t * pow(10000.0, -(double)(pair % axis) / axis);
            int64_t at = (int64_t)patch * 2 * axis + pair;
            cosines[at] = cos(angle);
            sines[at] = sin(angle);
        }
    }
}
