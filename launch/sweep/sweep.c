/* `fineclip sweep SWEEP.yaml`: its experiments one after the other in this job, then the report. */
#include "launch/sweep/sweep.h"

#include "core/clock.h"
#include "core/fatal.h"
#include "core/log.h"
#include "core/memory.h"
#include "launch/checkpoint/resume.h"
#include "launch/cli.h"
#include "launch/dist.h"
#include "launch/experiment.h"
#include "launch/guard/signals.h"
#include "launch/guard/watchdog.h"
#include "launch/memory_plan.h"
#include "launch/progress.h"
#include "launch/report/report.h"
#include "launch/run.h"
#include "launch/table.h"
#include "launch/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long a rank that failed waits for the others to have failed as well. */
static const double patience_seconds = 5;

typedef struct outcome {
    fc_sweep_state state; /* before */
    bool ran;
    fc_status status; /* where it ran */
    char *message;    /* of a failure; heap */
} outcome;

typedef struct sweep {
    fc_sweep_plan *plan;
    fc_comm *comm;
    outcome *of; /* of every run */
    int done, left;
    double begun; /* clock */
} sweep;

/* ---- Before the first run ---- */

/* Rank 0 looks, all go by what it saw. */
static fc_status look(sweep *s)
{
    fc_sweep_plan *plan = s->plan;
    int64_t *states = fc_alloc((size_t)plan->count, sizeof *states);
    fc_status status = FC_OK;
    for (int i = 0; i < plan->count && fc_comm_rank(s->comm) == 0 && status == FC_OK; i++) {
        fc_sweep_state state = FC_SWEEP_NEW;
        status = fc_sweep_look(&plan->run[i], fc_comm_size(s->comm), &state);
        states[i] = (int64_t)state;
    }
    status = fc_dist_agree(status);
    if (status == FC_OK) {
        status = fc_comm_broadcast(s->comm, states, plan->count, FC_COMM_I64, 0);
    }
    for (int i = 0; i < plan->count && status == FC_OK; i++) {
        s->of[i].state = (fc_sweep_state)states[i];
        s->left += s->of[i].state != FC_SWEEP_COMPLETED;
    }
    fc_free(&states);
    return status;
}

/* All that --dry-run of the experiment would find. */
static fc_status check_config(const sweep *s, fc_config *config, bool deep)
{
    FC_TRY(fc_dist_agree(fc_config_check(config, FC_FOR_TRAIN | FC_FOR_EVAL)));
    if (!deep) {
        return FC_OK;
    }
    FC_TRY(fc_resume_fit(config, s->comm));
    fc_experiment x;
    fc_status status =
        fc_experiment_open(&x, config, s->comm, FC_FOR_TRAIN | FC_FOR_EVAL | FC_FOR_PLAN);
    if (status == FC_OK && config->train.memory_budget > 0) {
        fc_memory_plan plan;
        status = fc_memory_plan_ahead(&plan, &x);
    }
    fc_experiment_close(&x);
    return status;
}

/* The model that runs start from may be still to be trained: then all but that is checked. */
static fc_status check(const sweep *s, int i, bool deep)
{
    const fc_sweep_run *run = &s->plan->run[i];
    if (!s->plan->has_start || i == 0 || s->of[0].state == FC_SWEEP_COMPLETED) {
        return check_config(s, run->config, deep);
    }
    char none[] = "model.init=random";
    char **override = fc_alloc((size_t)run->overrides + 1, sizeof *override);
    memcpy(override, run->override, (size_t)run->overrides * sizeof *override);
    override[run->overrides] = none;
    fc_config *config;
    fc_status status = fc_config_load(&config, run->file, run->overrides + 1, override);
    fc_free(&override);
    if (status == FC_OK) {
        status = check_config(s, config, deep);
    }
    fc_config_destroy(&config);
    return status;
}

/* Every run that could not start is named before the first one does. */
static fc_status check_all(sweep *s, bool deep)
{
    int wrong = 0;
    fc_status first = FC_OK;
    char *what = NULL;
    for (int i = 0; i < s->plan->count; i++) {
        if (s->of[i].state == FC_SWEEP_COMPLETED) {
            continue;
        }
        fc_status status = check(s, i, deep);
        if (status == FC_OK) {
            continue;
        }
        char *longer = fc_format("%s%s%s: %s", what != NULL ? what : "", what != NULL ? "\n  " : "",
                                 s->plan->run[i].name, fc_error_message());
        fc_free(&what);
        what = longer;
        first = wrong++ == 0 ? status : first;
        fc_error_clear();
    }
    fc_status status = FC_OK;
    if (wrong > 0) {
        status = FC_FAIL(first, "%d of %d runs cannot start, so none was started\n  %s", wrong,
                         s->plan->count, what);
    }
    fc_free(&what);
    return status;
}

