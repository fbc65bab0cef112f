#!/usr/bin/env bash
# Installs what building, testing and running fineclip needs on Debian 12 and is missing; does nothing when all is there.
#
#   launch/setup.sh            install what is missing (as root, or through sudo)
#   launch/setup.sh --check    only say what is missing; status 1 if anything is
#   launch/setup.sh --bench    also PyTorch, for tests/bench/compare_torch.py
#   launch/setup.sh --fuzz     also clang and libFuzzer, for tests/fuzz/run.sh
#   launch/setup.sh --slurm    also Slurm, for the tests of launch/slurm (nothing is started or enabled)
set -euo pipefail

# Debian package names; the README says what each is for.
packages=(
    gcc g++ libc6-dev cmake make ninja-build pkg-config
    openmpi-bin libopenmpi-dev
    libhdf5-dev hdf5-tools libyaml-dev libyajl-dev
    libjpeg62-turbo-dev libpng-dev zlib1g-dev
    libpcre2-dev libunistring-dev libgumbo-dev libssl-dev
    libdnnl-dev libopenblas-openmp-dev
    libcairo2-dev fonts-dejavu-core
    python3 python3-h5py python3-numpy iproute2
)

say() {
    printf 'setup: %s\n' "$*" >&2
}

check_only=false
for argument in "$@"; do
    case $argument in
        --check) check_only=true ;;
        --bench) packages+=(python3-torch) ;;
        --fuzz) packages+=(clang-14 clang libclang-rt-14-dev libomp-14-dev llvm-14) ;;
        --slurm) packages+=(slurm-wlm slurm-client slurmctld slurmd munge) ;;
        -h | --help)
            sed -n '2,8s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        *)
            say "unknown argument '$argument'; see --help"
            exit 64
            ;;
    esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "this is not a Debian system; install by hand what the README lists under Dependencies"
    exit 69
fi

# Packages of the list that are not installed, one a line.
missing() {
    local package
    for package in "${packages[@]}"; do
        # Debian calls it "install ok installed"; anything else is missing or half configured.
        if [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) != *" ok installed" ]]; then
            printf '%s\n' "$package"
        fi
    done
}

mapfile -t wanted < <(missing)
if ((${#wanted[@]} == 0)); then
    say "everything is installed"
    exit 0
fi
say "missing: ${wanted[*]}"
if $check_only; then
    exit 1
fi

as_root=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        say "not root and no sudo here; run this as root:"
        say "  apt-get update && apt-get install ${wanted[*]}"
        exit 77
    fi
    as_root=(sudo)
fi
# env rather than export: sudo drops the environment.
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)

say "installing with apt-get"
# Package lists may be old, but a failing third-party source must not stop an installation Debian's own lists can do.
if ! "${apt[@]}" update </dev/null >&2; then
    say "apt-get update failed; trying with the package lists that are here"
fi
if ! "${apt[@]}" install --no-install-recommends "${wanted[@]}" </dev/null >&2; then
    say "apt-get could not install all of: ${wanted[*]}"
    say "the message above says why; fineclip is built and tested on Debian 12 (bookworm)"
    exit 1
fi

mapfile -t wanted < <(missing)
if ((${#wanted[@]} != 0)); then
    say "still missing after the installation: ${wanted[*]}"
    exit 1
fi
say "everything is installed"
