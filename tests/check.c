#include "tests/check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stdatomic.h>

static struct {
    atomic_int run, failed; /* checks may be in any thread */
    char temp[64];
} state;

bool fc_check_true(bool ok, const char *file, int line, const char *fmt, ...)
{
    state.run++;
    if (!ok) {
        state.failed++;
        va_list ap;
        va_start(ap, fmt);
        fprintf(stderr, "%s:%d: check failed: ", file, line);
        vfprintf(stderr, fmt, ap);
        fputc('\n', stderr);
        va_end(ap);
    }
    return ok;
}

bool fc_check_near(double a, double b, double tol)
{
    return fabs(a - b) <= tol;
}

bool fc_check_str(const char *a, const char *b, const char *file, int line)
{
    bool same = a != NULL && b != NULL ? strcmp(a, b) == 0 : a == b;
    return fc_check_true(same, file, line, "\"%s\", want \"%s\"", a == NULL ? "(null)" : a,
                         b == NULL ? "(null)" : b);
}

bool fc_check_ok(fc_status status, const char *file, int line, const char *call)
{
    return fc_check_true(status == FC_OK, file, line, "%s: %s: %s", call, fc_status_text(status),
                         fc_error_message());
}

bool fc_check_fails(fc_status status, fc_status code, const char *part, const char *file, int line,
                    const char *call)
{
    const char *message = status == FC_OK ? "" : fc_error_message();
    return fc_check_true(status == code && strstr(message, part) != NULL, file, line,
                         "%s: got '%s' with message '%s', want '%s' with '%s'", call,
                         fc_status_text(status), message, fc_status_text(code), part);
}

double fc_check_rel_l2(const double *a, const double *b, int64_t n)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i])) {
            return INFINITY;
        }
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return sqrt(difference) / fmax(sqrt(norm), 1e-300);
}

double fc_check_rel_l2f(const float *a, const float *b, int64_t n)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        double x = (double)a[i], y = (double)b[i];
        if (!isfinite(x) || !isfinite(y)) {
            return INFINITY;
        }
        difference += (x - y) * (x - y);
        norm += y * y;
    }
    return sqrt(difference) / fmax(sqrt(norm), 1e-300);
}

double fc_check_max_abs(const double *a, const double *b, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(a[i] - b[i]);
        if (!isfinite(d)) {
            return INFINITY;
        }
        worst = fmax(worst, d);
    }
    return worst;
}

static char *turn(void)
{
    static char buffers[4][1024];
    static int next;
    next = (next + 1) % 4;
    return buffers[next];
}

const char *fc_check_golden(const char *name)
{
    const char *source = getenv("FINECLIP_SOURCE");
    char *path = turn();
    snprintf(path, 1024, "%s/tests/golden/%s", source == NULL ? "." : source, name);
    return path;
}

static void remove_temp(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", state.temp);
    if (system(command) != 0) {
        fprintf(stderr, "cannot remove %s\n", state.temp);
    }
}

const char *fc_check_temp(const char *name)
{
    if (state.temp[0] == '\0') {
        snprintf(state.temp, sizeof state.temp, "/tmp/fineclip-test-XXXXXX");
        if (mkdtemp(state.temp) == NULL) {
            perror("mkdtemp");
            _exit(1);
        }
        atexit(remove_temp);
    }
    char *path = turn();
    snprintf(path, 1024, "%s/%s", state.temp, name);
    return path;
}

int fc_check_end(void)
{
    printf("%d checks, %d failed\n", state.run, state.failed);
    return state.run > 0 && state.failed == 0 ? 0 : 1;
}
