#!/usr/bin/env bash
# One command for a machine with a GPU: kernels against the CPU's in double, the golden experiments and the quickstart on the
# device, ranks that share it, the benchmark; ends with a table, and with 1 when a check failed or did
# not come to an end. Under 9 minutes.
#
#   fineclip/tests/gpu_check.sh [FOLDER]      out of launch/bundle.sh's archive; what runs write goes below FOLDER,
#                                             all their logs into its logs.tar.gz
#   FINECLIP_BUILD=build tests/gpu_check.sh   out of a build folder
#
# It needs bash and awk; cuBLASLt of the loader's folders, of /usr/local/cuda* or of Python's packages. Python with PyTorch for the last step alone.
set -uo pipefail
if (($# > 1)) || [[ ${1:-} == -* ]]; then
    sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit "$([[ ${1:-} == -h || ${1:-} == --help ]] && echo 0 || echo 64)"
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-$(mktemp -d)}
mkdir -p "$out"
export FINECLIP_CACHE=$out/cache # products are timed anew
begun=$SECONDS
limit=$((9 * 60 - 15))

if [[ -n ${FINECLIP_BUILD:-} ]]; then
    build=$(cd "$FINECLIP_BUILD" && pwd)
    fineclip=$build/fineclip
    kernel_tests=("$build"/tests/test_gpu_*)
    mpirun=$(command -v mpirun || true)
    golden=$here/tests/golden
    export FINECLIP_SHARE=$here OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
else
    fineclip=$here/fineclip
    kernel_tests=("$here"/bin/test_gpu_*)
    mpirun=$here/mpirun
    [[ -x $here/mpi/bin/orterun ]] || mpirun=
    golden=$here/tests/golden
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
[[ -x $fineclip ]] || { printf 'gpu_check: no program at %s\n' "$fineclip" >&2; exit 66; }

# cuBLASLt and NCCL where the loader does not look by itself: beside a Python that holds PyTorch, which must find its own
# first, and in the toolkit's folder.
for folder in $(python3 -c 'import glob, sys; print(*[f for p in sys.path if p for f in glob.glob(p + "/nvidia/*/lib")])' 2> /dev/null) \
    /usr/local/cuda*/lib64; do
    if compgen -G "$folder/libcublasLt.so.*" > /dev/null || compgen -G "$folder/libnccl.so.*" > /dev/null; then
        export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder"
    fi
done

table=()
failed=0
note() { # what, outcome, figure, log that says why it failed
    table+=("$(printf '%-44s %-8s %s' "$1" "$2" "$3")")
    printf '%s\n' "${table[-1]}"
    [[ $2 == ok || $2 == skipped ]] && return
    failed=1
    if [[ -s ${4:-} ]]; then
        tail -12 "$4" | cut -c1-300 | sed 's/^/    /'
    fi
}

left() { echo $((limit - (SECONDS - begun))); }

# Seconds at most, and never beyond the limit of the whole.
within() {
    local most=$1 rest
    shift
    rest=$(left)
    ((rest > 0)) || return 124
    timeout -k 5 $((most < rest ? most : rest)) "$@"
}

outcome() { case $1 in 0) echo ok ;; 77) echo skipped ;; 124 | 137) echo TIMEOUT ;; *) echo FAILED ;; esac; }

# ---- Kernels ----
for program in "${kernel_tests[@]}"; do
    [[ -x $program ]] || continue
    name=$(basename "$program")
    command=("$program")
    [[ -n ${FINECLIP_BUILD:-} ]] || command=("$here/run" "$name")
    within 120 "${command[@]}" > "$out/$name.log" 2>&1
    status=$?
    if ((status == 77)); then
        printf 'gpu_check: there is no CUDA device here, or no driver for it\n' >&2
        exit 77
    fi
    note "$name" "$(outcome $status)" "$(tail -1 "$out/$name.log")" "$out/$name.log"
done
[[ -x ${kernel_tests[0]} ]] || note 'kernels against the CPU' FAILED 'this build has no CUDA backend'
# ---- Golden experiments: losses of every step on the device against those on the CPU ----
experiment() { # set, terms as YAML, output
    local freeze='[]'
    [[ $1 != eva_tiny ]] || freeze='[text]'
    cat << YAML
output: $3
model: {config: $golden/$1/model.yaml, init: $golden/$1/init.safetensors, freeze: $freeze}
data: {train: $golden/$1/store.h5, caption: first, regions: first, max_boxes: 3, shuffle: false, min_box_size: 0, workers: 1}
losses: $2
train:
  steps: 6
  batch_size: 4
  optimizer: {lr: 0.001, weight_decay: 0.1, betas: [0.9, 0.999], eps: 1.0e-8}
  schedule: {kind: cosine, warmup_steps: 2}
  log_every: 1
eval: {every_epochs: 0}
YAML
}

