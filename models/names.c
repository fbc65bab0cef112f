/* Names of tensors in published files. Source: FORMATS.md section 3. */
#include "models/clip_parts.h"

#include <stdio.h>
#include <string.h>

void fci_name_timm(const char *name, char *out, size_t bytes)
{
    static const char *const parts[][2] = {
        {"attn.q_bias", "attn.q_proj.bias"},
        {"attn.v_bias", "attn.v_proj.bias"},
        {"attn.inner_attn_ln.", "attn.norm."},
        {"mlp.w1.", "mlp.fc1_g."},
        {"mlp.w2.", "mlp.fc1_x."},
        {"mlp.ffn_ln.", "mlp.norm."},
        {"mlp.w3.", "mlp.fc2."},
    };
    static const char visual[] = "visual.";
    size_t skip = sizeof visual - 1;
    if (strncmp(name, visual, skip) != 0) {
        snprintf(out, bytes, "%s", name);
        return;
    }
    name += skip;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *at = strstr(name, parts[i][0]);
        if (at != NULL) {
            snprintf(out, bytes, "visual.trunk.%.*s%s%s", (int)(at - name), name, parts[i][1],
                     at + strlen(parts[i][0]));
            return;
        }
    }
    snprintf(out, bytes, "visual.trunk.%s", name);
}

bool fci_name_harmless(const char *name)
{
    /* Masks and rotary tables are recomputed; the rest are notes in OpenAI's own files. */
    static const char *const last[] = {"attn_mask",        "position_ids",   "num_batches_tracked",
                                       "rope.freqs_cos",   "rope.freqs_sin", "rope.pos_embed",
                                       "input_resolution", "context_length", "vocab_size"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof last / sizeof last[0]; i++) {
        size_t n = strlen(last[i]);
        if (length >= n && strcmp(name + length - n, last[i]) == 0 &&
            (length == n || name[length - n - 1] == '.')) {
            return true;
        }
    }
    return false;
}
