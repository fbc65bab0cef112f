/* fineclip: see launch/help.c for what it says of itself. */
#include "core/fatal.h"
#include "core/fault.h"
#include "core/log.h"
#include "launch/cli.h"
#include "launch/dist.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    fc_status status = fc_dist_start();
    if (status != FC_OK) {
        fc_fatal(status);
    }
    fc_invocation call;
    status = fc_fault_load(getenv("FINECLIP_FAULT"), fc_log_rank());
    if (status != FC_OK) {
        fc_fatal(status);
    }
    status = fc_cli_resolve(&call, fc_verbs(), argc, argv);
    if (status == FC_OK && call.verb == NULL) {
        if (fc_log_rank() == 0) {
            fputs(call.text, stdout);
        }
    } else if (status == FC_OK) {
        status = call.verb->run(call.argc, call.argv);
    }
    /* What one rank met alone has ended the job already (fc_fatal); this is known to all. */
    int leave = status == FC_OK ? 0 : fc_fatal_report(status);
    fc_cli_release(&call);
    fc_dist_stop();
    return leave;
}
