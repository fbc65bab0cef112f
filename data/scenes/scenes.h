/* Synthetic scenes: pictures of several objects that differ in shape, colour, texture and size,
 * with captions, region captions, boxes and categories, so that anyone can train in minutes with
 * nothing downloaded.
 *
 * A category is a colour and a shape ("red star"); an eighth of them is held out of training
 * scenes, so that evaluation can look at combinations never seen. Texture, size and place are
 * further attributes that only the captions speak of. Picture and sentences of scene i depend on
 * the seed, i and `unseen` alone: not on threads, not on how many scenes are asked for. */
#ifndef FC_DATA_SCENES_H
#define FC_DATA_SCENES_H

#include "core/yaml.h"

/* Keys of the YAML mapping are these names. */
typedef struct fc_scene_options {
    int64_t images; /* number of pictures; default 2000 */
    uint64_t seed;  /* default 1 */
    int size; /* side of the stored picture in pixels, 32..1024; default 96: objects are at least
                 a quarter of the side, so a model of 64-pixel input still sees their texture */
    int min_objects, max_objects; /* 1..8; default 2 and 4 */
    int captions;                 /* sentences about each picture, 1..8; default 3 */
    bool unseen;   /* false (default): held-out combinations never appear (training); true: all 64
                      appear equally often (evaluation). Scenes differ between the two for one seed */
    int crop_size; /* side of stored region crops; 0 (default): none, the loader cuts them from
                      the picture, which is small enough for that */
} fc_scene_options;

/** Defaults for every key. */
fc_scene_options fc_scene_options_default(void);
/** Read `{synthetic: {images, seed, ...}}`'s inner mapping; NULL or a null node gives the defaults.
 *  Unknown keys are the caller's check (fc_yaml_check_unknown).
 *  Errors: FC_USAGE with file, line and key: wrong type, out of range, min_objects > max_objects.
 */
FC_NODISCARD fc_status fc_scene_options_read(fc_scene_options *out, const fc_yaml *mapping);

/** Render and write a store. Overwrites nothing that matters: the caller picks the path, the file
 *  appears there when it is whole. Pictures are JPEG of quality 95, sentences are kept. Tokens are
 * of a word vocabulary of its own (attribute tokenizer = "scene-words"). Root attributes
 * scene_seed, scene_unseen and unseen_categories (bit k: category k is held out of training
 * scenes). Renders with OpenMP threads, a window of pictures at a time. */
FC_NODISCARD fc_status fc_scenes_write(const char *path, const fc_scene_options *options);
/** The file in `folder` that holds the scenes of these options: scenes-<hash of options and
 *  generator version>.h5. Heap; the file may or may not exist. */
FC_NODISCARD fc_status fc_scenes_path(const char *folder, const fc_scene_options *options,
                                      char **out);

/** Categories, 64: index = colour * 8 + shape. Name ("red star") into heap memory. */
int fc_scene_categories(void);
char *fc_scene_category_name(int category);
/** Whether training scenes leave this category out. */
bool fc_scene_category_unseen(int category);

/** Size of the word vocabulary and the longest row in ids. Id 0 is padding, 1 an unknown word, the
 *  last but one the start and the last the end of a sentence. */
int fc_scene_vocab_size(void);
int fc_scene_context_length(void);
/** Ids of a text, with start and end ids: lower-cased ASCII words and commas; at most max ids (>=
 * 2), the last then set to the end id. Returns the count. */
int fc_scene_tokenize(const char *text, int max, int32_t *ids);
/** The word of an id in [0, vocab); static. */
const char *fc_scene_word(int id);

#endif