static void print_plan(const sweep *s)
{
    static const char *const headings[] = {"run", "what will happen", "experiment", "with"};
    static const char *const words[] = {
        [FC_SWEEP_NEW] = "trained",
        [FC_SWEEP_COMPLETED] = "nothing, it is completed",
        [FC_SWEEP_STARTED] = "gone on with",
        [FC_SWEEP_FAILED] = "tried again, after the others",
    };
    if (fc_comm_rank(s->comm) != 0) {
        return;
    }
    fc_table *t = fc_table_create(4, headings);
    for (int i = 0; i < s->plan->count; i++) {
        const fc_sweep_run *run = &s->plan->run[i];
        fc_table_cell(t, "%s", run->name);
        fc_table_cell(t, "%s", words[s->of[i].state]);
        fc_table_cell(t, "%s", run->file);
        fc_table_cell(t, "%s", run->with);
    }
    fc_table_print(t, stdout);
    printf("\nfolders and report in %s\n", s->plan->output);
    fc_table_destroy(&t);
}

/* ---- Running ---- */

/* A failure that every rank met ends the run and not the sweep; one that some ranks alone met
 * leaves the others waiting in a collective, and nothing but the end of the job frees them. */
static fc_status settle(const sweep *s, fc_status status)
{
    bool known_to_all =
        status == FC_OK || status == FC_INTERRUPTED || status == FC_USAGE || status == FC_NOINPUT;
    if (known_to_all) {
        return status;
    }
    if (!fc_comm_all_arrive(s->comm, patience_seconds)) {
        fc_fatal(status);
    }
    return fc_dist_agree(status);
}

static fc_status train(const sweep *s, const fc_config *config)
{
    fc_experiment x;
    FC_TRY(fc_watchdog_start(s->comm, config->run.step_timeout));
    fc_status status = fc_experiment_open(&x, config, s->comm, FC_FOR_TRAIN | FC_FOR_EVAL);
    if (status == FC_OK) {
        x.quiet = true;
        status = settle(s, fc_run_train(&x));
    }
    fc_experiment_close(&x);
    fc_watchdog_stop();
    fc_fatal_set_run_dir(NULL);
    return status;
}

static void announce(const sweep *s, const char *name)
{
    char left[64] = "";
    if (s->done > 0) {
        char time[32];
        double each = (fc_clock_seconds() - s->begun) / s->done;
        fc_progress_time(time, each * (s->left - s->done));
        snprintf(left, sizeof left, ", about %s left for all", time);
    }
    fc_log_info("run %d of %d: %s%s", s->done + 1, s->left, name, left);
}

static fc_status run_one(sweep *s, int i)
{
    outcome *of = &s->of[i];
    announce(s, s->plan->run[i].name);
    if (!fc_peak_host_reset() && s->done == 1) {
        fc_log_warn("this system does not let a process count its memory anew: memory of a run is "
                    "that of the largest so far");
    }
    of->ran = true;
    of->status = train(s, s->plan->run[i].config);
    s->done++;
    if (of->status == FC_INTERRUPTED) {
        return of->status;
    }
    if (of->status != FC_OK) {
        of->message = fc_strdup(fc_error_message());
        fc_log_warn("%s failed: %s", s->plan->run[i].name, of->message);
        fc_error_clear();
    }
    return FC_OK;
}

/* A signal that came between two runs, or in the last moments of one. */
static fc_status check_signal(const sweep *s)
{
    int64_t signal = fc_signals_pending();
    FC_TRY(fc_comm_all_reduce(s->comm, &signal, 1, FC_COMM_I64, FC_COMM_MAX));
    return signal == 0
               ? FC_OK
               : FC_FAIL(FC_INTERRUPTED, "%s with %d of %d runs left; the same command goes on",
                         fc_signals_name((int)signal), s->left - s->done, s->left);
}

/* Runs that failed before come last: what takes the job down must not keep the others from their
 * turn each time the sweep is started. */
static fc_status run_others(sweep *s, int first)
{
    for (int again = 0; again < 2; again++) {
        for (int i = first; i < s->plan->count; i++) {
            fc_sweep_state state = s->of[i].state;
            if (state == FC_SWEEP_COMPLETED || (state == FC_SWEEP_FAILED) != (again == 1)) {
                continue;
            }
            FC_TRY(run_one(s, i));
            if (s->done < s->left) {
                FC_TRY(check_signal(s));
            }
        }
    }
    return FC_OK;
}

/* None of the others can begin then. */
static bool start_failed(const sweep *s)
{
    return s->plan->has_start && s->of[0].status != FC_OK;
}

static fc_status run_all(sweep *s)
{
    FC_TRY(fc_signals_install());
    s->begun = fc_clock_seconds();
    if (s->plan->has_start && s->of[0].state != FC_SWEEP_COMPLETED) {
        FC_TRY(run_one(s, 0));
        if (start_failed(s)) {
            return FC_OK;
        }
        FC_TRY(check_signal(s));
    }
    return run_others(s, s->plan->has_start ? 1 : 0);
}

/* ---- Afterwards ---- */

