#include "core/memory.h"
#include "launch/eval/embed.h"
#include "launch/eval/ranking.h"

#include <math.h>

fc_status fc_embed_classes(const fc_embedder *e, void **out)
{
    const fc_store *s = e->store;
    int64_t width = e->model->config.embed_dim;
    fc_dtype dtype = e->model->params->dtype;
    void *prompts;
    FC_TRY(fc_embed_texts(e, FC_PROMPT_TOKENS, s->prompts, &prompts));
    *out = fc_alloc((size_t)(s->categories * width), fc_dtype_bytes(dtype));
    for (int64_t k = 0; k < s->categories; k++) {
        double norm = 0;
        int64_t first = (int64_t)s->category_offsets[k], end = (int64_t)s->category_offsets[k + 1];
        for (int pass = 0; pass < 2; pass++) {
            double scale = pass == 0 ? 1 : 1 / fmax(sqrt(norm), 1e-12);
            for (int64_t d = 0; d < width; d++) {
                double sum = 0;
                for (int64_t p = first; p < end; p++) {
                    sum += fci_value_at(prompts, dtype, p * width + d);
                }
                sum /= end > first ? (double)(end - first) : 1;
                norm += pass == 0 ? sum * sum : 0;
                if (dtype == FC_F64) {
                    ((double *)*out)[k * width + d] = sum * scale;
                } else {
                    ((float *)*out)[k * width + d] = (float)(sum * scale);
                }
            }
        }
    }
    fc_free(&prompts);
    return FC_OK;
}
