/* Heap memory that reports failure by status; every allocation of the program outside arenas goes
 * through here. */
#ifndef FC_CORE_MEMORY_H
#define FC_CORE_MEMORY_H

#include "core/status.h"

#include <stddef.h>

/** Zeroed memory of count x size bytes; ends the job with 71 when there is none (no caller can go
 * on without). */
void *fc_alloc(size_t count, size_t size);
/** Grow or shrink; ends the job when there is no memory. New bytes are not zeroed. */
void *fc_realloc(void *old, size_t count, size_t size);
/** As fc_alloc for sizes that come from a file: FC_NOMEM with `what` in the message instead of
 * ending the job. */
FC_NODISCARD fc_status fc_try_alloc(void **out, size_t count, size_t size, const char *what);
/** The same without zeroing, for what will be filled whole: pictures. */
FC_NODISCARD fc_status fc_try_room(void **out, size_t count, size_t size, const char *what);
/** Free and NULL what a pointer variable points to: fc_free(&p). */
#define fc_free(pointer_address) fci_free((void **)(void *)(pointer_address))
void fci_free(void **p);
/** For work that takes and frees megabytes again and again, as on pictures: freed memory stays with
 * this process, where the system would otherwise clear every page of it anew. With C libraries
 * other than GNU's it does nothing. */
void fc_memory_keep(void);
char *fc_strdup(const char *text);
/** printf into new heap memory. */
char *fc_format(const char *fmt, ...) FC_PRINTF(1, 2);

#endif
