#include "core/memory.h"

#include "core/fatal.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

static fc_status no_memory(size_t count, size_t size, const char *what)
{
    return FC_FAIL(FC_NOMEM, "no memory for %zu x %zu bytes (%s)", count, size, what);
}

void *fc_alloc(size_t count, size_t size)
{
    void *p = calloc(count > 0 ? count : 1, size > 0 ? size : 1);
    if (p == NULL) {
        fc_fatal(no_memory(count, size, "heap"));
    }
    return p;
}

void *fc_realloc(void *old, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        fc_fatal(no_memory(count, size, "heap"));
    }
    void *p = realloc(old, count * size > 0 ? count * size : 1);
    if (p == NULL) {
        fc_fatal(no_memory(count, size, "heap"));
    }
    return p;
}

fc_status fc_try_alloc(void **out, size_t count, size_t size, const char *what)
{
    *out = calloc(count > 0 ? count : 1, size > 0 ? size : 1);
    return *out == NULL ? no_memory(count, size, what) : FC_OK;
}

fc_status fc_try_room(void **out, size_t count, size_t size, const char *what)
{
    bool fits = size == 0 || count <= SIZE_MAX / size;
    *out = fits ? malloc(count * size > 0 ? count * size : 1) : NULL;
    return *out == NULL ? no_memory(count, size, what) : FC_OK;
}

void fci_free(void **p)
{
    free(*p);
    *p = NULL;
}

void fc_memory_keep(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 25); /* the largest it allows */
    mallopt(M_TRIM_THRESHOLD, 1 << 26); /* of each thread's heap */
#endif
}

char *fc_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(fc_alloc(bytes, 1), text, bytes);
}

char *fc_format(const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = fc_alloc((size_t)(n < 0 ? 0 : n) + 1, 1);
    vsnprintf(text, (size_t)(n < 0 ? 0 : n) + 1, fmt, again);
    va_end(again);
    return text;
}
