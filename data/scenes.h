/* Synthetic scenes: pictures of several objects that differ in shape, colour, texture and size,
 * with captions, region captions, boxes and categories, so that anyone can train in minutes with
 * nothing downloaded. */
#ifndef FC_DATA_SCENES_H
#define FC_DATA_SCENES_H

#include "core/yaml.h"

typedef struct fc_scene_options {
    int64_t images; /* number of pictures */
    uint64_t seed;
    int size; /* side of the stored picture in pixels */
    int min_objects, max_objects;
    int captions;  /* captions a picture */
    bool unseen;   /* false: held-out attribute combinations never appear (training); true: they do
                      (evaluation) */
    int crop_size; /* stored crops; 0: none */
} fc_scene_options;

/** Read `{synthetic: {images, seed, ...}}`'s inner mapping; unknown keys are the caller's check.
 * Defaults for what is absent. */
FC_NODISCARD fc_status fc_scene_options_read(fc_scene_options *out, const fc_yaml *mapping);
/** Render and write a store (picture i depends on seed and i alone). Overwrites nothing: the caller
 * picks the path. Tokens are of a word vocabulary of its own (attribute tokenizer = "scene-words").
 */
FC_NODISCARD fc_status fc_scenes_write(const char *path, const fc_scene_options *options);
/** Size of the word vocabulary and the longest row in ids. */
int fc_scene_vocab_size(void);
int fc_scene_context_length(void);

#endif
