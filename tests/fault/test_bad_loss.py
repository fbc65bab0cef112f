"""Losses that go wrong on purpose, NaN and spikes, on one rank and on two: skipped, gone back from, or stopped at; what is on
record of them; and runs that go on afterwards.
fctest: cases=skip,other_rank,rollback,killed_after,stop,limit timeout=200
"""
import json
import os
import sys
import time

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from survival import DATA, KILLED, Survival, main  # noqa: E402
from program import read_safetensors, run_program  # noqa: E402
from ragged import newest_state, rows, write_experiment  # noqa: E402

STEPS, BATCH, IMAGES = 12, 8, 32
WATCH = ["run.spike_sigma=5", "run.spike_warmup=4"]


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


class Runs(Survival):
    def new(self, **train):
        self.count += 1
        output = os.path.join(self.folder, "run%d" % self.count)
        write_experiment(output + ".yaml", self.store, output,
                         **{"steps": STEPS, "checkpoint": {"every_epochs": 0, "every_steps": 4}, **train})
        return output

    def train(self, output, *extra, ranks=0, fault="", want=0):
        batch, begun = "train.batch_size=%d" % (BATCH // max(ranks, 1)), time.monotonic()
        status, _, err = run_program([output + ".yaml", batch] + list(extra), ranks, environment={"FINECLIP_FAULT": fault})
        self.that(status == want, "%s %s: exit status %d, want %d: %s" % (output, extra, status, want, err[-3000:]))
        if fault or want:
            self.slowest = max(self.slowest, time.monotonic() - begun)
            found = [line for line in err.splitlines() if line.startswith(("fineclip: error: ", "fineclip: warning: "))]
            self.said = self.said or (found or [""])[0]
        return err


def incidents(r, output):
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
        r.equal("count of incidents", int(f["incidents"].attrs["count"]), len(found))
        return found


def pictures_of(batch):
    """Without shuffling."""
    return [(batch * BATCH + i) % IMAGES for i in range(BATCH)]


def check_incident(r, label, entry, step, batch, what, action):
    r.equal(label + ": step, batch", (int(entry["step"]), int(entry["batch"])), (step, batch))
    r.equal(label + ": what, action", (entry["what"], entry["action"]), (what, action))
    r.equal(label + ": pictures", list(entry["images"]), pictures_of(batch))
    r.equal(label + ": ids", list(entry["image_ids"]), pictures_of(batch))  # the store's ids count as its pictures do
    names = [text(v) for v in entry["parameters"]]
    r.that(len(names) > 50 and "logit_scale" in names and len(set(names)) == len(names), label + ": parameters %s" % names)
    norms, gradients = entry["parameter_norms"], entry["gradient_norms"]
    r.that(np.all(np.isfinite(norms)) and np.any(norms > 0), label + ": parameter norms")
    if what == "spike":
        r.near(label + ": norm of all gradients", np.sqrt(np.sum(gradients ** 2)) / entry["gradient_norm"], 1, 1e-9)
        r.that(entry["loss"] > entry["mean"] + 5 * entry["deviation"], label + ": above the mean")
    else:
        r.that(not np.all(np.isfinite(gradients)) and not np.isfinite(entry["loss"]), label + ": NaN is on record")
    r.equal(label + ": terms", sorted(text(v) for v in entry["terms"]),
                 ["global_contrastive", "region_contrastive", "self_distillation"])
    r.that(np.isnan(entry["term_losses"][0]) or what == "spike", label + ": losses of terms %s" % entry["term_losses"])


def same_rows(r, label, got, want, exact=True):
    a, b = rows(os.path.join(got, "results.h5")), rows(os.path.join(want, "results.h5"))
    for name in b:
        same = a[name].tobytes() == b[name].tobytes() if exact else np.allclose(a[name], b[name], 1e-9, 1e-12, equal_nan=True)
        r.that(len(a[name]) == len(b[name]) and same, "%s: %s is %s, want %s" % (label, name, a[name], b[name]))


def test_skip(r):
    one = two = None
    for ranks in (0, 2):
        output = r.new()
        err = r.train(output, "run.on_bad_loss=skip", ranks=ranks, fault="0:6:nan")
        r.that("step 6: loss nan" in err and "step skipped" in err, "skip says so: " + err)
        found = incidents(r, output)
        if r.equal("skip np %d: incidents" % ranks, len(found), 1):
            check_incident(r, "skip np %d" % ranks, found[0], 6, 5, "not finite", "skip")
        loss = rows(os.path.join(output, "results.h5"))["loss"]
        r.equal("skip np %d: rows that are NaN" % ranks, list(np.flatnonzero(~np.isfinite(loss))), [5])
        one, two = (output, None) if ranks == 0 else (one, output)
    same_rows(r, "skip, two ranks as one", two, one, exact=False)
    r.row("NaN in a feature; run.on_bad_loss: skip", 0)


def test_other_rank(r):
    """A gradient that only the last rank spoils is everybody's, as is a spike of its own."""
    for fault, what, extra in (("1:6:nan", "not finite", []), ("1:9:spike", "spike", WATCH)):
        output = r.new()
        r.train(output, "run.on_bad_loss=skip", *extra, ranks=2, fault=fault)
        found = incidents(r, output)
        if r.equal("%s: incidents" % fault, len(found), 1):
            step = int(fault[2])
            check_incident(r, fault, found[0], step, step - 1, what, "skip")
    r.row("NaN and a spike on the last rank alone; skip", 0)


def test_rollback(r):
    """Without learning, losses follow from batches alone: they show which ones were left out."""
    still = {"optimizer": {"lr": 0.0}, "schedule": {"kind": "constant", "warmup_steps": 0}}
    whole = r.new(steps=STEPS + 2, **still)
    r.train(whole)
    want = rows(os.path.join(whole, "results.h5"))["loss"]
    for ranks, fault, watch in ((0, "0:6:nan", []), (2, "1:6:inf", []), (0, "0:6:spike", WATCH)):
        output, label = r.new(**still), "rollback of %s np %d" % (fault, ranks)
        err = r.train(output, "run.on_bad_loss=rollback", *watch, ranks=ranks, fault=fault)
        r.that("going on from step 4 without the next 2 batches" in err, label + " says so: " + err)
        got = rows(os.path.join(output, "results.h5"))
        r.equal(label + ": steps", list(got["step"]), list(range(1, STEPS + 1)))
        expected = np.concatenate([want[:4], want[6:]])
        r.that(np.allclose(got["loss"], expected, 1e-9, 0), "%s: %s, want %s" % (label, got["loss"], expected))
        found = incidents(r, output)
        if r.equal(label + ": incidents", len(found), 1):
            check_incident(r, label, found[0], 6, 5, "spike" if watch else "not finite", "rollback")
        _, meta = read_safetensors(newest_state(output), metadata=True)
        r.equal(label + ": batches left out, in the state", meta["skipped_batches"], "2")
    r.row("NaN, infinity, a spike; run.on_bad_loss: rollback", 0)


def test_killed_after(r):
    """A run that was killed after it went back goes on without those batches, and with what is on record."""
    whole = r.new()
    r.train(whole, "run.on_bad_loss=rollback", fault="0:6:nan")
    output = r.new()
    r.train(output, "run.on_bad_loss=rollback", fault="0:6:nan,0:7:crash", want=-9)
    r.train(output, "run.on_bad_loss=rollback")
    same_rows(r, "killed after going back", output, whole)
    r.equal("killed after going back: incidents", [(int(i["step"]), i["action"]) for i in incidents(r, output)],
                 [(6, "rollback")])
    a, b = read_safetensors(newest_state(output)), read_safetensors(newest_state(whole))
    r.that(all(a[n].tobytes() == b[n].tobytes() for n in b), "killed after going back: final state")
    r.row("NaN, rollback, then SIGKILL", KILLED)


def test_stop(r):
    output = r.new()
    err = r.train(output, *WATCH, fault="0:9:spike", want=DATA)
    heads = [line for line in err.splitlines() if "fineclip: error:" in line]
    r.that(len(heads) == 1 and "step 9" in heads[0] and "a spike" in heads[0] and "deviations" in heads[0] and
                "run.on_bad_loss" in heads[0], "a spike stops: " + err)
    found = incidents(r, output)
    if r.equal("stop: incidents", len(found), 1):
        check_incident(r, "stop", found[0], 9, 8, "spike", "stop")
    with h5py.File(os.path.join(output, "results.h5"), "r") as f:
        r.equal("stop: status", text(f.attrs["status"]), "failed")
    _, shown, _ = run_program(["inspect", output])
    r.that("incidents 1" in shown and "spike" in shown and "stop" in shown and "step 9 (store index): 0 1 2 3" in shown,
                "inspect shows it: " + shown)
    r.train(output, *WATCH)  # the spike was of the machine, not of the data
    whole = r.new()
    r.train(whole, *WATCH)
    same_rows(r, "gone on after a stop", output, whole)
    r.equal("gone on after a stop: still on record", [i["action"] for i in incidents(r, output)], ["stop"])
    two = r.new()
    r.train(two, *WATCH, ranks=2, fault="0:9:spike,1:9:spike", want=DATA)
    with h5py.File(os.path.join(two, "results.h5"), "r") as f:
        r.equal("stop np 2: status", text(f.attrs["status"]), "failed")
    r.equal("stop np 2: incidents", [(int(i["step"]), i["action"]) for i in incidents(r, two)], [(9, "stop")])
    r.row("a spike; run.on_bad_loss: stop", DATA)


def test_limit(r):
    """Weights that were spoilt stay so: neither skipping nor going back helps for ever."""
    broken = {"optimizer": {"lr": 1e6}, "schedule": {"kind": "constant", "warmup_steps": 0}, "steps": 40}
    for policy in ("skip", "rollback"):
        output = r.new(**broken)
        err = r.train(output, "run.on_bad_loss=" + policy, "run.bad_loss_limit=3", "train.checkpoint.every_steps=100", want=DATA)
        heads = [line for line in err.splitlines() if "fineclip: error:" in line]
        r.that(len(heads) == 1 and "3 in a row" in heads[0] and "run.bad_loss_limit" in heads[0], policy + ", limit: " + err)
        found = incidents(r, output)
        first = int(found[0]["step"])
        steps = list(range(first, first + 4)) if policy == "skip" else [first] * 4
        r.equal(policy + ": steps on record", [int(i["step"]) for i in found], steps)
        left_out = 1 if policy == "skip" else first
        r.equal(policy + ": batches on record", [int(i["batch"]) for i in found], [first - 1 + k * left_out for k in range(4)])
        r.equal(policy + ": actions", [i["action"] for i in found], [policy] * 3 + ["stop"])
        r.equal(policy + ": pictures", json.dumps([[int(k) for k in i["images"]] for i in found]),
                     json.dumps([pictures_of(int(i["batch"])) for i in found]))
    r.row("weights that are NaN for good; skip and rollback", DATA)


CASES = {"skip": test_skip, "other_rank": test_other_rank, "rollback": test_rollback, "killed_after": test_killed_after,
         "stop": test_stop, "limit": test_limit}

if __name__ == "__main__":
    sys.exit(main("bad_loss", CASES, Runs))
