/* Worker threads take pictures, not batches: all of them work on the oldest batch that has pictures
 * left, so that few batches lie in memory and the first is there soon. A batch is planned under the
 * lock (index arrays only), so that steps are planned in order and what a batch holds does not
 * depend on the threads. Batches live in a ring: step s in slot s modulo their number. */
#include "data/loader.h"

#include "core/crash.h"
#include "core/fault.h"
#include "core/log.h"
#include "core/memory.h"
#include "data/batch.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

typedef enum { SLOT_FREE, SLOT_OPEN, SLOT_READY } slot_state;

typedef struct slot {
    fci_batch_slot build;
    slot_state state;
    int64_t next, done; /* pictures taken by workers, and finished */
    bool bad;           /* some picture did not decode */
    fc_status status;   /* of the picture lowest in order that failed */
    int64_t failed_at;
    char *message, *trace; /* heap, where status is not FC_OK */
} slot;

struct fc_loader {
    fc_store *store;
    fc_sampler *sampler;
    fc_loader_options options;
    int64_t *images; /* scratch of planning */
    pthread_mutex_t mutex;
    pthread_cond_t work;  /* a slot became free, or stop */
    pthread_cond_t ready; /* a slot became ready */
    bool stop;
    int64_t planned;   /* next step to plan */
    int64_t delivered; /* next step to deliver */
    bool held;         /* the caller has the batch of the step before */
    slot *slots;
    int slot_count;
    pthread_t *threads;
    int thread_count;
    int64_t *named; /* bad pictures that a warning has named */
    int64_t named_count;
};

static slot *slot_of(fc_loader *l, int64_t step)
{
    return &l->slots[step % l->slot_count];
}

/* Keep the failure of the picture lowest in order, so that the message does not depend on threads.
 */
static void keep_failure(slot *s, fc_status status, int64_t at)
{
    if (s->status == FC_OK || at < s->failed_at) {
        fc_free(&s->message);
        fc_free(&s->trace);
        s->status = status;
        s->failed_at = at;
        s->message = fc_strdup(fc_error_message());
        s->trace = fc_strdup(fc_error_trace());
    }
    fc_error_clear();
}

/* Plan the next step; the lock is held. */
static void plan_next(fc_loader *l)
{
    int64_t step = l->planned++;
    slot *s = slot_of(l, step);
    const fc_loader_options *o = &l->options;
    fc_sampler_images(l->sampler, step, o->first, o->count, l->images);
    s->state = SLOT_OPEN;
    s->next = s->done = 0;
    s->bad = false;
    fci_batch_forget_bad(&s->build);
    fc_status status =
        fci_batch_plan(&s->build, l->store, o, step, step / fc_sampler_steps_per_epoch(l->sampler),
                       l->images, o->count);
    if (status != FC_OK) {
        keep_failure(s, status, -1);
        s->next = o->count;
    }
    if (status != FC_OK || o->count == 0) {
        s->state = SLOT_READY;
        pthread_cond_broadcast(&l->ready);
    }
}

/* Build one picture of a slot; the lock is held on entry and exit, not meanwhile. */
static void work_on(fc_loader *l, slot *s, fci_batch_scratch *scratch)
{
    int64_t index = s->next++;
    bool bad;
    pthread_mutex_unlock(&l->mutex);
    fc_fault_set_thread_step(s->build.batch.step + 1);
    fc_status status = index == 0 ? fc_fault_here(FC_AT_loader) : FC_OK;
    bad = false;
    if (status == FC_OK) {
        status = fci_batch_piece(&s->build, scratch, l->store, &l->options, index, &bad);
    }
    pthread_mutex_lock(&l->mutex);
    if (bad) {
        s->bad = true;
    } else if (status != FC_OK) {
        keep_failure(s, status, index);
    }
    if (++s->done < l->options.count) {
        return;
    }
    if (s->bad && s->status == FC_OK) { /* rare: build it again, alone, with other pictures */
        int64_t epoch = s->build.batch.step / fc_sampler_steps_per_epoch(l->sampler);
        pthread_mutex_unlock(&l->mutex);
        status = fci_batch_fill(&s->build, scratch, l->store, &l->options, epoch);
        pthread_mutex_lock(&l->mutex);
        if (status != FC_OK) {
            keep_failure(s, status, 0);
        }
    }
    if (l->options.ready != NULL && s->status == FC_OK) {
        pthread_mutex_unlock(&l->mutex);
        l->options.ready(l->options.ready_ctx, (int)(s - l->slots), &s->build.batch);
        pthread_mutex_lock(&l->mutex);
    }
    s->state = SLOT_READY;
    pthread_cond_broadcast(&l->ready);
}

