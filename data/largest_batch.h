/* The batch that takes the most memory of those a store can give a rank: for predicting how much a
 * step needs (launch/memory_plan.h). */
#ifndef FC_DATA_LARGEST_BATCH_H
#define FC_DATA_LARGEST_BATCH_H

#include "data/loader.h"

/** The store's images with the most regions, its longest captions and its longest region captions,
 * as many as one batch has, whatever images they belong to. In ascending order of regions, so that
 * of a batch in micro-batches the last is the largest. Made up: pictures and crops are memory that
 * nobody has written, ids are any, no two rows of text alike where ids can tell them apart. Freed
 * by fc_batch_free. Dummy regions have no caption here; theirs is one id to the text tower. shown
 * a region that stands for all of them in region_index; -1: none, all are made up Cost   one pass
 * over the store's boxes and offsets */
void fc_largest_batch(fc_batch *out, const fc_store *store, const fc_loader_options *options,
                      int64_t shown);

#endif
