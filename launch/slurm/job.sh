# Sourced by the batch scripts beside it: one fineclip over the job's tasks, and what follows from how
# it ends.
#
#   0, 64, 65, 66, 70  the job ends with that status: going on would not help
#   75                 a signal came (the time limit is near) and a checkpoint is saved: requeued
#   71                 a device, a host or MPI failed: requeued up to FINECLIP_RETRIES (3) times
#
# When Slurm itself preempts, requeues or cancels the job it also ends this script, and whether the
# job runs again is then Slurm's affair: nothing here brings back what somebody cancelled.

say() {
    printf '%s job %s: %s\n' "$(date '+%F %T')" "$SLURM_JOB_ID" "$*" >&2
}

# The program: $FINECLIP, built in the source tree that holds this file, installed beside it, or on PATH.
find_program() {
    local candidate
    for candidate in "${FINECLIP:-}" "$here/../../build/fineclip" "$here/../../../../bin/fineclip" \
        "$(command -v fineclip || true)"; do
        if [[ -n $candidate && -x $candidate ]]; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    say "fineclip was not found: build it (cmake -B build && cmake --build build), or set FINECLIP to the program"
    return 66
}

# $@: arguments of fineclip.
run_job() {
    local program status=0 kinds
    program=$(find_program) || exit
    kinds=$(srun --mpi=list 2>&1)
    if [[ $kinds != *pmix* ]]; then
        say "this Slurm cannot start Open MPI ranks (no pmix in: ${kinds//$'\n'/ }); install its PMIx plugin"
        exit 71
    fi
    say "attempt $((${SLURM_RESTART_COUNT:-0} + 1)), $SLURM_NTASKS ranks on $SLURM_JOB_NODELIST: $program $*"
    # Each rank picks the GPU of its place on the host, so all of a host's are visible to it; cores next
    # to one another keep a rank's threads in one cache.
    srun --mpi=pmix --kill-on-bad-exit=1 --cpu-bind=cores --distribution=block:block --gpu-bind=none \
        "$program" "$@" || status=$?
    case $status in
        75) say "stopped after saving; requeued, it goes on from there" ;;
        71)
            if ((${SLURM_RESTART_COUNT:-0} >= ${FINECLIP_RETRIES:-3})); then
                say "failed while running (71), restarted ${SLURM_RESTART_COUNT:-0} times already: given up"
                exit 71
            fi
            say "failed while running (71); requeued"
            ;;
        *) exit "$status" ;;
    esac
    scontrol requeue "$SLURM_JOB_ID" || exit "$status"
    # Slurm ends this script now; waiting keeps it from seeing a job that completed.
    sleep 120
    exit "$status"
}