static fc_status report(const sweep *s)
{
    if (fc_comm_rank(s->comm) != 0) {
        return fc_dist_agree(FC_OK);
    }
    const int first = s->plan->has_start ? 1 : 0, count = s->plan->count - first;
    char **paths = fc_alloc((size_t)count, sizeof *paths);
    for (int i = 0; i < count; i++) {
        paths[i] = fc_format("%s/results.h5", s->plan->run[first + i].config->output);
    }
    fc_report_options options = {.name = s->plan->name,
                                 .output = s->plan->output,
                                 .count = count,
                                 .paths = (const char *const *)paths,
                                 .missing_ok = true};
    fc_status status = fc_report_write(&options);
    for (int i = 0; i < count; i++) {
        fc_free(&paths[i]);
    }
    fc_free(&paths);
    return fc_dist_agree(status);
}

/* What is said at the end; a failure has the status of the first run that failed. */
static fc_status conclude(const sweep *s)
{
    int failed = 0;
    fc_status first = FC_OK;
    char *what = fc_strdup("");
    for (int i = 0; i < s->plan->count; i++) {
        if (s->of[i].ran && s->of[i].status != FC_OK) {
            char *longer = fc_format("%s\n  %s: %s", what, s->plan->run[i].name, s->of[i].message);
            fc_free(&what);
            what = longer;
            first = failed++ == 0 ? s->of[i].status : first;
        }
    }
    fc_status status = FC_OK;
    if (start_failed(s)) {
        status = FC_FAIL(first, "no run was begun: the one they start from failed%s", what);
    } else if (failed > 0) {
        status = FC_FAIL(first, "%d of %d runs failed; the same command tries them again%s", failed,
                         s->plan->count, what);
    } else {
        fc_log_info("%d runs, all completed (%d of them before)", s->plan->count,
                    s->plan->count - s->left);
    }
    fc_free(&what);
    return status;
}

static fc_status run_here(sweep *s, bool dry_run)
{
    FC_TRY(check_all(s, true));
    if (dry_run) {
        print_plan(s);
        return FC_OK;
    }
    if (s->left < s->plan->count) {
        fc_log_info("%d of %d runs are completed already", s->plan->count - s->left,
                    s->plan->count);
    }
    FC_TRY(run_all(s));
    if (!start_failed(s)) {
        FC_TRY(report(s));
    }
    return conclude(s);
}

static fc_status submit(sweep *s, const fc_sweep_jobs *jobs)
{
    if (fc_comm_size(s->comm) > 1) {
        return FC_FAIL(FC_USAGE, "--jobs slurm: submit from one process, without mpirun or srun");
    }
    FC_TRY(check_all(s, false));
    fc_sweep_state *states = fc_alloc((size_t)s->plan->count, sizeof *states);
    for (int i = 0; i < s->plan->count; i++) {
        states[i] = s->of[i].state;
    }
    fc_status status = fc_sweep_submit(s->plan, states, jobs);
    fc_free(&states);
    return status;
}

/* ---- The command line ---- */

static fc_status read_jobs(const char *jobs, const char *number, bool *slurm, fc_sweep_jobs *out)
{
    const int most = 10000;
    *slurm = jobs != NULL;
    if (jobs != NULL && strcmp(jobs, "slurm") != 0) {
        return FC_FAIL(FC_USAGE, "--jobs %s: only slurm is known", jobs);
    }
    if (!*slurm && (number != NULL || out->options != NULL)) {
        return FC_FAIL(FC_USAGE, "%s is for --jobs slurm; here runs go one by one",
                       number != NULL ? "--at-once" : "--sbatch");
    }
    out->at_once = 1;
    if (number != NULL) {
        char *end;
        long n = strtol(number, &end, 10);
        if (*end != '\0' || n < 1 || n > most) {
            return FC_FAIL(FC_USAGE, "--at-once %s: want a number from 1 to %d", number, most);
        }
        out->at_once = (int)n;
    }
    return FC_OK;
}

fc_status fc_verb_sweep(int argc, char **argv)
{
    bool dry_run = false, only_report = false, slurm;
    fc_sweep_jobs jobs = {0};
    const char *where = NULL, *number = NULL;
    const fc_flag flags[] = {{"--dry-run", &dry_run, NULL},     {"--report", &only_report, NULL},
                             {"--jobs", NULL, &where},          {"--at-once", NULL, &number},
                             {"--sbatch", NULL, &jobs.options}, {0}};
    fc_cli cli;
    FC_TRY(fc_cli_parse(&cli, argc, argv, flags));
    FC_TRY(read_jobs(where, number, &slurm, &jobs));
    sweep s = {.comm = fc_dist_comm()};
    fc_status status =
        fc_dist_agree(fc_sweep_plan_load(&s.plan, cli.file, cli.overrides, cli.override, !slurm));
    if (status != FC_OK) {
        fc_sweep_plan_destroy(&s.plan);
        return status;
    }
    s.of = fc_alloc((size_t)s.plan->count, sizeof *s.of);
    jobs.file = cli.file;
    jobs.overrides = cli.overrides;
    jobs.override = cli.override;
    jobs.dry_run = dry_run;
    status = only_report ? report(&s) : look(&s);
    if (status == FC_OK && !only_report) {
        status = slurm ? submit(&s, &jobs) : run_here(&s, dry_run);
    }
    for (int i = 0; i < s.plan->count; i++) {
        fc_free(&s.of[i].message);
    }
    fc_free(&s.of);
    fc_sweep_plan_destroy(&s.plan);
    return status;
}
