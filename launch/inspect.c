/* `fineclip inspect FILE`: find out what a file is and show what is in it. */
#include "launch/inspect.h"

#include "core/log.h"
#include "core/memory.h"
#include "data/hdf5_util.h"
#include "launch/dist.h"
#include "launch/verbs.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char help[] =
    "usage: fineclip inspect FILE [--check] [--all]\n"
    "\n"
    "What is in a store, a run's results or a safetensors checkpoint, on one screen.\n"
    "FILE may also be a run's folder: then its results.h5 is shown.\n"
    "\n"
    "  --check   read everything; list all that is wrong and leave with 65 if anything is\n"
    "  --all     every tensor of a checkpoint on its own line\n";

enum { SNIFF = 512 };

typedef fc_status (*inspect_fn)(const fci_inspect_options *options);

/* The root attribute `format` of an HDF5 file; heap, NULL where there is none. */
static fc_status hdf5_format(const char *path, char **out)
{
    *out = NULL;
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_file_locking(access, false, true); /* only reading; some file systems have no locks */
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    FC_H5(file, FC_DATA, "%s is an HDF5 file, but damaged or cut short", path);
    bool found;
    fc_status status = fci_h5_get_string(file, path, "format", out, &found);
    H5Fclose(file);
    return status;
}

static fc_status detect_hdf5(const char *path, inspect_fn *out)
{
    char *format;
    fci_h5_lock();
    fc_status status = hdf5_format(path, &format);
    fci_h5_unlock();
    FC_TRY(status);
    if (format != NULL && strcmp(format, "fineclip-store") == 0) {
        *out = fci_inspect_store;
    } else if (format != NULL && strcmp(format, "fineclip-run") == 0) {
        *out = fci_inspect_results;
    } else {
        status = FC_FAIL(FC_DATA,
                         "%s is an HDF5 file of another program: its attribute format is %s, want "
                         "fineclip-store or fineclip-run",
                         path, format == NULL ? "absent" : format);
    }
    fc_free(&format);
    return status;
}

static const char *looks_like(const unsigned char *bytes, size_t count)
{
    const struct {
        const char *magic, *what;
    } kinds[] = {
        {"PK\3\4", "a zip archive; a PyTorch checkpoint becomes safetensors with "
                   "launch/pt_to_safetensors.py"},
        {"\x80\x02", "a Python pickle; a PyTorch checkpoint becomes safetensors with "
                     "launch/pt_to_safetensors.py"},
        {"\x1f\x8b", "gzip-compressed data"},
        {"\xff\xd8\xff", "a JPEG picture"},
        {"\x89PNG", "a PNG picture"},
        {"\x7f"
         "ELF",
         "a program"},
        {"version https://git-lfs", "a Git LFS pointer; `git lfs pull` fetches the file itself"},
        {"<!DOCTYPE", "a web page"},
        {"<html", "a web page"},
        {"{", "JSON text"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t length = strlen(kinds[i].magic);
        if (count >= length && memcmp(bytes, kinds[i].magic, length) == 0) {
            return kinds[i].what;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] < 128 && isprint(bytes[i]) == 0 && isspace(bytes[i]) == 0) {
            return "unknown binary data";
        }
    }
    return "text (a YAML file is run, not inspected)";
}

static fc_status detect(const char *path, inspect_fn *out)
{
    unsigned char bytes[SNIFF];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return FC_FAIL(FC_NOINPUT, "cannot open %s: %s", path, strerror(errno));
    }
    size_t count = fread(bytes, 1, sizeof bytes, file);
    bool failed = ferror(file) != 0;
    fclose(file);
    if (failed) {
        return FC_FAIL(FC_NOINPUT, "cannot read %s", path);
    }
    if (count == 0) {
        return FC_FAIL(FC_DATA, "%s is empty", path);
    }
    if (count >= 8 && memcmp(bytes, "\x89HDF\r\n\x1a\n", 8) == 0) {
        return detect_hdf5(path, out);
    }
    if (count >= 9 && bytes[8] == '{' && bytes[7] == 0) {
        *out = fci_inspect_weights;
        return FC_OK;
    }
    return FC_FAIL(FC_DATA, "%s is neither a store, nor results, nor safetensors: it looks like %s",
                   path, looks_like(bytes, count));
}

static fc_status detect_path(fci_inspect_options *options, inspect_fn *show, char **inside)
{
    struct stat info;
    if (stat(options->path, &info) == 0 && S_ISDIR(info.st_mode)) {
        *inside = fc_format("%s/results.h5", options->path);
        if (stat(*inside, &info) != 0) {
            return FC_FAIL(FC_NOINPUT, "%s is a folder without results.h5", options->path);
        }
        options->path = *inside;
    }
    return detect(options->path, show);
}

/* Rank 0 shows; only a store's check is the work of all. */
static fc_status inspect_path(fci_inspect_options *options)
{
    char *inside = NULL;
    inspect_fn show = NULL;
    fc_status status = fc_dist_agree(detect_path(options, &show, &inside));
    if (status == FC_OK && show == fci_inspect_store) {
        status = show(options);
    } else if (status == FC_OK) {
        status = fc_dist_agree(fc_log_rank() == 0 ? show(options) : FC_OK);
    }
    fc_free(&inside);
    return status;
}

fc_status fc_verb_inspect(int argc, char **argv)
{
    fci_inspect_options options = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            if (fc_log_rank() == 0) {
                fputs(help, stdout);
            }
            return FC_OK;
        }
        if (strcmp(argv[i], "--check") == 0) {
            options.check = true;
        } else if (strcmp(argv[i], "--all") == 0) {
            options.all = true;
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            return FC_FAIL(FC_USAGE, "inspect: unknown option %s (there are --check and --all)",
                           argv[i]);
        } else if (options.path != NULL) {
            return FC_FAIL(FC_USAGE, "inspect takes one file: after %s came %s", options.path,
                           argv[i]);
        } else {
            options.path = argv[i];
        }
    }
    if (options.path == NULL) {
        return FC_FAIL(FC_USAGE, "inspect needs a file: fineclip inspect FILE [--check] [--all]");
    }
    return inspect_path(&options);
}
