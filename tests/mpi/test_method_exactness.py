"""fctest: timeout=400
Training with the terms of compared methods is the same on 1, 2 and 4 ranks, in micro-batches, with recomputed blocks and with
a split optimizer, in double to 1e-9: with a teacher, concepts, a locked tower and regions on grids.
"""
import os
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from program import Checks  # noqa: E402
from ragged import CATEGORIES  # noqa: E402
from test_exactness import Bench  # noqa: E402

METHODS = {"clipself": {"clipself": 1.0}, "regionclip": {"regionclip": {"weight": 0.1, "classes": 5}},
           "all": {"global_contrastive": 1.0, "self_distillation": 0.5, "clipself": 1.0, "regionclip": 0.1}}
LOCKED = ("model.unlocked_blocks=2", "train.ensemble_alpha=0.6")


def differ(a, b):
    """b may come from a step of no length, which leaves 1e-300 in place of 0."""
    return not np.max(np.abs(a - b)) < 1e-290


def moved(b, choice, extra):
    one, init = b.run(1, *extra, **choice), b.init(**choice)
    return sorted(n[6:] for n in init if n.startswith("model.") and differ(one[1][n], init[n]))


def test_ranks(b):
    for name, losses in METHODS.items():
        choice = {"losses": losses}
        one = b.run(1, **choice)
        b.checks.that(np.all(np.isfinite(one[0]["loss"])) and np.all(one[0]["loss"][[0, 1, 3]] > 0), name + ": losses")
        if name != "all":
            b.checks.equal(name + ": step without regions", one[0]["loss"][2], 0)
        for ranks in (2, 4):
            b.same("%s np %d" % (name, ranks), b.run(ranks, **choice), one)


def test_variants(b):
    choice = {"losses": METHODS["all"]}
    one = b.run(1, *LOCKED, **choice)
    for ranks, extra in ((1, ["train.accumulate=3"]), (1, ["train.recompute=blocks"]),
                         (2, ["train.accumulate=2", "train.recompute=blocks"]), (4, ["train.shard_optimizer=true"])):
        b.same("locked %s np %d" % (" ".join(extra), ranks), b.run(ranks, *LOCKED, *extra, **choice), one)
    grid = ("data.regions=grid", "data.grid_split=3")
    choice = {"losses": METHODS["clipself"]}
    one = b.run(1, *grid, **choice)
    b.differs("grid", one, b.run(1, **choice))
    b.same("grid np 4", b.run(4, *grid, "train.accumulate=2", **choice), one)


def test_trained(b):
    """What a method trains: with a locked tower its last blocks alone, and never text, logit_scale or the teacher."""
    for name in ("clipself", "regionclip"):
        for model, prefix in (("eva_tiny", "visual.blocks."), ("clip_tiny", "visual.transformer.resblocks.")):
            choice = {"losses": METHODS[name], "model": model}
            free, locked = moved(b, choice, ()), moved(b, choice, ("model.unlocked_blocks=2",))
            b.checks.that(len(free) > 30 and all(n.startswith("visual.") for n in free), "%s %s: trained %s" % (name, model, free))
            inside = [n for n in free if n.startswith(prefix) and n[len(prefix)] in "12"]
            b.checks.equal("%s %s, locked: trained" % (name, model), locked, inside)
            state, init = b.run(1, "train.ensemble_alpha=0.9", **choice)[1], b.init(**choice)
            kept = [n for n in state if n.startswith("initial.")]
            wrong = [n for n in kept if differ(state[n], init["model." + n[8:]])]
            b.checks.that(len(kept) > 30 and not wrong, "%s %s: the initial model changed: %s" % (name, model, wrong))


def test_options(b):
    """Concepts of another store, found by name; one whose text tower trains takes those of the initial model."""
    choice = {"losses": {"regionclip": 0.1}}
    one = b.run(1, **choice)
    b.differs("few classes", b.run(1, losses={"regionclip": {"weight": 0.1, "classes": 1}}), one)
    other = os.path.join(b.folder, "concepts.h5")
    with h5py.File(b.store, "r") as f, h5py.File(other, "w") as g:
        for name in f:
            f.copy(name, g)
        g.attrs.update(f.attrs)
        del g["categories"]
        order = np.arange(CATEGORIES)[::-1]  # the same concepts in another order, and one more
        names = [f["categories/names"][k] for k in order] + [b"more"]
        g.create_dataset("categories/names", data=names, dtype=h5py.string_dtype())
        g["categories/isthing"] = np.ones(CATEGORIES + 1, np.uint8)
        rows = [f["categories/prompt_tokens"][a:z] for a, z in
                zip(f["categories/prompt_offsets"][:-1].astype(int), f["categories/prompt_offsets"][1:].astype(int))]
        pick = [r for k in list(order) + [0] for r in rows[2 * k:2 * k + 2]]
        g["categories/prompt_tokens"] = np.concatenate(pick)
        g["categories/prompt_offsets"] = np.cumsum([0] + [len(r) for r in pick]).astype(np.uint64)
        g["categories/category_offsets"] = (2 * np.arange(CATEGORIES + 2)).astype(np.uint64)
    named = {"losses": {"regionclip": {"weight": 0.1, "concepts": other, "classes": 100}}}
    wide = b.run(1, **named)
    b.differs("a concept more", wide, one)
    b.same("concepts of a store np 2", b.run(2, **named), wide)
    trained = {"losses": {"regionclip": 0.1, "global_contrastive": 1.0}}
    frozen = b.run(1, "model.freeze=[text]", **trained)
    b.checks.near("concepts at the first step", b.run(1, **trained)[0]["losses/regionclip"][0], frozen[0]["losses/regionclip"][0],
                  1e-9)


def main():
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        b = Bench(folder, checks)
        for test in (test_ranks, test_variants, test_trained, test_options):
            test(b)
        print("%d runs; largest differences: %s" % (len(b.runs), ", ".join("%s %.1e" % w for w in b.worst.items())))
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
