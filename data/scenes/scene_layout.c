/* What is in a scene: which objects, where, in which colours, on which ground. */
#include "core/memory.h"
#include "data/scenes/scene_parts.h"

#include <math.h>
#include <string.h>

enum { GRID = 48 }; /* side of the raster that visibility is measured on */

static const double least_visible = 0.7;
static const double extents[FCI_SCENE_SIZES][2] = {{0.27, 0.33}, {0.37, 0.43}, {0.48, 0.55}};

/* Red, orange, yellow, green, cyan, blue, purple, pink. */
static const double palette[FCI_SCENE_COLORS][3] = {
    {0.84, 0.12, 0.13}, {0.96, 0.53, 0.08}, {0.96, 0.88, 0.16}, {0.15, 0.60, 0.20},
    {0.18, 0.80, 0.84}, {0.13, 0.25, 0.82}, {0.50, 0.16, 0.66}, {0.97, 0.58, 0.76}};

/* Grounds are dull, so that every colour stands out on every ground. */
static const double tones[FCI_SCENE_TONES] = {0.17, 0.48, 0.81};

int fc_scene_categories(void)
{
    return FCI_SCENE_CATEGORIES;
}

/* Three is prime to eight: one held-out shape for each colour and one colour for each shape. */
bool fc_scene_category_unseen(int category)
{
    int color = category / FCI_SCENE_SHAPES, shape = category % FCI_SCENE_SHAPES;
    return shape == (3 * color + 1) % FCI_SCENE_SHAPES;
}

fc_rng fci_scene_stream(const fc_scene_options *options, int64_t index, fci_scene_part part)
{
    return fc_rng_stream(options->seed, FC_RNG_SCENE, (uint64_t)index,
                         2 * (uint64_t)part + (options->unseen ? 1 : 0));
}

static double between(fc_rng *rng, double lo, double hi)
{
    return lo + (hi - lo) * fc_rng_uniform(rng);
}

static int below(fc_rng *rng, int n)
{
    return (int)fc_rng_below(rng, (uint64_t)n);
}

static double clip(double x, double lo, double hi)
{
    return fmin(fmax(x, lo), hi);
}

static bool taken(const fci_scene *s, int color, int shape)
{
    for (int i = 0; i < s->objects; i++) {
        if (s->object[i].color == color && s->object[i].shape == shape) {
            return true;
        }
    }
    return false;
}

/* A category not in the scene yet. Where held-out ones are out of bounds, often one that shares its
 * colour or shape with an object there, so that telling objects apart takes both attributes. With
 * held-out ones all categories are equally likely: evaluation averages over them. */
static void draw_category(fci_scene_object *o, const fci_scene *s, bool unseen, fc_rng *rng)
{
    do {
        o->color = below(rng, FCI_SCENE_COLORS);
        o->shape = below(rng, FCI_SCENE_SHAPES);
        if (!unseen && s->objects > 0) {
            const fci_scene_object *like = &s->object[below(rng, s->objects)];
            double u = fc_rng_uniform(rng);
            if (u < 0.2) {
                o->color = like->color;
            } else if (u < 0.4) {
                o->shape = like->shape;
            }
        }
    } while (taken(s, o->color, o->shape) ||
             (!unseen && fc_scene_category_unseen(o->color * FCI_SCENE_SHAPES + o->shape)));
}

static void draw_looks(fci_scene_object *o, fc_rng *rng)
{
    o->texture = below(rng, FCI_SCENE_TEXTURES);
    o->angle = o->shape == FCI_CIRCLE ? 0 : between(rng, -0.25, 0.25);
    double bright = between(rng, 0.88, 1.08);
    double ink = fc_rng_uniform(rng) < 0.5 ? 0.04 : 0.97;
    double mix = between(rng, 0.35, 0.5);
    for (int c = 0; c < 3; c++) {
        o->rgb[c] = clip(palette[o->color][c] * bright + between(rng, -0.04, 0.04), 0, 1);
        o->other[c] = o->rgb[c] + mix * (ink - o->rgb[c]);
    }
    o->period = between(rng, 0.060, 0.080);
    o->phase[0] = fc_rng_uniform(rng);
    o->phase[1] = fc_rng_uniform(rng);
    o->slant = between(rng, 0, 3.14159265358979323846);
}

/* Anywhere, or leaning on an object that is there already. */
static void draw_place(fci_scene_object *o, const fci_scene *s, int size, double shrink,
                       fc_rng *rng)
{
    o->size = size;
    o->extent = shrink * between(rng, extents[size][0], extents[size][1]);
    double margin = 0.42 * o->extent;
    o->x = between(rng, margin, 1 - margin);
    o->y = between(rng, margin, 1 - margin);
    if (s->objects > 0 && fc_rng_uniform(rng) < 0.35) {
        const fci_scene_object *near = &s->object[below(rng, s->objects)];
        double a = between(rng, 0, 6.28318530717958648);
        double d = (near->extent + o->extent) / 2 * between(rng, 0.65, 0.95);
        o->x = clip(near->x + d * cos(a), margin, 1 - margin);
        o->y = clip(near->y + d * sin(a), margin, 1 - margin);
    }
}

