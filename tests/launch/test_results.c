/* results.h5: round trip, resuming, what lies in the way, and another program reading meanwhile. */
#include "core/memory.h"
#include "launch/results/results.h"
#include "tests/check.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const two_terms[] = {"global_contrastive", "self_distillation"};

static fc_results_info info_of(const char *config, int terms, const char *const *names)
{
    return (fc_results_info){.name = "demo",
                             .config = config,
                             .code_version = "0.1.0",
                             .device = "cpu",
                             .precision = "fp32",
                             .world_size = 2,
                             .parameters = 123456,
                             .train_images = 1000,
                             .terms = terms,
                             .term_name = names};
}

static fc_results_row row_of(int64_t step, const double *terms)
{
    double s = (double)step;
    return (fc_results_row){.step = step,
                            .epoch = s / 10,
                            .loss = 5 - s / 7,
                            .lr = 1e-4 * s,
                            .logit_scale = 14.25,
                            .grad_norm = NAN,
                            .seconds = 0.5,
                            .data_seconds = 0.125,
                            .images_per_second = 64,
                            .terms = terms};
}

static void log_steps(fc_results *r, int64_t first, int64_t last, int terms)
{
    for (int64_t step = first; step <= last; step++) {
        double values[3] = {(double)step + 0.25, -(double)step, 7};
        fc_results_row row = row_of(step, values);
        FC_CHECK_OK(fc_results_step(r, &row));
    }
    FC_CHECK(terms <= 3);
    FC_CHECK_OK(fc_results_flush(r));
}

static fc_results_eval_row eval_of(double epoch, const double *per_category)
{
    return (fc_results_eval_row){.epoch = epoch,
                                 .has_box = true,
                                 .top1 = 0.5 + epoch / 100,
                                 .top5 = 0.75,
                                 .micro_top1 = 0.25,
                                 .micro_top5 = 0.625,
                                 .regions = 900,
                                 .categories = 3,
                                 .per_category_top1 = per_category,
                                 .box_protocol = "data: coco"};
}

