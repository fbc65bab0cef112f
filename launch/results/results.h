/* results.h5 (FORMATS.md section 5): everything a run measured, in memory and in its file.
 *
 * T logged steps, E evaluations, K categories, R ranks. The record stays in memory (some hundred
 * bytes a logged step) and every save writes the whole file anew and renames it. That is what makes
 * the file readable by anybody at any moment, without flags or locks, and whole after any crash up
 * to the last save; HDF5's own way for readers beside a writer (SWMR) leaves a killed run's file
 * marked as open, so that plain readers refuse it. Local to rank 0. */
#ifndef FC_LAUNCH_RESULTS_H
#define FC_LAUNCH_RESULTS_H

#include "core/status.h"

#include <stdint.h>

/* One list a group of columns: constant, field and dataset have one name. All f64, [T] or [E]. */
#define FC_TRAIN_COLUMN_MAP(XX)                                                                    \
    XX(EPOCH, epoch)                                                                               \
    XX(LOSS, loss)                                                                                 \
    XX(LR, lr)                                                                                     \
    XX(LOGIT_SCALE, logit_scale)                                                                   \
    XX(GRAD_NORM, grad_norm)                                                                       \
    XX(SECONDS, seconds)                                                                           \
    XX(DATA_SECONDS, data_seconds)                                                                 \
    XX(IMAGES_PER_SECOND, images_per_second)
#define FC_BOX_COLUMN_MAP(XX)                                                                      \
    XX(TOP1, top1)                                                                                 \
    XX(TOP5, top5)                                                                                 \
    XX(MICRO_TOP1, micro_top1)                                                                     \
    XX(MICRO_TOP5, micro_top5)
#define FC_RETRIEVAL_COLUMN_MAP(XX)                                                                \
    XX(I2T_R1, i2t_r1)                                                                             \
    XX(I2T_R5, i2t_r5)                                                                             \
    XX(I2T_R10, i2t_r10)                                                                           \
    XX(T2I_R1, t2i_r1)                                                                             \
    XX(T2I_R5, t2i_r5)                                                                             \
    XX(T2I_R10, t2i_r10)

#define XX(constant, field) FC_TRAIN_##constant,
enum { FC_TRAIN_COLUMN_MAP(XX) FC_TRAIN_COLUMNS };
#undef XX
#define XX(constant, field) FC_BOX_##constant,
enum { FC_BOX_COLUMN_MAP(XX) FC_BOX_COLUMNS };
#undef XX
#define XX(constant, field) FC_RETRIEVAL_##constant,
enum { FC_RETRIEVAL_COLUMN_MAP(XX) FC_RETRIEVAL_COLUMNS };
#undef XX

/** Dataset names of the columns, in order. */
extern const char *const fc_train_column[FC_TRAIN_COLUMNS];
extern const char *const fc_box_column[FC_BOX_COLUMNS];
extern const char *const fc_retrieval_column[FC_RETRIEVAL_COLUMNS];

/* One of further stores that retrieval was tested on (eval.retrieval.more): /eval/retrieval_NAME.
 */
typedef struct fc_retrieval_set {
    char *name, *protocol;                /* protocol NULL: none */
    double *column[FC_RETRIEVAL_COLUMNS]; /* (E) each */
} fc_retrieval_set;

/* A loss that went wrong, with what it takes to look into it. P parameters, B images of the global
 * batch. Norms are L2; a parameter that is frozen or was not reached has gradient norm 0. */
typedef struct fc_incident {
    int64_t step;  /* as in /train/step */
    int64_t batch; /* number of the batch in the order of the data: step - 1 and what rollbacks left
                      out */
    char *what, *action; /* "not finite", "spike"; "stop", "skip", "rollback" */
    double loss, grad_norm;
    double mean, deviation; /* of the losses before it; NaN: there were none */
    int64_t terms;
    char **term_name;
    double *term; /* (terms) unweighted */
    int64_t params;
    char **param_name;
    double *param_norm, *param_grad_norm; /* (P), of the reduced gradient */
    int64_t images;
    int64_t *image, *image_id; /* (B) index in the store, and /images/id; in rank order */
} fc_incident;

void fc_incident_fini(fc_incident *i);

/* A run's record, as it is in memory and as it comes out of a file. Values a row does not have are
 * NaN. */
typedef struct fc_run {
    char *path;
    char *name, *config, *code_version, *started, *finished, *status, *device, *precision;
    int64_t world_size, parameters, train_images;

    int64_t rows, row_capacity;      /* T */
    int64_t *step;                   /* (T) */
    double *train[FC_TRAIN_COLUMNS]; /* (T) each */
    int terms;
    char **term_name; /* (terms) */
    double **term;    /* (terms) of (T), unweighted */

    int64_t evals, eval_capacity; /* E */
    double *eval_epoch;           /* (E) 0: before training */
    bool has_box, has_retrieval;
    double *box[FC_BOX_COLUMNS]; /* (E) each */
    int64_t *regions;            /* (E) boxes that were classified; 0 where the row has none */
    int64_t categories;          /* K; 0: none recorded */
    double *per_category_top1;   /* (E,K) */
    char *box_protocol;          /* NULL: none */
    double *retrieval[FC_RETRIEVAL_COLUMNS];
    char *retrieval_protocol;
    int sets;
    fc_retrieval_set *set; /* (sets) */

    int64_t epochs, epoch_capacity;
    double *epoch_seconds; /* (epochs) */
    int64_t ranks;
    int64_t *peak_device_bytes, *peak_host_bytes; /* (R) */

    int64_t incidents,
        incidents_in_all; /* those with details, the newest; and how many there were */
    fc_incident *incident;
} fc_run;

