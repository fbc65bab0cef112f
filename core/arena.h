/* Bump memory with mark and rewind. Grows by chunks until it has seen the largest step, then
 * allocates no more. */
#ifndef FC_CORE_ARENA_H
#define FC_CORE_ARENA_H

#include "core/backend.h"

typedef struct fc_arena fc_arena;

typedef struct fc_arena_mark {
    int chunk;
    size_t used;
} fc_arena_mark;

fc_arena *fc_arena_create(void);
/** Of a backend's memory. */
fc_arena *fc_arena_create_on(const fc_backend *backend);
void fc_arena_destroy(fc_arena **a);
/** Uninitialised bytes, 64-byte aligned; ends the job with 71 when memory is out. */
void *fc_arena_alloc(fc_arena *a, size_t bytes);
fc_arena_mark fc_arena_save(const fc_arena *a);
/** Drop everything allocated since the mark. */
void fc_arena_rewind(fc_arena *a, fc_arena_mark mark);
/** Drop everything; several chunks become one as large as the peak, so that a steady state never
 * grows. Debug builds fill with NaN. */
void fc_arena_reset(fc_arena *a);
/** Take so many bytes in one piece, unless there are; 0: nothing. While nothing is allocated. */
void fc_arena_reserve(fc_arena *a, size_t bytes);
/** Give all memory back; more is taken as it is needed. While nothing is allocated. */
void fc_arena_release(fc_arena *a);
/** Bytes an arena takes to have room for so many. */
size_t fc_arena_room(size_t bytes);
/** Most bytes ever in use between resets. */
size_t fc_arena_peak(const fc_arena *a);

#endif
