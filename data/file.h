/* Whole files, and folders of output files. */
#ifndef FC_DATA_FILE_H
#define FC_DATA_FILE_H

#include "core/status.h"

#include <stdint.h>
#include <stdio.h>

/** Read a whole file into heap memory, with one zero byte after it. FC_NOINPUT names the path and
 * the reason. */
FC_NODISCARD fc_status fci_file_read(const char *path, uint8_t **bytes, size_t *count);
/** Bytes [offset, offset + bytes) of a file, fewer where it ends before; bytes -1: to the end. */
FC_NODISCARD fc_status fci_file_read_part(const char *path, int64_t offset, int64_t bytes,
                                          uint8_t **data, size_t *count);
/** A file in `folder` without a name: nothing of it is left however the program ends. */
FC_NODISCARD fc_status fci_file_temporary(const char *folder, FILE **out);
/** Write a whole file. FC_RUNTIME names the path and the reason. */
FC_NODISCARD fc_status fci_file_write(const char *path, const uint8_t *bytes, size_t count);
/** Make the folder a file will lie in, and those above it, where they are missing. */
FC_NODISCARD fc_status fci_file_make_folder(const char *path);

#endif
