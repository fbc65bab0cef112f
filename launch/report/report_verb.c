/* The command line of `fineclip report`: which files, where to. */
#include "core/memory.h"
#include "core/paths.h"
#include "launch/dist.h"
#include "launch/report/report.h"
#include "launch/verbs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct list {
    int count;
    char **path;
} list;

static void add(list *l, char *path)
{
    l->path = fc_realloc(l->path, (size_t)l->count + 1, sizeof *l->path);
    l->path[l->count++] = path;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_folder(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

/* A folder of runs, as a sweep leaves it: all results one level below, by name. */
static fc_status add_below(list *l, const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return FC_FAIL(FC_NOINPUT, "cannot open %s: %s", folder, strerror(errno));
    }
    int before = l->count;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char *path = fc_format("%s/%s/results.h5", folder, entry->d_name);
        if (entry->d_name[0] != '.' && fc_path_is_file(path)) {
            add(l, path);
        } else {
            fc_free(&path);
        }
    }
    closedir(dir);
    if (l->count == before) {
        return FC_FAIL(FC_NOINPUT, "%s: no results.h5 in it or in a folder below it", folder);
    }
    qsort(&l->path[before], (size_t)(l->count - before), sizeof *l->path, by_name);
    return FC_OK;
}

static fc_status add_run(list *l, const char *run)
{
    if (!is_folder(run)) {
        if (!fc_path_is_file(run)) {
            return FC_FAIL(FC_NOINPUT, "cannot open %s: %s", run, strerror(errno));
        }
        add(l, fc_strdup(run));
        return FC_OK;
    }
    char *path = fc_format("%s/results.h5", run);
    if (fc_path_is_file(path)) {
        add(l, path);
        return FC_OK;
    }
    fc_free(&path);
    return add_below(l, run);
}

/* The name of a path's last part. */
static char *last_part(const char *path)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') {
        begin--;
    }
    return fc_format("%.*s", (int)(end - begin), path + begin);
}

static fc_status report(int argc, char **argv)
{
    static const char output[] = "output=", name[] = "name=";
    fc_report_options options = {0};
    list runs = {0};
    const char *folder = NULL;
    char *title = NULL;
    int given = 0;
    fc_status status = FC_OK;
    for (int i = 1; i < argc && status == FC_OK; i++) {
        if (strcmp(argv[i], "--png") == 0) {
            options.png = true;
        } else if (strncmp(argv[i], output, strlen(output)) == 0) {
            options.output = argv[i] + strlen(output);
        } else if (strncmp(argv[i], name, strlen(name)) == 0) {
            options.name = argv[i] + strlen(name);
        } else if (argv[i][0] == '-') {
            status = FC_FAIL(FC_USAGE, "%s: no such flag; there is --png", argv[i]);
        } else {
            status = add_run(&runs, argv[i]);
            folder = is_folder(argv[i]) ? argv[i] : NULL;
            given++;
        }
    }
    if (status == FC_OK && given == 0) {
        status = FC_FAIL(FC_USAGE, "no run is named; fineclip report --help explains");
    }
    if (status == FC_OK) {
        bool alone = given == 1 && folder != NULL;
        title = last_part(alone ? folder : "report");
        options.output = options.output != NULL ? options.output : alone ? folder : "report";
        options.name = options.name != NULL ? options.name : title;
        options.count = runs.count;
        options.paths = (const char *const *)runs.path;
        status = fc_report_write(&options);
    }
    for (int i = 0; i < runs.count; i++) {
        fc_free(&runs.path[i]);
    }
    fc_free(&runs.path);
    fc_free(&title);
    return status;
}

fc_status fc_verb_report(int argc, char **argv)
{
    return fc_dist_agree(fc_comm_rank(fc_dist_comm()) == 0 ? report(argc, argv) : FC_OK);
}