/** Load a file whole. FC_NOINPUT: no such file; FC_DATA: not a run's results, damaged, or columns
 * of different lengths; the message names file:/dataset. */
FC_NODISCARD fc_status fc_run_load(fc_run **out, const char *path);
void fc_run_destroy(fc_run **run);

/* ---- Writing, rank 0 ---- */

typedef struct fc_results fc_results;

typedef struct fc_results_info {
    const char *name, *config /* resolved YAML */, *code_version, *device, *precision;
    int64_t world_size, parameters, train_images;
    int terms;
    const char *const *term_name; /* enabled losses, in the order of fc_results_row.terms */
} fc_results_info;

/* Where a resumed run goes on: what lies beyond is cut off and measured again. */
typedef struct fc_results_resume {
    int64_t step;     /* the last step whose row stays */
    double epoch;     /* evaluations and epoch times up to here stay */
    int64_t batch;    /* incidents of batches before this one stay, and those that ended a run */
    const char *copy; /* what fc_results_checkpoint wrote, where the file is gone; NULL: none */
} fc_results_resume;

typedef struct fc_results_row {
    int64_t step;
#define XX(constant, field) double field;
    FC_TRAIN_COLUMN_MAP(XX)
#undef XX
    const double *terms; /* (info.terms) */
} fc_results_row;

typedef struct fc_results_eval_row {
    double epoch;
    bool has_box, has_retrieval;
#define XX(constant, field) double field;
    FC_BOX_COLUMN_MAP(XX)
    FC_RETRIEVAL_COLUMN_MAP(XX)
#undef XX
    int64_t regions, categories;
    const double *per_category_top1;               /* (categories), NaN: no boxes of it; or NULL */
    const char *box_protocol, *retrieval_protocol; /* how it was measured; NULL: as before */
    int sets;
    const struct fc_results_set {
        const char *name, *protocol;
        double value[FC_RETRIEVAL_COLUMNS];
    } * set; /* (sets) */
} fc_results_eval_row;

/** Start (resume NULL) or go on with a results file, and save it with status `running`. A file that
 * is already there and is not gone on with, or that is damaged, is renamed aside (results.1.h5,
 * results.damaged.1.h5) and the log says so. In place of a missing or damaged file the copy is gone
 * on with; without a copy either, a new record starts.
 * FC_RUNTIME: the file cannot be written; FC_DATA: it is of another version of the format. */
FC_NODISCARD fc_status fc_results_open(fc_results **out, const char *path,
                                       const fc_results_info *info,
                                       const fc_results_resume *resume);
/** Append a logged step; in memory until the next flush. FC_BUG where step does not grow. */
FC_NODISCARD fc_status fc_results_step(fc_results *r, const fc_results_row *row);
/** Append an evaluation and save. One of the same epoch replaces the last one. FC_BUG where the
 * number of categories changes. */
FC_NODISCARD fc_status fc_results_eval(fc_results *r, const fc_results_eval_row *row);
/** Append an incident (one of the same step and batch is replaced); *incident is left empty. */
void fc_results_incident(fc_results *r, fc_incident *incident);
/** Append the time an epoch took. */
void fc_results_epoch_seconds(fc_results *r, double seconds);
/** Set the peak memory of each rank. */
void fc_results_memory(fc_results *r, int64_t ranks, const int64_t *device_bytes,
                       const int64_t *host_bytes);
/** Save, every log interval. Where intervals are shorter than ten times what a save takes, it is
 * left to a later call, so that saving costs at most a tenth of the time. */
FC_NODISCARD fc_status fc_results_flush(fc_results *r);
/** Save now, on disk when the call returns, and once more as the file `copy`: before a state that
 * says "rows up to here are there". */
FC_NODISCARD fc_status fc_results_checkpoint(fc_results *r, const char *copy);
/** Cut off what lies beyond and save: a run that goes back to an earlier state. */
FC_NODISCARD fc_status fc_results_go_back(fc_results *r, const fc_results_resume *to);
/** Save with this status ("completed", "interrupted" or "failed") and the time of day. */
FC_NODISCARD fc_status fc_results_finish(fc_results *r, const char *status);
/** The record so far; owned by r. */
const fc_run *fc_results_run(const fc_results *r);
/** Release memory; saves nothing. */
void fc_results_close(fc_results **r);

#endif
