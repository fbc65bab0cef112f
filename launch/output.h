/* A run's output folder belongs to one run at a time.
 *
 * Rank 0 holds a write lock (fcntl) on <folder>/.lock. The kernel, or the file server, lets go of
 * it when the process ends in whatever way, so that nothing a killed run leaves behind can block
 * the next one; the file itself stays. fcntl and not flock: NFS, Lustre and GPFS pass it on to the
 * server, so that it also holds between hosts. The file's text says who holds it. */
#ifndef FC_LAUNCH_OUTPUT_H
#define FC_LAUNCH_OUTPUT_H

#include "core/status.h"

typedef struct fc_output fc_output;

/** Make the folder and lock it; a run that is just ending is waited for. Local to one rank.
 *  Errors FC_USAGE another run writes there: names its host and process; FC_RUNTIME the folder
 *         cannot be made or written to. A file system without locks is a warning. */
FC_NODISCARD fc_status fc_output_lock(fc_output **out, const char *folder);
/** Let go; nothing for NULL. */
void fc_output_release(fc_output **o);
/** Remove what a killed run left half written in a folder whose lock is held. */
void fc_output_clean(const char *folder);

#endif
