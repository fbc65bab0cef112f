#include "launch/dist.h"

#include "core/crash.h"
#include "core/fatal.h"
#include "core/log.h"
#include "launch/device.h"
#include "launch/guard/watchdog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mpi.h>
#include <omp.h>
#include <sched.h>

static struct {
    fc_comm *comm;
    bool mpi;
} process;

static bool is_launched(void)
{
    static const char *const marks[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK",
                                        "PMI_SIZE"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (getenv(marks[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static void abort_job(int exit_status)
{
    MPI_Abort(MPI_COMM_WORLD, exit_status); /* lint: allow, this is what core/fatal.c calls */
}

/* Ranks that the launcher bound to cores of their own already see only those; ranks that share a
 * host's cores divide them. */
static void set_threads(const fc_comm *comm)
{
    cpu_set_t mine;
    int visible = sched_getaffinity(0, sizeof mine, &mine) == 0 ? CPU_COUNT(&mine) : 1;
    int host = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int threads = visible < host ? visible : host / fc_comm_local_size(comm);
    if (getenv("OMP_NUM_THREADS") == NULL) {
        omp_set_num_threads(threads > 0 ? threads : 1);
    }
}

static fc_status handle_crashes(void)
{
    int refused = 0;
    FC_TRY(fc_crash_install());
#pragma omp parallel reduction(+ : refused)
    {
        refused += fc_crash_thread(NULL) != FC_OK;
    }
    return refused == 0 ? FC_OK : FC_FAIL(FC_RUNTIME, "cannot set a stack for signals in a thread");
}

fc_status fc_dist_start(void)
{
    if (is_launched()) {
        int provided;
        if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
            return FC_FAIL(FC_RUNTIME, "MPI did not start");
        }
        process.mpi = true;
        fc_fatal_set_abort(abort_job);
        FC_TRY(fc_comm_create_mpi(&process.comm));
    } else {
        FC_TRY(fc_comm_create_self(&process.comm));
    }
    char host[128] = "";
    (void)gethostname(host, sizeof host - 1);
    char place[160];
    snprintf(place, sizeof place, "%s cpu", host);
    fc_fatal_set_place(place);
    fc_log_set_rank(fc_comm_rank(process.comm), fc_comm_size(process.comm));
    set_threads(process.comm);
    fc_fatal_guard_exit(true);
    return handle_crashes();
}

fc_comm *fc_dist_comm(void)
{
    return process.comm;
}

int fc_dist_threads(void)
{
    return omp_get_max_threads();
}

int fc_dist_cores(void)
{
    int cores = (int)sysconf(_SC_NPROCESSORS_ONLN) / fc_comm_local_size(process.comm);
    return cores > 0 ? cores : 1;
}

void fc_dist_stop(void)
{
    fc_watchdog_stop();
    fc_device_close();
    fc_fatal_guard_exit(false);
    fc_comm_destroy(&process.comm);
    if (process.mpi) {
        MPI_Finalize();
        process.mpi = false;
        fc_fatal_set_abort(NULL);
    }
}

fc_status fc_dist_agree(fc_status status)
{
    fc_comm *comm = process.comm;
    int64_t first = status != FC_OK ? fc_comm_rank(comm) : fc_comm_size(comm);
    if (fc_comm_size(comm) == 1) {
        return status;
    }
    FC_TRY(fc_comm_all_reduce(comm, &first, 1, FC_COMM_I64, FC_COMM_MIN));
    if (first == fc_comm_size(comm)) {
        return FC_OK;
    }
    int64_t code = (int64_t)status;
    char message[2048] = ""; /* as long as core/status.c lets one be */
    if (fc_comm_rank(comm) == (int)first) {
        snprintf(message, sizeof message, "%s", fc_error_message());
    }
    FC_TRY(fc_comm_broadcast(comm, &code, 1, FC_COMM_I64, (int)first));
    FC_TRY(fc_comm_broadcast(comm, message, sizeof message, FC_COMM_U8, (int)first));
    fc_error_set(message, "");
    return (fc_status)code;
}
