#!/usr/bin/python3
"""Time fineclip and the PyTorch yardstick (torch_step.py) on this machine, in turn, and print both and their ratio.

    tests/bench/compare_torch.py [--threads 2] [--rounds 5] [--build build]          on the CPU
    tests/bench/compare_torch.py --device cuda --markdown                           on a GPU, three workloads

Both do the same step: EVA-02-CLIP, the same pictures, boxes and text tokens in number, text tower frozen unless --train-text, the same
losses, AdamW. On the CPU it is ViT-B/16 at 224, 2 pictures with 4 boxes, in fp32, PyTorch as the published program does it
(--way plain); on a GPU the paper's two models and plain CLIP at a batch of 1,024, in bf16, PyTorch as a good engineer would do
it (--way fast); torch.md lists what that is. The two take turns, so that what else the machine does hits both alike.
On the CPU it needs launch/setup.sh --bench and a built fineclip; keep the machine otherwise idle.
"""
import argparse
import datetime
import importlib.util
import math
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import typing

from share import share

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
TERMS = {"global": "global_contrastive", "region": "region_contrastive", "distill": "self_distillation"}
CONFIGS = {"b16": ("eva02-clip-b-16", 224, "ViT-B/16"), "l14": ("eva02-clip-l-14-336", 336, "ViT-L/14")}


class Workload(typing.NamedTuple):
    model: str
    batch: int
    boxes: int
    terms: str = "global,region,distill"
    image_size: typing.Optional[int] = None  # None: the model's own

    def title(self):
        _, size, name = CONFIGS[self.model]
        alone = self.terms == "global"
        what = "global term alone" if alone else "all terms" if len(self.terms.split(",")) == len(TERMS) else self.terms
        return f"{name} at {self.image_size or size}, {self.batch}{'' if alone else f' x {self.boxes}'}, {what}"


WORKLOADS = {
    "small": Workload("b16", 2, 4),  # experiments/bench_b16.yaml, for a CPU
    "b16": Workload("b16", 32, 20),
    "l14": Workload("l14", 10, 5),
    "global": Workload("b16", 1024, 1, "global"),
}


class Failed(Exception):
    """A program did not do its work; the text says which and what it said."""


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
    """Which torch, its GPU, and which library does its matrix products on the CPU; run in a process of its own."""
    import torch

    torch.mm(torch.ones(64, 64), torch.ones(64, 64))
    print(f"torch {torch.__version__}, matrix products by:", *(mapped_libraries(r"^lib(open)?blas|^libmkl|^libdnnl") or ["?"]))
    print("cuda:", f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}" if torch.cuda.is_available() else "none")


def figures(text):
    """The medians among a program's output: step_seconds, images_per_second and the peak of the device, or of the host, in MiB."""
    found = {name: float(value) for name, value in re.findall(r"^\s*(\w+):\s*([0-9.eE+-]+|nan|inf)\b", text, re.M)
             if name in ("step_seconds", "images_per_second", "peak_mib", "peak_device_mib", "peak_host_mib")}
    peak = next((found[name] for name in ("peak_mib", "peak_device_mib", "peak_host_mib") if name in found), math.nan)
    values = found.get("step_seconds", math.nan), found.get("images_per_second", math.nan), peak
    if not all(0 < value < math.inf for value in values):
        raise Failed("no step_seconds, images_per_second or peak in:\n" + text)
    return values


def measure(command, environment):
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          cwd=SOURCE)
    if done.returncode != 0:
        raise Failed(f"{shlex.join(command)} ended with {done.returncode} and said:\n{done.stdout}{done.stderr[-3000:]}")
    return figures(done.stdout)


def our_command(args, work):
    """fineclip's words for a workload; all are given, so that nothing hangs on what the experiment says."""
    words = [f"device={args.device}", f"precision={args.dtype}", f"model.config={CONFIGS[work.model][0]}",
             f"model.image_size={work.image_size or CONFIGS[work.model][1]}", f"train.batch_size={work.batch}",
             f"data.max_boxes={work.boxes}", f"model.freeze={'[]' if args.train_text else '[text]'}",
             f"train.recompute={'blocks' if args.recompute else 'none'}"]
    terms = work.terms.split(",")
    words += [f"losses.{name}={'1' if term in terms else 'null'}" for term, name in TERMS.items()]
    return [args.fineclip, "bench", args.experiment, *words]


def their_command(args, work):
    words = [f"--device={args.device}", f"--dtype={args.dtype}", f"--model={work.model}", f"--batch={work.batch}",
             f"--boxes={work.boxes}", f"--terms={work.terms}", f"--threads={args.threads}", f"--steps={args.steps}",
             f"--warmup={args.warmup}"]
    words += [f"--image-size={work.image_size}"] if work.image_size else []
    flags = {"--train-text": args.train_text, "--recompute": args.recompute, "--fast": args.way == "fast"}
    return [sys.executable, os.path.join(HERE, "torch_step.py"), *words, *(flag for flag, on in flags.items() if on),
            *args.torch_option]


def medians(rounds):
    """Of the rounds in which a program did its work, figure by figure; None where it never did."""
    done = [each for each in rounds if each is not None]
    return [statistics.median(column) for column in zip(*done)] if done else None


def row(work, ours, theirs):
    """Cells in the order of HEADER; a program that failed has none of its own."""
    times = [cell for each in (ours, theirs) for cell in ([f"{each[0]:.4g}", f"{each[1]:.4g}"] if each else ["failed", "-"])]
    peaks = [f"{each[2]:.0f}" if each else "-" for each in (ours, theirs)]
    return [work.title(), *times, f"{ours[1] / theirs[1]:.2f}" if ours and theirs else "-", *peaks]


