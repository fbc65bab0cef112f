#!/usr/bin/env python3
"""Kill a run at random moments, again and again, and see that nothing is lost.

    tests/fault/kill_loop.py [N] [SEED]

A tiny model trains on 1 and on 2 ranks, saving a state every few steps and evaluating every epoch. N times (100 unless said
otherwise) a fresh run is started and SIGKILL sent a random time after a random step: to one rank, to all of them, or to mpirun. Each run is
then started again, and killed again now and then, until it has ended by itself. Its losses, evaluations and weights must be,
bit for bit, those of a run that was left alone, and every epoch must have its time once. FINECLIP_BIN is the program.
"""
import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import BIN, MPIEXEC, Checks, read_safetensors  # noqa: E402
from ragged import newest_state, rows, write_experiment, write_store  # noqa: E402

STEPS, PER_EPOCH = 14, 4
AGAIN = 0.3  # how often a run that goes on is killed, too
AT_ONCE = 8  # kills of one run at most
SETTINGS = ["precision=fp32", "data.shuffle=true", "run.on_bad_loss=rollback", "run.spike_sigma=50", "eval.every_epochs=1",
            "eval.before_training=true"]


def pids_of(path):
    """Processes that run this experiment: the launcher, and ranks by number."""
    launcher, ranks = None, {}
    for name in os.listdir("/proc"):
        try:
            words = open("/proc/%s/cmdline" % name, "rb").read().split(b"\0") if name.isdigit() else []
            if path.encode() not in words:
                continue
            if os.path.basename(words[0]) != os.path.basename(BIN).encode():
                launcher = int(name)
                continue
            places = open("/proc/%s/environ" % name, "rb").read().split(b"\0")
            rank = [p.split(b"=")[1] for p in places if p.startswith(b"OMPI_COMM_WORLD_RANK=")]
            ranks[int(rank[0]) if rank else 0] = int(name)
        except OSError:
            continue
    return launcher, ranks


