/* Failures on purpose, for tests alone: FINECLIP_FAULT=RANK:STEP:ACTION[@PLACE][,...]
 *
 * RANK is a number, or * for all. STEP counts as /train/step does, from 1; 0 is what comes before
 * the first step, and * any time. A fault happens once in a process, but for `slow`, which goes on.
 * Without the variable nothing is ever due and asking costs one look at a flag. */
#ifndef FC_CORE_FAULT_H
#define FC_CORE_FAULT_H

#include "core/status.h"

#include <stdint.h>

/* XX(name, where it happens when no place is named). A crash is a process gone without a word, as
 * after SIGKILL; exit is a library that ends the process; error, bug and nomem are failures the
 * program notices; hang sleeps for good, stop is SIGSTOP, slow takes a third of a second longer.
 * nan, inf and spike are in a feature of this rank's pictures. torn: the file gets its name with
 * half of what it should hold, and the process is gone; half: it is gone while writing; enospc: the
 * disk is full. */
#define FC_FAULT_ACTION_MAP(XX)                                                                    \
    XX(crash, step)                                                                                \
    XX(segv, step)                                                                                 \
    XX(bus, step)                                                                                  \
    XX(fpe, step)                                                                                  \
    XX(ill, step)                                                                                  \
    XX(abort, step)                                                                                \
    XX(exit, step)                                                                                 \
    XX(overflow, step)                                                                             \
    XX(error, step)                                                                                \
    XX(bug, step)                                                                                  \
    XX(nomem, step)                                                                                \
    XX(hang, step)                                                                                 \
    XX(stop, step)                                                                                 \
    XX(slow, step)                                                                                 \
    XX(nan, features)                                                                              \
    XX(inf, features)                                                                              \
    XX(spike, features)                                                                            \
    XX(bad_picture, picture)                                                                       \
    XX(torn, checkpoint)                                                                           \
    XX(half, checkpoint)                                                                           \
    XX(enospc, checkpoint)

/* XX(name). step: before its batch is asked for; collective: before the first one of a step that
 * takes part in training; loader: in a loader thread, at the first picture of that step; hdf5:
 * while reading a store, HDF5's lock held; checkpoint, results: while that file is written;
 * evaluation: at its first chunk after that step. */
#define FC_FAULT_PLACE_MAP(XX)                                                                     \
    XX(step)                                                                                       \
    XX(collective)                                                                                 \
    XX(loader)                                                                                     \
    XX(hdf5)                                                                                       \
    XX(checkpoint)                                                                                 \
    XX(results)                                                                                    \
    XX(evaluation)                                                                                 \
    XX(features)                                                                                   \
    XX(picture)

typedef enum {
#define XX(name, place) FC_FAULT_##name,
    FC_FAULT_ACTION_MAP(XX)
#undef XX
} fc_fault_action;

typedef enum {
#define XX(name) FC_AT_##name,
    FC_FAULT_PLACE_MAP(XX)
#undef XX
} fc_fault_place;

/** Read the variable's value (NULL or "": no faults). FC_USAGE names what is wrong with it. */
FC_NODISCARD fc_status fc_fault_load(const char *text, int rank);
/** The step that begins. */
void fc_fault_set_step(int64_t step);
/** The step this thread works for, ahead of the others. */
void fc_fault_set_thread_step(int64_t step);

extern bool fci_fault_armed;
FC_NODISCARD fc_status fci_fault_here(fc_fault_place place);
bool fci_fault_due(fc_fault_action action, fc_fault_place place);
bool fci_fault_bad_picture(int64_t image, bool first);

/** Fails, hangs or ends the process here if that is due now. FC_RUNTIME: the action is `error`. */
static inline FC_NODISCARD fc_status fc_fault_here(fc_fault_place place)
{
    return fci_fault_armed ? fci_fault_here(place) : FC_OK;
}

/** Whether the caller has to do this now (nan, inf, spike, torn, half, enospc). */
static inline bool fc_fault_due(fc_fault_action action, fc_fault_place place)
{
    return fci_fault_armed && fci_fault_due(action, place);
}

/** Whether this picture of a store does not decode: the first one of the fault's step, from then on
 * whenever it is met. */
static inline bool fc_fault_bad_picture(int64_t image, bool first)
{
    return fci_fault_armed && fci_fault_bad_picture(image, first);
}

#endif
