/* Sentences about a category: the ensemble of templates whose mean embedding stands for the
 * category. */
#ifndef FC_DATA_PROMPTS_H
#define FC_DATA_PROMPTS_H

#include "core/status.h"

typedef struct fc_prompts {
    int count;           /* 0: none */
    char **templates;    /* with {} for the name and {article} for a or an; owned */
    bool prefix_this_is; /* "This is " before a sentence that begins with "a" or "the" */
} fc_prompts;

/** "ensemble" (63 templates), "none", or a file: one template a line, {} for the name, {article}
 * for a/an, empty lines skipped. FC_NOINPUT: no such file; FC_USAGE: names a line without {} and a
 * file without templates. */
FC_NODISCARD fc_status fc_prompts_read(fc_prompts *out, const char *spec);
void fc_prompts_free(fc_prompts *p);
/** Sentence i for a category's raw name; heap. The name is cleaned: "_" to a blank, "/" to " or ",
 * lower case, without full stops at its end. The article goes by the raw name's first letter (one
 * of aeiou, lower case only). Source  ViLD's prompts as RegionCLIP, CLIPSelf and FineCLIP use them.
 */
char *fc_prompt_sentence(const fc_prompts *p, int i, const char *raw_name);

#endif
