#!/usr/bin/python3
"""Time fineclip and the PyTorch yardstick (torch_step.py) on this machine, in turn, and print both medians and their ratio.

    tests/bench/compare_torch.py [--threads 2] [--rounds 5] [--build build]

Both do the same step: EVA-02-CLIP ViT-B/16 at 224, 2 pictures with 4 boxes, text tower frozen unless --train-text, all three losses, AdamW,
fp32. The two take turns, so that what else the machine does hits both alike. Needs launch/setup.sh --bench and a built
fineclip; keep the machine otherwise idle.
"""
import argparse
import importlib.util
import os
import platform
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))


def cpu_model():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            found = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.M)
    except OSError:
        found = None
    return found.group(1) if found else platform.machine()


def mapped_libraries(pattern):
    """Real paths of the shared libraries of this process whose file name matches."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        paths = {line.split()[-1] for line in file if "/" in line}
    return sorted({os.path.realpath(path) for path in paths if re.search(pattern, os.path.basename(path))})


def torch_report():
    """Which torch, and which library does its matrix products; run in a process of its own."""
    import torch

    torch.mm(torch.ones(64, 64), torch.ones(64, 64))
    print(f"torch {torch.__version__}, matrix products by:", *(mapped_libraries(r"^lib(open)?blas|^libmkl|^libdnnl") or ["?"]))


def seconds_of(command, environment):
    """The figure behind `step_seconds:` on a command's output."""
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=SOURCE)
    found = re.findall(r"^\s*step_seconds:\s*([0-9.eE+-]+)", done.stdout, re.M)
    if done.returncode != 0 or not found or not float(found[-1]) > 0:
        raise SystemExit(f"compare_torch: {' '.join(command)} ended with {done.returncode} and said:\n{done.stdout}")
    return float(found[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of torch_step.py a round")
    parser.add_argument("--build", default="build", help="folder with fineclip in it")
    parser.add_argument("--experiment", default="experiments/bench_b16.yaml")
    parser.add_argument("--train-text", action="store_true", help="train the text tower as well; the paper freezes it")
    parser.add_argument("--torch-report", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch_report:
        return torch_report()
    if importlib.util.find_spec("torch") is None:
        raise SystemExit("compare_torch: no torch for this Python; launch/setup.sh --bench installs Debian's")

    environment = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
    ours = [os.path.join(args.build, "fineclip"), "bench", args.experiment]
    theirs = [sys.executable, os.path.join(HERE, "torch_step.py"), f"--threads={args.threads}", f"--steps={args.steps}"]
    if args.train_text:
        ours.append("model.freeze=[]")
        theirs.append("--train-text")
    print(f"host: {cpu_model()}, {os.cpu_count()} CPUs, {args.threads} threads used, load {os.getloadavg()[0]:.2f} at the start")
    sys.stdout.flush()
    subprocess.run([sys.executable, os.path.abspath(__file__), "--torch-report"], env=environment, check=True)
    rows = []
    for number in range(1, args.rounds + 1):
        rows.append((seconds_of(ours, environment), seconds_of(theirs, environment)))
        print(f"round {number}: fineclip {rows[-1][0]:.3f} s, torch {rows[-1][1]:.3f} s", flush=True)
    fineclip, torch = (statistics.median(column) for column in zip(*rows))
    print(f"median of {args.rounds}: fineclip {fineclip:.3f} s a step, torch {torch:.3f} s a step, fineclip / torch {fineclip / torch:.3f}")
    return None


if __name__ == "__main__":
    main()
