#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static struct {
    int rank, size;
    void (*clear)(void *), (*draw)(void *);
    void *ctx;
} state = {.size = 1};

void fc_log_set_rank(int rank, int size)
{
    state.rank = rank;
    state.size = size;
}

int fc_log_rank(void)
{
    return state.rank;
}

int fc_log_size(void)
{
    return state.size;
}

bool fc_log_is_terminal(void)
{
    return state.rank == 0 && isatty(STDERR_FILENO);
}

void fc_log_set_status_line(void (*clear)(void *ctx), void (*draw)(void *ctx), void *ctx)
{
    state.clear = clear;
    state.draw = draw;
    state.ctx = ctx;
}

static void FC_PRINTF(2, 0) log_line(const char *prefix, const char *fmt, va_list ap)
{
    if (state.rank != 0) {
        return;
    }
    if (state.clear != NULL) {
        state.clear(state.ctx);
    }
    char line[4096];
    vsnprintf(line, sizeof line, fmt, ap);
    fprintf(stderr, "%s%s\n", prefix, line);
    if (state.draw != NULL) {
        state.draw(state.ctx);
    }
}

void fc_log_info(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    log_line("", fmt, ap);
    va_end(ap);
}

void fc_log_warn(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    log_line("fineclip: warning: ", fmt, ap);
    va_end(ap);
}
