/* `fineclip EXPERIMENT.yaml`. */
#include "core/fatal.h"
#include "launch/checkpoint/resume.h"
#include "launch/cli.h"
#include "launch/dist.h"
#include "launch/dry_run.h"
#include "launch/guard/watchdog.h"
#include "launch/run.h"
#include "launch/verbs.h"

static fc_status train(fc_experiment *x)
{
    fc_status status = fc_run_train(x);
    bool known_to_all =
        status == FC_OK || status == FC_INTERRUPTED || status == FC_USAGE || status == FC_NOINPUT;
    if (!known_to_all) {
        fc_fatal(status);
    }
    return status;
}

fc_status fc_verb_train(int argc, char **argv)
{
    bool dry_run = false;
    const fc_flag flags[] = {{"--dry-run", &dry_run, NULL}, {0}};
    fc_cli cli;
    FC_TRY(fc_cli_parse(&cli, argc, argv, flags));
    fc_config *config = NULL;
    fc_status status = fc_config_load(&config, cli.file, cli.overrides, cli.override);
    if (status == FC_OK) {
        status = fc_config_check(config, FC_FOR_TRAIN | FC_FOR_EVAL);
    }
    status = fc_dist_agree(status);
    if (status == FC_OK) {
        status = fc_resume_fit(config, fc_dist_comm());
    }
    if (status == FC_OK && !dry_run) {
        status = fc_watchdog_start(fc_dist_comm(), config->run.step_timeout);
    }
    if (status == FC_OK) {
        fc_experiment x;
        const unsigned purpose = FC_FOR_TRAIN | FC_FOR_EVAL | (dry_run ? FC_FOR_PLAN : 0);
        status = fc_experiment_open(&x, config, fc_dist_comm(), purpose);
        if (status == FC_OK) {
            status = dry_run ? fc_dry_run(&x) : train(&x);
        }
        fc_experiment_close(&x);
    }
    fc_config_destroy(&config);
    return status;
}
