"""Runs of the whole program on a device, emulated or real: the golden sets in fp32, bf16 beside fp32, several ranks, states
that change sides, every term. `cuda` is the program to run, `environment` what it needs."""
import contextlib
import json
import os
import sys
import tempfile

import h5py
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
sys.path.insert(0, os.path.dirname(HERE))
import program  # noqa: E402
import test_runs as golden  # noqa: E402

ALL = "distill,global_itc,region_itc"
# What an emulated device is given where results are compared with the CPU's: a fraction of the golden step, three times.
SMALL = ["data.max_boxes=1", "train.batch_size=2", "train.steps=3"]
small = False


@contextlib.contextmanager
def using(binary):
    """Every run inside is of this program."""
    before = program.BIN
    program.BIN = binary
    try:
        yield
    finally:
        program.BIN = before


def expected_of(name):
    return json.load(open(os.path.join(HERE, "..", "golden", name, "expected.json")))


def golden_fp32(checks, cuda, sets):
    """The published program's losses, gradients and weights, by the tolerances of the CPU."""
    with using(cuda):
        for name, terms in sets:
            golden.compare_run(checks, name, expected_of(name), terms, 1, "device=cuda precision=fp32")


def ways(checks, cuda, words, ranks=1, environment=None):
    """However a step is computed, it is the step of one rank on the CPU."""
    want = run(checks, cuda, "eva_tiny_text", "device=cpu precision=fp32")
    for extra in words:
        got = run(checks, cuda, "eva_tiny_text", "device=cuda precision=fp32 " + extra, ranks, environment=environment)
        same_runs(checks, "%d ranks %s" % (ranks, extra), "eva_tiny_text", got, want, 2e-4)


def golden_extras(checks, cuda, extras, ranks=1):
    with using(cuda):
        for extra in extras:
            golden.compare_run(checks, "eva_tiny_text", expected_of("eva_tiny_text"), ALL, ranks,
                               "device=cuda precision=fp32 " + extra)


def run(checks, binary, name, words, ranks=0, output=None, losses=None, environment=None):
    """One golden experiment; the columns of /train and the weights, None where it failed."""
    expected = expected_of(name)
    with tempfile.TemporaryDirectory() as folder, using(binary):
        path = os.path.join(folder, "run.yaml")
        output = output or os.path.join(folder, "run")
        text = golden.experiment(name, expected, ALL, max(ranks, 1), output)
        if losses is not None:
            begin, end = text.index("losses:"), text.index("train:\n")
            text = text[:begin] + losses + "\n" + text[end:]
        open(path, "w").write(text[:text.index("eval:")] + "eval: {every_epochs: 0}\n")
        less = SMALL if small else []
        if ranks > 1:
            less = ["train.batch_size=1" if w.startswith("train.batch_size") else w for w in less]
        status, out, err = program.run_program([path] + less + words.split(), ranks, environment=environment)
        if not checks.that(status == 0, "%s %s: exit status %d: %s" % (name, words, status, err[-2000:])):
            return None, None
        with h5py.File(os.path.join(output, "results.h5")) as results:
            columns = {key: np.array(results["train/" + key]) for key in ("loss", "grad_norm", "logit_scale")}
            columns["precision"] = results.attrs.get("precision")
        folder = os.path.join(output, "checkpoints")
        newest = max((f for f in os.listdir(folder) if f.startswith("epoch_")), key=lambda f: int(f[6:].split(".")[0]))
        return columns, program.read_safetensors(os.path.join(folder, newest))


def close(checks, label, got, want, tolerance):
    """Largest relative difference of two columns."""
    if got is not None and want is not None:
        apart = np.max(np.abs(got - want) / np.abs(want)) if got.shape == want.shape else np.inf
        checks.near(label, apart, 0, tolerance)


def moved(name, weights):
    """All values' way from where they began, in one vector."""
    init = program.read_safetensors(os.path.join(HERE, "..", "golden", name, "init.safetensors"))
    return np.concatenate([(weights[k].astype(np.float64) - init[k]).ravel() for k in sorted(init) if "rope" not in k])


