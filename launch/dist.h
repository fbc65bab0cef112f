/* The process among its ranks: starts and ends MPI, sizes thread teams, tells core/fatal.c how to
 * end the job. Holds the only process-wide state there is. */
#ifndef FC_LAUNCH_DIST_H
#define FC_LAUNCH_DIST_H

#include "core/comm.h"

/** Start MPI where this process was started by mpirun or srun; otherwise it is alone. Ranks on one
 * host share its cores unless OMP_NUM_THREADS says otherwise. */
FC_NODISCARD fc_status fc_dist_start(void);
/** The communicator of all ranks; valid between start and stop. */
fc_comm *fc_dist_comm(void);
/** Threads of this rank's OpenMP team. */
int fc_dist_threads(void);
/** Cores of this host that are this rank's share, at least 1; for threads that are no OpenMP team.
 */
int fc_dist_cores(void);
/** End MPI in good order. All ranks. */
void fc_dist_stop(void);

/** The same outcome on every rank: the worst status of all, with rank 0's message where rank 0
 * failed, else that of the first rank that did. Collective. */
FC_NODISCARD fc_status fc_dist_agree(fc_status status);

#endif
