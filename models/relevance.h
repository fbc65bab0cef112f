/* What a picture's embedding and a sentence's owe to each patch and to each token: relevance maps
 * after Chefer, Gur, Wolf ("Generic Attention-model Explainability", ICCV 2021), as CLIP's authors
 * and FineCLIP's Figure 3 draw them.
 *
 * y = s <v, t> of a picture's embedding v and a text's t, both of unit length, s =
 * exp(logit_scale). For every layer E = mean over heads of max(0, A * dy/dA), A the attention after
 * softmax (and after rotary positions); R = (I + E_last) ... (I + E_first) over the layers that
 * take part. A picture's map is the class token's row of R over the patches, a text's the end
 * token's row over the words.
 *
 * Models of any frozenness; parameters' gradients of a model that is not frozen are added to. */
#ifndef FC_MODELS_RELEVANCE_H
#define FC_MODELS_RELEVANCE_H

#include "models/clip.h"

/** Maps of n pictures, each for a target of its own. The tape is reset.
 *  pixels   n pictures of the model's side (a picture with several texts stands there several
 * times) targets  (n, D) of the model's type: unit text embeddings, or what else y is to be the
 * product with layers   how many of the last blocks take part: 1, or up to all of the tower's maps
 * (n, P) row by row, at least 0; all 0 where y does not depend on attention to patches Cost     a
 * forward and a backward pass, the latter without gradients of weights Errors   as fc_clip_vision
 */
FC_NODISCARD fc_status fc_clip_relevance_image(const fc_clip *m, fc_tape *tape,
                                               const fc_pixels *pixels, int64_t n,
                                               const void *targets, int layers, double *maps);

/** The map of one text: relevance of tokens 1 .. end-1, divided by its sum (0 where that is 0).
 *  tokens   ids of one row; count of them, at most up to the end token counting
 *  target   (D) of the model's type: the unit embedding of the picture
 *  map      (count): 0 at the start token and from the end token on
 *  Errors   as fc_clip_text */
FC_NODISCARD fc_status fc_clip_relevance_text(const fc_clip *m, fc_tape *tape,
                                              const int32_t *tokens, int64_t count,
                                              const void *target, int layers, double *map);

#endif
