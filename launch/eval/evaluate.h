/* Evaluation protocols (METHOD.md section 7). All ranks share the work; the result does not depend
 * on how many they are. */
#ifndef FC_LAUNCH_EVALUATE_H
#define FC_LAUNCH_EVALUATE_H

#include "launch/eval/embed.h"

typedef struct fc_box_result {
    double top1, top5;             /* mean over categories that occur, 0..1 */
    double micro_top1, micro_top5; /* mean over boxes */
    int64_t regions, categories;
    double *per_category_top1;     /* (categories), NaN: none of it occurs; heap */
    int64_t *per_category_regions; /* (categories); heap */
} fc_box_result;

typedef struct fc_retrieval_result {
    double i2t_r1, i2t_r5, i2t_r10; /* a picture is found if any of its captions is */
    double t2i_r1, t2i_r5, t2i_r10;
    int64_t images, captions;
} fc_retrieval_result;

/** Zero-shot classification of ground-truth boxes: box features against class embeddings, the
 * normalised means of their prompts' normalised embeddings. Boxes smaller than 8^2 or larger than
 * 1024^2 pixels are left out, as are those without category. Equal scores are ordered by index; NaN
 * never hits. Collective. Errors FC_DATA: the store has no regions or no categories with prompts.
 */
FC_NODISCARD fc_status fc_eval_boxes(const fc_embedder *e, fc_box_result *out);
/** Whether the store has what it takes; for a look before hours of training. */
FC_NODISCARD fc_status fc_eval_boxes_check(const fc_store *s);
void fc_box_result_free(fc_box_result *r);

/** Recall at 1, 5 and 10 both ways between pictures and all their captions. Ordering as above.
 * Collective. Errors FC_DATA: the store has no captions. */
FC_NODISCARD fc_status fc_eval_retrieval(const fc_embedder *e, fc_retrieval_result *out);
FC_NODISCARD fc_status fc_eval_retrieval_check(const fc_store *s);

#endif