static void test_round_trip(void)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", fc_check_temp("round/results.h5"));
    FC_CHECK_FAILS(
        fc_results_open(&(fc_results *){NULL}, path,
                        &(fc_results_info){"n", "c", "v", "cpu", "fp32", 1, 1, 1, 0, NULL}, NULL),
        FC_RUNTIME, path);
    snprintf(path, sizeof path, "%s", fc_check_temp("round.h5"));
    /* A configuration of more than the 64 KiB an attribute can hold within an object's header. */
    enum { CONFIG = 100000 };
    char *config = fc_alloc(CONFIG + 1, 1);
    memset(config, 'y', CONFIG);
    memcpy(config, "n: \xc3\xa9\n", 6);
    fc_results_info info = info_of(config, 2, two_terms);
    fc_results *r = NULL;
    FC_CHECK_OK(fc_results_open(&r, path, &info, NULL));
    if (r == NULL) {
        return;
    }
    log_steps(r, 1, 300, 2);
    double shares[3] = {0.25, NAN, 1};
    fc_results_eval_row eval = eval_of(0, shares);
    FC_CHECK_OK(fc_results_eval(r, &eval));
    eval = (fc_results_eval_row){.epoch = 1,
                                 .has_retrieval = true,
                                 .i2t_r1 = 0.125,
                                 .t2i_r10 = 1,
                                 .retrieval_protocol = "p"};
    FC_CHECK_OK(fc_results_eval(r, &eval));
    fc_results_epoch_seconds(r, 12.5);
    fc_results_memory(r, 2, (int64_t[]){1LL << 40, 2}, (int64_t[]){3, 4});
    const fc_run *live = fc_results_run(r);
    FC_CHECK_STR(live->status, "running");
    FC_CHECK_OK(fc_results_finish(r, "completed"));
    fc_results_close(&r);
    FC_CHECK(r == NULL);

    fc_run *run = NULL;
    FC_CHECK_OK(fc_run_load(&run, path));
    if (run == NULL) {
        return;
    }
    FC_CHECK_STR(run->config, config);
    FC_CHECK_STR(run->status, "completed");
    FC_CHECK_STR(run->name, "demo");
    FC_CHECK_STR(run->device, "cpu");
    FC_CHECK_INT(strlen(run->started), 20);
    FC_CHECK_INT(strlen(run->finished), 20);
    FC_CHECK_INT(run->world_size, 2);
    FC_CHECK_INT(run->parameters, 123456);
    FC_CHECK_INT(run->train_images, 1000);
    FC_CHECK_INT(run->rows, 300);
    FC_CHECK_INT(run->terms, 2);
    int wrong = 0;
    for (int64_t i = 0; i < run->rows; i++) {
        fc_results_row want = row_of(i + 1, NULL);
        bool same =
            run->step[i] == want.step && run->train[FC_TRAIN_EPOCH][i] == want.epoch &&
            run->train[FC_TRAIN_LOSS][i] == want.loss && run->train[FC_TRAIN_LR][i] == want.lr &&
            run->train[FC_TRAIN_LOGIT_SCALE][i] == want.logit_scale &&
            isnan(run->train[FC_TRAIN_GRAD_NORM][i]) &&
            run->train[FC_TRAIN_SECONDS][i] == want.seconds &&
            run->train[FC_TRAIN_DATA_SECONDS][i] == want.data_seconds &&
            run->train[FC_TRAIN_IMAGES_PER_SECOND][i] == want.images_per_second &&
            run->term[0][i] == (double)want.step + 0.25 && run->term[1][i] == -(double)want.step;
        wrong += same ? 0 : 1;
    }
    FC_CHECK_INT(wrong, 0);
    FC_CHECK_INT(run->evals, 2);
    FC_CHECK(run->has_box && run->has_retrieval);
    FC_CHECK(run->box[FC_BOX_TOP1][0] == 0.5 && run->box[FC_BOX_TOP5][0] == 0.75);
    FC_CHECK(run->box[FC_BOX_MICRO_TOP1][0] == 0.25 && run->box[FC_BOX_MICRO_TOP5][0] == 0.625);
    FC_CHECK(isnan(run->box[FC_BOX_TOP1][1]) && isnan(run->retrieval[FC_RETRIEVAL_I2T_R1][0]));
    FC_CHECK(run->retrieval[FC_RETRIEVAL_I2T_R1][1] == 0.125);
    FC_CHECK(run->retrieval[FC_RETRIEVAL_T2I_R10][1] == 1);
    FC_CHECK_INT(run->regions[0], 900);
    FC_CHECK_INT(run->regions[1], 0);
    FC_CHECK_INT(run->categories, 3);
    FC_CHECK(run->per_category_top1[0] == 0.25 && isnan(run->per_category_top1[1]) &&
             run->per_category_top1[2] == 1 && isnan(run->per_category_top1[3]));
    FC_CHECK_STR(run->box_protocol, "data: coco");
    FC_CHECK_STR(run->retrieval_protocol, "p");
    FC_CHECK_INT(run->epochs, 1);
    FC_CHECK(run->epochs == 1 && run->epoch_seconds[0] == 12.5);
    FC_CHECK_INT(run->ranks, 2);
    FC_CHECK(run->ranks == 2 && run->peak_device_bytes[0] == 1LL << 40 &&
             run->peak_host_bytes[1] == 4);
    fc_run_destroy(&run);
    fc_free(&config);
}

