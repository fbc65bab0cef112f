/* `fineclip inspect FILE`: find out what a file is and show what is in it. */
#include "launch/inspect/inspect.h"

#include "core/log.h"
#include "core/memory.h"
#include "data/store/hdf5_util.h"
#include "launch/dist.h"
#include "launch/verbs.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char help[] =
    "usage: fineclip inspect FILE [--check] [--all]\n"
    "       fineclip inspect STORE --sheet OUT.png [--count N] [--seed N] [--pictures I,J,...]\n"
    "       fineclip inspect STORE STORE [--check] [--all]\n"
    "\n"
    "What is in a store, a run's results or a safetensors checkpoint, on one screen. FILE may "
    "also\n"
    "be a run's folder: then its results.h5 is shown. Two stores: the pictures that both hold,\n"
    "told by the hashes of their source files.\n"
    "\n"
    "  --check   read everything; list what is wrong (the first 100 findings, all are counted) "
    "and\n"
    "            leave with 65 if anything is. Under mpirun every rank reads its share. Of two\n"
    "            stores: leave with 65 if they share a picture\n"
    "  --sheet OUT.png      draw pictures of a store with their boxes, captions and crops\n"
    "    --count N          how many (default 24)\n"
    "    --seed N           another choice of them (default 0)\n"
    "    --pictures I,J     these, by their index in the store\n"
    "  --all     every tensor of a checkpoint, every picture that two stores share, the recipe of\n"
    "            a store\n"
    "\n"
    "Examples\n"
    "  fineclip inspect data/coco_train2017.h5\n"
    "  mpirun -np 8 fineclip inspect data/coco_train2017.h5 --check\n"
    "  fineclip inspect data/coco_train2017.h5 --sheet sheet.png --count 12 --seed 3\n"
    "  fineclip inspect data/cc.h5 data/coco_val2017.h5\n"
    "  fineclip inspect runs/quickstart\n";

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

/* A run's folder stands for its results.h5 (*inside, heap). */
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

static fc_status fits(const fci_inspect_options *options, inspect_fn show)
{
    if (show == fci_inspect_store) {
        return FC_OK;
    }
    if (options->sheet != NULL) {
        return FC_FAIL(FC_USAGE, "--sheet draws the pictures of a store, and %s is none",
                       options->path);
    }
    if (options->second != NULL) {
        return FC_FAIL(FC_USAGE, "two files are compared where both are stores, and %s is none",
                       options->path);
    }
    return FC_OK;
}

/* Rank 0 shows; only a store's check is the work of all. */
static fc_status inspect_path(fci_inspect_options *options)
{
    char *inside = NULL;
    inspect_fn show = NULL;
    fc_status status = detect_path(options, &show, &inside);
    if (status == FC_OK) {
        status = fits(options, show);
    }
    if (status == FC_OK && options->second != NULL) {
        inspect_fn second;
        status = detect(options->second, &second);
        if (status == FC_OK && second != fci_inspect_store) {
            status = FC_FAIL(FC_USAGE, "%s is a store, %s is none: nothing to compare",
                             options->path, options->second);
        }
        show = fci_inspect_overlap;
    }
    status = fc_dist_agree(status);
    if (status == FC_OK && show == fci_inspect_store && options->sheet == NULL) {
        status = show(options);
    } else if (status == FC_OK) {
        show = options->sheet != NULL ? fci_inspect_sheet : show;
        status = fc_dist_agree(fc_log_rank() == 0 ? show(options) : FC_OK);
    }
    fc_free(&inside);
    return status;
}

/* ---- Arguments ---- */

static fc_status whole_number(const char *option, const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < 0) {
        return FC_FAIL(FC_USAGE, "inspect: %s wants a whole number, not '%s'", option, text);
    }
    *out = value;
    return FC_OK;
}

/* An option with a value; *taken: it is one. */
static fc_status take_value(fci_inspect_options *options, const char *option, const char *value,
                            bool *taken)
{
    const char *const texts[] = {"--sheet", "--pictures"};
    const char **text[] = {&options->sheet, &options->pictures};
    const char *const numbers[] = {"--count", "--seed"};
    int64_t *number[] = {&options->count, &options->seed};
    *taken = true;
    for (int i = 0; i < 2; i++) {
        bool is_text = strcmp(option, texts[i]) == 0;
        if (!is_text && strcmp(option, numbers[i]) != 0) {
            continue;
        }
        if (value == NULL) {
            return FC_FAIL(FC_USAGE, "inspect: %s wants a value", option);
        }
        if (!is_text) {
            return whole_number(option, value, number[i]);
        }
        *text[i] = value;
        return FC_OK;
    }
    *taken = false;
    return FC_OK;
}

static fc_status take(fci_inspect_options *options, const char *argument)
{
    if (strcmp(argument, "--check") == 0) {
        options->check = true;
    } else if (strcmp(argument, "--all") == 0) {
        options->all = true;
    } else if (argument[0] == '-' && argument[1] != '\0') {
        return FC_FAIL(FC_USAGE,
                       "inspect: unknown option %s (there are --check, --all, --sheet, --count, "
                       "--seed and --pictures)",
                       argument);
    } else if (options->path == NULL) {
        options->path = argument;
    } else if (options->second == NULL) {
        options->second = argument;
    } else {
        return FC_FAIL(FC_USAGE, "inspect takes one file, or two stores: after %s came %s",
                       options->second, argument);
    }
    return FC_OK;
}

static fc_status parse(fci_inspect_options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool taken;
        FC_TRY(take_value(options, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &taken));
        if (taken) {
            i++;
        } else {
            FC_TRY(take(options, argv[i]));
        }
    }
    if (options->path == NULL) {
        return FC_FAIL(FC_USAGE, "inspect needs a file: fineclip inspect FILE [--check] [--all]");
    }
    if (options->sheet != NULL && options->second != NULL) {
        return FC_FAIL(FC_USAGE, "--sheet draws one store: after %s came %s", options->path,
                       options->second);
    }
    if (options->sheet == NULL &&
        (options->count > 0 || options->seed > 0 || options->pictures != NULL)) {
        return FC_FAIL(FC_USAGE, "--count, --seed and --pictures go with --sheet OUT.png");
    }
    return FC_OK;
}

fc_status fc_verb_inspect(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            if (fc_log_rank() == 0) {
                fputs(help, stdout);
            }
            return FC_OK;
        }
    }
    fci_inspect_options options = {0};
    FC_TRY(parse(&options, argc, argv));
    return inspect_path(&options);
}
