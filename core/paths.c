#include "core/paths.h"

#include "core/build_info.h"
#include "core/memory.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Folder of the running program's ../share/fineclip; NULL where /proc does not say. */
static char *next_to_program(void)
{
    char program[PATH_MAX];
    ssize_t bytes = readlink("/proc/self/exe", program, sizeof program - 1);
    if (bytes <= 0) {
        return NULL;
    }
    program[bytes] = '\0';
    char *slash = strrchr(program, '/');
    return slash != NULL ? fc_format("%.*s/../share/fineclip", (int)(slash - program), program)
                         : NULL;
}

char *fc_path_share(int i)
{
    const char *set = getenv("FINECLIP_SHARE");
    int next = 0;
    if (set != NULL && *set != '\0' && next++ == i) {
        return fc_strdup(set);
    }
    char *program = next_to_program();
    if (program != NULL && next++ == i) {
        return program;
    }
    fc_free(&program);
    return next == i ? fc_strdup(FC_SOURCE_DIR) : NULL;
}

bool fc_path_is_file(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && !S_ISDIR(about.st_mode);
}

char *fc_path_find_shared(const char *path)
{
    char *share;
    for (int i = 0; (share = fc_path_share(i)) != NULL; i++) {
        char *whole = fc_format("%s/%s", share, path);
        fc_free(&share);
        if (fc_path_is_file(whole)) {
            return whole;
        }
        fc_free(&whole);
    }
    return NULL;
}

char *fc_path_find(const char *path)
{
    if (fc_path_is_file(path)) {
        return fc_strdup(path);
    }
    return path[0] != '/' ? fc_path_find_shared(path) : NULL;
}
