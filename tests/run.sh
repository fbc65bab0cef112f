#!/usr/bin/env bash
# Installs what is missing, builds and runs all tests; the last lines are ctest's summary.
#
#   tests/run.sh                  all tests on the release build (folder build)
#   tests/run.sh --sanitize       before it, an address+undefined sanitizer build (build-asan): all but tests of many ranks and of moments
#   tests/run.sh -L golden        anything else goes to ctest: -L LABEL, -R NAME, -V ...
#
# Fails when a test fails, when none ran, and when one was skipped that needs neither a GPU nor Slurm.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sanitize=false
arguments=()
for argument in "$@"; do
    case $argument in
        --sanitize) sanitize=true ;;
        -h | --help)
            sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        *) arguments+=("$argument") ;;
    esac
done

# $1 build folder, then arguments of ctest.
run_tests() {
    local folder=$1 status=0
    shift
    rm -f "$folder/tests.xml"
    ctest --test-dir "$folder" --parallel "$(nproc)" --no-tests=error --output-on-failure \
        --output-junit "$PWD/$folder/tests.xml" "$@" </dev/null || status=$?
    python3 tests/skips.py "$folder" || status=1
    return "$status"
}

launch/setup.sh || printf 'tests: going on with what is here\n' >&2
. launch/local_mpi.sh
launch/build.sh build all

status=0
if $sanitize; then
    launch/build.sh build-asan all --preset asan-ubsan
    # Sanitizers and Open MPI's own memory tricks do not go together well, lint has nothing to gain, and what hits a run at a
    # certain moment needs its usual speed, as does a program whose device is emulated.
    run_tests build-asan --label-exclude '^(mpi|gpu|slurm|meta)$' \
        --exclude-regex '\.np[0-9]+$|^cuda\.program|^fault\.(crash|hang|stop|kill_loop)' "${arguments[@]}" || status=1
fi
run_tests build "${arguments[@]}" || status=1
exit "$status"
