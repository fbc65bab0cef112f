/* Sentences about scenes: pictures, regions and category prompts, in varied wording.
 *
 * Picture captions name two or three objects, always with colour and shape, so that a sentence
 * tells which objects it means. Region captions may leave any attribute out. */
#include "core/memory.h"
#include "data/scenes/scene_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SYNONYMS = 3 };

/* The first of each row is the usual word and the one in category names. */
static const char *const colors[FCI_SCENE_COLORS][SYNONYMS] = {
    {"red", "crimson", "scarlet"}, {"orange", "tangerine"}, {"yellow", "golden"},
    {"green", "emerald"},          {"cyan", "turquoise"},   {"blue", "azure"},
    {"purple", "violet"},          {"pink", "rose"}};
static const char *const shapes[FCI_SCENE_SHAPES][SYNONYMS] = {
    {"circle", "disc"}, {"square"},       {"triangle"}, {"star"},
    {"cross", "plus"},  {"ring", "hoop"}, {"heart"},    {"crescent", "moon"}};
static const char *const textures[FCI_SCENE_TEXTURES][SYNONYMS] = {
    {"plain", "solid"},       {"striped", "banded"}, {"dotted", "spotted"},
    {"checkered", "checked"}, {"hatched", "meshed"}, {"shaded", "fading"}};
static const char *const with_texture[FCI_SCENE_TEXTURES][SYNONYMS] = {
    {"without a pattern", "in one color"},
    {"with stripes", "with bands"},
    {"with dots", "with spots"},
    {"with checks"},
    {"with a mesh"},
    {"with a gradient"}};
static const char *const sizes[FCI_SCENE_SIZES][SYNONYMS] = {
    {"small", "little", "tiny"}, {"medium", "mid-sized"}, {"large", "big", "huge"}};
static const char *const tones[FCI_SCENE_TONES][SYNONYMS] = {
    {"dark", "dim"}, {"medium", ""}, {"light", "pale", "bright"}};
static const char *const grounds[FCI_SCENE_GROUNDS][SYNONYMS] = {{"plain", "blank", "empty"},
                                                                 {"fading", "shaded"},
                                                                 {"grainy", "noisy"},
                                                                 {"striped", "banded"},
                                                                 {"wooden"}};
static const char *const counts[FCI_SCENE_OBJECTS + 1] = {"no",   "one", "two",   "three", "four",
                                                          "five", "six", "seven", "eight"};

static bool chance(fc_rng *rng, double p)
{
    return fc_rng_uniform(rng) < p;
}

static int below(fc_rng *rng, int n)
{
    return (int)fc_rng_below(rng, (uint64_t)n);
}

/* The usual word three times out of four, else any of the row. */
static const char *pick(const char *const row[SYNONYMS], fc_rng *rng)
{
    int n = 0;
    while (n < SYNONYMS && row[n] != NULL) {
        n++;
    }
    return chance(rng, 0.75) ? row[0] : row[below(rng, n)];
}

#define ANY(rng, ...) any((rng), (const char *const[]){__VA_ARGS__, NULL})
static const char *any(fc_rng *rng, const char *const *list)
{
    int n = 0;
    while (list[n] != NULL) {
        n++;
    }
    return list[below(rng, n)];
}

/* "a small striped red star" or "a red star with stripes": colour and shape always, the rest with
 * probability `detail`. */
static void name_object(fci_sentence *s, const fci_scene_object *o, const char *article,
                        double detail, fc_rng *rng)
{
    fci_say(s, article);
    if (chance(rng, detail)) {
        fci_say(s, pick(sizes[o->size], rng));
    }
    bool texture = chance(rng, detail), after = chance(rng, 0.35);
    if (texture && !after) {
        fci_say(s, pick(textures[o->texture], rng));
    }
    fci_say(s, pick(colors[o->color], rng));
    fci_say(s, pick(shapes[o->shape], rng));
    if (texture && after) {
        fci_say(s, pick(with_texture[o->texture], rng));
    }
}

/* "near the top left corner": thirds of the picture, by the centre. */
static void say_place(fci_sentence *s, const fci_scene_object *o, fc_rng *rng)
{
    const char *column = o->x < 0.36 ? "left" : o->x > 0.64 ? "right" : NULL;
    const char *row = o->y < 0.36 ? "top" : o->y > 0.64 ? "bottom" : NULL;
    char text[64];
    if (column != NULL && row != NULL) {
        snprintf(text, sizeof text,
                 ANY(rng, "near the %s %s corner", "at the %s %s", "in the %s %s"), row, column);
    } else if (column != NULL) {
        snprintf(text, sizeof text, ANY(rng, "on the %s", "at the %s side", "near the %s edge"),
                 column);
    } else if (row != NULL) {
        snprintf(text, sizeof text, ANY(rng, "at the %s", "near the %s", "near the %s edge"), row);
    } else {
        snprintf(text, sizeof text, "%s", ANY(rng, "in the middle", "in the center"));
    }
    fci_say(s, text);
}