/* One raster an object: how much of each cell the object covers, the rest zero. */
typedef struct rasters {
    float cover[FCI_SCENE_OBJECTS][GRID * GRID];
    double area[FCI_SCENE_OBJECTS];
} rasters;

/* Visible share of object i when objects up to `count` are drawn. */
static double visible(const rasters *r, int i, int count)
{
    double seen = 0;
    for (int p = 0; p < GRID * GRID; p++) {
        double left = (double)r->cover[i][p];
        for (int j = i + 1; j < count && left > 0; j++) {
            left *= 1 - (double)r->cover[j][p];
        }
        seen += left;
    }
    return fmin(1, seen / (GRID * GRID) / r->area[i]);
}

/* Raster of the candidate behind the objects placed so far; true where all stay visible. */
static bool fits(fci_scene *s, rasters *r, const fci_scene_object *o)
{
    int n = s->objects;
    fci_outline outline;
    fci_outline_make(&outline, o->shape, o->x, o->y, o->extent, o->angle);
    memset(r->cover[n], 0, sizeof r->cover[n]);
    fci_outline_cover(&outline, 0, 0, GRID, r->cover[n]);
    r->area[n] = fci_outline_area(&outline);
    for (int i = 0; i <= n; i++) {
        if (!(visible(r, i, n + 1) >= least_visible)) {
            return false;
        }
    }
    return true;
}

static bool place(fci_scene *s, rasters *r, fci_scene_object *o, double shrink, fc_rng *rng)
{
    enum { TRIES = 40 };
    for (int try = 0; try < TRIES; try++) {
        int size = shrink < 1 || try > TRIES / 2 ? FCI_SMALL : below(rng, FCI_SCENE_SIZES);
        draw_place(o, s, size, shrink, rng);
        if (fits(s, r, o)) {
            return true;
        }
    }
    return false;
}

/* Boxes, visible shares and which figures share more than a twentieth of the smaller one. */
static void measure(fci_scene *s, const rasters *r)
{
    for (int i = 0; i < s->objects; i++) {
        fci_scene_object *o = &s->object[i];
        fci_outline outline;
        fci_outline_make(&outline, o->shape, o->x, o->y, o->extent, o->angle);
        fci_outline_box(&outline, o->box);
        for (int c = 0; c < 4; c++) {
            o->box[c] = clip(o->box[c], 0, 1);
        }
        o->visible = visible(r, i, s->objects);
        for (int j = 0; j < i; j++) {
            double shared = 0;
            for (int p = 0; p < GRID * GRID; p++) {
                shared += (double)(r->cover[i][p] * r->cover[j][p]);
            }
            shared /= GRID * GRID;
            bool over = shared > 0.05 * fmin(r->area[i], r->area[j]);
            s->overlap[i][j] = s->overlap[j][i] = over;
        }
    }
}

static void draw_ground(fci_scene *s, fc_rng *rng)
{
    s->ground = below(rng, FCI_SCENE_GROUNDS);
    s->tone = below(rng, FCI_SCENE_TONES);
    double tone = tones[s->tone];
    double step = between(rng, 0.07, 0.12) * (fc_rng_uniform(rng) < 0.5 ? 1 : -1);
    for (int c = 0; c < 3; c++) {
        /* Wood is brown; the others have a slight cast. */
        double wood = tone * (c == 0 ? 1.12 : c == 1 ? 0.92 : 0.70);
        double cast = tone + between(rng, -0.035, 0.035);
        s->ground_rgb[0][c] = s->ground == FCI_GROUND_WOOD ? wood : cast;
        s->ground_rgb[1][c] = clip(s->ground_rgb[0][c] + step, 0, 1);
    }
}

void fci_scene_build(fci_scene *scene, const fc_scene_options *options, int64_t index)
{
    fc_rng rng = fci_scene_stream(options, index, FCI_LAYOUT);
    rasters *r = fc_alloc(1, sizeof *r);
    int least = options->min_objects;
    int wanted = least + below(&rng, options->max_objects - least + 1);
    /* A crowded scene may come out with fewer objects than drawn, never with fewer than the least;
     * then it starts over with small objects, a little smaller each time, until all find room. */
    double shrink = 1;
    for (int attempt = 0; attempt == 0 || scene->objects < least; attempt++, shrink *= 0.93) {
        memset(scene, 0, sizeof *scene);
        while (scene->objects < wanted) {
            fci_scene_object *o = &scene->object[scene->objects];
            draw_category(o, scene, options->unseen, &rng);
            draw_looks(o, &rng);
            if (!place(scene, r, o, shrink, &rng)) {
                break;
            }
            scene->objects++;
        }
    }
    measure(scene, r);
    draw_ground(scene, &rng);
    fc_free(&r);
}