static void test_resume(void)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", fc_check_temp("resume.h5"));
    fc_results_info info = info_of("a: 1", 2, two_terms);
    fc_results *r = NULL;
    FC_CHECK_OK(fc_results_open(&r, path, &info, NULL));
    double shares[3] = {1, 1, 1};
    fc_results_eval_row eval = eval_of(0, shares);
    FC_CHECK_OK(fc_results_eval(r, &eval));
    log_steps(r, 1, 25, 2);
    eval = eval_of(1, shares);
    FC_CHECK_OK(fc_results_eval(r, &eval));
    fc_results_epoch_seconds(r, 10);
    fc_results_epoch_seconds(r, 11);
    eval = eval_of(2, shares);
    FC_CHECK_OK(fc_results_eval(r, &eval));
    fc_results_close(&r); /* as a crash would: no finish */

    /* Goes on after step 14 of 10 an epoch, with a term more and one less. */
    const char *const other_terms[] = {"region_contrastive", "global_contrastive"};
    info = info_of("a: 2", 2, other_terms);
    info.world_size = 4;
    FC_CHECK_OK(fc_results_open(&r, path, &info, &(fc_results_resume){.step = 14, .epoch = 1.4}));
    FC_CHECK_INT(fc_results_run(r)->rows, 14);
    log_steps(r, 15, 200, 2);
    fc_results_row late = row_of(200, (double[]){0, 0});
    FC_CHECK_FAILS(fc_results_step(r, &late), FC_BUG, "step 200 after step 200");
    shares[0] = 0.5;
    eval = eval_of(2, shares);
    FC_CHECK_OK(fc_results_eval(r, &eval));
    eval.top1 = 0.875; /* the same epoch again: the last word counts */
    FC_CHECK_OK(fc_results_eval(r, &eval));
    FC_CHECK_OK(fc_results_finish(r, "interrupted"));
    fc_results_close(&r);

    fc_run *run = NULL;
    FC_CHECK_OK(fc_run_load(&run, path));
    if (run == NULL) {
        return;
    }
    FC_CHECK_STR(run->status, "interrupted");
    FC_CHECK_STR(run->config, "a: 2");
    FC_CHECK_INT(run->world_size, 4);
    FC_CHECK_INT(run->rows, 200);
    int wrong = 0;
    for (int64_t i = 0; i < run->rows; i++) {
        wrong += run->step[i] == i + 1 ? 0 : 1;
    }
    FC_CHECK_INT(wrong, 0);
    FC_CHECK_INT(run->terms, 3);
    for (int t = 0; t < run->terms; t++) { /* in order of their names */
        double before = run->term[t][13], after = run->term[t][14];
        if (strcmp(run->term_name[t], "global_contrastive") == 0) {
            FC_CHECK(before == 14.25 && after == -15);
        } else if (strcmp(run->term_name[t], "region_contrastive") == 0) {
            FC_CHECK(isnan(before) && after == 15.25);
        } else {
            FC_CHECK_STR(run->term_name[t], "self_distillation");
            FC_CHECK(before == -14 && isnan(after));
        }
    }
    FC_CHECK_INT(run->evals, 3);
    FC_CHECK(run->eval_epoch[2] == 2 && run->box[FC_BOX_TOP1][2] == 0.875 &&
             run->per_category_top1[6] == 0.5 && run->per_category_top1[3] == 1);
    FC_CHECK_INT(run->epochs, 1);
    fc_run_destroy(&run);
}

static int64_t rows_of(const char *path)
{
    fc_run *run = NULL;
    FC_CHECK_OK(fc_run_load(&run, path));
    int64_t rows = run == NULL ? -1 : run->rows;
    fc_run_destroy(&run);
    return rows;
}

static void test_in_the_way(void)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", fc_check_temp("way.h5"));
    fc_results_info info = info_of("a: 1", 2, two_terms);
    fc_results *r = NULL;
    fc_results_resume resume = {.step = 3, .epoch = 0.3};
    for (int run = 0; run < 3; run++) { /* a new run does not overwrite the ones before */
        FC_CHECK_OK(fc_results_open(&r, path, &info, NULL));
        log_steps(r, 1, 5 + run, 2);
        FC_CHECK_OK(fc_results_finish(r, "completed"));
        fc_results_close(&r);
    }
    FC_CHECK_INT(rows_of(fc_check_temp("way.1.h5")), 5);
    FC_CHECK_INT(rows_of(fc_check_temp("way.2.h5")), 6);
    FC_CHECK_INT(rows_of(path), 7);

    struct stat whole;
    FC_CHECK(stat(path, &whole) == 0);
    FC_CHECK(truncate(path, whole.st_size / 2) == 0);
    fc_run *damaged = NULL;
    FC_CHECK_FAILS(fc_run_load(&damaged, path), FC_DATA, path);
    FC_CHECK_OK(fc_results_open(&r, path, &info, &resume));
    FC_CHECK_INT(fc_results_run(r)->rows, 0);
    fc_results_close(&r);
    struct stat kept;
    FC_CHECK(stat(fc_check_temp("way.damaged.1.h5"), &kept) == 0);
    FC_CHECK_INT(kept.st_size, whole.st_size / 2);

    FC_CHECK(unlink(path) == 0); /* the checkpoint is there but the results are gone */
    FC_CHECK_OK(fc_results_open(&r, path, &info, &resume));
    fc_results_close(&r);
    FC_CHECK_FAILS(fc_run_load(&damaged, fc_check_temp("none.h5")), FC_NOINPUT, "none.h5");
}

/* Every cut of a results file loads or is refused; nothing else. */
static void test_cuts(void)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", fc_check_temp("cut.h5"));
    fc_results_info info = info_of("a: 1", 2, two_terms);
    fc_results *r = NULL;
    FC_CHECK_OK(fc_results_open(&r, path, &info, NULL));
    log_steps(r, 1, 50, 2);
    FC_CHECK_OK(fc_results_finish(r, "completed"));
    fc_results_close(&r);
    struct stat whole;
    FC_CHECK(stat(path, &whole) == 0);
    int other = 0;
    for (int64_t bytes = whole.st_size - 1; bytes >= 0; bytes -= 509) {
        FC_CHECK(truncate(path, bytes) == 0);
        fc_run *run = NULL;
        other += fc_run_load(&run, path) == FC_DATA && run == NULL ? 0 : 1;
        fc_run_destroy(&run);
    }
    FC_CHECK_INT(other, 0);
}

