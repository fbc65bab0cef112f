"""fctest: timeout=400
The paper's experiments, file by file: each passes a dry run against small stores of the right schema and trains a few steps
with a tiny model in place of its own. Further retrieval sets, a model ensembled with the initial one, and going on with a
teacher: the same bits as without a stop.
"""
import glob
import os
import shutil
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import Checks, read_safetensors, run_program  # noqa: E402
from ragged import REGIONS, newest_state, rows, write_experiment, write_store  # noqa: E402

SOURCE = os.environ.get("FINECLIP_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
EXPERIMENTS = os.path.join(SOURCE, "experiments")
# As deep as ViT-B/16, so that what counts blocks means the same; patches of 112 pixels keep the files' picture sizes cheap.
TINY = """embed_dim: 16
vision_cfg: {kind: eva02, image_size: 224, patch_size: 112, width: 16, layers: 12, head_width: 8, pt_hw_seq_len: 16}
text_cfg: {context_length: 16, vocab_size: 600, width: 16, heads: 2, layers: 1}
"""
RETRIEVAL = ["i2t_r1", "i2t_r10", "i2t_r5", "t2i_r1", "t2i_r10", "t2i_r5"]
checks = Checks()


def program(arguments, cwd, ranks=0, want=0):
    status, out, err = run_program(arguments, ranks, cwd=cwd)
    checks.that(status == want, "%s: exit status %d, want %d: %s" % (arguments, status, want, err[-2000:]))
    return out, err


def make_stores(folder):
    os.makedirs(os.path.join(folder, "data"))
    for seed, name in enumerate(("coco_train2017", "coco_val2017", "cc2.5m", "flickr30k_test")):
        write_store(os.path.join(folder, "data", name + ".h5"), seed=seed, regions=REGIONS[:16 + 4 * seed])
    with open(os.path.join(folder, "tiny.yaml"), "w") as f:
        f.write(TINY)


def test_files(folder):
    names = [os.path.basename(p)[:-5] for p in glob.glob(os.path.join(EXPERIMENTS, "*.yaml"))]
    kinds = ("ablation_row", "methods_", "scaling_", "compat_", "coco_vit")
    names = sorted(n for n in names if n.startswith(kinds))
    checks.equal("experiments", len(names), 6 + 4 + 12 + 4 + 2)
    for name in names:
        path = os.path.join(EXPERIMENTS, name + ".yaml")
        few = ["model.init=random", "model.config=tiny.yaml", "train.batch_size=4"]
        out, _ = program([path] + few + (["data.samples=12"] if "k_" in name else []) + ["--dry-run"], folder)
        checks.that("FLOPs a step and rank" in out and "epochs: 10" in out, name + ": dry run: " + out[-500:])
        few += ["train.steps=2", "train.log_every=1", "train.schedule.warmup_steps=1", "eval.before_training=false"]
        program([path] + few + (["data.samples=12"] if "k_" in name else []), folder)
        with h5py.File(os.path.join(folder, "runs", name, "results.h5"), "r") as f:
            checks.that(np.all(np.isfinite(f["train/loss"][...])) and len(f["train/loss"]) == 2, name + ": losses")
            groups = sorted(k for k in f["eval"] if k != "epoch")
            want = ["box_classification", "retrieval"] + (["retrieval_flickr30k"] if name.startswith("scaling_") else [])
            checks.equal(name + ": evaluations", groups, want)
            for group in groups[1:]:
                checks.equal(name + ": " + group, sorted(f["eval"][group]), RETRIEVAL)
                checks.that(np.all(np.isfinite(f["eval"][group]["i2t_r1"][...])), name + ": " + group)
        shutil.rmtree(os.path.join(folder, "runs", name))


def test_sweeps():
    for name in ("ablation", "methods", "scaling", "compat"):
        with open(os.path.join(EXPERIMENTS, name + ".yaml")) as f:
            text = f.read()
        runs = [w.strip(" -[],\n") for w in text.replace(",", "\n").replace("[", "\n").split("\n")]
        runs = [r.rstrip("]") for r in runs if r.rstrip("]").endswith(".yaml") and " " not in r]
        checks.that(len(runs) >= 4, "%s: runs %s" % (name, runs))
        for run in runs:
            checks.that(os.path.exists(os.path.join(EXPERIMENTS, run)), "%s: no file %s" % (name, run))


def test_sets(folder):
    """The first set and others: the same figures as if each were the only one, found again by eval and inspect."""
    val, more = (os.path.join(folder, "data", n + ".h5") for n in ("coco_val2017", "flickr30k_test"))
    path, output = os.path.join(folder, "sets.yaml"), os.path.join(folder, "sets")
    write_experiment(path, val, output, steps=2)
    extra = ["eval.retrieval=" + val, "eval.retrieval.more.b=" + more, "eval.retrieval.more.c=" + more,
             "eval.retrieval.more.c.resize=center_crop", "eval.before_training=true"]
    out, err = program([path] + extra, folder)
    checks.that(out.count("retrieval on b") == 1 and out.count("picture to text, R@1 ") == 3, "the table: " + out)
    checks.that("; on b " in err, "the log: " + err)
    with h5py.File(os.path.join(output, "results.h5"), "r") as f:
        first = {k: f["eval/retrieval"][k][...] for k in RETRIEVAL}
        sets = {n: {k: f["eval/retrieval_" + n][k][...] for k in RETRIEVAL} for n in "bc"}
        said = [f["eval/" + g].attrs["protocol"] for g in ("retrieval", "retrieval_b", "retrieval_c")]
    checks.that(more in str(said[1]) and "center_crop" in str(said[2]) and val in str(said[0]), "protocols: %s" % said)
    for data, fit, want in ((val, "squash", first), (more, "squash", sets["b"]), (more, "center_crop", sets["c"])):
        program(["eval", path, "eval.retrieval=" + data, "eval.retrieval.resize=" + fit], folder)
        with h5py.File(os.path.join(output, "eval.h5"), "r") as f:
            for k in RETRIEVAL:
                checks.equal("%s %s: %s" % (os.path.basename(data), fit, k), f["eval/retrieval"][k][-1], want[k][-1])
                checks.equal("evaluations", len(want[k]), 2)
    out, _ = program(["inspect", os.path.join(output, "results.h5")], folder)
    checks.that("newest, on" in out and "\nb " in out, "inspect: " + out)
    program([path, "eval.retrieval.more.d=" + more], folder, want=64)
    program([path, "eval.retrieval=" + val, "eval.retrieval.more.d=gone.h5"], folder, want=66)
    program([path, "eval.retrieval=" + val, "eval.retrieval.more={a/b: gone.h5}"], folder, want=64)


def mixed(state, alpha):
    """What is to be saved of a state, in single precision."""
    tensors = {}
    for name, value in state.items():
        if name.startswith("model."):
            base = state.get("initial." + name[6:], value).astype(np.float64)
            tensors[name[6:]] = (base + alpha * (value.astype(np.float64) - base)).astype(np.float32)
    return tensors


def test_ensemble(folder):
    store = os.path.join(folder, "data", "cc2.5m.h5")
    losses = {"clipself": 1.0, "regionclip": 0.1}
    runs = {}
    for alpha in ("0.7", "1"):
        path, output = os.path.join(folder, "mix%s.yaml" % alpha), os.path.join(folder, "mix" + alpha)
        write_experiment(path, store, output, losses=losses, steps=6, checkpoint={"every_steps": 3, "keep": 9})
        arguments = [path, "precision=fp32", "train.ensemble_alpha=" + alpha, "model.unlocked_blocks=2",
                     "eval.box_classification=" + store, "eval.retrieval=" + store]
        program(arguments, folder)
        runs[alpha] = (arguments, output, read_safetensors(newest_state(output)))
    # Training goes on from the weights that were not mixed.
    arguments, output, state = runs["0.7"]
    wrong = [n for n, v in runs["1"][2].items() if v.tobytes() != state[n].tobytes()]
    checks.equal("states with and without ensembling", wrong, [])
    moved = [n for n in state if n.startswith("initial.") and np.any(state["model." + n[8:]] != state[n])]
    checks.that(len(moved) > 20, "tensors that moved: %d" % len(moved))
    for alpha in ("0.7", "1"):
        saved = read_safetensors(os.path.join(runs[alpha][1], "checkpoints", "epoch_2.safetensors"))
        want = mixed(runs[alpha][2], float(alpha))
        wrong = [n for n, v in want.items() if saved[n].tobytes() != v.tobytes()]
        checks.that(len(want) > 40 and not wrong, "alpha %s: saved model differs in %s" % (alpha, wrong))
    # The mixed model is what is evaluated: during the run, from its state, and from the saved file.
    with h5py.File(os.path.join(output, "results.h5"), "r") as f:
        figures = {k: f["eval/box_classification"][k][-1] for k in ("micro_top1", "micro_top5")}
        figures.update({k: f["eval/retrieval"][k][-1] for k in RETRIEVAL})
    for extra in ([], ["train.resume=" + os.path.join(output, "checkpoints", "epoch_2.safetensors")], ["train.ensemble_alpha=1"]):
        program(["eval"] + arguments + extra, folder)
        with h5py.File(os.path.join(output, "eval.h5"), "r") as f:
            for k, want in figures.items():
                group = "retrieval" if k in RETRIEVAL else "box_classification"
                checks.equal("eval %s: %s" % (extra, k), f["eval"][group][k][-1], want)
    # Going on from the middle, where the initial weights come from the state, not from the seed.
    again = os.path.join(folder, "again")
    os.makedirs(os.path.join(again, "checkpoints"))
    shutil.copy(os.path.join(output, "checkpoints", "state_000000003.safetensors"), os.path.join(again, "checkpoints"))
    program(arguments + ["output=" + again], folder)
    a, b = rows(os.path.join(again, "results.h5")), rows(os.path.join(output, "results.h5"))
    for name in b:
        checks.that(a[name].tobytes() == b[name][3:].tobytes(), "gone on: %s is %s, want %s" % (name, a[name], b[name][3:]))
    got = read_safetensors(newest_state(again))
    checks.equal("gone on: tensors that differ", [n for n, v in state.items() if got[n].tobytes() != v.tobytes()], [])
    saved = read_safetensors(os.path.join(again, "checkpoints", "epoch_2.safetensors"))
    checks.equal("gone on: saved model", [n for n, v in mixed(state, 0.7).items() if saved[n].tobytes() != v.tobytes()], [])


def test_refusals(folder):
    bare = os.path.join(folder, "bare.h5")
    shutil.copy(os.path.join(folder, "data", "cc2.5m.h5"), bare)
    with h5py.File(bare, "a") as f:
        del f["categories"], f["regions"]
    path = os.path.join(folder, "bare.yaml")
    write_experiment(path, bare, os.path.join(folder, "bare"), losses={"clipself": 1.0})
    err = program([path], folder, want=65)[1]
    checks.that("no regions" in err and "losses.clipself" in err, "clipself without regions: " + err)
    program([path, "data.regions=grid", "data.grid_split=2"], folder)
    write_experiment(path, bare, os.path.join(folder, "bare"), losses={"regionclip": 1.0})
    err = program([path], folder, want=65)[1]
    checks.that("losses.regionclip" in err, "regionclip without categories: " + err)
    other = os.path.join(folder, "data", "coco_val2017.h5")
    with h5py.File(other, "a") as f:
        names = [b"another %d" % k for k in range(len(f["categories/names"]))]
        del f["categories/names"]
        f.create_dataset("categories/names", data=names, dtype=h5py.string_dtype())
    write_experiment(path, os.path.join(folder, "data", "cc2.5m.h5"), os.path.join(folder, "bare"),
                     losses={"regionclip": {"concepts": other}})
    err = program([path], folder, want=65)[1]
    checks.that("is not among the categories of" in err and "category " in err, "concepts that are not there: " + err)


def main():
    with tempfile.TemporaryDirectory() as folder:
        make_stores(folder)
        test_files(folder)
        test_sweeps()
        test_sets(folder)
        test_ensemble(folder)
        test_refusals(folder)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
