/* Concepts that regions are told apart by (losses/regionclip.c): the categories of a store, their
 * embeddings by the model's text tower as it was before training, and which of them a region of the
 * training store shows. */
#ifndef FC_LAUNCH_CONCEPTS_H
#define FC_LAUNCH_CONCEPTS_H

#include "launch/eval/embed.h"

typedef struct fc_concepts {
    int64_t count;                  /* K */
    void *embeddings;               /* (K,D) in the model's type, unit length; NULL: not made yet */
    const int32_t *region_category; /* of the training store's regions; borrowed */
    int32_t *of_category;           /* the concept of each of its categories */
    fc_store *store;                /* whose categories the concepts are */
    bool owned;                     /* opened here */
} fc_concepts;

/** Find the concepts.
 *  train  the training store; stays open as long as the concepts
 *  path   a store whose categories are the concepts, found by name; NULL: those of `train`
 *  Errors FC_NOINPUT, FC_DATA: the store has no categories with prompts, or a category of `train`
 *         that a region has is not among them */
FC_NODISCARD fc_status fc_concepts_open(fc_concepts **out, fc_store *train, const char *path);
/** Fill in embeddings, out of model->initial where that is kept. Collective. */
FC_NODISCARD fc_status fc_concepts_embed(fc_concepts *c, const fc_clip *model, fc_comm *comm);
/** `count` concepts at random for made-up batches; region r of a batch shows concept r % count. */
fc_concepts *fc_concepts_fake(int64_t count, int64_t regions, const fc_clip *model, uint64_t seed);
void fc_concepts_close(fc_concepts **c);

/** Concept of a region of the training store; -1: none, as of a region that is not in it (-1). */
static inline int32_t fc_concept_of(const fc_concepts *c, int64_t region)
{
    int32_t category = region < 0 ? -1 : c->region_category[region];
    return category < 0 ? -1 : c->of_category != NULL ? c->of_category[category] : category;
}

#endif
