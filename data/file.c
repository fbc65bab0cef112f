#include "data/file.h"

#include "core/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

fc_status fci_file_read_part(const char *path, int64_t offset, int64_t bytes, uint8_t **data,
                             size_t *count)
{
    *data = NULL;
    *count = 0;
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return FC_FAIL(FC_NOINPUT, "%s: %s", path, strerror(errno));
    }
    fc_status status = FC_OK;
    struct stat about;
    if (fstat(fileno(f), &about) != 0 || !S_ISREG(about.st_mode)) {
        status = FC_FAIL(FC_NOINPUT, "%s: not a file", path);
        goto done;
    }
    int64_t left = (int64_t)about.st_size - offset;
    size_t size = (size_t)(left < 0 ? 0 : bytes >= 0 && bytes < left ? bytes : left);
    setvbuf(f, NULL, _IONBF, 0); /* one large read */
    FC_TRY_GOTO(status, fc_try_room((void **)data, size + 1, 1, path), done);
    (*data)[size] = 0;
    if (fseeko(f, (off_t)offset, SEEK_SET) != 0 || fread(*data, 1, size, f) != size) {
        status = FC_FAIL(FC_NOINPUT, "%s: cannot be read: %s", path, strerror(errno));
        fc_free(data);
        goto done;
    }
    *count = size;
done:
    fclose(f);
    return status;
}

fc_status fci_file_read(const char *path, uint8_t **bytes, size_t *count)
{
    FC_TRY(fci_file_read_part(path, 0, -1, bytes, count));
    return FC_OK;
}

fc_status fci_file_temporary(const char *folder, FILE **out)
{
    char *path = fc_format("%s/work.XXXXXX", folder);
    int fd = mkostemp(path, O_CLOEXEC);
    *out = fd < 0 ? NULL : fdopen(fd, "w+b");
    fc_status status = FC_OK;
    if (*out == NULL) {
        status = FC_FAIL(FC_RUNTIME, "cannot create a temporary file in %s: %s", folder,
                         strerror(errno));
    } else {
        unlink(path);
    }
    fc_free(&path);
    return status;
}

fc_status fci_file_write(const char *path, const uint8_t *bytes, size_t count)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL) {
        return FC_FAIL(FC_RUNTIME, "%s: cannot be written: %s", path, strerror(errno));
    }
    bool whole = fwrite(bytes, 1, count, f) == count;
    int reason = errno;
    if (fclose(f) != 0 && whole) {
        whole = false;
        reason = errno;
    }
    return whole ? FC_OK : FC_FAIL(FC_RUNTIME, "%s: cannot be written: %s", path, strerror(reason));
}

fc_status fci_file_make_folder(const char *path)
{
    fc_status status = FC_OK;
    char *folder = fc_strdup(path);
    for (char *p = folder + 1; *folder != '\0' && *p != '\0'; p++) {
        if (*p != '/') {
            continue;
        }
        *p = '\0';
        if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
            status =
                FC_FAIL(FC_RUNTIME, "%s: this folder cannot be made: %s", folder, strerror(errno));
            break;
        }
        *p = '/';
    }
    fc_free(&folder);
    return status;
}
