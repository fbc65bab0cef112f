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
        int reason = mkdir(part, 0777) != 0 ? errno : 0;
        if (reason != 0 && (reason != EEXIST || stat(part, &info) != 0 || !S_ISDIR(info.st_mode))) {
            status = FC_FAIL(FC_RUNTIME, "cannot make the folder %s: %s", part,
                             reason == EEXIST ? "a file has its name" : strerror(reason));
        }
        if (slash == NULL) {
            break;
        }
        *slash = '/';
    }
    fc_free(&part);
    return status;
}
