/* Blocks of pictures, the unit of work that ranks share and that an interrupted run keeps. */
#include "core/log.h"
#include "core/memory.h"
#include "data/prepare/prepare_parts.h"
#include "data/prepare/tar.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <omp.h>

int64_t fci_block_count(const fci_plan *plan)
{
    return (plan->images + FCI_BLOCK - 1) / FCI_BLOCK;
}

char *fci_block_path(const fci_recipe *recipe, int64_t block)
{
    return fc_format("%s/part.%07lld", recipe->work, (long long)block);
}

char *fci_shard_path(const fci_recipe *recipe, int64_t block)
{
    return fc_format("%s/%06lld.tar", recipe->export, (long long)block);
}

/* Where a block's pictures go, in their order whatever the order in which they are done. */
typedef struct block {
    const fci_recipe *recipe;
    fci_plan_image *image; /* (count) */
    fci_picture_job *job;
    bool *done;
    int count, next; /* next: to be written */
    fci_part_writer part;
    fc_replace *shard;       /* exporting: the crops; the part has the counts alone */
    fci_counts *rank_counts; /* of this rank so far, for too many bad pictures */
    int64_t listed;
    int named; /* dropped pictures named so far */
    char first_bad[512];
    fci_counts counts;
    fc_status status;
    char message[512];
} block;

fc_status fci_check_bad(const fci_recipe *recipe, const fci_counts *counts, int64_t listed,
                        const char *example)
{
    int64_t bad = fci_counts_bad(counts);
    if (!((double)bad > recipe->max_bad_fraction * (double)listed)) {
        return FC_OK;
    }
    bool all_missing = bad == counts->of[FCI_COUNT_pictures_missing];
    return FC_FAIL(all_missing ? FC_NOINPUT : FC_DATA,
                   "%s%s%lld of %lld pictures are missing or damaged so far; max_bad_fraction: %g "
                   "allows no more%s",
                   example, *example != '\0' ? " (" : "", (long long)bad, (long long)listed,
                   recipe->max_bad_fraction, *example != '\0' ? ")" : "");
}

static fc_status write_job(block *b, const fci_picture_job *job)
{
    enum { NAMED = 10 };
    if (job->status != FC_OK) {
        return FC_FAIL(job->status, "%s", job->message);
    }
    fci_counts_add(&b->counts, &job->counts);
    fci_counts_add(b->rank_counts, &job->counts);
    if (job->dropped) {
        if (job->message[0] != '\0' && b->first_bad[0] == '\0') {
            snprintf(b->first_bad, sizeof b->first_bad, "%s", job->message);
        }
        if (job->message[0] != '\0') {
            FC_TRY(fci_check_bad(b->recipe, b->rank_counts, b->listed, b->first_bad));
            if (b->named++ < NAMED) {
                fc_log_warn("left out: %s", job->message);
            }
        }
        return FC_OK;
    }
    if (b->recipe->export != NULL) {
        FC_TRY(fc_replace_write(b->shard, job->shard.data, job->shard.count));
    } else {
        FC_TRY(fci_part_add(&b->part, job));
    }
    return FC_OK;
}

/* One more is done; write those that are next in order. Called by one thread at a time. */
static void finish_job(block *b, int i)
{
    b->done[i] = true;
    while (b->next < b->count && b->done[b->next]) {
        fci_picture_job *job = &b->job[b->next++];
        if (b->status == FC_OK) {
            b->status = write_job(b, job);
            if (b->status != FC_OK) {
                snprintf(b->message, sizeof b->message, "%s", fc_error_message());
            }
        }
        fci_picture_job_free(job);
    }
}

static void work(block *b, const fc_tokenizer *t)
{
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < b->count; i++) {
        fci_picture_job *job = &b->job[i];
        fc_status status;
#pragma omp atomic read
        status = b->status;
        job->plan = &b->image[i];
        if (status != FC_OK) {
            job->dropped = true; /* the run ends: nothing more is begun */
        } else if (b->recipe->export != NULL) {
            fci_crops_job_run(job, b->recipe);
        } else {
            fci_picture_job_run(job, b->recipe, t);
        }
#pragma omp critical(fci_block)
        finish_job(b, i);
    }
}

static fc_status begin(block *b, int64_t number)
{
    char *part = fci_block_path(b->recipe, number);
    fc_status status = fci_part_begin(&b->part, part);
    fc_free(&part);
    if (status == FC_OK && b->recipe->export != NULL) {
        char *shard = fci_shard_path(b->recipe, number);
        status = fc_replace_begin(&b->shard, shard);
        fc_free(&shard);
    }
    return status;
}

