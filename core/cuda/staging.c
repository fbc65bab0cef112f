/* The runtime promises only that an asynchronous copy from pageable memory may have read it when
 * the call returns: where the device reaches the process's pages by itself it need not have. So
 * bytes go through pinned memory of our own, in slots taken in turn: one that was used long ago is
 * free again, and nobody waits for the stream. */
#include "core/cuda/staging.h"

#include "core/cuda/runtime.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

enum { SLOTS = 64, SLOT_BYTES = 256 << 10 };

static struct {
    pthread_mutex_t lock; /* threads that draw weights upload them */
    char *pinned;         /* NULL: not started */
    cudaEvent_t done[SLOTS];
    bool used[SLOTS];
    int next;
} staging = {.lock = PTHREAD_MUTEX_INITIALIZER};

void fci_staging_start(void)
{
    void *at = NULL;
    fci_cuda_check(cudaMallocHost(&at, (size_t)SLOTS * SLOT_BYTES), "pinned memory for copies");
    staging.pinned = at;
    staging.next = 0;
    for (int i = 0; i < SLOTS; i++) {
        fci_cuda_check(cudaEventCreateWithFlags(&staging.done[i], cudaEventDisableTiming),
                       "cudaEventCreate");
        staging.used[i] = false;
    }
}

void fci_staging_stop(void)
{
    if (staging.pinned == NULL) {
        return;
    }
    for (int i = 0; i < SLOTS; i++) {
        (void)cudaEventDestroy(staging.done[i]);
    }
    (void)cudaFreeHost(staging.pinned);
    staging.pinned = NULL;
}

static void upload_slot(char *to, const char *from, size_t bytes)
{
    const int i = staging.next;
    char *slot = staging.pinned + (size_t)i * SLOT_BYTES;
    staging.next = (i + 1) % SLOTS;
    if (staging.used[i]) {
        fci_cuda_check(cudaEventSynchronize(staging.done[i]), "copying to the device");
    }
    memcpy(slot, from, bytes);
    fci_cuda_check(cudaMemcpyAsync(to, slot, bytes, cudaMemcpyHostToDevice, fci_cuda_stream()),
                   "copying to the device");
    fci_cuda_check(cudaEventRecord(staging.done[i], fci_cuda_stream()), "cudaEventRecord");
    staging.used[i] = true;
}

void fci_staging_upload(void *to, const void *from, size_t bytes)
{
    fci_cuda_use();
    pthread_mutex_lock(&staging.lock);
    for (size_t at = 0; at < bytes; at += SLOT_BYTES) {
        upload_slot((char *)to + at, (const char *)from + at,
                    bytes - at < SLOT_BYTES ? bytes - at : SLOT_BYTES);
    }
    pthread_mutex_unlock(&staging.lock);
}