static void *worker(void *arg)
{
    fc_loader *l = arg;
    fci_batch_scratch scratch = {0};
    FC_IGNORE(fc_crash_thread("loader thread"));
    pthread_mutex_lock(&l->mutex);
    while (!l->stop) {
        /* Pictures are left in the newest planned batch at most. */
        slot *newest = l->planned > l->options.steps_begin ? slot_of(l, l->planned - 1) : NULL;
        if (newest != NULL && newest->state == SLOT_OPEN && newest->next < l->options.count) {
            work_on(l, newest, &scratch);
        } else if (l->planned < l->options.steps_end &&
                   slot_of(l, l->planned)->state == SLOT_FREE) {
            plan_next(l);
            pthread_cond_broadcast(&l->work);
        } else {
            pthread_cond_wait(&l->work, &l->mutex);
        }
    }
    pthread_mutex_unlock(&l->mutex);
    fci_batch_scratch_fini(&scratch);
    return NULL;
}

/* Signals are for the main thread: workers start with all of them blocked. */
static fc_status start_workers(fc_loader *l)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    while (l->thread_count < l->options.workers && error == 0) {
        error = pthread_create(&l->threads[l->thread_count], NULL, worker, l);
        l->thread_count += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        return FC_FAIL(FC_RUNTIME, "cannot start loader thread %d of %d: %s", l->thread_count + 1,
                       l->options.workers, strerror(error));
    }
    return FC_OK;
}

fc_status fc_loader_create(fc_loader **out, fc_store *store, fc_sampler *sampler,
                           const fc_loader_options *options)
{
    *out = NULL;
    FC_ASSERT(options->workers >= 1 && options->depth >= 2 && options->count >= 0);
    FC_TRY(fci_batch_check_options(store, options));
    fc_loader *l = fc_alloc(1, sizeof *l);
    l->store = store;
    l->sampler = sampler;
    l->options = *options;
    l->planned = l->delivered = options->steps_begin;
    l->images = fc_alloc((size_t)options->count, sizeof *l->images);
    l->slot_count = options->depth + 1; /* one is in the consumer's hands */
    l->slots = fc_alloc((size_t)l->slot_count, sizeof *l->slots);
    l->threads = fc_alloc((size_t)options->workers, sizeof *l->threads);
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    fc_status status = start_workers(l);
    if (status != FC_OK) {
        fc_loader_destroy(&l);
        return status;
    }
    *out = l;
    return FC_OK;
}

/* Warn about pictures not named yet. */
static void name_bad(fc_loader *l, const fci_batch_slot *build)
{
    for (int64_t i = 0; i < build->bad_count; i++) {
        const fci_bad_picture *bad = &build->bad[i];
        bool known = false;
        for (int64_t k = 0; k < l->named_count && !known; k++) {
            known = l->named[k] == bad->image;
        }
        if (!known) {
            l->named = fc_realloc(l->named, (size_t)l->named_count + 1, sizeof *l->named);
            l->named[l->named_count++] = bad->image;
            fc_log_warn("a bad picture is left out: %s", bad->message);
        }
    }
}

/* Wait until a slot is ready; the lock is held. Returns seconds. */
static double wait_ready(fc_loader *l, const slot *s)
{
    if (s->state == SLOT_READY) {
        return 0;
    }
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    while (s->state != SLOT_READY) {
        pthread_cond_wait(&l->ready, &l->mutex);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
}

fc_status fc_loader_next(fc_loader *l, const fc_batch **batch, double *waited)
{
    *batch = NULL;
    if (waited != NULL) {
        *waited = 0;
    }
    if (l->delivered >= l->options.steps_end) {
        return FC_FAIL(FC_BUG, "the loader was asked for step %lld, its last is %lld",
                       (long long)l->delivered, (long long)l->options.steps_end - 1);
    }
    slot *s = slot_of(l, l->delivered);
    pthread_mutex_lock(&l->mutex);
    if (l->held) { /* the caller is done with the batch before */
        l->held = false;
        slot_of(l, l->delivered - 1)->state = SLOT_FREE;
        pthread_cond_broadcast(&l->work);
    }
    double seconds = wait_ready(l, s);
    pthread_mutex_unlock(&l->mutex);
    if (waited != NULL) {
        *waited = seconds;
    }
    if (s->status != FC_OK) { /* stays: a failed loader fails again */
        fc_error_set(s->message, s->trace);
        FC_TRY(s->status);
    }
    name_bad(l, &s->build);
    l->delivered++;
    l->held = true;
    *batch = &s->build.batch;
    return FC_OK;
}

void fc_loader_destroy(fc_loader **loader)
{
    fc_loader *l = *loader;
    *loader = NULL;
    if (l == NULL) {
        return;
    }
    pthread_mutex_lock(&l->mutex);
    l->stop = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->mutex);
    for (int i = 0; i < l->thread_count; i++) {
        pthread_join(l->threads[i], NULL);
    }
    for (int i = 0; i < l->slot_count; i++) {
        fci_batch_slot_fini(&l->slots[i].build);
        fc_free(&l->slots[i].message);
        fc_free(&l->slots[i].trace);
    }
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->mutex);
    fc_free(&l->images);
    fc_free(&l->named);
    fc_free(&l->slots);
    fc_free(&l->threads);
    fc_free(&l);
}
