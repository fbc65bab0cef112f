/* The paper's numbers (launch/report/paper.def), found by what a run does, and whether a run is
 * measured as the paper's was. */
#ifndef FC_LAUNCH_PAPER_H
#define FC_LAUNCH_PAPER_H

#include "core/yaml.h"
#include "launch/results/results.h"

typedef enum {
    FC_PAPER_COCO,     /* trained and tested on COCO */
    FC_PAPER_CC_COCO,  /* trained on 2.5M pictures of CC3M, tested on COCO */
    FC_PAPER_CC_FLICKR /* the same, retrieval on Flickr30k */
} fc_paper_setting;

enum {
    FC_PAPER_TOP1,
    FC_PAPER_TOP5,
    FC_PAPER_I2T_R1,
    FC_PAPER_I2T_R5,
    FC_PAPER_I2T_R10,
    FC_PAPER_T2I_R1,
    FC_PAPER_T2I_R5,
    FC_PAPER_T2I_R10,
    FC_PAPER_VALUES
};

typedef struct fc_paper_row {
    fc_paper_setting setting;
    const char *terms, *where;
    double value[FC_PAPER_VALUES]; /* per cent; NaN: not reported */
    double minutes, gigabytes;
} fc_paper_row;

/** The row of a setting and of exactly these terms ("GC+SD"; "": no training); NULL: none. */
const fc_paper_row *fc_paper_find(fc_paper_setting setting, const char *terms);
/** The setting a run belongs to: by its data.samples. False: one the paper has no numbers for. */
bool fc_paper_setting_of(const fc_run *run, const fc_yaml *config, fc_paper_setting *out);
/** How a run differs from the paper's setting, "model tiny-vit (eva02-clip-b-16), ...", ours before
 * and the paper's in brackets; heap, "" where nothing differs. A run that was never trained is
 * compared in what it evaluates alone. retrieval: the protocol of the retrieval that counts in this
 * setting, and the key of its options (eval.retrieval); NULL: there is none. */
char *fc_paper_differences(const fc_run *run, const fc_yaml *config, fc_paper_setting setting,
                           const char *retrieval, const char *retrieval_key);

/** Text of a scalar at a dotted path; NULL where it is absent, null or no scalar. */
const char *fc_paper_text(const fc_yaml *config, const char *path);

#endif
