/* What a check has found: every finding is counted, the first ones in order of place are kept, so
 * that threads and ranks that look at different places agree on one list. */
#ifndef FC_DATA_FINDINGS_H
#define FC_DATA_FINDINGS_H

#include <stdint.h>

typedef struct fc_finding {
    uint64_t place; /* what the list is ordered by */
    char *line;     /* heap */
} fc_finding;

typedef struct fc_findings {
    int64_t limit; /* how many are kept; set by the user, the rest starts at 0 */
    int64_t count; /* all there were */
    int64_t kept;
    fc_finding *list; /* (kept), in order once fc_findings_settle was called */
} fc_findings;

/** Count a finding and keep it (copied) where it may be among the first. */
void fc_findings_add(fc_findings *f, uint64_t place, const char *line);
/** All of `from` into `into`; `from` is empty afterwards. */
void fc_findings_merge(fc_findings *into, fc_findings *from);
/** Sort, and drop what is beyond the limit. */
void fc_findings_settle(fc_findings *f);
void fc_findings_fini(fc_findings *f);

#endif
