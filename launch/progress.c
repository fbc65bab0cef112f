#include "launch/progress.h"

#include "core/log.h"
#include "launch/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { BAR = 24, NARROWEST_BAR = 8, DEFAULT_WIDTH = 80, QUIET_SECONDS = 30 };
#define REDRAW_SECONDS 0.1
#define FADE_SECONDS 60.0 /* what is this old counts 1/e */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    return DEFAULT_WIDTH;
}

double fc_progress_left(const fc_progress *p)
{
    if (p->done >= p->total) {
        return 0;
    }
    return p->recent_steps > 0 ? (double)(p->total - p->done) * p->recent_seconds / p->recent_steps
                               : -1;
}

void fc_progress_time(char *text, double seconds)
{
    enum { BYTES = 32 };
    if (seconds < 10) {
        snprintf(text, BYTES, "%.1f s", seconds);
        return;
    }
    int64_t whole = seconds < 1e15 ? (int64_t)(seconds + 0.5) : (int64_t)1e15;
    int64_t minutes = whole / 60, hours = minutes / 60, days = hours / 24;
    if (minutes == 0) {
        snprintf(text, BYTES, "%lld s", (long long)whole);
    } else if (hours == 0) {
        snprintf(text, BYTES, "%lld:%02lld", (long long)minutes, (long long)(whole % 60));
    } else if (days == 0) {
        snprintf(text, BYTES, "%lld:%02lld:%02lld", (long long)hours, (long long)(minutes % 60),
                 (long long)(whole % 60));
    } else {
        snprintf(text, BYTES, "%lld d %02lld:%02lld", (long long)days, (long long)(hours % 24),
                 (long long)(minutes % 60));
    }
}

static void describe_left(const fc_progress *p, char *text, size_t bytes)
{
    char span[32];
    double left = fc_progress_left(p);
    if (p->done >= p->total) {
        fc_progress_time(span, p->last - p->begun);
        snprintf(text, bytes, "in %s", span);
    } else if (left < 0) {
        text[0] = '\0';
    } else {
        fc_progress_time(span, left);
        snprintf(text, bytes, "%s left", span);
    }
}

static double share(const fc_progress *p)
{
    return p->total > 0 ? fmin(1, (double)p->done / (double)p->total) : 1;
}

/* Cut at a character's border so that the line never wraps: a wrapped line cannot be cleared. */
static void cut_to_width(char *line, int width)
{
    int column = 0;
    for (char *at = line; *at != '\0'; at++) {
        if (((unsigned char)*at & 0xc0) != 0x80 && column++ == width) {
            *at = '\0';
            return;
        }
    }
}

static void compose(const fc_progress *p, int width, char *line, size_t bytes)
{
    char left[64], counts[64], bar[BAR + 4] = "";
    describe_left(p, left, sizeof left);
    snprintf(counts, sizeof counts, "%3d%% %lld/%lld", (int)(100 * share(p)), (long long)p->done,
             (long long)p->total);
    int rest = width - fc_text_width(p->label) - fc_text_width(counts) - fc_text_width(p->suffix) -
               fc_text_width(left) - 9;
    int cells = rest > BAR ? BAR : rest;
    if (cells >= NARROWEST_BAR) {
        int full = (int)(share(p) * cells);
        bar[0] = '[';
        memset(bar + 1, '=', (size_t)full);
        memset(bar + 1 + full, ' ', (size_t)(cells - full));
        if (full < cells && full > 0) {
            bar[full] = '>';
        }
        strcpy(bar + 1 + cells, "] ");
    }
    /* Time left goes before the details: it is what a narrow window should keep. */
    snprintf(line, bytes, "%s %s%s%s%s%s%s", p->label, bar, counts, left[0] == '\0' ? "" : "  ",
             left, p->suffix[0] == '\0' ? "" : "  ", p->suffix);
    cut_to_width(line, width);
}

/* The log calls these around a message. */
static void clear_line(void *ctx)
{
    fc_progress *p = ctx;
    if (p->visible) {
        fputs("\r\033[K", stderr);
        p->visible = false;
    }
}

static void draw_line(void *ctx)
{
    fc_progress *p = ctx;
    char line[512];
    compose(p, terminal_width() - 1, line, sizeof line);
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    p->visible = true;
}

static void plain_line(const fc_progress *p)
{
    char left[64];
    describe_left(p, left, sizeof left);
    fc_log_info("%s %lld/%lld (%d%%)%s%s%s%s", p->label, (long long)p->done, (long long)p->total,
                (int)(100 * share(p)), p->suffix[0] == '\0' ? "" : "  ", p->suffix,
                left[0] == '\0' ? "" : "  ", left);
}

void fc_progress_begin(fc_progress *p, const char *label, int64_t done, int64_t total,
                       int64_t line_every)
{
    const char *term = getenv("TERM");
    double begun = now();
    *p = (fc_progress){.done = done,
                       .total = total,
                       .line_every = line_every,
                       .begun = begun,
                       .last = begun,
                       .drawn = begun};
    p->next_line = line_every > 0 ? done - done % line_every + line_every : 0;
    snprintf(p->label, sizeof p->label, "%s", label);
    p->terminal = fc_log_is_terminal() && (term == NULL || strcmp(term, "dumb") != 0);
    if (p->terminal) {
        fc_log_set_status_line(clear_line, draw_line, p);
        draw_line(p);
    }
}

static void update_rate(fc_progress *p, int64_t done, double time)
{
    double seconds = time - p->last, fade = exp(-seconds / FADE_SECONDS);
    p->recent_steps = fade * p->recent_steps + (double)(done - p->done);
    p->recent_seconds = fade * p->recent_seconds + seconds;
    p->done = done;
    p->last = time;
}

void fc_progress_step(fc_progress *p, int64_t done, const char *suffix)
{
    double time = now();
    update_rate(p, done, time);
    if (suffix != NULL) {
        snprintf(p->suffix, sizeof p->suffix, "%s", suffix);
    }
    if (p->terminal) {
        if (time - p->drawn >= REDRAW_SECONDS || done >= p->total) {
            draw_line(p);
            p->drawn = time;
        }
        return;
    }
    bool due = p->line_every > 0 ? done >= p->next_line : time - p->drawn >= QUIET_SECONDS;
    /* Work that was over before the first quiet line was due needs no last one either. */
    bool last = done >= p->total && (p->line_every > 0 || p->drawn > p->begun);
    if (due || last) {
        plain_line(p);
        p->drawn = time;
        while (p->line_every > 0 && p->next_line <= done) {
            p->next_line += p->line_every;
        }
    }
}

void fc_progress_hide(fc_progress *p)
{
    clear_line(p);
}

void fc_progress_end(fc_progress *p)
{
    if (p->terminal) {
        clear_line(p);
        fflush(stderr);
        fc_log_set_status_line(NULL, NULL, NULL);
        p->terminal = false;
    }
    p->total = p->done;
}
