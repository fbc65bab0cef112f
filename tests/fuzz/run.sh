#!/usr/bin/env bash
# Runs fuzz targets with libFuzzer under the address and undefined-behaviour sanitizers, one after the other.
#
#   tests/fuzz/run.sh TARGET|all [MINUTES]     each for so many minutes (20), or 10 million executions if they come first
#
# Builds build-fuzz (launch/setup.sh --fuzz installs what it needs). What a target learns stays in build-fuzz/corpus/TARGET,
# so that the next run goes on from there; an input that fails is build-fuzz/findings/TARGET-*. The last lines are a table;
# status 1 if anything was found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if (($# < 1 || $# > 2)) || [[ $1 == -h || $1 == --help ]]; then
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit "$((${1:-x} == -h || ${1:-x} == --help ? 0 : 64))"
fi
minutes=${2:-20}
launch/build.sh build-fuzz all --preset fuzz

if [[ $1 == all ]]; then
    mapfile -t targets < <(cd tests/fuzz && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')
else
    targets=("$1")
fi

export OMP_NUM_THREADS=1
mkdir -p build-fuzz/findings build-fuzz/logs
status=0
table=()
for target in "${targets[@]}"; do
    program=build-fuzz/tests/fuzz/fuzz_$target
    if [[ ! -x $program ]]; then
        printf 'run: there is no target %s\n' "$target" >&2
        exit 64
    fi
    corpus=build-fuzz/corpus/$target
    log=build-fuzz/logs/$target.log
    mkdir -p "$corpus"
    inputs=("$corpus")
    for kept in "tests/fuzz/seeds/$target" "tests/fuzz/regressions/$target"; do
        [[ ! -d $kept ]] || inputs+=("$kept")
    done
    printf 'run: %s\n' "$target" >&2
    result=0
    "$program" -max_total_time=$((minutes * 60)) -runs=10000000 -malloc_limit_mb=256 -rss_limit_mb=2048 -timeout=60 \
        -max_len=8192 -artifact_prefix="build-fuzz/findings/$target-" -close_fd_mask=1 -print_final_stats=1 \
        "${inputs[@]}" 2>"$log" || result=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    seconds=$(($(date +%s -r "$log") - $(stat -c %W "$log")))
    if ((result != 0)); then
        status=1
        printf 'run: a finding; see %s\n' "$log" >&2
    fi
    table+=("$(printf '%-12s %12s %8s %8s   %s' "$target" "${runs:-?}" "$seconds" "${covered:-?}" "$((result == 0 ? 0 : 1))")")
done
printf '%-12s %12s %8s %8s   %s\n' target executions seconds edges findings
printf '%s\n' "${table[@]}"
exit "$status"
