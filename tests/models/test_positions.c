/* Bicubic resizing against torch's interpolate(mode=bicubic, align_corners=False), and rotary
 * tables against the formula written out. */
#include "models/clip_parts.h"
#include "tests/models/fixture.h"

static void check_resize(int from, const double *in, int to, const double *want)
{
    double table[1 + 16] = {-7}, out[1 + 36];
    memcpy(table + 1, in, (size_t)(from * from) * sizeof *in);
    fci_positions_resize(table, from, out, to, 1);
    FC_CHECK_NEAR(out[0], -7, 0);
    FC_CHECK_NEAR(fc_check_max_abs(out + 1, want, to * to), 0, 1e-12);
}

static void check_constants(void)
{
    enum { FROM = 4, TO = 7, WIDTH = 3 };
    double in[(1 + FROM * FROM) * WIDTH], out[(1 + TO * TO) * WIDTH];
    for (int i = 0; i < (1 + FROM * FROM) * WIDTH; i++) {
        in[i] = i % WIDTH + 1;
    }
    fci_positions_resize(in, FROM, out, TO, WIDTH);
    for (int i = 0; i < (1 + TO * TO) * WIDTH; i++) {
        FC_CHECK_NEAR(out[i], i % WIDTH + 1, 1e-13);
    }
    fc_rng rng = fc_rng_stream(1, FC_RNG_TEST, 0, 0);
    for (int i = 0; i < (1 + FROM * FROM) * WIDTH; i++) {
        in[i] = fc_rng_normal(&rng);
    }
    fci_positions_resize(in, FROM, out, FROM, WIDTH);
    FC_CHECK_NEAR(fc_check_max_abs(out, in, (1 + FROM * FROM) * WIDTH), 0, 0);
}

static void check_rope(void)
{
    enum { GRID = 3, HEAD = 8, PAIRS = HEAD / 2, SCALED = 16 };
    double cosines[GRID * GRID * PAIRS], sines[GRID * GRID * PAIRS];
    fci_rope_tables(GRID, HEAD, SCALED, cosines, sines);
    for (int y = 0; y < GRID; y++) {
        for (int x = 0; x < GRID; x++) {
            /* d = HEAD/2 = 4 channels an axis: frequencies 1 and 10000^(-1/2). */
            const double angle[PAIRS] = {y * 16.0 / 3, y * 16.0 / 3 / 100, x * 16.0 / 3,
                                         x * 16.0 / 3 / 100};
            for (int k = 0; k < PAIRS; k++) {
                FC_CHECK_NEAR(cosines[(y * GRID + x) * PAIRS + k], cos(angle[k]), 1e-14);
                FC_CHECK_NEAR(sines[(y * GRID + x) * PAIRS + k], sin(angle[k]), 1e-14);
            }
        }
    }
}

int main(void)
{
    static const double two[] = {1, -2, 3, 5}, three[] = {0, 1, 4, 9, 16, 25, 36, 49, 64};
    static const double two_to_three[] = {
        1.1244815779320987, -0.8906249999999991, -2.9057315779320994, 2.043402777777778, 1.75,
        1.4565972222222214, 2.9623239776234587,  4.390625000000002,   5.818926022376546};
    static const double three_to_two[] = {1.430755615234375, 6.522369384765625, 32.397369384765625,
                                          53.180755615234375};
    static const double three_to_five[] = {-0.904704, -0.874016, -0.44,  1.074016,  2.216704,
                                           1.269984,  2.319136,  4.444,  7.648864,  9.810016,
                                           8.328,     11.068,    16.0,   22.012,    25.864,
                                           25.106016, 29.536864, 37.276, 46.095136, 51.637984,
                                           37.288704, 42.738016, 52.168, 62.677984, 69.239296};
    check_resize(2, two, 3, two_to_three);
    check_resize(3, three, 2, three_to_two);
    check_resize(3, three, 5, three_to_five);
    check_constants();
    check_rope();
    return fc_check_end();
}
