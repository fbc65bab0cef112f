/* Whole files, and folders of output files. */
#ifndef FC_DATA_FILE_H
#define FC_DATA_FILE_H

#include "core/status.h"

#include <stdint.h>

/** Read a whole file into heap memory, with one zero byte after it. FC_NOINPUT names the path and
 * the reason. */
FC_NODISCARD fc_status fci_file_read(const char *path, uint8_t **bytes, size_t *count);
/** Write a whole file. FC_RUNTIME names the path and the reason. */
FC_NODISCARD fc_status fci_file_write(const char *path, const uint8_t *bytes, size_t count);
/** Make the folder a file will lie in, and those above it, where they are missing. */
FC_NODISCARD fc_status fci_file_make_folder(const char *path);

#endif
