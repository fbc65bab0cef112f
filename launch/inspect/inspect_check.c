/* `fineclip inspect STORE --check`: all ranks look, rank 0 says what they found. */
#include "core/log.h"
#include "core/memory.h"
#include "data/store/store_check.h"
#include "launch/dist.h"
#include "launch/inspect/inspect.h"
#include "launch/progress.h"

#include <stdio.h>
#include <string.h>

enum { MOST_FINDINGS = 100 };

static void show_progress(void *ctx, int64_t done, int64_t total)
{
    fc_progress *p = ctx;
    if (p->total == 0) {
        fc_progress_begin(p, "check", 0, total, 0);
    }
    fc_progress_step(p, done, NULL);
}

/* Findings as bytes: place, line with its NUL, and so on; heap. */
static char *pack(const fc_findings *found, int64_t *bytes)
{
    size_t size = 0;
    for (int64_t i = 0; i < found->kept; i++) {
        size += sizeof found->list[i].place + strlen(found->list[i].line) + 1;
    }
    char *packed = fc_alloc(size, 1), *to = packed;
    for (int64_t i = 0; i < found->kept; i++) {
        size_t length = strlen(found->list[i].line) + 1;
        memcpy(to, &found->list[i].place, sizeof found->list[i].place);
        memcpy(to + sizeof found->list[i].place, found->list[i].line, length);
        to += sizeof found->list[i].place + length;
    }
    *bytes = (int64_t)size;
    return packed;
}

static void unpack(const char *packed, int64_t bytes, fc_findings *into)
{
    for (const char *at = packed; at < packed + bytes;) {
        uint64_t place;
        memcpy(&place, at, sizeof place);
        at += sizeof place;
        fc_findings_add(into, place, at);
        at += strlen(at) + 1;
    }
}

/* Everybody's findings on every rank, in order. */
static fc_status gather(fc_comm *comm, fc_findings *found)
{
    size_t ranks = (size_t)fc_comm_size(comm);
    int64_t bytes, *counts = fc_alloc(ranks, sizeof *counts), total = 0, count = found->count;
    char *mine = pack(found, &bytes), *all = NULL;
    fc_findings_fini(found);
    fc_status status;
    FC_TRY_GOTO(status, fc_comm_all_reduce(comm, &count, 1, FC_COMM_I64, FC_COMM_SUM), done);
    FC_TRY_GOTO(status, fc_comm_all_gather_i64(comm, bytes, counts), done);
    for (size_t r = 0; r < ranks; r++) {
        total += counts[r];
    }
    all = fc_alloc((size_t)total, 1);
    FC_TRY_GOTO(status, fc_comm_all_gather(comm, mine, all, counts, FC_COMM_U8), done);
    unpack(all, total, found);
    found->count = count;
    fc_findings_settle(found);
done:
    fc_free(&mine);
    fc_free(&all);
    fc_free(&counts);
    return status;
}

static void print(const fc_findings *found)
{
    printf("\n");
    for (int64_t i = 0; i < found->kept; i++) {
        printf("%s\n", found->list[i].line);
    }
    if (found->count > found->kept) {
        printf("and %s more\n", fci_text_count(found->count - found->kept));
    }
}

fc_status fci_inspect_check(const char *path)
{
    fc_comm *comm = fc_dist_comm();
    fc_progress progress = {0};
    fc_findings found = {.limit = MOST_FINDINGS};
    fc_store_check_options options = {.part = fc_comm_rank(comm),
                                      .parts = fc_comm_size(comm),
                                      .threads = fc_dist_cores(),
                                      .progress = show_progress,
                                      .ctx = &progress};
    fc_status status = fc_dist_agree(fc_store_check(&found, path, &options));
    if (progress.total > 0) {
        fc_progress_end(&progress);
    }
    if (status == FC_OK) {
        status = gather(comm, &found);
    }
    if (status == FC_OK && fc_comm_rank(comm) == 0) {
        print(&found);
        if (found.count == 0) {
            printf("checked: no findings\n");
        }
    }
    if (status == FC_OK && found.count > 0) {
        status = FC_FAIL(FC_DATA, "%s: %lld finding%s", path, (long long)found.count,
                         found.count == 1 ? "" : "s");
    }
    fc_findings_fini(&found);
    return status;
}