/* The part comes last: where it is, the block is done. */
static fc_status end(block *b, fc_status status)
{
    if (status == FC_OK && b->shard != NULL) {
        fci_bytes last = {0};
        fci_tar_pack_end(&last);
        status = fc_replace_write(b->shard, last.data, last.count);
        fc_free(&last.data);
        if (status == FC_OK) {
            status = fc_replace_commit(&b->shard, true);
        }
    }
    fc_replace_abandon(&b->shard);
    return b->part.file == NULL ? status : fci_part_end(&b->part, &b->counts, status);
}

static fc_status unpack_images(block *b, const fci_bytes *bytes)
{
    fci_unpack u = {bytes->data, bytes->count, false};
    for (int i = 0; i < b->count; i++) {
        FC_TRY(fci_plan_image_unpack(&b->image[i], &u));
    }
    return FC_OK;
}

static fc_status run_block(block *b, const fci_plan *plan, const fc_tokenizer *t, int64_t number)
{
    int64_t first = number * FCI_BLOCK, left = plan->images - first;
    fci_bytes bytes = {0};
    b->count = (int)(left < FCI_BLOCK ? left : FCI_BLOCK);
    b->next = 0;
    b->status = FC_OK;
    b->counts = (fci_counts){0};
    memset(b->job, 0, FCI_BLOCK * sizeof *b->job);
    memset(b->done, 0, FCI_BLOCK * sizeof *b->done);
    fc_status status;
    FC_TRY_GOTO(status, fci_plan_read(plan, first, b->count, &bytes), done);
    FC_TRY_GOTO(status, unpack_images(b, &bytes), done);
    status = begin(b, number);
    if (status == FC_OK) {
        work(b, t);
        status = b->status == FC_OK ? FC_OK : FC_FAIL(b->status, "%s", b->message);
    }
    status = end(b, status);
done:
    fc_free(&bytes.data);
    return status;
}

/* Blocks that are not there yet, in order; this rank takes every ranks-th of them. */
static int64_t *list_blocks(const fci_recipe *recipe, const fci_plan *plan,
                            const fc_prepare_watch *watch, int64_t *count)
{
    int64_t blocks = fci_block_count(plan), missing = 0;
    int64_t ranks = watch->ranks > 0 ? watch->ranks : 1;
    int64_t *mine = fc_alloc((size_t)(blocks / ranks) + 1, sizeof *mine);
    *count = 0;
    for (int64_t i = 0; i < blocks; i++) {
        char *path = fci_block_path(recipe, i);
        if (access(path, F_OK) != 0 && missing++ % ranks == watch->rank) {
            mine[(*count)++] = i;
        }
        fc_free(&path);
    }
    return mine;
}

fc_status fci_blocks_run(const fci_recipe *recipe, const fci_plan *plan, const fc_tokenizer *t,
                         const fc_prepare_watch *watch)
{
    int64_t count;
    int64_t *mine = list_blocks(recipe, plan, watch, &count);
    fci_counts rank_counts = plan->counts;
    block b = {.recipe = recipe,
               .rank_counts = &rank_counts,
               .listed = plan->counts.of[FCI_COUNT_pictures_listed],
               .image = fc_alloc(FCI_BLOCK, sizeof *b.image),
               .job = fc_alloc(FCI_BLOCK, sizeof *b.job),
               .done = fc_alloc(FCI_BLOCK, sizeof *b.done)};
    int64_t total = plan->images,
            had = total - count * FCI_BLOCK * (watch->ranks > 1 ? watch->ranks : 1);
    had = had < 0 ? 0 : had; /* an interrupted run's; other ranks are as far as this one */
    fc_status status = FC_OK;
    for (int64_t i = 0; i < count && status == FC_OK; i++) {
        if (watch->step != NULL) {
            watch->step(watch->ctx, "prepare", had + (total - had) * i / count, total);
        }
        if (watch->stop != NULL && watch->stop()) {
            status = FC_FAIL(FC_INTERRUPTED,
                             "stopped; what is done is kept in %s: the same command goes on from "
                             "there",
                             recipe->work);
        } else {
            status = run_block(&b, plan, t, mine[i]);
        }
    }
    if (watch->step != NULL && status == FC_OK) {
        watch->step(watch->ctx, "prepare", total, total);
    }
    for (int i = 0; i < FCI_BLOCK; i++) {
        fci_plan_image_free(&b.image[i]);
    }
    fc_free(&b.image);
    fc_free(&b.job);
    fc_free(&b.done);
    fc_free(&mine);
    return status;
}
