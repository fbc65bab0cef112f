/* What tests check with. Every comparison is !(error <= tolerance), so that NaN fails; every
 * failure prints both values; main ends with `return fc_check_end();`, which fails when nothing was
 * checked. */
#ifndef FC_TESTS_CHECK_H
#define FC_TESTS_CHECK_H

#include "core/status.h"

#include <stdint.h>

/** Count one check; on failure print file:line and the text. Returns ok. */
bool fc_check_true(bool ok, const char *file, int line, const char *fmt, ...) FC_PRINTF(4, 5);
#define FC_CHECK(cond) fc_check_true((cond), __FILE__, __LINE__, "%s", #cond)
#define FC_CHECK_INT(a, b)                                                                         \
    fc_check_true((int64_t)(a) == (int64_t)(b), __FILE__, __LINE__, "%s = %lld, want %s = %lld",   \
                  #a, (long long)(a), #b, (long long)(b))
#define FC_CHECK_NEAR(a, b, tol)                                                                   \
    fc_check_true(fc_check_near((a), (b), (tol)), __FILE__, __LINE__,                              \
                  "%s = %.9g, want %.9g +- %g", #a, (double)(a), (double)(b), (double)(tol))
#define FC_CHECK_STR(a, b) fc_check_str((a), (b), __FILE__, __LINE__)
/** The call must succeed; its message is printed otherwise. */
#define FC_CHECK_OK(call) fc_check_ok((call), __FILE__, __LINE__, #call)
/** The call must fail with this code and a message that contains `part`. */
#define FC_CHECK_FAILS(call, code, part)                                                           \
    fc_check_fails((call), (code), (part), __FILE__, __LINE__, #call)

bool fc_check_near(double a, double b, double tol);
bool fc_check_str(const char *a, const char *b, const char *file, int line);
bool fc_check_ok(fc_status status, const char *file, int line, const char *call);
bool fc_check_fails(fc_status status, fc_status code, const char *part, const char *file, int line,
                    const char *call);

/** ||a-b|| / max(||b||, tiny) over n values: NaN or infinity anywhere makes it infinite. */
double fc_check_rel_l2(const double *a, const double *b, int64_t n);
double fc_check_rel_l2f(const float *a, const float *b, int64_t n);
/** Largest |a-b|; infinite when any value is not finite. */
double fc_check_max_abs(const double *a, const double *b, int64_t n);

/** Path under the source tree's tests/golden; static buffer, 4 in turn. */
const char *fc_check_golden(const char *name);
/** A fresh path for a file this test may write (removed with its folder at exit); static buffer, 4
 * in turn. */
const char *fc_check_temp(const char *name);

/** Print the count; 0 if all passed and at least one check ran, else 1. */
int fc_check_end(void);

#endif