# The losses a run logs, one a line.
losses_of() { grep -oE 'loss [0-9.naif-]+' "$1" | awk '{ print $2 }'; }

run() { # name, program and ranks..., then words
    local name=$1
    shift
    within 90 "$@" > "$out/$name.out" 2> "$out/$name.log"
}

# Largest relative difference between the losses of two runs; nan where they are not as many.
apart() {
    paste <(losses_of "$out/$1.log") <(losses_of "$out/$2.log") |
        awk 'NF != 2 { bad = 1 } { d = ($1 - $2) / $2; d = d < 0 ? -d : d; if (!(d <= most)) most = d }
             END { if (NR == 0 || bad) print "nan"; else printf "%.2e\n", most }'
}

compare() { # what, run, reference, tolerance
    local d
    d=$(apart "$2" "$3")
    if awk -v d="$d" -v t="$4" 'BEGIN { exit !(d != "nan" && d + 0 <= t + 0) }'; then
        note "$1" ok "losses within $d of the CPU's (want $4)"
    else
        note "$1" FAILED "losses within $d of the CPU's (want $4)" "$out/$2.log"
    fi
}

all='{global_contrastive: 1, region_contrastive: 1, self_distillation: 1}'
for set in eva_tiny clip_tiny eva_tiny_text; do
    for terms in '{global_contrastive: 1}' '{region_contrastive: 1}' '{self_distillation: 1}' "$all"; do
        short=$(tr -dc 'a-z_,' <<< "$terms" | sed 's/_contrastive//g; s/self_distillation/sd/')
        name=$set.$short
        for side in cpu cuda; do
            experiment $set "$terms" "$out/$name.$side" > "$out/$name.$side.yaml"
            run "$name.$side" "$fineclip" "$out/$name.$side.yaml" device=$side precision=fp32 train.resume=never
        done
        compare "$name fp32" "$name.cuda" "$name.cpu" 2.5e-4 # a log line has four decimals
    done
done
name=eva_tiny_text.global,region,sd
for way in train.recompute=blocks train.accumulate=2; do
    run "$name.$way" "$fineclip" "$out/$name.cuda.yaml" device=cuda precision=fp32 train.resume=never $way
    compare "eva_tiny_text $way" "$name.$way" "$name.cpu" 2.5e-4
done
for i in 1 2; do
    run "$name.bf16.$i" "$fineclip" "$out/$name.cuda.yaml" device=cuda precision=bf16 deterministic=true train.resume=never
done
run "$name.bf16.fast" "$fineclip" "$out/$name.cuda.yaml" device=cuda precision=bf16 train.resume=never
compare 'eva_tiny_text bf16' "$name.bf16.fast" "$name.cpu" 2e-2
compare 'eva_tiny_text bf16 deterministic' "$name.bf16.1" "$name.cpu" 2e-2
if [[ -n $(losses_of "$out/$name.bf16.1.log") ]] && cmp -s <(losses_of "$out/$name.bf16.1.log") <(losses_of "$out/$name.bf16.2.log"); then
    note 'bf16 run again' ok 'the same losses'
else
    note 'bf16 run again' FAILED 'other losses'
fi

# ---- Several ranks ----
if [[ -z $mpirun ]]; then
    note 'ranks that share the device' skipped 'no mpirun'
else
    for ranks in 2 4; do
        run "$name.np$ranks" "$mpirun" -np $ranks --bind-to none --oversubscribe "$fineclip" "$out/$name.cuda.yaml" device=cuda precision=fp32 \
            run.staged_collectives=true train.batch_size=$((4 / ranks)) train.resume=never
        compare "$ranks ranks on one device" "$name.np$ranks" "$name.cpu" 2.5e-4
    done
    devices=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
    if ((devices >= 2)); then
        run "$name.nccl" "$mpirun" -np 2 --bind-to none "$fineclip" "$out/$name.cuda.yaml" device=cuda precision=fp32 train.batch_size=2 train.resume=never
        compare '2 ranks, NCCL' "$name.nccl" "$name.cpu" 2.5e-4
    else
        note '2 ranks, NCCL' skipped "${devices:-0} GPU"
    fi