/* A plain reader in another process sees each save while the writer goes on. */
static void test_reader_meanwhile(void)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", fc_check_temp("meanwhile.h5"));
    fc_results_info info = info_of("a: 1", 2, two_terms);
    fc_results *r = NULL;
    FC_CHECK_OK(fc_results_open(&r, path, &info, NULL));
    for (int64_t part = 0; part < 2; part++) {
        log_steps(r, 20 * part + 1, 20 * part + 20, 2);
        char *command = fc_format(
            "PATH=/usr/bin:$PATH python3 -c \"\n"
            "import h5py\n"
            "f = h5py.File('%s', 'r')\n"
            "n = %d\n"
            "assert f.attrs['format'] == 'fineclip-run' and f.attrs['version'] == 1\n"
            "assert f.attrs['status'] == 'running' and f.attrs['config'] == 'a: 1'\n"
            "assert list(f['train/step'][:]) == list(range(1, n + 1)), f['train/step'][:]\n"
            "assert f['train/step'].dtype == 'int64' and f['train/epoch'].dtype == 'float64'\n"
            "for name in 'loss lr logit_scale grad_norm seconds data_seconds'.split():\n"
            "    assert f['train'][name].shape == (n,), name\n"
            "assert f['train/losses/self_distillation'][n - 1] == -n\n"
            "assert f['eval/epoch'].shape == (0,)\n"
            "\"",
            path, (int)(20 * part + 20));
        FC_CHECK_INT(system(command), 0);
        fc_free(&command);
    }
    fc_results_close(&r);
}

/* A save writes everything anew: what that costs after many rows. flush leaves saves out so that
 * they take at most a tenth of the time. */
static void test_long(void)
{
    enum { ROWS = 100000 };
    char path[1024];
    snprintf(path, sizeof path, "%s", fc_check_temp("long.h5"));
    fc_results_info info = info_of("a: 1", 2, two_terms);
    fc_results *r = NULL;
    FC_CHECK_OK(fc_results_open(&r, path, &info, NULL));
    for (int64_t step = 1; step <= ROWS; step++) {
        fc_results_row row = row_of(step, (double[]){1, 2});
        FC_CHECK(fc_results_step(r, &row) == FC_OK);
    }
    clock_t begun = clock();
    FC_CHECK_OK(fc_results_finish(r, "completed"));
    double seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
    printf("%d rows saved in %.1f ms of processor time\n", ROWS, 1e3 * seconds);
    FC_CHECK(seconds < 1);
    fc_results_close(&r);
    FC_CHECK_INT(rows_of(path), ROWS);
}

/* However a writer dies, its file is whole and has what was saved before. */
static void test_killed(void)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", fc_check_temp("killed.h5"));
    int64_t before = 0;
    for (int round = 0; round < 12; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            fc_results_info info = info_of("a: 1", 2, two_terms);
            fc_results_resume resume = {.step = 1 << 30, .epoch = 1e9};
            fc_results *r = NULL;
            if (fc_results_open(&r, path, &info, round == 0 ? NULL : &resume) != FC_OK) {
                _exit(1);
            }
            for (int64_t step = fc_results_run(r)->rows + 1;; step++) {
                fc_results_row row = row_of(step, (double[]){1, 2});
                if (fc_results_step(r, &row) != FC_OK || fc_results_flush(r) != FC_OK) {
                    _exit(1);
                }
            }
        }
        /* A busy machine may take long to get to the first save. */
        const struct timespec moment = {0, 10000000};
        for (int i = 0; i < 2000 && access(path, F_OK) != 0; i++) {
            nanosleep(&moment, NULL);
        }
        struct timespec pause = {0, 30000000 + 1700000 * round};
        nanosleep(&pause, NULL);
        int status = -1;
        FC_CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
        FC_CHECK(WIFSIGNALED(status));
        if (access(path, F_OK) == 0) { /* else it did not even get to its first save */
            int64_t rows = rows_of(path);
            FC_CHECK(rows >= before);
            before = rows;
        }
    }
    FC_CHECK(before > 0);
}

int main(void)
{
    test_round_trip();
    test_resume();
    test_in_the_way();
    test_cuts();
    test_reader_meanwhile();
    test_long();
    test_killed();
    return fc_check_end();
}
