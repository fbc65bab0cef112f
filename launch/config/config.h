/* An experiment (FORMATS.md section 2) as a struct: field names are the YAML keys.
 * launch/config/config.def lists every key with its default, range and meaning. */
#ifndef FC_LAUNCH_CONFIG_H
#define FC_LAUNCH_CONFIG_H

#include "core/yaml.h"
#include "data/picture/picture.h"
#include "data/scenes/scenes.h"
#include "launch/schedule.h"
#include "losses/loss.h"
#include "models/model_config.h"

typedef enum { FC_DEVICE_AUTO, FC_DEVICE_CPU, FC_DEVICE_CUDA } fc_device_choice;
typedef enum {
    FC_PRECISION_AUTO,
    FC_PRECISION_FP32,
    FC_PRECISION_BF16,
    FC_PRECISION_FP64
} fc_precision;
typedef enum { FC_PICK_RANDOM, FC_PICK_FIRST, FC_PICK_GRID } fc_pick;
typedef enum { FC_LEAK_WARN, FC_LEAK_REFUSE, FC_LEAK_OFF } fc_leak_guard_choice;
typedef enum { FC_RECOMPUTE_NONE, FC_RECOMPUTE_BLOCKS } fc_recompute_choice;
typedef enum { FC_BAD_LOSS_STOP, FC_BAD_LOSS_SKIP, FC_BAD_LOSS_ROLLBACK } fc_on_bad_loss;
enum { FC_COMPAT_UNSYNCED_GRADIENTS = 1, FC_COMPAT_DUMMY_REGION = 2 };
enum { FC_MOST_LOSSES = 16, FC_MOST_SETS = 8 };

/* A store, made-up scenes, or nothing. */
typedef struct fc_source {
    const fc_yaml *node; /* where it was written; NULL: not set */
    const char *path;    /* of the store; NULL: scenes, or not set */
    bool synthetic;
    fc_scene_options scenes; /* where synthetic */
} fc_source;

typedef struct fc_loss_choice {
    const fc_loss_def *def;
    double weight; /* above 0 */
    fc_loss_options options;
} fc_loss_choice;

/* Further stores that retrieval is tested on. */
typedef struct fc_eval_sets {
    int count;
    struct fc_eval_set {
        const char *name; /* letters, digits, - and _ */
        fc_source data;
        int image_size; /* 0: as in training */
        fc_fit resize;
    } set[FC_MOST_SETS];
} fc_eval_sets;

typedef struct fc_config {
    const char *name;
    int64_t seed;
    fc_device_choice device;
    fc_precision precision;
    bool deterministic;
    const char *output;
    struct {
        fc_model_config config;
        const char *init;    /* a path, or "random" */
        int image_size;      /* pixels; the model's own where the file says nothing */
        unsigned freeze;     /* FC_FREEZE_... of models/clip.h */
        int unlocked_blocks; /* 0: all */
    } model;
    struct {
        fc_source train;
        const char *scenes; /* folder; NULL: <output>/data */
        int64_t samples;    /* 0: all */
        fc_pick caption, regions;
        int grid_split, max_boxes;
        double min_box_size, max_box_size;
        bool shuffle;
        fc_leak_guard_choice leak_guard;
        int workers; /* 0: auto */
    } data;
    fc_loss_choice losses[FC_MOST_LOSSES]; /* enabled terms in the order of losses/loss.def */
    int loss_count;
    struct {
        int64_t epochs, steps; /* steps 0: epochs count */
        int batch_size, accumulate;
        struct {
            double lr, weight_decay, betas[2], eps;
        } optimizer;
        struct {
            fc_schedule_kind kind;
            int64_t warmup_steps, cooldown_steps;
            double end_lr, power;
        } schedule;
        double ensemble_alpha; /* 1: off */
        double clip_grad_norm; /* 0: off */
        unsigned compat;       /* FC_COMPAT_... */
        bool local_loss, gather_with_grad;
        fc_recompute_choice recompute;
        int64_t memory_budget; /* bytes; 0: none */
        bool shard_optimizer;
        int64_t log_every;
        struct {
            int64_t every_epochs, every_steps; /* 0: off */
            double every_minutes;              /* 0: off */
            int keep;
        } checkpoint;
        const char *resume; /* "auto", "never" or a path */
    } train;
    struct {
        bool staged_collectives;
        double step_timeout; /* seconds */
        fc_on_bad_loss on_bad_loss;
        double spike_sigma; /* 0: off */
        int64_t spike_warmup, bad_loss_limit;
    } run;
    struct {
        int64_t every_epochs;
        bool before_training;
        struct {
            fc_source data;
            int image_size; /* 0: as in training */
            fc_fit resize;
            fc_eval_sets more; /* of retrieval alone */
        } box_classification, retrieval;
    } eval;
    fc_yaml *tree; /* resolved, every key present; texts above belong to it */
} fc_config;

/** Read an experiment: its chain of bases, then overrides ("train.batch_size=16"), then defaults.
 *  path   as given, else below the share folders (core/paths.h)
 *  Errors FC_USAGE or FC_NOINPUT with file, line and key. Stores, weights and checkpoints are not
 *         looked for: see fc_config_check. Rank 0 warns of settings that are odd but allowed. */
FC_NODISCARD fc_status fc_config_load(fc_config **out, const char *path, int overrides,
                                      char *const *override);
/** Read the text fc_config_text made; `name` is what errors call it. Must not have a base. */
FC_NODISCARD fc_status fc_config_parse_text(fc_config **out, const char *text, size_t bytes,
                                            const char *name);
void fc_config_destroy(fc_config **config);

enum { FC_FOR_TRAIN = 1, FC_FOR_EVAL = 2, FC_FOR_PLAN = 4 };
/** What a verb needs on top: data.train is set and a term is on (train), something to evaluate is
 * set (eval without train), and every file named for that purpose can be opened.
 *  Errors FC_USAGE what is not set; FC_NOINPUT what is not there; file, line and key */
FC_NODISCARD fc_status fc_config_check(const fc_config *config, unsigned purpose);

/** Set train.batch_size and train.accumulate, as if the command line said so. */
FC_NODISCARD fc_status fc_config_set_batch(fc_config *config, int batch_size, int accumulate);

/** FC_USAGE or another code with the place of a key in front: "exp.yaml:12: train.batch_size: ...".
 */
FC_NODISCARD fc_status fc_config_error(const fc_config *config, fc_status code, const char *key,
                                       const char *fmt, ...) FC_PRINTF(4, 5);

/** The resolved configuration with every default filled in, as YAML; heap. */
char *fc_config_text(const fc_config *config);
/** Every key with its default and meaning, for people; heap. */
char *fc_config_help(void);

#endif
