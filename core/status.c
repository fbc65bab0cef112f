#include "core/status.h"

#include "core/fatal.h"
#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 2048, TRACE_BYTES = 2048 };

static _Thread_local char message[MESSAGE_BYTES];
static _Thread_local char trace[TRACE_BYTES];

int fc_status_exit(fc_status status)
{
    switch (status) {
#define XX(name, text, exit_code)                                                                  \
    case FC_##name:                                                                                \
        return exit_code;
        FC_STATUS_MAP(XX)
#undef XX
    }
    return 70;
}

const char *fc_status_text(fc_status status)
{
    switch (status) {
#define XX(name, text, exit_code)                                                                  \
    case FC_##name:                                                                                \
        return text;
        FC_STATUS_MAP(XX)
#undef XX
    }
    return "unknown status";
}

const char *fc_error_message(void)
{
    return message;
}

const char *fc_error_trace(void)
{
    return trace;
}

void fc_error_clear(void)
{
    message[0] = '\0';
    trace[0] = '\0';
}

void fc_error_set(const char *new_message, const char *new_trace)
{
    snprintf(message, sizeof message, "%s", new_message);
    snprintf(trace, sizeof trace, "%s", new_trace);
}

void fci_error_frame(const char *file, int line, const char *func)
{
    size_t used = strlen(trace);
    snprintf(trace + used, sizeof trace - used, "  at %s:%d: %s\n", file, line, func);
}

fc_status fci_fail(const char *file, int line, const char *func, fc_status code, const char *fmt,
                   ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    trace[0] = '\0';
    fci_error_frame(file, line, func);
    return code;
}

void fci_ignored(const char *file, int line, fc_status status)
{
    fc_log_warn("%s (%s, while cleaning up at %s:%d)", message, fc_status_text(status), file, line);
    fc_error_clear();
}

void fci_assert_failed(const char *file, int line, const char *func, const char *what)
{
    (void)fci_fail(file, line, func, FC_BUG, "assertion failed: %s (%s:%d, %s)", what, file, line,
                   func);
    fc_fatal(FC_BUG);
}
