"""fctest: timeout=200
What a run leaves behind: every dataset and attribute of a results file with its shape, the same figures from `fineclip eval`,
a dry run that writes nothing and predicts what a step costs, the lines of bench, and an installed tree used from elsewhere.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import BIN, Checks, read_safetensors, run_program  # noqa: E402
from ragged import CATEGORIES, REGIONS, TERMS, write_experiment, write_store  # noqa: E402

STEPS, EPOCHS = 8, 2  # 4 steps an epoch
TRAIN = ["epoch", "grad_norm", "images_per_second", "logit_scale", "loss", "lr", "seconds", "data_seconds"]
BOX = ["micro_top1", "micro_top5", "top1", "top5"]
RETRIEVAL = ["i2t_r1", "i2t_r10", "i2t_r5", "t2i_r1", "t2i_r10", "t2i_r5"]
checks = Checks()


def program(arguments, ranks=0, want=0, cwd=None):
    status, out, err = run_program(arguments, ranks, cwd=cwd)
    checks.that(status == want, "%s: exit status %d, want %d: %s" % (arguments, status, want, err[-3000:]))
    return out, err


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def evaluation(folder, file, row):
    with h5py.File(os.path.join(folder, file), "r") as f:
        found = {"epoch": f["eval/epoch"][row]}
        for group in ("box_classification", "retrieval"):
            found.update({"%s/%s" % (group, k): v[row] for k, v in f["eval"][group].items()})
    return found


def test_file(output, store):
    with h5py.File(os.path.join(output, "results.h5"), "r") as f:
        attrs = {k: text(v) for k, v in f.attrs.items()}
        names = ["code_version", "config", "device", "finished", "format", "name", "parameters", "precision", "started",
                 "status", "train_images", "version", "world_size"]
        checks.equal("attributes", sorted(attrs), names)
        want = {"format": "fineclip-run", "version": "1", "name": "run", "status": "completed", "device": "cpu",
                "precision": "fp64", "world_size": "2", "train_images": "32"}
        checks.equal("attributes' values", {k: attrs[k] for k in want}, want)
        checks.that(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", attrs["started"]) and
                    attrs["started"] <= attrs["finished"], "times %(started)s, %(finished)s" % attrs)
        checks.that("batch_size: 4" in attrs["config"] and store in attrs["config"], "the resolved configuration")
        weights = read_safetensors(os.path.join(output, "checkpoints", "epoch_2.safetensors"))
        checks.equal("parameters", int(attrs["parameters"]), sum(t.size for n, t in weights.items() if "rope" not in n))

        t, e = STEPS, EPOCHS + 1
        shapes = {"train/step": (t,), "eval/epoch": (e,), "cost/epoch_seconds": (EPOCHS,), "cost/peak_device_bytes": (2,),
                  "cost/peak_host_bytes": (2,), "eval/box_classification/regions": (e,),
                  "eval/box_classification/per_category_top1": (e, CATEGORIES)}
        shapes.update({"train/" + n: (t,) for n in TRAIN})
        shapes.update({"train/losses/" + n: (t,) for n in TERMS})
        shapes.update({"eval/box_classification/" + n: (e,) for n in BOX})
        shapes.update({"eval/retrieval/" + n: (e,) for n in RETRIEVAL})
        found = {}
        f.visititems(lambda n, o: found.update({n: o.shape}) if isinstance(o, h5py.Dataset) else None)
        checks.equal("datasets", {n: found.get(n) for n in shapes}, shapes)
        checks.equal("types", [f["train/step"].dtype.kind, f["train/epoch"].dtype.kind, f["eval/epoch"].dtype.kind], ["i", "f", "f"])
        checks.equal("step", list(f["train/step"]), list(range(1, STEPS + 1)))
        checks.near("epoch", np.max(np.abs(f["train/epoch"][...] - np.arange(1, STEPS + 1) / 4)), 0, 1e-12)
        checks.equal("epochs of evaluations", list(f["eval/epoch"]), [0, 1, 2])
        checks.equal("regions", list(f["eval/box_classification/regions"]), [sum(REGIONS)] * e)
        total = sum(w * f["train/losses/" + n][...] for n, w in TERMS.items())
        checks.near("loss is the weighted sum", np.max(np.abs(total - f["train/loss"][...])), 0, 1e-12)
        for n in BOX:
            v = f["eval/box_classification/" + n][...]
            checks.that(np.all((v >= 0) & (v <= 1)), "%s in 0..1: %s" % (n, v))
        per = f["eval/box_classification/per_category_top1"][...]
        checks.near("top-1 is the mean over categories", np.max(np.abs(np.nanmean(per, 1) - f["eval/box_classification/top1"][...])), 0, 1e-9)
        protocol = text(f["eval/box_classification"].attrs["protocol"])
        checks.that(all(w in protocol for w in (store, "categories 7", "image size 64", "squash", "prompts")), protocol)
        for n in ("seconds", "images_per_second"):
            checks.that(np.all(f["train/" + n][...] > 0), n)
        checks.that(np.all(f["cost/peak_host_bytes"][...] > 1 << 20) and np.all(f["cost/epoch_seconds"][...] > 0), "cost")


def test_eval(path, output):
    """The newest checkpoint, and a model file; on other ranks than the run."""
    want = evaluation(output, "results.h5", -1)
    before = os.path.getmtime(os.path.join(output, "results.h5"))
    for ranks in (0, 2):
        program(["eval", path], ranks)
        got = evaluation(output, "eval.h5", 0)
        for name in want:
            checks.that(np.array_equal(got[name], want[name], equal_nan=True), "eval: %s is %s, want %s" % (name, got[name], want[name]))
    checks.equal("results are left alone", os.path.getmtime(os.path.join(output, "results.h5")), before)
    out, _ = program(["eval", path, "train.resume=never"])
    checks.that("top-1" in out, "eval prints a table: " + out)
    got, want = evaluation(output, "eval.h5", 0), evaluation(output, "results.h5", 0)
    for name in want:
        checks.that(np.array_equal(got[name], want[name], equal_nan=True), "eval at the start: %s is %s, want %s" % (name, got[name], want[name]))


def number(pattern, lines):
    found = re.search(pattern, lines)
    return float(found.group(1)) if checks.that(found, "no %r in %s" % (pattern, lines)) else float("nan")


def test_dry_run(path, folder):
    """Nothing is written; but made-up scenes are rendered, as what is in a store is part of the plan."""
    output = os.path.join(folder, "dry")
    dry = [path, "output=" + output, "precision=fp32"]
    before = sorted(os.listdir(folder))
    out, _ = program(dry + ["--dry-run"])
    checks.equal("a dry run writes nothing", sorted(os.listdir(folder)), before)
    checks.that("batch_size: 8" in out and "32 of " in out, "configuration and pictures: " + out[-600:])
    checks.equal("steps", number(r"steps +(\d+) \(", out), STEPS)
    flops, fixed = number(r"FLOPs a step and rank +(\S+)", out), number(r"cpu: (\d+) whatever the batch", out)
    most = number(r"memory a rank +at most (\d+) MiB", out)
    program(dry + ["data.train={synthetic: {images: 4, seed: 1}}", "--dry-run"])
    checks.equal("a dry run on scenes writes these alone", os.listdir(output), ["data"])
    shutil.rmtree(output)

    measured, _ = program(["bench"] + dry + ["--ranks", "16"])
    checks.that(not os.path.exists(output), "bench writes nothing")
    for line in ("model", "steps", "step_seconds", "images_per_second", "model_gflop", "weights_gradients_optimizer_mib",
                 "activations_mib", "peak_host_mib"):
        checks.that(re.search(r"^%s: \S" % line, measured, re.M), "bench prints %s: %s" % (line, measured))
    checks.near("bench: time", number(r"step_seconds: (\S+)", measured) * number(r"images_per_second: (\S+)", measured), 8, 0.1)
    rows = [line.split() for line in measured.split("predicted; ")[1].split("\n")[3:8]]
    checks.equal("bench: predicted for", [row[:2] for row in rows], [["1", "1"], ["2", "1"], ["4", "1"], ["8", "1"], ["16", "2"]])
    checks.equal("bench: one rank is as efficient as itself", rows[0][8], "100.0")
    checks.near("bench: predicted for one rank", float(rows[0][2]), number(r"step_seconds: (\S+)", measured),
                1e-3 * float(rows[0][2]) + 0.2 * number(r"communication_wait_seconds: (\S+)", measured) + 1e-4)
    checks.equal("bench: predicted for all", number(r"predicted_step_seconds: (\S+) on 16 ranks", measured), float(rows[4][2]))
    checks.near("memory of weights", fixed, number(r"optimizer_mib: (\S+)", measured), 1)
    taken = number(r"predicted_mib: (\S+)", measured) * number(r"peak_over_predicted: (\S+)", measured)
    checks.near("memory, at most", most, taken, 0.1 * taken)
    # bench puts max_boxes (4) regions into every picture, the store holds fewer: mean 38/32
    everywhere = number(r"model_gflop: (\S+)", measured) * 1e9
    checks.that(0.25 * everywhere <= flops <= 0.75 * everywhere, "FLOPs %g, bench %g" % (flops, everywhere))


def test_install(folder):
    """The installed tree finds its experiments and models wherever it is and wherever it is called from."""
    build = os.path.dirname(os.path.abspath(BIN))
    prefix, moved = os.path.join(folder, "prefix"), os.path.join(folder, "moved")
    done = subprocess.run(["cmake", "--install", build, "--prefix", prefix], capture_output=True, text=True)
    if not checks.that(done.returncode == 0, "install: " + done.stderr):
        return
    os.rename(prefix, moved)
    installed, output = os.path.join(moved, "bin", "fineclip"), os.path.join(folder, "quick")
    done = subprocess.run([installed, "--version"], capture_output=True, text=True, cwd="/")
    checks.that(re.fullmatch(r"fineclip \d+\.\d+\.\d+\S*\n", done.stdout) and done.returncode == 0, "version: " + done.stdout)
    scenes = ["data.train={synthetic: {images: 32, seed: 1}}", "eval.box_classification=null", "eval.retrieval=null"]
    for experiment in ("experiments/quickstart.yaml", os.path.join(moved, "share/fineclip/experiments/quickstart.yaml")):
        done = subprocess.run([installed, experiment, "output=" + output, "--dry-run"] + scenes, capture_output=True, text=True,
                              cwd="/")
        checks.that(done.returncode == 0 and "parameters" in done.stdout, "%s from /: %s" % (experiment, done.stderr))


def main():
    with tempfile.TemporaryDirectory() as folder:
        store, output = os.path.join(folder, "ragged.h5"), os.path.join(folder, "run")
        path = output + ".yaml"
        write_store(store)
        write_experiment(path, store, output, steps=STEPS, checkpoint={"every_epochs": 1})
        figures = ["eval.before_training=true", "eval.every_epochs=1", "eval.box_classification=" + store, "eval.retrieval=" + store]
        program([path, "train.batch_size=4"] + figures, 2)
        test_file(output, store)
        with open(path) as f:
            settings = f.read().replace('"every_epochs": 0, "before_training": false',
                                        '"box_classification": "%s", "retrieval": "%s"' % (store, store))
        with open(path, "w") as f:
            f.write(settings)
        test_eval(path, output)
        test_dry_run(path, folder)
        test_install(folder)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
