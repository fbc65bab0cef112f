/* Faults on purpose: what FINECLIP_FAULT may say, and that a fault is due on its rank, in its step,
 * at its place, once. */
#include "core/fault.h"
#include "tests/check.h"

#include <string.h>

static void refuse(const char *text, const char *says)
{
    FC_CHECK_INT(fc_fault_load(text, 0), FC_USAGE);
    FC_CHECK(strstr(fc_error_message(), says) != NULL);
    FC_CHECK(!fc_fault_due(FC_FAULT_nan, FC_AT_features));
}

int main(void)
{
    refuse("0:3", "RANK:STEP:ACTION");
    refuse("0:3:explode", "'explode' is no action; known: crash, segv");
    refuse("0:3:crash@moon", "'moon' is no place; known: step, collective");
    refuse("x:3:crash", "'x' is no rank");
    refuse("0:-3:crash", "'-3' is no step");
    refuse("0:3:nan@loader", "nan cannot happen at loader");
    refuse("0:3:torn@step", "torn cannot happen at step");
    refuse("0:1:nan,0:2:crash@picture", "crash cannot happen at picture");

    FC_CHECK_OK(fc_fault_load(NULL, 0));
    FC_CHECK(!fc_fault_due(FC_FAULT_nan, FC_AT_features));
    FC_CHECK_OK(fc_fault_here(FC_AT_step));

    FC_CHECK_OK(fc_fault_load("1:3:nan,*:4:inf,0:*:enospc@results,0:5:error@loader,", 0));
    fc_fault_set_step(3);
    FC_CHECK(!fc_fault_due(FC_FAULT_nan, FC_AT_features));      /* another rank's */
    FC_CHECK(!fc_fault_due(FC_FAULT_inf, FC_AT_features));      /* another step's */
    FC_CHECK(!fc_fault_due(FC_FAULT_enospc, FC_AT_checkpoint)); /* another place's */
    FC_CHECK(fc_fault_due(FC_FAULT_enospc, FC_AT_results));
    FC_CHECK(!fc_fault_due(FC_FAULT_enospc, FC_AT_results)); /* once */
    fc_fault_set_step(4);
    FC_CHECK(fc_fault_due(FC_FAULT_inf, FC_AT_features));
    FC_CHECK_OK(fc_fault_here(FC_AT_loader));
    fc_fault_set_thread_step(5); /* a thread that works ahead */
    fc_status status = fc_fault_here(FC_AT_loader);
    FC_CHECK_INT(status, FC_RUNTIME);
    FC_CHECK_OK(fc_fault_here(FC_AT_loader));

    FC_CHECK_OK(fc_fault_load("0:2:bad_picture", 0));
    fc_fault_set_thread_step(1);
    FC_CHECK(!fc_fault_bad_picture(17, true));
    fc_fault_set_thread_step(2);
    FC_CHECK(!fc_fault_bad_picture(18, false));
    FC_CHECK(fc_fault_bad_picture(19, true));
    FC_CHECK(!fc_fault_bad_picture(20, true));
    fc_fault_set_thread_step(9);
    FC_CHECK(fc_fault_bad_picture(19, false)); /* it stays bad */
    return fc_check_end();
}