static void say_ground(fci_sentence *s, const fci_scene *scene, fc_rng *rng)
{
    fci_say(s, ANY(rng, "on a", "on a", "in front of a", "against a"));
    if (chance(rng, 0.8)) {
        fci_say(s, pick(tones[scene->tone], rng));
    }
    fci_say(s, pick(grounds[scene->ground], rng));
    fci_say(s, ANY(rng, "background", "background", "backdrop"));
}

/* How a stands to b: one of what is true of them. */
static const char *relation(const fci_scene *scene, int a, int b, fc_rng *rng)
{
    const fci_scene_object *p = &scene->object[a], *q = &scene->object[b];
    const char *list[12] = {NULL};
    int n = 0;
    double dx = q->x - p->x, dy = q->y - p->y;
    if (fabs(dx) > 0.15 && fabs(dx) > 0.7 * fabs(dy)) {
        list[n++] = dx > 0 ? "left of" : "right of";
        list[n++] = dx > 0 ? "to the left of" : "to the right of";
    }
    if (fabs(dy) > 0.15 && fabs(dy) > 0.7 * fabs(dx)) {
        list[n++] = dy > 0 ? "above" : "below";
        list[n++] = dy > 0 ? "higher than" : "under";
    }
    if (p->extent > 1.35 * q->extent) {
        list[n++] = "bigger than";
        list[n++] = "larger than";
    } else if (q->extent > 1.35 * p->extent) {
        list[n++] = "smaller than";
    }
    if (scene->overlap[a][b]) {
        list[n++] = "overlapping";
        list[n++] = a > b ? "in front of" : "behind";
        list[n++] = a > b ? "partly covering" : "partly covered by";
    }
    if (hypot(dx, dy) < 0.7 * (p->extent + q->extent) || n == 0) {
        list[n++] = hypot(dx, dy) < 0.7 * (p->extent + q->extent) ? "next to" : "and";
    }
    return list[below(rng, n)];
}

/* "NOUN is RELATION NOUN", or without "is" */
static void say_pair(fci_sentence *s, const fci_scene *scene, int a, int b, const char *article,
                     bool verb, fc_rng *rng)
{
    name_object(s, &scene->object[a], article, 0.4, rng);
    const char *how = relation(scene, a, b, rng);
    if (verb && strcmp(how, "and") != 0) {
        fci_say(s, "is");
    }
    fci_say(s, how);
    name_object(s, &scene->object[b], article, 0.4, rng);
}

void fci_scene_caption(fci_sentence *out, const fci_scene *scene, fc_rng *rng)
{
    *out = (fci_sentence){.words = 0};
    int64_t order[FCI_SCENE_OBJECTS];
    fc_rng_permutation(rng, scene->objects, order);
    int a = (int)order[0];
    int form = scene->objects == 1 ? 3 : below(rng, 4);
    fci_sentence more = {.words = 0};
    switch (form) {
    case 0:
        fci_say(out, ANY(rng, "a picture of", "an image with", "there is"));
        say_pair(out, scene, a, (int)order[1], "a", false, rng);
        break;
    case 1:
        say_pair(out, scene, a, (int)order[1], ANY(rng, "a", "the"), chance(rng, 0.5), rng);
        if (scene->objects > 2) {
            fci_say(&more, ANY(rng, ", and", ", with"));
            name_object(&more, &scene->object[order[2]], "a", 0.3, rng);
            if (chance(rng, 0.4)) {
                say_place(&more, &scene->object[order[2]], rng);
            }
        }
        break;
    case 2:
        name_object(out, &scene->object[a], "a", 0.4, rng);
        if (scene->objects > 2) {
            fci_say(out, ",");
            name_object(out, &scene->object[order[2]], "a", 0.3, rng);
        }
        fci_say(out, "and");
        name_object(out, &scene->object[order[1]], "a", 0.4, rng);
        break;
    default:
        fci_say(out, counts[scene->objects]);
        fci_say(out,
                scene->objects == 1 ? ANY(rng, "shape", "object") : ANY(rng, "shapes", "objects"));
        fci_say(out, ", one is");
        name_object(out, &scene->object[a], "a", 0.5, rng);
        if (chance(rng, 0.5)) {
            say_place(out, &scene->object[a], rng);
        }
        if (scene->objects > 1) {
            fci_say(&more, ", another is");
            name_object(&more, &scene->object[order[1]], "a", 0.5, rng);
        }
        break;
    }
    (void)fci_say_clause(out, &more);
    if (chance(rng, 0.6)) {
        fci_sentence ground = {.words = 0};
        say_ground(&ground, scene, rng);
        (void)fci_say_clause(out, &ground);
    }
}

