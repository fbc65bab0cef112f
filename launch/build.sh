#!/usr/bin/env bash
# Configures and builds one target in one build folder, with as many jobs as there are cores.
#
#   launch/build.sh FOLDER TARGET [-DNAME=VALUE ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if (($# < 2)); then
    sed -n '2,4s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 64
fi
folder=$1
target=$2
shift 2

options=("$@")
if [[ ! -f $folder/CMakeCache.txt ]]; then
    options+=(-G Ninja)
fi
# CMakeLists.txt asks for AVX2; a machine without it still builds, and is slow.
if [[ $(uname -m) == x86_64 ]] && ! grep -qm1 '\bavx2\b' /proc/cpuinfo; then
    printf 'build: this CPU has no AVX2, building for plain x86-64\n' >&2
    options+=(-DFINECLIP_MARCH=x86-64)
fi
cmake -S . -B "$folder" "${options[@]}" >&2
cmake --build "$folder" --target "$target" --parallel "$(nproc)" >&2
