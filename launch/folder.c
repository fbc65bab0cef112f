#include "launch/folder.h"

#include "core/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

fc_status fc_folder_make(const char *path)
{
    char *part = fc_strdup(path);
    fc_status status = FC_OK;
    for (char *slash = strchr(part + 1, '/'); status == FC_OK; slash = strchr(slash + 1, '/')) {
        if (slash != NULL) {
            *slash = '\0';
        }
        struct stat info;
        if (mkdir(part, 0777) != 0 &&
            (errno != EEXIST || stat(part, &info) != 0 || !S_ISDIR(info.st_mode))) {
            status = FC_FAIL(FC_RUNTIME, "cannot make the folder %s: %s", part, strerror(errno));
        }
        if (slash == NULL) {
            break;
        }
        *slash = '/';
    }
    fc_free(&part);
    return status;
}
