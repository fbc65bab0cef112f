/* What a model is made of: the mapping of FORMATS.md section 3, read from models/configs/NAME.yaml,
 * from a file, or out of an experiment. */
#ifndef FC_MODELS_MODEL_CONFIG_H
#define FC_MODELS_MODEL_CONFIG_H

#include "core/yaml.h"

typedef enum { FC_VISION_VIT, FC_VISION_EVA02 } fc_vision_kind;

/* Field names are the YAML keys (vision_cfg, text_cfg -> vision, text). */
typedef struct fc_model_config {
    char name[64]; /* file name without .yaml, or "custom" for a mapping */
    int embed_dim;
    bool quick_gelu; /* both towers */
    struct {
        fc_vision_kind kind;
        int image_size, patch_size; /* pixels; image_size is a multiple of patch_size */
        int width, layers;
        int head_width;    /* divides width; heads = width / head_width */
        double mlp_ratio;  /* hidden width = (int)(width * mlp_ratio) */
        int pt_hw_seq_len; /* eva02: side of the grid rotary positions are scaled to */
    } vision;
    struct {
        int context_length, vocab_size;
        int width, heads, layers; /* heads divides width */
    } text;
} fc_model_config;

/** Read and check a mapping; `name` is set to "custom".
 *  Errors FC_USAGE with file, line and key: missing, unknown, of the wrong type, or sizes that do
 *         not fit each other */
FC_NODISCARD fc_status fc_model_config_read(fc_model_config *out, const fc_yaml *mapping);
/** Read a configuration by name (of models/configs, without .yaml) or path.
 *  Errors FC_NOINPUT no such name or file (with the nearest name); else as fc_model_config_read */
FC_NODISCARD fc_status fc_model_config_load(fc_model_config *out, const char *name_or_path);
/** The file fc_model_config_load would read, heap; NULL when there is none. */
char *fc_model_config_find(const char *name_or_path);
/** The shipped name nearest to a wrong one, heap; NULL when none is near. */
char *fc_model_config_suggest(const char *name);

#endif
