#!/usr/bin/env bash
# Packs the program with all shared libraries it needs but CUDA's into one archive, for compute nodes with nothing installed.
#
#   launch/bundle.sh BUILD [ARCHIVE]      BUILD: a build folder; ARCHIVE: fineclip.tar.xz in it
#
# On the node:  tar xf fineclip.tar.xz; fineclip/fineclip EXPERIMENT.yaml ...      fineclip/tests/gpu_check.sh
#
# The archive holds the program, its configurations and experiments, what tests/gpu_check.sh needs, Open MPI's mpirun with what
# it opens at run time (fineclip/mpirun), and the C library and loader of this machine, used where the node's are older. The
# NVIDIA driver and, for matrix products, cuBLASLt of the toolkit are the node's (LD_LIBRARY_PATH); NCCL for several GPUs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if (($# < 1 || $# > 2)) || [[ $1 == -* ]]; then
    sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 64
fi
build=$1
archive=${2:-$build/fineclip.tar.xz}
most=$((64 << 20))
[[ -x $build/fineclip ]] || { printf 'bundle: %s/fineclip is not there: build it first\n' "$build" >&2; exit 66; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
top=$scratch/fineclip
mkdir -p "$top"/{bin,lib,libc,share/fineclip/models,tests}

# Libraries that a program or library names, by path; CUDA's and the driver's left out.
needed() {
    ldd "$@" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
        grep -Ev '/lib(cuda|cudart|cublas|cublasLt|nvrtc|nccl|nvidia-[a-z]*)\.so' || true
}

# The C library's own go apart: a node's newer ones must be preferred, since its driver may need them.
add_libraries() {
    local path
    for path in $(needed "$@"); do
        case $(basename "$path") in
            libc.so.* | libm.so.* | libdl.so.* | librt.so.* | libpthread.so.* | libresolv.so.* | libutil.so.* | libnss_*)
                cp -Lu "$path" "$top/libc/" ;;
            *) cp -Lu "$path" "$top/lib/" ;;
        esac
    done
}

add_program() {
    cp "$1" "$top/bin/$2"
    strip "$top/bin/$2"
    add_libraries "$1"
}

add_program "$build/fineclip" fineclip
for name in kernels attention; do
    if [[ -x $build/tests/test_gpu_$name ]]; then
        add_program "$build/tests/test_gpu_$name" "test_gpu_$name"
    fi
done
loader=$(ldd "$build/fineclip" | awk '$1 ~ /^\/.*ld-linux/ { print $1 }')
cp -L "$loader" "$top/libc/ld.so"

cp -r models/configs "$top/share/fineclip/models/"
cp -r experiments "$top/share/fineclip/"
cp -r tests/golden "$top/tests/"
rm -rf "$top"/tests/golden/prepare "$top"/tests/golden/*.c
cp tests/gpu_check.sh "$top/tests/"
mkdir "$top/tests/bench"
cp tests/bench/{share,torch_model,torch_step,compare_torch}.py tests/bench/torch.md "$top/tests/bench/"
cp LICENSE README.md "$top/"

# Open MPI finds what it opens at run time below OPAL_PREFIX. Fabrics of other makers are left out: they need drivers.
if mpirun=$(command -v orterun) && info=$(command -v ompi_info); then
    components=$("$info" --path pkglibdir --parsable | awk -F: '{ print $NF }')
    data=$("$info" --path pkgdatadir --parsable | awk -F: '{ print $NF }')
    prefix=$("$info" --path prefix --parsable | awk -F: '{ print $NF }')
    mkdir -p "$top/mpi/bin"
    for program in orterun orted; do
        cp "$(dirname "$mpirun")/$program" "$top/mpi/bin/"
    done
    if [[ -d $components && $components == "$prefix"/* ]]; then
        mkdir -p "$top/mpi/${components#"$prefix"/}"
        for path in "$components"/mca_*.so; do
            case $path in
                *_ucx.so | *_ofi.so | *_openib.so | *_psm*.so | *_ompio.so | *_romio*.so | *_fs_* | *_fcoll_* | *_spml_* | *_scoll_*) ;;
                *)
                    cp -L "$path" "$top/mpi/${components#"$prefix"/}/"
                    add_libraries "$path"
                    ;;
            esac
        done
        add_libraries "$mpirun"
        mkdir -p "$top/mpi/${data#"$prefix"/}"
        cp -r "$data"/*.txt "$data"/mca-* "$top/mpi/${data#"$prefix"/}/" 2>/dev/null || true
    fi
fi
strip --strip-unneeded "$top"/lib/*.so* 2>/dev/null || true

# One script for every program: the node's C library where it is new enough, else the bundle's with its loader.
cat > "$top/fineclip" <<'SCRIPT'
#!/bin/sh
# Runs the program of this script's name out of the bundle; `run PROGRAM ...` any of bin/.
here=$(cd "${0%/*}" && pwd)
name=${0##*/}
if [ "$name" = run ]; then
    name=$1
    shift
fi
case $name in
    mpirun) program=$here/mpi/bin/orterun ;;
    *) program=$here/bin/$name ;;
esac
export FINECLIP_SHARE="${FINECLIP_SHARE:-$here/share/fineclip}" OPAL_PREFIX="$here/mpi"
export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
# Not as a rank of a job, which may begin once.
if (unset OMPI_COMM_WORLD_SIZE PMIX_RANK PMI_RANK PMI_SIZE; "$here/bin/fineclip" --version) >/dev/null 2>&1; then
    exec "$program" "$@"
fi
exec "$here/libc/ld.so" --library-path "$here/lib:$here/libc${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$program" "$@"
SCRIPT
chmod +x "$top/fineclip"
ln -s fineclip "$top/run"
ln -s fineclip "$top/mpirun"

tar -C "$scratch" -cf - fineclip | xz -T0 -6 > "$archive.part"
mv "$archive.part" "$archive"
size=$(stat -c %s "$archive")
printf 'bundle: %s, %d MiB, %d shared libraries\n' "$archive" $(((size + (1 << 20) - 1) >> 20)) "$(ls "$top"/lib "$top"/libc | wc -l)"
if ((size > most)); then
    printf 'bundle: more than %d MiB\n' $((most >> 20)) >&2
    exit 71
fi