/* Words of an object, empty where the sentence leaves the attribute out. */
typedef struct attributes {
    const char *size, *texture, *with, *color, *shape;
} attributes;

static attributes choose(const fci_scene_object *o, fc_rng *rng)
{
    bool color = chance(rng, 0.95), shape = !color || chance(rng, 0.95);
    return (attributes){.size = chance(rng, 0.65) ? pick(sizes[o->size], rng) : "",
                        .texture = chance(rng, 0.7) ? pick(textures[o->texture], rng) : "",
                        .with = pick(with_texture[o->texture], rng),
                        .color = color ? pick(colors[o->color], rng) : "",
                        .shape = shape ? pick(shapes[o->shape], rng)
                                       : ANY(rng, "object", "shape", "thing")};
}

/* The frontmost object that overlaps with o, or -1. */
static int neighbour(const fci_scene *scene, int o)
{
    for (int i = scene->objects - 1; i >= 0; i--) {
        if (i != o && scene->overlap[o][i]) {
            return i;
        }
    }
    return -1;
}

void fci_scene_region_caption(fci_sentence *out, const fci_scene *scene, int o, fc_rng *rng)
{
    const fci_scene_object *object = &scene->object[o];
    const attributes w = choose(object, rng);
    *out = (fci_sentence){.words = 0};
    char text[FCI_SCENE_TEXT];
    bool place = chance(rng, 0.55), place_first = false;
    switch (below(rng, 6)) {
    case 0:
        snprintf(text, sizeof text, "%s %s %s %s %s", ANY(rng, "a", "the", "one"), w.size,
                 w.texture, w.color, w.shape);
        break;
    case 1:
        snprintf(text, sizeof text, "%s %s %s %s %s", ANY(rng, "a", "the"), w.size, w.color,
                 w.shape, w.texture[0] != '\0' ? w.with : "");
        break;
    case 2: /* "one tiny star, red and striped" */
        snprintf(text, sizeof text, "%s %s %s%s %s %s %s", ANY(rng, "a", "one"), w.size, w.shape,
                 w.color[0] != '\0' || w.texture[0] != '\0' ? " ," : "", w.color,
                 w.color[0] != '\0' && w.texture[0] != '\0' ? "and" : "", w.texture);
        break;
    case 3:
        snprintf(text, sizeof text, "%s %s %s that is %s", ANY(rng, "a", "the"), w.color, w.shape,
                 w.texture[0] != '\0' ? w.texture : pick(sizes[object->size], rng));
        break;
    case 4:
        place = place_first = true;
        snprintf(text, sizeof text, "%s %s %s %s %s", ANY(rng, ", a", "there is a"), w.size,
                 w.texture, w.color, w.shape);
        break;
    default: /* short, and more often without a place */
        place = place && chance(rng, 0.5);
        snprintf(text, sizeof text, "%s %s %s", w.texture, w.color, w.shape);
        break;
    }
    if (place_first) {
        say_place(out, object, rng);
    }
    fci_say(out, text);
    if (place && !place_first) {
        say_place(out, object, rng);
    }
    fci_sentence more = {.words = 0};
    int other = neighbour(scene, o);
    if (object->visible < 0.85 && chance(rng, 0.3)) {
        fci_say(&more, ANY(rng, ", partly hidden", ", partly covered"));
    } else if (other >= 0 && chance(rng, 0.3)) {
        fci_say(&more, o > other ? "in front of" : "behind");
        name_object(&more, &scene->object[other], "a", 0.2, rng);
    }
    (void)fci_say_clause(out, &more);
}

void fci_scene_prompt(fci_sentence *out, int category, int which)
{
    static const char *const form[FCI_SCENE_PROMPTS][2] = {{"a", ""},
                                                           {"the", ""},
                                                           {"one", ""},
                                                           {"there is a", ""},
                                                           {"a picture of a", ""},
                                                           {"a", "on a background"}};
    *out = (fci_sentence){.words = 0};
    fci_say(out, form[which][0]);
    fci_say(out, colors[category / FCI_SCENE_SHAPES][0]);
    fci_say(out, shapes[category % FCI_SCENE_SHAPES][0]);
    fci_say(out, form[which][1]);
}

char *fc_scene_category_name(int category)
{
    fci_sentence s = {.words = 0};
    fci_say(&s, colors[category / FCI_SCENE_SHAPES][0]);
    fci_say(&s, shapes[category % FCI_SCENE_SHAPES][0]);
    return fc_strdup(s.text);
}