fi

# ---- The benchmark: EVA-02 ViT-B/16 at 224, 32 pictures x 20 boxes ----
printf '\n'
bench=$here/$([[ -n ${FINECLIP_BUILD:-} ]] || echo share/fineclip/)experiments/bench_b16.yaml
for words in 'precision=bf16' 'precision=bf16 deterministic=true' 'precision=bf16 train.recompute=blocks' 'precision=bf16 train.memory_budget=20GiB' \
    'precision=fp32 train.batch_size=8'; do
    # shellcheck disable=SC2086
    within 90 "$fineclip" bench "$bench" device=cuda data.max_boxes=20 train.batch_size=32 $words > "$out/bench.out" 2> "$out/bench.log"
    status=$?
    cat "$out/bench.out"
    figures=$(awk -F': ' '/^step_seconds/ { s = $2 } /^images_per_second/ { i = $2 } /^model_gflops/ { split($2, g, " ") } /^share_of_gemm/ { p = $2 }
        /^peak_device_mib/ { m = $2 } /^peak_over_predicted/ { o = $2 } /^blocks_run_again/ { b = $2 }
        END { printf "%s s, %s img/s, %.1f TFLOP/s, %.0f %% of a product, %s MiB (%s of predicted), again: %s", s, i, g[1] / 1000, 100 * p, m, o, b }' \
        "$out/bench.out")
    [[ $status -eq 0 ]] || figures=$(tail -1 "$out/bench.log" | cut -c1-150)
    note "bench 32x20 $words" "$(outcome $status)" "$figures" "$out/bench.log"
done

# ---- The quickstart ----
for precision in fp32 bf16; do
    start=$SECONDS
    within 100 "$fineclip" "$here/$([[ -n ${FINECLIP_BUILD:-} ]] || echo share/fineclip/)experiments/quickstart.yaml" device=cuda precision=$precision \
        output="$out/quickstart_$precision" data.scenes="$out/scenes" train.resume=never > "$out/quickstart_$precision.out" 2> "$out/quickstart_$precision.log"
    note "quickstart $precision" "$(outcome $?)" \
        "$((SECONDS - start)) s; $(grep -hE 'top-1  |R@1 ' "$out/quickstart_$precision.out" | awk '{ printf "%s %s %s ", $1, $2, $(NF-1) }')"
done

# ---- With what time is left: accesses and races of the kernels ----
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -1 || true)
for tool in memcheck racecheck; do
    if [[ -z $sanitizer ]]; then
        note "compute-sanitizer $tool" skipped 'not installed'
        continue
    fi
    for program in "${kernel_tests[@]}"; do
        name=$(basename "$program")
        command=("$program")
        [[ -n ${FINECLIP_BUILD:-} ]] || command=("$here/run" "$name")
        within 45 "$sanitizer" --tool "$tool" --target-processes all --error-exitcode 9 "${command[@]}" > "$out/$name.$tool.log" 2>&1
        note "$tool $name" "$(outcome $?)" "$(grep -E 'ERROR SUMMARY|RACECHECK SUMMARY' "$out/$name.$tool.log" | tail -1 | sed 's/^=* *//')"
    done
done

# ---- With what time is left: the same steps in PyTorch ----
torch=
! within 60 python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' > /dev/null 2>&1 || torch=yes
for work in b16 global l14; do
    if [[ -z $torch ]] || (($(left) < 60)); then
        note "beside PyTorch, $work" skipped "$([[ -n $torch ]] && echo 'no time left' || echo 'no python3 with a torch that sees the device')"
        continue
    fi
    within 150 python3 "$here/tests/bench/compare_torch.py" --device cuda --workload $work --fineclip "$fineclip" > "$out/torch.$work.out" 2>&1
    status=$?
    case $status in # a time-out: a comparison is no check, and compiling can take long
        124 | 137) note "beside PyTorch, $work" skipped 'not done in time' ;;
        *) note "beside PyTorch, $work" "$(outcome $status)" "$(tail -1 "$out/torch.$work.out")" ;;
    esac
done

printf '\n%s\n' "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -1), $(date -u +%Y-%m-%d), $((SECONDS - begun)) s"
printf '%s\n' "${table[@]}"
(cd "$out" && tar -czf logs.tar.gz -- *.log *.out *.yaml) 2>/dev/null
exit $failed
