/* Pixels of a scene: ground, then each object with its shadow and texture, then light and noise.
 * Colours are 0..1 per channel; edges are anti-aliased by coverage, textures by soft steps. */
#include "core/memory.h"
#include "data/scenes/scene_parts.h"

#include <math.h>

typedef struct canvas {
    int size;
    float *rgb;   /* (size,size,3) */
    float *cover; /* (size,size) */
} canvas;

static double clip(double x, double lo, double hi)
{
    return fmin(fmax(x, lo), hi);
}

static double between(fc_rng *rng, double lo, double hi)
{
    return lo + (hi - lo) * fc_rng_uniform(rng);
}

/* Distance of t from the middle of its period's first half, as a wave between -1/4 and 1/4 of a
 * period: positive inside a stripe. */
static double wave(double t)
{
    return fabs(t - floor(t) - 0.5) - 0.25;
}

/* 0..1 across one pixel where the signed distance (in pixels) passes zero. */
static double soft(double distance)
{
    return clip(0.5 + distance, 0, 1);
}

/* Share of the ground's second colour at (x, y) in 0..1. */
static double ground_mix(int kind, double x, double y, int size, const double p[4])
{
    double c = cos(p[0]), s = sin(p[0]);
    switch ((fci_ground)kind) {
    case FCI_GROUND_GRADIENT:
        return clip(0.5 + 1.2 * (c * (x - 0.5) + s * (y - 0.5)), 0, 1) * 1.8 - 0.4;
    case FCI_GROUND_STRIPES: {
        double period = 0.10 + 0.06 * p[1];
        return soft(wave((c * x + s * y) / period + p[2]) * period * size);
    }
    case FCI_GROUND_WOOD: {
        /* Rings of a trunk cut along its length: long bent lines, seven or so across. */
        double u = c * x + s * y, v = c * y - s * x;
        double bend = 0.05 * sin(5 * u + 6.3 * p[1]) + 0.02 * sin(17 * u + 20 * v);
        double t = 7 * (v + bend) + 3 * p[2];
        double grain = 0.15 * sin(150 * v + 9 * sin(4 * u + p[3]));
        return clip((t - floor(t)) * 0.85 + grain, 0, 1) * 1.2;
    }
    default:
        return 0;
    }
}

/* Coarse grains: a lattice of random levels, three pixels of a 96-pixel picture apart, smoothed. */
static void add_grains(canvas *v, double strength, fc_rng *rng)
{
    enum { LATTICE = 33 };
    float level[LATTICE][LATTICE];
    for (int i = 0; i < LATTICE * LATTICE; i++) {
        level[i / LATTICE][i % LATTICE] = (float)(strength * (2 * fc_rng_uniform(rng) - 1));
    }
    for (int y = 0; y < v->size; y++) {
        for (int x = 0; x < v->size; x++) {
            double gx = (x + 0.5) / v->size * (LATTICE - 1),
                   gy = (y + 0.5) / v->size * (LATTICE - 1);
            int ix = (int)gx, iy = (int)gy;
            float fx = (float)(gx - ix), fy = (float)(gy - iy);
            float top = level[iy][ix] * (1 - fx) + level[iy][ix + 1] * fx;
            float low = level[iy + 1][ix] * (1 - fx) + level[iy + 1][ix + 1] * fx;
            float *rgb = v->rgb + 3 * ((ptrdiff_t)y * v->size + x);
            for (int c = 0; c < 3; c++) {
                rgb[c] += top * (1 - fy) + low * fy;
            }
        }
    }
}

static void draw_ground(canvas *v, const fci_scene *scene, fc_rng *rng)
{
    double p[4] = {between(rng, 0, 6.28318530717958648)};
    for (int i = 1; i < 4; i++) {
        p[i] = fc_rng_uniform(rng);
    }
    for (int y = 0; y < v->size; y++) {
        for (int x = 0; x < v->size; x++) {
            double mix =
                ground_mix(scene->ground, (x + 0.5) / v->size, (y + 0.5) / v->size, v->size, p);
            float *rgb = v->rgb + 3 * ((ptrdiff_t)y * v->size + x);
            for (int c = 0; c < 3; c++) {
                double a = scene->ground_rgb[0][c], b = scene->ground_rgb[1][c];
                rgb[c] = (float)(a + mix * (b - a));
            }
        }
    }
    if (scene->ground == FCI_GROUND_NOISE) {
        add_grains(v, 0.13, rng);
    }
}

/* Share of the second colour at a point of the object; u, v turn with it, in picture units from its
 * centre. */
