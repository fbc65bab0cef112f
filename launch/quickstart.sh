#!/usr/bin/env bash
# From a fresh Debian 12 to a first trained model: installs what is missing, builds, and trains a tiny FineCLIP on made-up
# pictures with two ranks on the CPU. The result table is the last thing it prints.
#
#   launch/quickstart.sh [key=value ...]      e.g. launch/quickstart.sh seed=1
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

launch/setup.sh || printf 'quickstart: going on with what is here\n' >&2
launch/build.sh build fineclip
. launch/local_mpi.sh

# The mpirun of the MPI the program was linked with, should there be several.
mpirun=$(sed -n 's/^MPIEXEC_EXECUTABLE:[^=]*=//p' build/CMakeCache.txt)
"$mpirun" -np 2 build/fineclip experiments/quickstart.yaml "$@" </dev/null