def same_runs(checks, label, name, a, b, tolerance=0.0):
    """Columns within a relative tolerance, weights within 2 per cent of the way; tolerance 0: the same bits."""
    (columns_a, weights_a), (columns_b, weights_b) = a, b
    if columns_a is None or columns_b is None:
        return
    for key in ("loss", "grad_norm", "logit_scale"):
        close(checks, label + ": " + key, columns_a[key], columns_b[key], tolerance)
    if tolerance == 0:
        checks.that(all(np.array_equal(weights_a[k], weights_b[k]) for k in weights_b), label + ": the same weights")
    else:
        x, y = moved(name, weights_a), moved(name, weights_b)
        checks.near(label + ": weights, difference over distance moved", np.linalg.norm(x - y) / np.linalg.norm(y), 0, 0.02)


def bf16(checks, cuda, name):
    """Near fp32 (bf16 keeps 8 bits), and the same bits when it is run again."""
    first = run(checks, cuda, name, "device=cuda precision=bf16")
    again = run(checks, cuda, name, "device=cuda precision=bf16")
    exact = run(checks, cuda, name, "device=cpu precision=fp32")
    same_runs(checks, name + " bf16 twice", name, first, again)
    if first[0] is None or exact[0] is None:
        return
    close(checks, name + " bf16: loss", first[0]["loss"], exact[0]["loss"], 1e-2)
    close(checks, name + " bf16: gradient norm", first[0]["grad_norm"][:2], exact[0]["grad_norm"][:2], 3e-2)
    close(checks, name + " bf16: logit scale", first[0]["logit_scale"], exact[0]["logit_scale"], 1e-3)
    way, want = moved(name, first[1]), moved(name, exact[1])
    cosine = way @ want / np.linalg.norm(way) / np.linalg.norm(want)
    checks.that(cosine > 0.9, "%s bf16: weights move as in fp32, cosine %.4f" % (name, cosine))


def terms(checks, cuda):
    """RegionCLIP's and CLIPSelf's terms with a teacher and ensembling, on the device as on the CPU."""
    losses = "losses: {regionclip: {weight: 1, classes: 5}, clipself: 1, self_distillation: {weight: 1, stop_gradient: crops}}"
    for words in (["train.accumulate=2 train.ensemble_alpha=0.5"] if small else ["", "train.accumulate=2 train.ensemble_alpha=0.5"]):
        on_cpu = run(checks, cuda, "eva_tiny", "device=cpu precision=fp32 " + words, losses=losses)
        on_device = run(checks, cuda, "eva_tiny", "device=cuda precision=fp32 " + words, losses=losses)
        same_runs(checks, "terms " + words, "eva_tiny", on_device, on_cpu, 2e-4)
        run(checks, cuda, "eva_tiny", "device=cuda precision=bf16 " + words, losses=losses)


def sides(checks, cuda):
    """A state saved on one side goes on, on the other, as if it had stayed."""
    whole = run(checks, cuda, "eva_tiny_text", "device=cpu precision=fp32")
    for first, second in (("cuda", "cpu"), ("cpu", "cuda")):
        with tempfile.TemporaryDirectory() as folder:
            output = os.path.join(folder, "run")
            words = "precision=fp32 train.checkpoint.every_steps=2 device="
            with using(cuda):
                path = os.path.join(folder, "run.yaml")
                text = golden.experiment("eva_tiny_text", expected_of("eva_tiny_text"), ALL, 1, output)
                open(path, "w").write(text[:text.index("eval:")] + "eval: {every_epochs: 0}\n")
                status, _, err = program.run_program([path] + (SMALL if small else []) + (words + first).split(),
                                                     environment={"FINECLIP_FAULT": "0:3:crash"})
            checks.that(status == -9, "killed on %s: %d %s" % (first, status, err[-500:]))
            rest = run(checks, cuda, "eva_tiny_text", words + second, output=output)
            same_runs(checks, "from %s to %s" % (first, second), "eva_tiny_text", rest, whole, 2e-4)


def bench(checks, cuda, words, want):
    with using(cuda):
        status, out, err = program.run_program(["bench"] + words.split(), timeout=600)
    checks.that(status == 0, "bench: exit status %d: %s" % (status, err[-1000:]))
    for line in want:
        checks.that(line in out, "bench says %r: %s" % (line, out))
    return out
