/* `fineclip sweep --jobs slurm`: what the sweep would run here goes to sbatch instead. */
#include "core/log.h"
#include "core/memory.h"
#include "core/paths.h"
#include "launch/folder.h"
#include "launch/sweep/sweep.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spawn.h>

extern char **environ;

/* The words of one command, heap, ended by NULL. */
typedef struct words {
    char **word;
    int count;
} words;

static void add(words *w, char *word)
{
    w->word = fc_realloc(w->word, (size_t)w->count + 2, sizeof *w->word);
    w->word[w->count++] = word;
    w->word[w->count] = NULL;
}

static void clear(words *w)
{
    for (int i = 0; i < w->count; i++) {
        fc_free(&w->word[i]);
    }
    fc_free(&w->word);
    w->count = 0;
}

/* A word as a shell takes it; heap. */
static char *shell_word(const char *text)
{
    bool plain = text[0] != '\0';
    size_t bytes = 3;
    for (const char *p = text; *p != '\0'; p++) {
        plain = plain && (isalnum((unsigned char)*p) || strchr("_./+-=:,", *p) != NULL);
        bytes += *p == '\'' ? 4 : 1;
    }
    if (plain) {
        return fc_strdup(text);
    }
    char *out = fc_alloc(bytes, 1), *to = out;
    *to++ = '\'';
    for (const char *p = text; *p != '\0'; p++) {
        to = *p == '\'' ? stpcpy(to, "'\\''") : (*to = *p, to + 1);
    }
    *to = '\'';
    return out;
}

static char *shell_line(const words *w)
{
    char *line = fc_strdup("");
    for (int i = 0; i < w->count; i++) {
        char *one = shell_word(w->word[i]);
        char *longer = fc_format("%s%s%s", line, i > 0 ? " " : "", one);
        fc_free(&line);
        fc_free(&one);
        line = longer;
    }
    return line;
}