static double texture_mix(const fci_scene_object *o, double u, double v, int size)
{
    double c = cos(o->slant), s = sin(o->slant), scale = o->period * size;
    double a = (c * u + s * v) / o->period + o->phase[0];
    double b = (c * v - s * u) / o->period + o->phase[1];
    switch ((fci_texture)o->texture) {
    case FCI_STRIPED:
        return soft((wave(a) - 0.02) * scale);
    case FCI_DOTTED: {
        double x = a - floor(a) - 0.5, y = b - floor(b) - 0.5;
        return soft((0.31 - sqrt(x * x + y * y)) * scale);
    }
    case FCI_CHECKERED: {
        /* Squares half as wide again as a stripe: opposite signs of two waves. */
        double x = soft(wave(a / 1.5) * 1.5 * scale), y = soft(wave(b / 1.5) * 1.5 * scale);
        return x + y - 2 * x * y;
    }
    case FCI_HATCHED: {
        double x = soft((wave(a) - 0.13) * scale), y = soft((wave(b) - 0.13) * scale);
        return fmax(x, y);
    }
    case FCI_SHADED:
        return clip(0.5 + (c * u + s * v) / (0.9 * o->extent), 0, 1);
    default:
        return 0;
    }
}

static void draw_object(canvas *v, const fci_scene_object *o, fc_rng *rng)
{
    fci_outline outline;
    fci_outline_make(&outline, o->shape, o->x, o->y, o->extent, o->angle);
    double shade = between(rng, 0.10, 0.35);
    double dx = between(rng, -0.02, 0.02), dy = between(rng, 0.005, 0.025);
    fc_rect r = fci_outline_cover(&outline, dx, dy, v->size, v->cover);
    for (int y = r.y0; y < r.y1; y++) {
        for (int x = r.x0; x < r.x1; x++) {
            ptrdiff_t at = (ptrdiff_t)y * v->size + x;
            for (int k = 0; k < 3; k++) {
                v->rgb[3 * at + k] *= 1 - (float)shade * v->cover[at];
            }
        }
    }
    r = fci_outline_cover(&outline, 0, 0, v->size, v->cover);
    double c = cos(o->angle), s = sin(o->angle);
    for (int y = r.y0; y < r.y1; y++) {
        for (int x = r.x0; x < r.x1; x++) {
            ptrdiff_t at = (ptrdiff_t)y * v->size + x;
            double a = (double)v->cover[at];
            if (!(a > 0)) {
                continue;
            }
            double px = (x + 0.5) / v->size - o->x, py = (y + 0.5) / v->size - o->y;
            double mix = texture_mix(o, c * px + s * py, c * py - s * px, v->size);
            for (int k = 0; k < 3; k++) {
                double color = o->rgb[k] + mix * (o->other[k] - o->rgb[k]);
                float *out = &v->rgb[3 * at + k];
                *out = (float)((double)*out * (1 - a) + color * a);
            }
        }
    }
}

/* Sum of four bytes less its mean, over its deviation: close enough to normal for a camera's noise,
 * and one random word a value. */
static float cheap_normal(fc_rng *rng)
{
    uint32_t w = fc_rng_u32(rng);
    int sum = (int)((w & 255) + (w >> 8 & 255) + (w >> 16 & 255) + (w >> 24));
    return (float)(sum - 510) / 147.8f;
}

/* Lamp: strength, colour and fall-off; then noise, mostly of brightness; then 8 bits. */
static void expose(fc_picture *out, const canvas *v, fc_rng *rng)
{
    double strength = between(rng, 0.85, 1.1), a = between(rng, 0, 6.28318530717958648);
    double fall = between(rng, 0, 0.25), noise = between(rng, 0.006, 0.025);
    double fx = fall * cos(a), fy = fall * sin(a);
    double lamp[3];
    for (int c = 0; c < 3; c++) {
        lamp[c] = strength * between(rng, 0.97, 1.03);
    }
    for (int y = 0; y < v->size; y++) {
        for (int x = 0; x < v->size; x++) {
            ptrdiff_t at = 3 * ((ptrdiff_t)y * v->size + x);
            double light = 1 + fx * ((x + 0.5) / v->size - 0.5) + fy * ((y + 0.5) / v->size - 0.5);
            double grey = noise * (double)cheap_normal(rng);
            uint32_t tint = fc_rng_u32(rng);
            for (int c = 0; c < 3; c++) {
                double speck = noise * ((double)(tint >> 8 * c & 255) / 255 - 0.5);
                double value = (double)v->rgb[at + c] * light * lamp[c] + grey + speck;
                out->rgb[at + c] = (uint8_t)lrint(255 * clip(value, 0, 1));
            }
        }
    }
}

void fci_scene_render(fc_picture *out, const fci_scene *scene, int size, fc_rng *rng)
{
    size_t pixels = (size_t)size * (size_t)size;
    canvas v = {size, fc_alloc(3 * pixels, sizeof(float)), fc_alloc(pixels, sizeof(float))};
    *out = (fc_picture){.width = size, .height = size, .rgb = fc_alloc(3 * pixels, 1)};
    draw_ground(&v, scene, rng);
    for (int i = 0; i < scene->objects; i++) {
        draw_object(&v, &scene->object[i], rng);
    }
    expose(out, &v, rng);
    fc_free(&v.rgb);
    fc_free(&v.cover);
}
