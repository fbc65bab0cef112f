"""fctest: timeout=300
The same global batch on 1, 2 and 4 ranks is the same training: losses, gradient norms, weights and evaluations, on a ragged
store where ranks and whole steps lack regions. So are micro-batches, recomputed blocks, a split optimizer, and every rank
computing the whole similarity matrix. In double to 1e-9, where only the order of sums differs.
"""
import os
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import Checks, read_safetensors, run_program  # noqa: E402
from ragged import TERMS, newest_state, rows, write_experiment, write_store  # noqa: E402

LOOSE, TIGHT = 1e-4, 1e-9  # fp32: of the distance moved; fp64: relative


class Bench:
    """Runs experiments on one store; each once."""

    def __init__(self, folder, checks):
        self.folder, self.checks, self.runs, self.worst = folder, checks, {}, {}
        self.store = os.path.join(folder, "ragged.h5")
        write_store(self.store)

    def run(self, ranks=1, *extra, model="eva_tiny", losses=None, again=0):
        """Rows, final tensors (double or float), output folder."""
        key = (ranks, extra, model, str(losses), again)
        if key not in self.runs:
            name = os.path.join(self.folder, "run%d" % len(self.runs))
            write_experiment(name + ".yaml", self.store, name, model, losses)
            command = [name + ".yaml", "train.batch_size=%d" % (8 // ranks)] + list(extra)
            status, _, err = run_program(command, ranks if ranks > 1 else 0)
            if not self.checks.that(status == 0, "%s: exit status %d: %s" % (key, status, err[-3000:])):
                raise SystemExit(self.checks.end())
            self.runs[key] = (rows(os.path.join(name, "results.h5")), read_safetensors(newest_state(name)), name)
        return self.runs[key]

    def init(self, **choice):
        """The tensors before training: one step of no length."""
        return self.run(1, "train.steps=1", "train.optimizer.lr=1e-300", **choice)[1]

    def note(self, what, value):
        self.worst[what] = max(self.worst.get(what, 0), value)

    def same(self, label, got, want, tolerance=TIGHT):
        """Rows and weights agree to a relative tolerance."""
        self.checks.equal(label + ": columns", sorted(got[0]), sorted(want[0]))
        for name, w in want[0].items():
            g = got[0][name]
            error = np.max(np.abs(g - w) / np.maximum(np.abs(w), 1e-3)) if g.shape == w.shape else np.inf
            self.checks.near("%s: %s" % (label, name), error, 0, tolerance)
            self.note("rows", error)
        self.checks.equal(label + ": tensors", sorted(got[1]), sorted(want[1]))
        for name, w in want[1].items():
            if name.startswith("model."):
                error = np.linalg.norm(got[1][name] - w) / max(np.linalg.norm(w), 1e-3)
                self.checks.near("%s: %s" % (label, name), error, 0, tolerance)
                self.note("weights", error)
            elif name == "updates":
                self.checks.that(np.array_equal(got[1][name], w), label + ": updates of each tensor")

    def bits(self, label, got, want):
        for part in (0, 1):
            wrong = [n for n, w in want[part].items() if n not in got[part] or got[part][n].tobytes() != w.tobytes()]
            self.checks.that(len(want[part]) > 0 and not wrong, "%s: other bits in %s" % (label, wrong))

    def differs(self, label, got, want):
        apart = np.max(np.abs(got[0]["loss"] - want[0]["loss"]))
        self.checks.that(apart > 1e-4, "%s: losses differ by %g, want more" % (label, apart))


def test_ranks(b):
    for model in ("eva_tiny", "clip_tiny"):
        one = b.run(1, model=model)
        b.checks.that(np.all(np.isfinite(one[0]["loss"])) and one[0]["losses/region_contrastive"][0] > 0, model + ": losses")
        b.checks.equal(model + ": step without regions", one[0]["losses/self_distillation"][2], 0)
        for ranks in (2, 4):
            b.same("%s np %d" % (model, ranks), b.run(ranks, model=model), one)
    shuffled = ("data.shuffle=true", "train.steps=10")  # 4 steps an epoch
    for ranks in (2, 4):
        b.same("shuffled np %d" % ranks, b.run(ranks, *shuffled), b.run(1, *shuffled))
    b.differs("shuffled", b.run(1, "train.steps=10"), b.run(1, *shuffled))
    few = ("data.samples=9", "data.shuffle=true", "train.steps=3")
    b.same("samples np 4", b.run(4, *few), b.run(1, *few))


def test_float(b):
    fast, double = ("precision=fp32", "train.optimizer.eps=1e-4"), ("train.optimizer.eps=1e-4",)
    for model in ("eva_tiny", "clip_tiny"):
        want, init = b.run(1, *fast, model=model), b.init(model=model)
        exact = b.run(1, *double, model=model)
        for ranks in (1, 2, 4):
            got = want if ranks == 1 else b.run(ranks, *fast, model=model)
            for against in (exact, want):
                apart = moved = 0.0
                for name, w in against[1].items():
                    # The gradient of the keys' bias is rounding noise, and AdamW steps along noise at full length.
                    if name.startswith("model.") and not name.endswith("in_proj_bias"):
                        apart += np.sum((got[1][name].astype(np.float64) - w) ** 2)
                        moved += np.sum((w - init[name]) ** 2)
                error = np.sqrt(apart / moved)
                b.note("fp32 weights, of the distance moved, to fp%d" % (32 if against is want else 64), error)
                b.checks.near("%s fp32 np %d: weights" % (model, ranks), error, 0, LOOSE)
                for name, w in against[0].items():
                    error = np.max(np.abs(got[0][name] - w) / np.maximum(np.abs(w), 1e-3))
                    b.note("fp32 rows", error)
                    b.checks.near("%s fp32 np %d: %s" % (model, ranks, name), error, 0, LOOSE)


def test_variants(b):
    one = b.run(1)
    for extra in (["train.accumulate=2"], ["train.accumulate=4"], ["train.recompute=blocks"],
                  ["train.accumulate=3", "train.recompute=blocks"], ["train.local_loss=false"], ["deterministic=true"]):
        b.same(" ".join(extra), b.run(1, *extra), one)
    for ranks, extra in ((2, ["train.accumulate=4"]), (4, ["train.accumulate=2", "train.recompute=blocks"]),
                         (2, ["train.shard_optimizer=true"]), (4, ["train.shard_optimizer=true"]),
                         (2, ["train.local_loss=false"]), (4, ["train.local_loss=false"]),
                         (4, ["train.accumulate=2", "train.local_loss=false", "train.shard_optimizer=true"])):
        b.same("np %d %s" % (ranks, " ".join(extra)), b.run(ranks, *extra), one)
    b.bits("sharded", b.run(2, "train.shard_optimizer=true"), b.run(2))
    clip = "train.clip_grad_norm=0.5"
    b.checks.that(np.all(b.run(1, clip)[0]["grad_norm"] > 0.5), "clipped gradients were long")
    b.same("clipped np 4 sharded", b.run(4, clip, "train.shard_optimizer=true"), b.run(1, clip))
    b.differs("clipped", b.run(1, clip), one)
    frozen = "model.freeze=[text]"
    b.same("frozen np 4 sharded", b.run(4, frozen, "train.shard_optimizer=true"), b.run(1, frozen))


def test_terms(b):
    for term in TERMS:
        for model in ("eva_tiny", "clip_tiny"):
            choice = {"model": model, "losses": {term: 1.0}}
            one, init = b.run(1, **choice), b.init(**choice)
            still = {n for n in init if n.startswith("model.") and one[1][n].tobytes() == init[n].tobytes()}
            moving = {n for n in init if n.startswith("model.")} - still
            text = {n for n in init if n.startswith("model.") and not n.startswith("model.visual.")}
            if term == "self_distillation":
                b.checks.equal("%s %s alone: tensors that stay" % (model, term), sorted(still), sorted(text))
            elif term == "region_contrastive" and model == "eva_tiny":
                last = ["model.visual.blocks.2.attn." + n for n in ("k_proj.weight", "q_bias", "q_proj.weight")]
                b.checks.equal("%s %s alone: tensors that stay" % (model, term), sorted(still), last)
            else:
                b.checks.equal("%s %s alone: tensors that stay" % (model, term), sorted(still), [])
            b.checks.that(len(moving) > 0, term + ": something moves")
            for ranks in (2, 4):
                b.same("%s %s alone np %d" % (model, term, ranks), b.run(ranks, **choice), one)


def test_stop_gradient(b):
    found = []
    for stop in ("none", "crops", "regions"):
        choice = {"losses": {"self_distillation": {"weight": 1.0, "stop_gradient": stop}}}
        found.append(b.run(1, **choice))
        for ranks in (2, 4):
            b.same("stop_gradient %s np %d" % (stop, ranks), b.run(ranks, **choice), found[-1])
    for i in range(3):
        for k in range(i):
            b.differs("stop_gradient %d, %d" % (i, k), found[i], found[k])


def test_compat(b):
    one = b.run(1)
    drifted = b.run(2, "train.compat=[unsynced_gradients]")
    b.checks.near("unsynced: first loss", drifted[0]["loss"][0], one[0]["loss"][0], TIGHT)
    b.differs("unsynced", drifted, one)
    b.bits("unsynced on one rank", b.run(1, "train.compat=[unsynced_gradients]"), one)
    choice = {"losses": {"self_distillation": 1.0}}
    dummy, plain = b.run(1, "train.compat=[dummy_region]", **choice), b.run(1, **choice)
    b.same("dummy_region np 4", b.run(4, "train.compat=[dummy_region]", **choice), dummy)
    b.checks.that(abs(dummy[0]["loss"][0] - plain[0]["loss"][0]) > 1e-3, "dummy_region: step 0 lacks regions")
    b.checks.that(dummy[0]["loss"][2] > 0, "dummy_region: step 2 has dummies alone")
    full = os.path.join(b.folder, "full.h5")
    write_store(full, regions=[1, 2, 1, 3, 1, 1, 2, 1] * 4)
    full = "data.train=" + full
    b.bits("dummy_region where every picture has a region", b.run(1, full, "train.compat=[dummy_region]"), b.run(1, full))


def test_repeats(b):
    for ranks in (1, 4):
        b.bits("np %d twice" % ranks, b.run(ranks, again=1), b.run(ranks))
    fast = "precision=fp32"
    b.bits("np 2 fp32 twice", b.run(2, fast, "deterministic=true", again=1), b.run(2, fast, "deterministic=true"))
    b.bits("loader threads", b.run(1, "data.workers=3"), b.run(1))


def test_evaluation(b):
    data = ["eval.box_classification.data=" + b.store, "eval.retrieval.data=" + b.store, "eval.before_training=true"]
    other = ["eval.box_classification.resize=longest", "eval.box_classification.image_size=80",
             "eval.retrieval.resize=center_crop"]
    for model, extra in (("eva_tiny", data), ("clip_tiny", data + other)):
        found = []
        for ranks in (1, 2, 4):
            with h5py.File(os.path.join(b.run(ranks, *extra, model=model)[2], "results.h5"), "r") as f:
                found.append({k + "/" + n: v[...] for k in ("box_classification", "retrieval") for n, v in f["eval"][k].items()})
        for ranks, got in zip((2, 4), found[1:]):
            b.checks.equal("evaluation: figures", len(found[0]), 12)
            for name, want in found[0].items():
                b.checks.that(np.array_equal(got[name], want, equal_nan=True),
                              "%s evaluation np %d: %s is %s, want %s" % (model, ranks, name, got[name], want))


def main():
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        b = Bench(folder, checks)
        for test in (test_ranks, test_float, test_variants, test_terms, test_stop_gradient, test_compat, test_repeats,
                     test_evaluation):
            test(b)
        print("%d runs; largest differences: %s" % (len(b.runs), ", ".join("%s %.1e" % w for w in b.worst.items())))
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
