#!/usr/bin/env bash
# Runs fuzz targets with libFuzzer under the address and undefined-behaviour sanitizers, one after the other.
#
#   tests/fuzz/run.sh TARGET[,TARGET...]|all [MINUTES]
#
# Each for so many minutes of processor time (20), or 10 million executions if they come first: what else the machine does makes
# it last longer and does not make it less. Two at a time: two of these commands with other targets.
#
# Builds build-fuzz (launch/setup.sh --fuzz installs what it needs). What a target learns stays in build-fuzz/corpus/TARGET,
# so that the next run goes on from there; an input that fails is build-fuzz/findings/TARGET-*. The last lines are a table;
# status 1 if anything was found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if (($# < 1 || $# > 2)) || [[ $1 == -h || $1 == --help ]]; then
    sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit "$((${1:-x} == -h || ${1:-x} == --help ? 0 : 64))"
fi
minutes=${2:-20}
launch/build.sh build-fuzz all --preset fuzz

if [[ $1 == all ]]; then
    mapfile -t targets < <(cd tests/fuzz && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')
else
    IFS=, read -ra targets <<<"$1"
fi

ticks=$(getconf CLK_TCK)
# Seconds of processor time that process $1 has had; nothing once it is gone.
processor_seconds() {
    local stat
    { read -r stat </proc/"$1"/stat; } 2>/dev/null || return 0
    read -ra stat <<<"${stat##*) }"
    echo $(((stat[11] + stat[12]) / ticks))
}

# Runs a command in the background and interrupts it, as libFuzzer takes for its end, after $1 seconds of processor time.
# Sets `seconds` to what it had.
run_for() {
    local most=$1 had
    shift
    "$@" &
    local child=$!
    seconds=0
    while had=$(processor_seconds "$child") && [[ -n $had ]]; do
        seconds=$had
        if ((seconds >= most)); then
            kill -INT "$child"
            break
        fi
        sleep 2
    done
    wait "$child"
}

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
    run_for $((minutes * 60)) "$program" -runs=10000000 -malloc_limit_mb=256 -rss_limit_mb=2048 -timeout=60 \
        -max_len=8192 -artifact_prefix="build-fuzz/findings/$target-" -close_fd_mask=1 -print_final_stats=1 \
        "${inputs[@]}" 2>"$log" || result=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    if ((result != 0 && result != 72)); then # 72: interrupted
        status=1
        printf 'run: a finding; see %s\n' "$log" >&2
    fi
    table+=("$(printf '%-12s %12s %8s %8s   %s' "$target" "${runs:-?}" "$seconds" "${covered:-?}" "$((result == 0 || result == 72 ? 0 : 1))")")
done
printf '%-12s %12s %8s %8s   %s\n' target executions seconds edges findings
printf '%s\n' "${table[@]}"
exit "$status"
