/* How far a long piece of work is, on stderr of rank 0: on a terminal one line that is drawn again
 * at most ten times a second and makes way for log messages, elsewhere plain lines. Time left comes
 * from the rate of the last minute or so. */
#ifndef FC_LAUNCH_PROGRESS_H
#define FC_LAUNCH_PROGRESS_H

#include "core/status.h"

#include <stdint.h>

typedef struct fc_progress {
    char label[32], suffix[192];
    int64_t done, total, line_every, next_line;
    bool terminal, visible;
    double begun, drawn, last; /* seconds of the monotonic clock: begin, last line, last step */
    double recent_steps, recent_seconds; /* both fade with time: their quotient is the rate */
} fc_progress;

/** Begin at `done` of `total`. line_every: where stderr is no terminal, a line every so many steps
 * and at the end; 0: one every half minute. One progress at a time is drawn; *p must stay where it
 * is until fc_progress_end. */
void fc_progress_begin(fc_progress *p, const char *label, int64_t done, int64_t total,
                       int64_t line_every);
/** So many are done. suffix ("loss 3.21  lr 1e-4") may be NULL: as before. */
void fc_progress_step(fc_progress *p, int64_t done, const char *suffix);
/** Take the line off the terminal until the next step draws it, for output to stdout. */
void fc_progress_hide(fc_progress *p);
/** Take the line off the terminal; no effect the second time. */
void fc_progress_end(fc_progress *p);

/** Seconds that are left at the present rate; negative: not known yet. */
double fc_progress_left(const fc_progress *p);
/** "4.2 s", "3:07", "2:11:40", "1 d 03:10" into a buffer of at least 32 bytes. */
void fc_progress_time(char *text, double seconds);

#endif