def await_end(path, seconds=60):
    """Until no process of the run is left."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        launcher, ranks = pids_of(path)
        if launcher is None and not ranks:
            return True
        time.sleep(0.02)
    return False


class Loop:
    def __init__(self, folder, seed, checks):
        self.folder, self.random, self.checks = folder, random.Random(seed), checks
        self.store = os.path.join(folder, "ragged.h5")
        write_store(self.store)
        self.whole = {}
        self.kills, self.steps = collections.Counter(), collections.Counter()

    def write(self, name, ranks):
        output = os.path.join(self.folder, name)
        shutil.rmtree(output, ignore_errors=True)
        write_experiment(output + ".yaml", self.store, output, steps=STEPS, batch_size=8 // ranks,
                         shard_optimizer=ranks > 1, checkpoint={"every_epochs": 2, "every_steps": 3, "keep": 2})
        return output

    def start(self, output, ranks):
        command = [MPIEXEC, "-np", str(ranks)] if ranks > 1 else []
        command += [BIN, output + ".yaml", "eval.retrieval=" + self.store, "eval.box_classification=" + self.store] + SETTINGS
        env = {**os.environ, "OMPI_MCA_mpi_yield_when_idle": "1"}  # a rank that waits is not to keep a busy machine busier
        with open(output + ".err", "w") as err:
            return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=err, stdin=subprocess.DEVNULL)

    def finish(self, process, output):
        """Exit status and what it said."""
        process.wait(timeout=600)
        self.checks.that(await_end(output + ".yaml"), "%s: processes are left over" % output)
        return process.returncode, self.said(output)

    def said(self, output):
        with open(output + ".err") as err:
            return err.read()

    def undisturbed(self, ranks):
        output = self.write("whole%d" % ranks, ranks)
        status, err = self.finish(self.start(output, ranks), output)
        if not self.checks.equal("undisturbed, np %d: %s" % (ranks, err[-2000:]), status, 0):
            raise SystemExit(self.checks.end())
        self.whole[ranks] = output

    def kill(self, process, output, ranks):
        """Returns whether it came before the run's end. The moment: some time after a step's line, or after the start."""
        line, begun = "train %d/" % self.random.randint(0, STEPS), time.monotonic()
        while not line.startswith("train 0/") and line not in self.said(output) and process.poll() is None:
            time.sleep(0.002)
        time.sleep(self.random.uniform(0, 0.5 * min(1.0, time.monotonic() - begun)))
        launcher, pids = pids_of(output + ".yaml")
        whom = self.random.choice(["a rank", "all ranks", "mpirun"] if ranks > 1 else ["a rank"])
        if whom == "mpirun":
            victims = [launcher]
        else:
            victims = list(pids.values()) if whom == "all ranks" else [self.random.choice(sorted(pids.values()))] if pids else []
        for pid in victims:
            try:
                os.kill(pid if pid is not None else process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        status, err = self.finish(process, output)
        if status != 0:
            self.kills["%s of %d" % (whom, ranks)] += 1
        # mpirun that lost a rank says so; the program itself has nothing to say but a headline of another rank at most.
        self.checks.that(err.count("fineclip: error:") <= 1, "%s: more than one headline: %s" % (output, err[-2000:]))
        return status != 0

    def one(self, number):
        ranks = 1 + number % 2
        output = self.write("run", ranks)
        killed = 0
        while killed == 0 or (killed < AT_ONCE and self.random.random() < AGAIN):
            if not self.kill(self.start(output, ranks), output, ranks):
                break
            killed += 1
        status, err = self.finish(self.start(output, ranks), output)
        label = "run %d, np %d, killed %d times" % (number, ranks, killed)
        if self.checks.equal("%s: exit status: %s" % (label, err[-2000:]), status, 0):
            at = [line for line in err.splitlines() if line.startswith("going on from ")]
            self.steps[at[0].split("(step ")[1].split()[0] if at else "0"] += 1
            self.compare(label, output, self.whole[ranks])
        return killed

    def compare(self, label, output, whole):
        results = [os.path.join(f, "results.h5") for f in (output, whole)]
        got, want = (rows(path) for path in results)
        for name in want:
            self.checks.that(got[name].tobytes() == want[name].tobytes(),
                             "%s: %s is %s, want %s" % (label, name, got[name], want[name]))
        with h5py.File(results[0], "r") as a, h5py.File(results[1], "r") as b:
            names = []
            b["eval"].visititems(lambda n, o: names.append(n) if isinstance(o, h5py.Dataset) else None)
            for name in names:
                x, y = a["eval"][name][...], b["eval"][name][...]
                self.checks.that(x.shape == y.shape and np.array_equal(x, y, equal_nan=True), "%s: eval/%s is %s, want %s" % (label, name, x, y))
            times = a["cost/epoch_seconds"][...]
            self.checks.that(len(times) == STEPS // PER_EPOCH and np.all(times > 0), "%s: epoch_seconds %s" % (label, times))
            self.checks.equal(label + ": status", str(a.attrs["status"]), "completed")
        got, want = (read_safetensors(newest_state(f)) for f in (output, whole))
        wrong = [n for n in want if n not in got or got[n].tobytes() != want[n].tobytes()]
        self.checks.that(len(want) > 100 and not wrong, "%s: other bits in %s" % (label, wrong))
        found = [n for at, _, files in os.walk(output) for n in files if n.endswith(".partial")]
        self.checks.equal(label + ": half-written files", found, [])


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    checks, kills, begun = Checks(), 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(folder, seed, checks)
        for ranks in (1, 2):
            loop.undisturbed(ranks)
        for number in range(count):
            kills += loop.one(number)
            if (number + 1) % 10 == 0:
                print("%d of %d runs, %d kills, %d checks failed, %.0f s" %
                      (number + 1, count, kills, checks.failed, time.monotonic() - begun), flush=True)
    print("seed %d: %d runs killed %d times in all (%s)" %
          (seed, count, kills, ", ".join("%s: %d" % item for item in sorted(loop.kills.items()))))
    print("the last start of each went on from step: " +
          ", ".join("%s (%d)" % (step, n) for step, n in sorted(loop.steps.items(), key=lambda item: int(item[0]))))
    checks.that(kills > 0, "no kill came before the end of its run")
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
