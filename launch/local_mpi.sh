# shellcheck shell=bash
# Sourced by scripts that start ranks on this machine alone; says nothing about jobs on a cluster.

# Open MPI refuses to run as root without these two, and that is what a container or a fresh machine has.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# More ranks than cores is fine here.
export OMPI_MCA_rmaps_base_oversubscribe=1
# By default two ranks are tied to cores 0 and 1, threads and all, and so are those of the next mpirun beside them.
export OMPI_MCA_hwloc_base_binding_policy=none
# Containers often forbid reading another process's memory; without this every message would first try and complain.
export OMPI_MCA_btl_vader_single_copy_mechanism=none
