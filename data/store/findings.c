#include "data/store/findings.h"

#include "core/memory.h"

#include <stdlib.h>
#include <string.h>

static int by_place(const void *a, const void *b)
{
    const fc_finding *x = a, *y = b;
    if (x->place != y->place) {
        return x->place < y->place ? -1 : 1;
    }
    return strcmp(x->line, y->line);
}

void fc_findings_settle(fc_findings *f)
{
    if (f->kept > 0) {
        qsort(f->list, (size_t)f->kept, sizeof *f->list, by_place);
    }
    while (f->kept > f->limit) {
        fc_free(&f->list[--f->kept].line);
    }
}

static void keep(fc_findings *f, fc_finding finding)
{
    if (f->list == NULL) { /* twice the limit, so that settling is rare */
        f->list = fc_alloc(2 * (size_t)f->limit + 1, sizeof *f->list);
    }
    f->list[f->kept++] = finding;
    if (f->kept > 2 * f->limit) {
        fc_findings_settle(f);
    }
}

void fc_findings_add(fc_findings *f, uint64_t place, const char *line)
{
    f->count++;
    keep(f, (fc_finding){place, fc_strdup(line)});
}

void fc_findings_merge(fc_findings *into, fc_findings *from)
{
    into->count += from->count;
    for (int64_t i = 0; i < from->kept; i++) {
        keep(into, from->list[i]);
    }
    fc_free(&from->list);
    from->count = from->kept = 0;
}

void fc_findings_fini(fc_findings *f)
{
    for (int64_t i = 0; i < f->kept; i++) {
        fc_free(&f->list[i].line);
    }
    fc_free(&f->list);
    f->count = f->kept = 0;
}
