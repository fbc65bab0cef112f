/* Status codes, and the one message a failure leaves behind.
 *
 * A function that can fail at run time returns fc_status. The first FC_FAIL records what went wrong
 * and where; each FC_TRY on the way up adds one frame. Nothing here prints or ends the process:
 * that is core/fatal.c. */
#ifndef FC_CORE_STATUS_H
#define FC_CORE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

/* XX(name, text, exit status); exit statuses are those of sysexits.h. Restart scripts retry 71 and
 * 75 only. */
#define FC_STATUS_MAP(XX)                                                                          \
    XX(OK, "success", 0)                                                                           \
    XX(USAGE, "wrong command line or experiment file", 64)                                         \
    XX(DATA, "bad data", 65)                                                                       \
    XX(NOINPUT, "missing file", 66)                                                                \
    XX(BUG, "internal error", 70)                                                                  \
    XX(RUNTIME, "system failure", 71)                                                              \
    XX(NOMEM, "out of memory", 71)                                                                 \
    XX(INTERRUPTED, "stopped by a signal", 75)

typedef enum {
#define XX(name, text, exit_code) FC_##name,
    FC_STATUS_MAP(XX)
#undef XX
} fc_status_code;

#define FC_NODISCARD __attribute__((warn_unused_result))
#define FC_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

typedef fc_status_code fc_status;

/** Process exit status for a code (0, 64, 65, 66, 70, 71, 75). */
int fc_status_exit(fc_status status);
/** Short English text of a code. */
const char *fc_status_text(fc_status status);

/** Message of this thread's last failure, without frames; "" if none. Valid until the thread's next
 * failure. */
const char *fc_error_message(void);
/** The frames recorded under the message, one "  at file:line: function" a line; "" if none. */
const char *fc_error_trace(void);
/** Forget this thread's failure (after it was handled). */
void fc_error_clear(void);
/** Copy a failure recorded in another thread (message and trace) into this one. */
void fc_error_set(const char *message, const char *trace);

fc_status fci_fail(const char *file, int line, const char *func, fc_status code, const char *fmt,
                   ...) FC_PRINTF(5, 6);
void fci_error_frame(const char *file, int line, const char *func);
void fci_assert_failed(const char *file, int line, const char *func, const char *what)
    __attribute__((noreturn));
void fci_ignored(const char *file, int line, fc_status status);

/** Record a failure and yield its code: `return FC_FAIL(FC_DATA, "box %d outside image", i);` */
#define FC_FAIL(code, ...) fci_fail(__FILE__, __LINE__, __func__, (code), __VA_ARGS__)

/** Return early when `call` failed, adding a frame. */
#define FC_TRY(call)                                                                               \
    do {                                                                                           \
        fc_status fci_status_ = (call);                                                            \
        if (fci_status_ != FC_OK) {                                                                \
            fci_error_frame(__FILE__, __LINE__, __func__);                                         \
            return fci_status_;                                                                    \
        }                                                                                          \
    } while (0)

/** As FC_TRY, for functions with something to release: sets the fc_status variable and jumps to the
 * label. */
#define FC_TRY_GOTO(status, call, label)                                                           \
    do {                                                                                           \
        (status) = (call);                                                                         \
        if ((status) != FC_OK) {                                                                   \
            fci_error_frame(__FILE__, __LINE__, __func__);                                         \
            goto label;                                                                            \
        }                                                                                          \
    } while (0)

/** In cleanup paths: a failure is logged, not returned. */
#define FC_IGNORE(call)                                                                            \
    do {                                                                                           \
        fc_status fci_status_ = (call);                                                            \
        if (fci_status_ != FC_OK) {                                                                \
            fci_ignored(__FILE__, __LINE__, fci_status_);                                          \
        }                                                                                          \
    } while (0)

/** A condition that only a bug of ours can break; ends the job with exit status 70. */
#define FC_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fci_assert_failed(__FILE__, __LINE__, __func__, #cond);                                \
        }                                                                                          \
    } while (0)

/** FC_ASSERT in hot loops: checked in debug builds only. */
#ifdef NDEBUG
#define FC_DASSERT(cond) ((void)sizeof(!(cond)))
#else
#define FC_DASSERT(cond) FC_ASSERT(cond)
#endif

#endif
