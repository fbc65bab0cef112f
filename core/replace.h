/* Replacing a file in one step: written under another name, then renamed, so that a reader, or a
 * crash at any moment, meets the old file or the new one and never half of one. */
#ifndef FC_CORE_REPLACE_H
#define FC_CORE_REPLACE_H

#include "core/status.h"

#include <stddef.h>

typedef struct fc_replace fc_replace;

/** Start writing PATH.partial. FC_RUNTIME names the file and the system's reason. */
FC_NODISCARD fc_status fc_replace_begin(fc_replace **out, const char *path);
FC_NODISCARD fc_status fc_replace_write(fc_replace *r, const void *data, size_t bytes);
/** Close and rename; on failure the partial file is removed and the old one stays. Ends the object
 * either way. sync: not before the bytes are on disk, so that the file also survives the machine
 * going down. */
FC_NODISCARD fc_status fc_replace_commit(fc_replace **r, bool sync);
/** Drop what was written; nothing after commit. */
void fc_replace_abandon(fc_replace **r);

#endif