HEADER = ["step", "fineclip s", "images/s", "torch s", "images/s", "images/s, fineclip / torch", "fineclip peak MiB", "torch peak MiB"]


def table(rows, markdown):
    if markdown:
        return "\n".join("| " + " | ".join(cells) + " |" for cells in [HEADER, ["---"] * len(HEADER), *rows])
    widths = [max(len(cells[i]) for cells in [HEADER, *rows]) for i in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip() for cells in [HEADER, *rows])


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda", "auto"], default="auto", help="auto: cuda where torch sees one")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], help="default: bf16 on cuda, fp32 on the CPU")
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS),
                        help="again for several; small: ViT-B/16, 2 x 4 (default on the CPU); b16: 32 x 20; l14: L/14 at 336, 10 x 5; "
                        "global: B/16, global term, batch of 1,024 (these three are the default on cuda)")
    parser.add_argument("--model", choices=list(CONFIGS), help="in place of the workload's; so are the next four")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--boxes", type=int)
    parser.add_argument("--terms", help="some of global,region,distill")
    parser.add_argument("--train-text", action="store_true", help="train the text tower as well; the paper freezes it")
    parser.add_argument("--recompute", action="store_true", help="both run each block again on the way back")
    parser.add_argument("--way", choices=["plain", "fast"], help="torch_step.py without and with --fast; default: fast on cuda")
    parser.add_argument("--torch-option", action="append", default=[], metavar="WORD",
                        help="further word for torch_step.py, as --torch-option=--compile=whole; again for several")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, help="turns; default 5, on cuda 1")
    parser.add_argument("--steps", type=int, help="timed steps of torch_step.py a round; default 3, on cuda 30")
    parser.add_argument("--warmup", type=int, help="its steps before; default 2, on cuda 5")
    parser.add_argument("--build", default="build", help="folder with fineclip in it")
    parser.add_argument("--fineclip", help="the program itself, in place of --build")
    parser.add_argument("--experiment", help="default: experiments/bench_b16.yaml")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--torch-report", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.terms is not None and not (args.terms and set(args.terms.split(",")) <= set(TERMS)):
        parser.error(f"--terms: some of {','.join(TERMS)}")
    return args


def settle(args, cuda):
    """Defaults that depend on the device; cuda: whether torch has one."""
    if args.device == "auto":
        args.device = "cuda" if cuda else "cpu"
    if args.device == "cuda" and not cuda:
        raise SystemExit("compare_torch: torch sees no CUDA device here; --device cpu compares on the CPU")
    on_cuda = args.device == "cuda"
    args.dtype = args.dtype or ("bf16" if on_cuda else "fp32")
    args.way = args.way or ("fast" if on_cuda else "plain")
    args.rounds = args.rounds or (1 if on_cuda else 5)
    args.steps = args.steps or (30 if on_cuda else 3)
    args.warmup = args.warmup if args.warmup is not None else 5 if on_cuda else 2
    args.fineclip = os.path.abspath(args.fineclip) if args.fineclip else os.path.join(SOURCE, args.build, "fineclip")
    args.experiment = args.experiment or share("experiments/bench_b16.yaml")
    changes = {name: value for name in Workload._fields if (value := getattr(args, name)) is not None}
    return [WORKLOADS[name]._replace(**changes) for name in args.workload or (["b16", "l14", "global"] if on_cuda else ["small"])]


def main():
    args = parse()
    if args.torch_report:
        return torch_report()
    if importlib.util.find_spec("torch") is None:
        raise SystemExit("compare_torch: no torch for this Python; launch/setup.sh --bench installs Debian's, for the CPU")
    environment = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
    report = subprocess.run([sys.executable, os.path.abspath(__file__), "--torch-report"], env=environment, check=True, text=True,
                            stdout=subprocess.PIPE).stdout
    works = settle(args, not report.endswith("cuda: none\n"))
    if not os.access(args.fineclip, os.X_OK):
        raise SystemExit(f"compare_torch: no program at {args.fineclip}; build it, or name it with --fineclip or --build")
    print(f"{datetime.date.today()}, {shlex.join(sys.argv)}")
    print(f"host: {cpu_model()}, {os.cpu_count()} CPUs, {args.threads} threads used, load {os.getloadavg()[0]:.2f} at the start")
    print(report, end="")
    print(f"both: {args.device}, {args.dtype}, text tower {'trained' if args.train_text else 'frozen'}, "
          f"recompute {'blocks' if args.recompute else 'none'}; torch: {args.way} way{''.join(' ' + w for w in args.torch_option)}")
    rows, failed = [], False
    for work in works:
        commands = our_command(args, work), their_command(args, work)
        print(f"\n{work.title()}", *map(shlex.join, commands), sep="\n  ", flush=True)
        rounds = []
        for number in range(1, args.rounds + 1):
            turn = []
            for name, command in zip(("fineclip", "torch"), commands):
                try:
                    turn.append(measure(command, environment))
                    print(f"  round {number}: {name} {turn[-1][0]:.4g} s", flush=True)
                except Failed as error:
                    failed = True
                    turn.append(None)
                    print(f"  round {number}: {name} failed: {error}", flush=True)
            rounds.append(turn)
        ours, theirs = (medians(column) for column in zip(*rounds))
        if ours and theirs:
            print(f"  median of {args.rounds}: fineclip {ours[0]:.4g} s a step, torch {theirs[0]:.4g} s a step, "
                  f"fineclip / torch {ours[0] / theirs[0]:.3f}")
        rows.append(row(work, ours, theirs))
    print(f"\n{table(rows, args.markdown)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
