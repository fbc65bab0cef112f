"""fctest: timeout=400
Losses that go wrong on purpose, NaN and spikes, on one rank and on two: skipped, gone back from, or stopped at; what is on
record of them; and runs that go on afterwards.
"""
import json
import os
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import Checks, read_safetensors, run_program  # noqa: E402
from ragged import newest_state, rows, write_experiment, write_store  # noqa: E402

DATA = 65
STEPS, BATCH, IMAGES = 12, 8, 32
WATCH = ["run.spike_sigma=5", "run.spike_warmup=4"]
checks = Checks()


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


class Runs:
    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.store = os.path.join(folder, "ragged.h5")
        write_store(self.store)

    def new(self, **train):
        self.count += 1
        output = os.path.join(self.folder, "run%d" % self.count)
        write_experiment(output + ".yaml", self.store, output,
                         **{"steps": STEPS, "checkpoint": {"every_epochs": 0, "every_steps": 4}, **train})
        return output

    def train(self, output, *extra, ranks=0, fault="", want=0):
        batch = "train.batch_size=%d" % (BATCH // max(ranks, 1))
        status, _, err = run_program([output + ".yaml", batch] + list(extra), ranks, environment={"FINECLIP_FAULT": fault})
        checks.that(status == want, "%s %s: exit status %d, want %d: %s" % (output, extra, status, want, err[-3000:]))
        return err


def incidents(output):
    """Everything on record, by name."""
    with h5py.File(os.path.join(output, "results.h5"), "r") as f:
        if "incidents" not in f:
            return []
        found = []
        for name in sorted(f["incidents"]):
            group = f["incidents"][name]
            entry = {k: text(v) if k in ("what", "action") else v for k, v in group.attrs.items()}
            entry.update({k: v[...] for k, v in group.items()})
            found.append(entry)
        checks.equal("count of incidents", int(f["incidents"].attrs["count"]), len(found))
        return found


def pictures_of(batch):
    """Without shuffling."""
    return [(batch * BATCH + i) % IMAGES for i in range(BATCH)]


def check_incident(label, entry, step, batch, what, action):
    checks.equal(label + ": step, batch", (int(entry["step"]), int(entry["batch"])), (step, batch))
    checks.equal(label + ": what, action", (entry["what"], entry["action"]), (what, action))
    checks.equal(label + ": pictures", list(entry["images"]), pictures_of(batch))
    checks.equal(label + ": ids", list(entry["image_ids"]), pictures_of(batch))  # the store's ids count as its pictures do
    names = [text(v) for v in entry["parameters"]]
    checks.that(len(names) > 50 and "logit_scale" in names and len(set(names)) == len(names), label + ": parameters %s" % names)
    norms, gradients = entry["parameter_norms"], entry["gradient_norms"]
    checks.that(np.all(np.isfinite(norms)) and np.any(norms > 0), label + ": parameter norms")
    if what == "spike":
        checks.near(label + ": norm of all gradients", np.sqrt(np.sum(gradients ** 2)) / entry["gradient_norm"], 1, 1e-9)
        checks.that(entry["loss"] > entry["mean"] + 5 * entry["deviation"], label + ": above the mean")
    else:
        checks.that(not np.all(np.isfinite(gradients)) and not np.isfinite(entry["loss"]), label + ": NaN is on record")
    checks.equal(label + ": terms", sorted(text(v) for v in entry["terms"]),
                 ["global_contrastive", "region_contrastive", "self_distillation"])
    checks.that(np.isnan(entry["term_losses"][0]) or what == "spike", label + ": losses of terms %s" % entry["term_losses"])


def same_rows(label, got, want, exact=True):
    a, b = rows(os.path.join(got, "results.h5")), rows(os.path.join(want, "results.h5"))
    for name in b:
        same = a[name].tobytes() == b[name].tobytes() if exact else np.allclose(a[name], b[name], 1e-9, 1e-12, equal_nan=True)
        checks.that(len(a[name]) == len(b[name]) and same, "%s: %s is %s, want %s" % (label, name, a[name], b[name]))


def test_skip(r):
    one = two = None
    for ranks in (0, 2):
        output = r.new()
        err = r.train(output, "run.on_bad_loss=skip", ranks=ranks, fault="0:6:nan")
        checks.that("step 6: loss nan" in err and "step skipped" in err, "skip says so: " + err)
        found = incidents(output)
        if checks.equal("skip np %d: incidents" % ranks, len(found), 1):
            check_incident("skip np %d" % ranks, found[0], 6, 5, "not finite", "skip")
        loss = rows(os.path.join(output, "results.h5"))["loss"]
        checks.equal("skip np %d: rows that are NaN" % ranks, list(np.flatnonzero(~np.isfinite(loss))), [5])
        one, two = (output, None) if ranks == 0 else (one, output)
    same_rows("skip, two ranks as one", two, one, exact=False)


def test_other_rank(r):
    """A gradient that only the last rank spoils is everybody's, as is a spike of its own."""
    for fault, what, extra in (("1:6:nan", "not finite", []), ("1:9:spike", "spike", WATCH)):
        output = r.new()
        r.train(output, "run.on_bad_loss=skip", *extra, ranks=2, fault=fault)
        found = incidents(output)
        if checks.equal("%s: incidents" % fault, len(found), 1):
            step = int(fault[2])
            check_incident(fault, found[0], step, step - 1, what, "skip")


def test_rollback(r):
    """Without learning, losses follow from batches alone: they show which ones were left out."""
    still = {"optimizer": {"lr": 0.0}, "schedule": {"kind": "constant", "warmup_steps": 0}}
    whole = r.new(steps=STEPS + 2, **still)
    r.train(whole)
    want = rows(os.path.join(whole, "results.h5"))["loss"]
    for ranks, fault, watch in ((0, "0:6:nan", []), (2, "1:6:inf", []), (0, "0:6:spike", WATCH)):
        output, label = r.new(**still), "rollback of %s np %d" % (fault, ranks)
        err = r.train(output, "run.on_bad_loss=rollback", *watch, ranks=ranks, fault=fault)
        checks.that("going on from step 4 without the next 2 batches" in err, label + " says so: " + err)
        got = rows(os.path.join(output, "results.h5"))
        checks.equal(label + ": steps", list(got["step"]), list(range(1, STEPS + 1)))
        expected = np.concatenate([want[:4], want[6:]])
        checks.that(np.allclose(got["loss"], expected, 1e-9, 0), "%s: %s, want %s" % (label, got["loss"], expected))
        found = incidents(output)
        if checks.equal(label + ": incidents", len(found), 1):
            check_incident(label, found[0], 6, 5, "spike" if watch else "not finite", "rollback")
        _, meta = read_safetensors(newest_state(output), metadata=True)
        checks.equal(label + ": batches left out, in the state", meta["skipped_batches"], "2")


def test_killed_after(r):
    """A run that was killed after it went back goes on without those batches, and with what is on record."""
    whole = r.new()
    r.train(whole, "run.on_bad_loss=rollback", fault="0:6:nan")
    output = r.new()
    r.train(output, "run.on_bad_loss=rollback", fault="0:6:nan,0:7:crash", want=-9)
    r.train(output, "run.on_bad_loss=rollback")
    same_rows("killed after going back", output, whole)
    checks.equal("killed after going back: incidents", [(int(i["step"]), i["action"]) for i in incidents(output)],
                 [(6, "rollback")])
    a, b = read_safetensors(newest_state(output)), read_safetensors(newest_state(whole))
    checks.that(all(a[n].tobytes() == b[n].tobytes() for n in b), "killed after going back: final state")


def test_stop(r):
    output = r.new()
    err = r.train(output, *WATCH, fault="0:9:spike", want=DATA)
    heads = [line for line in err.splitlines() if "fineclip: error:" in line]
    checks.that(len(heads) == 1 and "step 9" in heads[0] and "a spike" in heads[0] and "deviations" in heads[0] and
                "run.on_bad_loss" in heads[0], "a spike stops: " + err)
    found = incidents(output)
    if checks.equal("stop: incidents", len(found), 1):
        check_incident("stop", found[0], 9, 8, "spike", "stop")
    with h5py.File(os.path.join(output, "results.h5"), "r") as f:
        checks.equal("stop: status", text(f.attrs["status"]), "failed")
    _, shown, _ = run_program(["inspect", output])
    checks.that("incidents 1" in shown and "spike" in shown and "stop" in shown and "step 9 (store index): 0 1 2 3" in shown,
                "inspect shows it: " + shown)
    r.train(output, *WATCH)  # the spike was of the machine, not of the data
    whole = r.new()
    r.train(whole, *WATCH)
    same_rows("gone on after a stop", output, whole)
    checks.equal("gone on after a stop: still on record", [i["action"] for i in incidents(output)], ["stop"])
    two = r.new()
    r.train(two, *WATCH, ranks=2, fault="0:9:spike,1:9:spike", want=DATA)
    with h5py.File(os.path.join(two, "results.h5"), "r") as f:
        checks.equal("stop np 2: status", text(f.attrs["status"]), "failed")
    checks.equal("stop np 2: incidents", [(int(i["step"]), i["action"]) for i in incidents(two)], [(9, "stop")])


def test_limit(r):
    """Weights that were spoilt stay so: neither skipping nor going back helps for ever."""
    broken = {"optimizer": {"lr": 1e6}, "schedule": {"kind": "constant", "warmup_steps": 0}, "steps": 40}
    for policy in ("skip", "rollback"):
        output = r.new(**broken)
        err = r.train(output, "run.on_bad_loss=" + policy, "run.bad_loss_limit=3", "train.checkpoint.every_steps=100", want=DATA)
        heads = [line for line in err.splitlines() if "fineclip: error:" in line]
        checks.that(len(heads) == 1 and "3 in a row" in heads[0] and "run.bad_loss_limit" in heads[0], policy + ", limit: " + err)
        found = incidents(output)
        first = int(found[0]["step"])
        steps = list(range(first, first + 4)) if policy == "skip" else [first] * 4
        checks.equal(policy + ": steps on record", [int(i["step"]) for i in found], steps)
        left_out = 1 if policy == "skip" else first
        checks.equal(policy + ": batches on record", [int(i["batch"]) for i in found], [first - 1 + k * left_out for k in range(4)])
        checks.equal(policy + ": actions", [i["action"] for i in found], [policy] * 3 + ["stop"])
        checks.equal(policy + ": pictures", json.dumps([[int(k) for k in i["images"]] for i in found]),
                     json.dumps([pictures_of(int(i["batch"])) for i in found]))


def main():
    with tempfile.TemporaryDirectory() as folder:
        r = Runs(folder)
        test_skip(r)
        test_other_rank(r)
        test_rollback(r)
        test_killed_after(r)
        test_stop(r)
        test_limit(r)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
