/* `fineclip eval EXPERIMENT.yaml`. */
#include "core/fatal.h"
#include "core/log.h"
#include "core/memory.h"
#include "launch/cli.h"
#include "launch/dist.h"
#include "launch/experiment.h"
#include "launch/folder.h"
#include "launch/guard/watchdog.h"
#include "launch/results/record.h"
#include "launch/verbs.h"

/* Beside the training run's results, which stay as they are. */
static fc_status write_results(const fc_experiment *x, const fc_evaluation *found)
{
    char *path = fc_format("%s/eval.h5", x->config->output);
    fc_results *results = NULL;
    fc_status status;
    FC_TRY_GOTO(status, fc_record_open(&results, path, x, NULL), done);
    FC_TRY_GOTO(status, fc_record_evaluation(results, x, found), done);
    FC_TRY_GOTO(status, fc_results_finish(results, "completed"), done);
    fc_log_info("written to %s", path);
done:
    fc_results_close(&results);
    fc_free(&path);
    return status;
}

static fc_status evaluate(fc_experiment *x)
{
    double epoch;
    /* Where results cannot go is better known before the work. */
    FC_TRY(fc_dist_agree(fc_comm_rank(x->comm) == 0 ? fc_folder_make(x->config->output) : FC_OK));
    char *weights;
    FC_TRY(fc_experiment_weights(x->config, x->comm, x->model, &weights, &epoch));
    fc_log_info("evaluating %s", weights);
    fc_free(&weights);
    x->step.unsynced_gradients = false; /* one model was loaded on all ranks */
    fc_evaluation found;
    fc_status status = fc_experiment_evaluate(x, epoch, &found);
    if (status != FC_OK) {
        fc_fatal(status);
    }
    fc_summary_print(NULL, &found);
    status = fc_comm_rank(x->comm) == 0 ? write_results(x, &found) : FC_OK;
    fc_box_result_free(&found.box);
    return fc_dist_agree(status);
}

fc_status fc_verb_eval(int argc, char **argv)
{
    fc_cli cli;
    FC_TRY(fc_cli_parse(&cli, argc, argv, NULL));
    fc_config *config = NULL;
    fc_status status = fc_config_load(&config, cli.file, cli.overrides, cli.override);
    if (status == FC_OK) {
        status = fc_config_check(config, FC_FOR_EVAL);
    }
    status = fc_dist_agree(status);
    if (status == FC_OK) {
        status = fc_watchdog_start(fc_dist_comm(), config->run.step_timeout);
    }
    if (status == FC_OK) {
        fc_experiment x;
        status = fc_experiment_open(&x, config, fc_dist_comm(), FC_FOR_EVAL);
        if (status == FC_OK) {
            status = evaluate(&x);
        }
        fc_experiment_close(&x);
    }
    fc_config_destroy(&config);
    return status;
}
