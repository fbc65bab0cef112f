/* What an evaluation found, as people read it: per cent beside chance level. */
#ifndef FC_LAUNCH_SUMMARY_H
#define FC_LAUNCH_SUMMARY_H

#include "launch/config/config.h"
#include "launch/eval/evaluate.h"

typedef struct fc_evaluation {
    double epoch; /* 0: before training */
    bool has_box, has_retrieval;
    fc_box_result box;
    fc_retrieval_result retrieval;
    int more_count;
    struct {
        const char *name; /* the configuration's */
        fc_retrieval_result result;
    } more[FC_MOST_SETS];
    /* Synthetic scenes: top-1 over categories that training scenes had and over those they left
     * out; NaN elsewhere. */
    double seen_top1, unseen_top1;
} fc_evaluation;

/** A table on stdout: one row a measure; before (NULL: no such column), after, chance. */
void fc_summary_print(const fc_evaluation *before, const fc_evaluation *after);
/** One line for the log: "epoch 3: box top-1 41.2 top-5 70.1, retrieval picture->text 12.0
 * text->picture 11.2". */
void fc_summary_log(const fc_evaluation *e);

#endif