/* First line of what the child wrote, to its end. */
static void read_line(int fd, char *line, size_t bytes)
{
    FILE *f = fdopen(fd, "r");
    line[0] = '\0';
    if (f == NULL) {
        close(fd);
        return;
    }
    if (fgets(line, (int)bytes, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
    }
    while (fgetc(f) != EOF) {
    }
    fclose(f);
}

/* Run a command and take the first line of its output. */
static fc_status run_command(const words *w, char *line, size_t bytes)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return FC_FAIL(FC_RUNTIME, "cannot make a pipe: %s", strerror(errno));
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    pid_t child;
    int failed = posix_spawnp(&child, w->word[0], &actions, NULL, w->word, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (failed != 0) {
        close(ends[0]);
        return FC_FAIL(FC_RUNTIME, "cannot start %s: %s", w->word[0], strerror(failed));
    }
    read_line(ends[0], line, bytes);
    int how = 0;
    while (waitpid(child, &how, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(how) || WEXITSTATUS(how) != 0) {
        return FC_FAIL(FC_RUNTIME, "%s refused the job (its own message is above)", w->word[0]);
    }
    return FC_OK;
}

/* sbatch answers --parsable with JOB or JOB;CLUSTER. */
static fc_status submit(const words *w, bool dry_run, int number, char **id)
{
    char *line = shell_line(w);
    char answer[256];
    fc_status status = FC_OK;
    if (dry_run) {
        printf("%s\n", line);
        *id = fc_format("JOB%d", number + 1);
    } else {
        status = run_command(w, answer, sizeof answer);
        answer[strcspn(answer, ";")] = '\0';
        if (status == FC_OK && !isdigit((unsigned char)answer[0])) {
            status = FC_FAIL(FC_RUNTIME, "sbatch --parsable answered \"%s\", want a job's number",
                             answer);
        }
        *id = status == FC_OK ? fc_strdup(answer) : NULL;
    }
    fc_free(&line);
    return status;
}

static void add_options(words *w, const char *options)
{
    const char *blanks = " \t\n";
    for (const char *p = options; p != NULL && *p != '\0';) {
        size_t length = strcspn(p, blanks);
        if (length > 0) {
            add(w, fc_format("%.*s", (int)length, p));
        }
        p += length;
        p += strspn(p, blanks);
    }
}

/* What a job waits for; NULL: nothing. */
typedef struct dependency {
    const char *start; /* must have ended well: trains what the job starts from */
    const char *after; /* must have ended */
} dependency;

static fc_status submit_run(const fc_sweep_run *run, const fc_sweep_jobs *jobs, const char *script,
                            dependency on, int number, char **id)
{
    words w = {0};
    add(&w, fc_strdup("sbatch"));
    add(&w, fc_strdup("--parsable"));
    add_options(&w, jobs->options);
    if (on.start != NULL) {
        bool both = on.after != NULL && on.after != on.start;
        add(&w, fc_format("--dependency=afterok:%s%s%s", on.start, both ? ",afterany:" : "",
                          both ? on.after : ""));
        add(&w, fc_strdup("--kill-on-invalid-dep=yes"));
    } else if (on.after != NULL) {
        add(&w, fc_format("--dependency=afterany:%s", on.after));
    }
    add(&w, fc_format("--job-name=%s", run->name));
    add(&w, fc_strdup(script));
    add(&w, fc_strdup(run->file));
    for (int i = 0; i < run->overrides; i++) {
        add(&w, fc_strdup(run->override[i]));
    }
    fc_status status = submit(&w, jobs->dry_run, number, id);
    clear(&w);
    if (status == FC_OK && !jobs->dry_run) {
        fc_log_info("job %s: %s", *id, run->name);
    }
    return status;
}

/* The report needs no script of its own: one process that reads files. */
static fc_status submit_report(const fc_sweep_plan *plan, const fc_sweep_jobs *jobs,
                               const char *program, const char *after, int number)
{
    words report = {0}, w = {0};
    add(&report, fc_strdup(program));
    add(&report, fc_strdup("sweep"));
    add(&report, fc_strdup(jobs->file));
    for (int i = 0; i < jobs->overrides; i++) {
        add(&report, fc_strdup(jobs->override[i]));
    }
    add(&report, fc_strdup("--report"));
    char *line = shell_line(&report), *id = NULL;
    add(&w, fc_strdup("sbatch"));
    add(&w, fc_strdup("--parsable"));
    if (after[0] != '\0') {
        add(&w, fc_format("--dependency=afterany%s", after));
    }
    add(&w, fc_format("--job-name=%s-report", plan->name));
    add(&w, fc_format("--output=%s/report.log", plan->output));
    add(&w, fc_strdup("--ntasks=1"));
    add(&w, fc_format("--wrap=%s", line));
    fc_status status = submit(&w, jobs->dry_run, number, &id);
    if (status == FC_OK && !jobs->dry_run) {
        fc_log_info("job %s: the report, into %s", id, plan->output);
    }
    fc_free(&id);
    fc_free(&line);
    clear(&report);
    clear(&w);
    return status;
}

static char *own_path(void)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    return fc_strdup(length > 0 ? path : "fineclip");
}

fc_status fc_sweep_submit(const fc_sweep_plan *plan, const fc_sweep_state *states,
                          const fc_sweep_jobs *jobs)
{
    static const char path[] = "launch/slurm/train.sbatch";
    char *script = fc_path_find(path);
    if (script == NULL) {
        return FC_FAIL(FC_NOINPUT, "%s: no such script, here or among the shipped ones", path);
    }
    char *program = own_path(), *all = fc_strdup("");
    char **ids = fc_alloc((size_t)plan->count, sizeof *ids);
    int submitted = 0;
    fc_status status = jobs->dry_run ? FC_OK : fc_folder_make(plan->output);
    /* The script starts this program, wherever it is installed. */
    if (status == FC_OK && setenv("FINECLIP", program, 1) != 0) {
        status = FC_FAIL(FC_RUNTIME, "cannot set FINECLIP: %s", strerror(errno));
    }
    for (int i = 0; i < plan->count && status == FC_OK; i++) {
        if (states[i] == FC_SWEEP_COMPLETED) {
            fc_log_info("%s is completed already", plan->run[i].name);
            continue;
        }
        dependency on = {
            .start = i > 0 && plan->has_start && states[0] != FC_SWEEP_COMPLETED ? ids[0] : NULL,
            .after = submitted >= jobs->at_once ? ids[submitted - jobs->at_once] : NULL};
        status = submit_run(&plan->run[i], jobs, script, on, submitted, &ids[submitted]);
        if (status == FC_OK) {
            char *longer = fc_format("%s:%s", all, ids[submitted++]);
            fc_free(&all);
            all = longer;
        }
    }
    if (status == FC_OK) {
        status = submit_report(plan, jobs, program, all, submitted);
    } else if (submitted > 0) {
        fc_log_warn("%d jobs were submitted before this; scancel takes them back", submitted);
    }
    for (int i = 0; i < submitted; i++) {
        fc_free(&ids[i]);
    }
    fc_free(&ids);
    fc_free(&all);
    fc_free(&program);
    fc_free(&script);
    return status;
}
