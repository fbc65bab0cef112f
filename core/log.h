/* Messages for people, on stderr. Ranks other than 0 stay silent unless fc_log_rank says otherwise.
 */
#ifndef FC_CORE_LOG_H
#define FC_CORE_LOG_H

#include "core/status.h"

/** Tell the log (and core/fatal.c) who this process is: rank of size. Called once after MPI starts.
 */
void fc_log_set_rank(int rank, int size);
int fc_log_rank(void);
int fc_log_size(void);

/** True where stderr is a terminal of rank 0, so that progress bars and colours make sense. */
bool fc_log_is_terminal(void);

/** One line on stderr from rank 0. A progress bar that is on screen is cleared first and drawn
 * again. */
void fc_log_info(const char *fmt, ...) FC_PRINTF(1, 2);
/** As fc_log_info with "fineclip: warning: " in front; rank 0 only. */
void fc_log_warn(const char *fmt, ...) FC_PRINTF(1, 2);

/** Register what clears and redraws the line on screen (a progress bar) around messages; NULL:
 * none. */
void fc_log_set_status_line(void (*clear)(void *ctx), void (*draw)(void *ctx), void *ctx);

#endif
