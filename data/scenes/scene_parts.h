/* What the files of the scene generator share: the description of a scene (layout), its outlines,
 * its pixels and its sentences. All lengths are fractions of the picture's side, x to the right, y
 * down, so that a scene does not depend on the size it is drawn at. */
#ifndef FC_DATA_SCENE_PARTS_H
#define FC_DATA_SCENE_PARTS_H

#include "core/rng.h"
#include "data/picture/picture.h"
#include "data/scenes/scenes.h"

enum {
    FCI_SCENE_COLORS = 8,
    FCI_SCENE_SHAPES = 8,
    FCI_SCENE_CATEGORIES = FCI_SCENE_COLORS * FCI_SCENE_SHAPES,
    FCI_SCENE_OBJECTS = 8,  /* most objects in a scene */
    FCI_SCENE_CONTEXT = 32, /* most ids of a sentence */
    FCI_SCENE_TEXT = 320,   /* bytes of the longest sentence with its NUL */
    FCI_OUTLINE_POINTS = 80
};

typedef enum {
    FCI_CIRCLE,
    FCI_SQUARE,
    FCI_TRIANGLE,
    FCI_STAR,
    FCI_CROSS,
    FCI_RING,
    FCI_HEART,
    FCI_CRESCENT
} fci_shape;
typedef enum {
    FCI_PLAIN,
    FCI_STRIPED,
    FCI_DOTTED,
    FCI_CHECKERED,
    FCI_HATCHED,
    FCI_SHADED,
    FCI_SCENE_TEXTURES
} fci_texture;
typedef enum { FCI_SMALL, FCI_MEDIUM, FCI_LARGE, FCI_SCENE_SIZES } fci_size;
typedef enum {
    FCI_GROUND_PLAIN,
    FCI_GROUND_GRADIENT,
    FCI_GROUND_NOISE,
    FCI_GROUND_STRIPES,
    FCI_GROUND_WOOD,
    FCI_SCENE_GROUNDS
} fci_ground;
typedef enum { FCI_DARK, FCI_MIDDLE, FCI_LIGHT, FCI_SCENE_TONES } fci_tone;

/* Streams of a scene: second key of FC_RNG_SCENE, times two, plus one where unseen. Apart, so that
 * the number of captions or pixels changes nothing else. */
typedef enum { FCI_LAYOUT, FCI_PIXELS, FCI_PICTURE_WORDS, FCI_REGION_WORDS } fci_scene_part;
fc_rng fci_scene_stream(const fc_scene_options *options, int64_t index, fci_scene_part part);

typedef struct fci_point {
    double x, y;
} fci_point;

/* A filled figure: one closed loop of points, or an outer and an inner one (a ring). */
typedef struct fci_outline {
    fci_point point[FCI_OUTLINE_POINTS];
    int loops, end[2]; /* loop l is points end[l-1] .. end[l] */
} fci_outline;

typedef struct fci_scene_object {
    int color, shape, texture, size;
    double x, y;                    /* centre */
    double extent;                  /* side of the unrotated figure's bounding box, about */
    double angle;                   /* radians */
    double rgb[3];                  /* 0..1 */
    double other[3];                /* second colour of the texture */
    double period, phase[2], slant; /* of the texture; slant in radians against the object */
    double box[4];                  /* of the whole figure, hidden parts too, cut at the border */
    double visible;                 /* share of the figure inside the picture and not hidden */
} fci_scene_object;

/* Objects are in drawing order: a later one is in front. No two are of one category. */
typedef struct fci_scene {
    int objects;
    fci_scene_object object[FCI_SCENE_OBJECTS];
    bool overlap[FCI_SCENE_OBJECTS][FCI_SCENE_OBJECTS];
    int ground, tone;
    double ground_rgb[2][3];
} fci_scene;

/** Describe scene `index`. */
void fci_scene_build(fci_scene *scene, const fc_scene_options *options, int64_t index);

/** Outline of a figure of this extent, turned by angle about its centre (x, y). */
void fci_outline_make(fci_outline *out, int shape, double x, double y, double extent, double angle);
/** Area in units of the picture; bounding box x0 y0 x1 y1, not cut. */
double fci_outline_area(const fci_outline *o);
void fci_outline_box(const fci_outline *o, double box[4]);
/** Share of each pixel that the figure covers (exact along x, 4 lines a pixel along y), moved by
 *  (dx, dy). cover (size,size) f32: written inside the returned rectangle only, which may be empty.
 */
fc_rect fci_outline_cover(const fci_outline *o, double dx, double dy, int size, float *cover);

/** Draw; *out is freed by fc_picture_free. */
void fci_scene_render(fc_picture *out, const fci_scene *scene, int size, fc_rng *rng);

/* A sentence under construction: its text and how many ids it will take without start and end. */
typedef struct fci_sentence {
    char text[FCI_SCENE_TEXT];
    int words;
} fci_sentence;

/** A sentence about the picture; about object o; prompt `which` of a category. */
void fci_scene_caption(fci_sentence *out, const fci_scene *scene, fc_rng *rng);
void fci_scene_region_caption(fci_sentence *out, const fci_scene *scene, int o, fc_rng *rng);
enum { FCI_SCENE_PROMPTS = 6 };
void fci_scene_prompt(fci_sentence *out, int category, int which);

/** Append words parted by blanks; "a" before a vowel becomes "an". */
void fci_say(fci_sentence *s, const char *words);
/** Append a clause where the sentence still fits the context, else leave both. */
bool fci_say_clause(fci_sentence *s, const fci_sentence *clause);

#endif
