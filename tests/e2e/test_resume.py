"""fctest: timeout=600
Stopping and going on: a run that was stopped has the rows and weights, bit for bit, of one that was not; by a checkpoint in
the middle of an epoch, by each signal, on one rank and on several. And which checkpoints are written, kept and chosen.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import BIN, MPIEXEC, Checks, read_safetensors, run_program  # noqa: E402
from ragged import newest_state, rows, write_experiment, write_store  # noqa: E402

INTERRUPTED, USAGE, DATA, NOINPUT = 75, 64, 65, 66
STEPS = 14  # 4 steps an epoch
checks = Checks()


class Runs:
    """Experiments that differ in nothing but where they write."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.store = os.path.join(folder, "ragged.h5")
        write_store(self.store)

    def new(self, **train):
        """Path of a new experiment and of its output."""
        self.count += 1
        output = os.path.join(self.folder, "run%d" % self.count)
        write_experiment(output + ".yaml", self.store, output, **{"steps": STEPS, **train})
        return output + ".yaml", output

    def train(self, path, *extra, ranks=0, want=0):
        batch = "train.batch_size=%d" % (8 // max(ranks, 1))
        status, _, err = run_program([path, "precision=fp32", "data.shuffle=true", batch] + list(extra), ranks)
        checks.that(status == want, "%s: exit status %d, want %d: %s" % (path, status, want, err[-3000:]))
        return err


def status_of(output):
    with h5py.File(os.path.join(output, "results.h5"), "r") as f:
        value = f.attrs["status"]
        return value.decode() if isinstance(value, bytes) else str(value)


def states(output):
    names = os.listdir(os.path.join(output, "checkpoints"))
    return sorted(int(n[6:15]) for n in names if n.startswith("state_"))


def copy_stopped_at(output, step, to):
    """The output folder as a crash a while after `step` would leave it."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(output, to)
    for s in states(to):
        if s > step:
            os.unlink(os.path.join(to, "checkpoints", "state_%09d.safetensors" % s))


def same_bits(label, got, want, tensors=True):
    a, b = rows(os.path.join(got, "results.h5")), rows(os.path.join(want, "results.h5"))
    checks.equal(label + ": columns", sorted(a), sorted(b))
    for name in b:
        checks.that(a.get(name, np.zeros(0)).tobytes() == b[name].tobytes(),
                    "%s: %s is %s, want %s" % (label, name, a.get(name), b[name]))
    checks.that(np.array_equal(b["step"], np.arange(1, len(b["step"]) + 1)), label + ": every step once")
    if tensors:
        a, b = read_safetensors(newest_state(got)), read_safetensors(newest_state(want))
        wrong = [n for n in b if n not in a or a[n].tobytes() != b[n].tobytes()]
        checks.that(len(b) > 100 and not wrong, "%s: other bits in %s" % (label, wrong))


def test_crash(r):
    """Every step's state, and going on from some of them."""
    path, whole = r.new()
    r.train(path, "train.checkpoint.every_steps=1", "train.checkpoint.keep=100")
    checks.equal("states of every step", states(whole), list(range(1, STEPS + 1)))
    for step in (1, 4, 7, 13):
        again, output = r.new()
        copy_stopped_at(whole, step, output)
        err = r.train(again)
        checks.that("step %d of %d" % (step, STEPS) in err, "says where it goes on: " + err)
        same_bits("gone on from step %d" % step, output, whole)
        checks.equal("status", status_of(output), "completed")
    again, output = r.new()
    copy_stopped_at(whole, 7, output)
    newest = newest_state(output)
    data = bytearray(open(newest, "rb").read())
    data[-100] ^= 1
    open(newest, "wb").write(data)
    err = r.train(again, "train.checkpoint.every_steps=2", "train.checkpoint.keep=1")
    checks.that("damaged" in err and "step 6 of" in err, "a damaged checkpoint is passed over: " + err)
    same_bits("gone on past a damaged checkpoint", output, whole)
    checks.equal("states after a damaged one, keep 1", states(output), [STEPS])
    again, output = r.new()
    copy_stopped_at(whole, 7, output)
    err = r.train(again, "train.batch_size=4", want=USAGE)
    checks.that("global batch" in err and "resume: never" in err, "another global batch: " + err)
    r.train(path)  # has finished
    same_bits("finished and run again", whole, whole)
    return whole


def test_path(r, whole):
    path, output = r.new()
    state = os.path.join(whole, "checkpoints", "state_000000005.safetensors")
    r.train(path, "train.resume=" + state)
    a, b = rows(os.path.join(output, "results.h5")), rows(os.path.join(whole, "results.h5"))
    for name in b:
        checks.that(a[name].tobytes() == b[name][5:].tobytes(), "resume: PATH, %s: %s, want %s" % (name, a[name], b[name][5:]))
    got, want = read_safetensors(newest_state(output)), read_safetensors(newest_state(whole))
    checks.that(all(got[n].tobytes() == want[n].tobytes() for n in want), "resume: PATH, final state")
    r.train(path, "train.resume=" + state + ".gone", want=NOINPUT)
    model = os.path.join(whole, "checkpoints", "epoch_4.safetensors")
    err = r.train(path, "train.resume=" + model, want=DATA)
    checks.that("not a state" in err, "resume from a model alone: " + err)


def test_keep(r):
    path, output = r.new()
    r.train(path, "train.checkpoint.every_steps=3", "train.checkpoint.keep=2")
    checks.equal("keep 2", states(output), [12, STEPS])
    path, output = r.new(steps=8, checkpoint={"every_epochs": 1, "keep": 1})
    r.train(path)
    checks.equal("keep 1", states(output), [8])
    models = sorted(n for n in os.listdir(os.path.join(output, "checkpoints")) if n.startswith("epoch_"))
    checks.equal("models", models, ["epoch_1.safetensors", "epoch_2.safetensors"])


def test_never(r, whole):
    """Starting anew: what was there is kept aside, and nothing later goes on from it."""
    path, output = r.new()
    copy_stopped_at(whole, STEPS, output)
    process = started(path, "train.resume=never", "train.steps=2000", "seed=6")
    await_line(process, "train 2/")
    stop(process, signal.SIGTERM)
    checks.that(os.path.exists(os.path.join(output, "results.1.h5")), "older results are kept aside")
    with h5py.File(os.path.join(output, "results.1.h5"), "r") as f:
        checks.equal("older results: rows", len(f["train/step"]), STEPS)
    at = rows(os.path.join(output, "results.h5"))["step"]
    checks.equal("states after starting anew", states(output), [at[-1]])
    err = r.train(path, "train.steps=%d" % (at[-1] + 2), "seed=6")
    checks.that("(step %d of" % at[-1] in err, "goes on from the new run: " + err)
    checks.equal("rows", list(rows(os.path.join(output, "results.h5"))["step"]), list(range(1, at[-1] + 3)))


def started(path, *extra, ranks=0, steps=None):
    command = [MPIEXEC, "-np", str(ranks)] if ranks else []
    command += [BIN, path, "precision=fp32", "data.shuffle=true", "train.batch_size=%d" % (8 // max(ranks, 1))]
    return subprocess.Popen(command + list(extra), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            stdin=subprocess.DEVNULL)


def await_line(process, part):
    for line in process.stderr:
        if part in line:
            return
    checks.that(False, "no line with %r before the run ended with %s" % (part, process.wait()))


def stop(process, number, pid=None, want=INTERRUPTED):
    os.kill(pid or process.pid, number)
    _, err = process.communicate(timeout=60)
    checks.that(process.returncode == want, "%s: exit status %s, want %d: %s" %
                (signal.Signals(number).name, process.returncode, want, err[-2000:]))
    return err


def pid_of_rank(path, rank):
    """The process with this rank that runs the experiment at path."""
    for name in os.listdir("/proc"):
        try:
            words = open("/proc/%s/cmdline" % name, "rb").read().split(b"\0") if name.isdigit() else []
            if os.path.basename(BIN).encode() in os.path.basename(words[0] if words else b"") and path.encode() in words:
                if b"OMPI_COMM_WORLD_RANK=%d" % rank in open("/proc/%s/environ" % name, "rb").read().split(b"\0"):
                    return int(name)
        except OSError:
            continue
    checks.that(False, "no process of rank %d" % rank)
    return None


def test_signals(r):
    long_run = "train.steps=250"
    for ranks, numbers in ((0, (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)), (2, (signal.SIGUSR1, signal.SIGTERM))):
        path, whole = r.new()
        r.train(path, long_run, ranks=ranks)
        for number in numbers:
            name = "%s np %d" % (signal.Signals(number).name, ranks)
            path, output = r.new()
            process = started(path, long_run, ranks=ranks)
            await_line(process, "train 3/")
            checks.equal(name + ": status while it runs", status_of(output), "running")
            err = stop(process, number, pid_of_rank(path, 1) if ranks else None)
            checks.that(signal.Signals(number).name in err and "same command" in err, name + ": message: " + err)
            at = rows(os.path.join(output, "results.h5"))["step"][-1]
            checks.that(3 <= at < 250, "%s: stopped at step %d" % (name, at))
            checks.equal(name + ": states", states(output), [at])
            checks.equal(name + ": status", status_of(output), "interrupted")
            r.train(path, long_run, ranks=ranks)
            same_bits(name + ", gone on", output, whole)
            checks.equal(name + ": status", status_of(output), "completed")


def test_minutes(r):
    """A pause of the process is time, too."""
    path, output = r.new(checkpoint={"every_epochs": 0, "every_minutes": 0.01, "keep": 100})
    process = started(path, "train.steps=250")
    await_line(process, "train 3/")
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(0.8)
    os.kill(process.pid, signal.SIGCONT)
    process.communicate(timeout=60)
    checks.equal("every_minutes: exit status", process.returncode, 0)
    found = states(output)
    checks.that(2 <= len(found) < 100 and found[-1] == 250, "every_minutes: states %s" % found)


def test_ranks(r):
    """A checkpoint of one rank goes on on two, and of two with a split optimizer on one."""
    exact = "precision=fp64"
    path, whole = r.new()
    r.train(path, exact, "train.checkpoint.every_steps=6", "train.checkpoint.keep=9")
    path, sharded = r.new()
    r.train(path, exact, "train.checkpoint.every_steps=6", "train.checkpoint.keep=9", "train.shard_optimizer=true", ranks=2)
    for source, ranks, extra in ((whole, 2, "train.shard_optimizer=true"), (sharded, 0, "train.accumulate=2"),
                                 (sharded, 4, "train.shard_optimizer=true")):
        path, output = r.new()
        copy_stopped_at(source, 6, output)
        r.train(path, exact, extra, ranks=ranks)
        a, b = rows(os.path.join(output, "results.h5")), rows(os.path.join(whole, "results.h5"))
        for name in b:
            error = np.max(np.abs(a[name] - b[name]) / np.maximum(np.abs(b[name]), 1e-3))
            checks.near("gone on with %d ranks: %s" % (ranks, name), error, 0, 1e-9)
        got, want = read_safetensors(newest_state(output)), read_safetensors(newest_state(whole))
        for name in want:
            error = np.linalg.norm(got[name] - want[name]) / max(np.linalg.norm(want[name]), 1e-12)
            checks.near("gone on with %d ranks: %s" % (ranks, name), error, 0, 1e-9 if name.startswith("model.") else 1e-6)


def test_split(r):
    """The same command on other ranks: the step keeps its images, and a micro-batch grows no larger."""
    exact = ["precision=fp64", "data.shuffle=true", "train.checkpoint.every_steps=2", "train.checkpoint.keep=9"]
    path, whole = r.new(batch_size=4, accumulate=2)
    status, _, err = run_program([path] + exact, 2)
    checks.that(status == 0, "on 2 ranks: %d: %s" % (status, err[-2000:]))
    for ranks, batch, accumulate, sharded in ((0, 8, 4, "false"), (4, 2, 1, "true")):
        path, output = r.new(batch_size=4, accumulate=2)
        copy_stopped_at(whole, 6, output)
        status, _, err = run_program([path, "train.shard_optimizer=" + sharded] + exact, ranks)
        label = "the same command on %d ranks" % max(ranks, 1)
        checks.that(status == 0, "%s: %d: %s" % (label, status, err[-2000:]))
        said = [line for line in err.splitlines() if "train.batch_size 4 -> %d, train.accumulate 2 -> %d" % (batch, accumulate) in line]
        checks.that(len(said) == 1 and "8 images" in said[0] and "began with 2" in said[0], label + " says so in one line: " + err)
        with h5py.File(os.path.join(output, "results.h5"), "r") as f:
            config = str(f.attrs["config"])
        checks.that("batch_size: %d\n" % batch in config and "accumulate: %d\n" % accumulate in config, label + ": config " + config)
        a, b = rows(os.path.join(output, "results.h5")), rows(os.path.join(whole, "results.h5"))
        for name in b:
            same = len(a[name]) == len(b[name]) and np.allclose(a[name], b[name], 1e-9, 1e-12)
            checks.that(same, "%s: %s is %s, want %s" % (label, name, a[name], b[name]))
    # Stopped there once more: still the same command.
    path, again = r.new(batch_size=4, accumulate=2)
    copy_stopped_at(output, 8, again)
    status, _, err = run_program([path] + exact, 4)
    checks.that(status == 0, "a second time on other ranks: %d: %s" % (status, err[-2000:]))
    a, b = rows(os.path.join(again, "results.h5")), rows(os.path.join(output, "results.h5"))
    checks.that(np.allclose(a["loss"], b["loss"], 1e-12, 0) and len(a["loss"]) == len(b["loss"]),
                "a second time on other ranks: losses %s, want %s" % (a["loss"], b["loss"]))


def test_failure(r):
    path, output = r.new(optimizer={"lr": 1e6}, schedule={"kind": "constant", "warmup_steps": 0})
    err = r.train(path, want=DATA)
    # At which step it blows up depends on how the compiler orders sums.
    checks.that(re.search(r"step \d: loss .*not finite", err) is not None, "message of a loss that is not finite: " + err)
    checks.equal("status after failing", status_of(output), "failed")
    err = r.train(path, "train.optimizer.lr=1e-3")
    checks.equal("status", status_of(output), "completed")
    checks.that(not os.path.exists(os.path.join(output, "FAILED")), "FAILED is gone")


def main():
    with tempfile.TemporaryDirectory() as folder:
        r = Runs(folder)
        whole = test_crash(r)
        test_path(r, whole)
        test_keep(r)
        test_never(r, whole)
        test_signals(r)
        test_minutes(r)
        test_ranks(r)
        test_split(r)
        test_failure(r)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
