/* Folders of a run. */
#ifndef FC_LAUNCH_FOLDER_H
#define FC_LAUNCH_FOLDER_H

#include "core/status.h"

/** Make a folder and those above it; one that is there is fine. FC_RUNTIME names the folder and the
 * system's reason. */
FC_NODISCARD fc_status fc_folder_make(const char *path);

#endif
