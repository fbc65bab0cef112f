"""What tests of wrong input share: a small experiment to spoil, and what a refusal has to look like."""
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import h5py

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import BIN, MPIEXEC, Checks, run_program  # noqa: E402,F401

USAGE, DATA, NOINPUT, RUNTIME = 64, 65, 66, 71
GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden")
TINY = os.path.join(GOLDEN, "eva_tiny")
SECONDS = 10  # what a refusal may take, mpirun's start included, on a busy machine; about 0.1 without it


def put(tree, path, value):
    parts = path.split(".")
    for part in parts[:-1]:
        tree = tree.setdefault(part, {})
    tree[parts[-1]] = value


def digest(path):
    """Hash of a file, or of every file of a folder and its name."""
    hashed = hashlib.sha256()
    files = [path]
    if os.path.isdir(path):
        files = sorted(os.path.join(at, name) for at, _, names in os.walk(path) for name in names if name != ".lock")
    for name in files:
        hashed.update(os.path.relpath(name, path).encode())
        with open(name, "rb") as f:
            hashed.update(f.read())
    return hashed.hexdigest()


@functools.lru_cache
def launcher_seconds(ranks):
    """What mpirun takes to start and end ranks that do nothing: seconds where the host's name does not resolve."""
    begun = time.monotonic()
    subprocess.run([MPIEXEC, "-np", str(ranks), "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return time.monotonic() - begun


class Refusals(Checks):
    """Runs in a folder of its own; `slowest` is the longest refusal so far."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.count, self.slowest = folder, 0, (0.0, "")

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def store(self, spoil=None, model="eva_tiny"):
        """A copy of a good store; `spoil` changes it through h5py."""
        self.count += 1
        path = self.path("store%d.h5" % self.count)
        shutil.copyfile(os.path.join(GOLDEN, model, "store.h5"), path)
        if spoil is not None:
            with h5py.File(path, "r+") as f:
                spoil(f)
        return path

    def experiment(self, **changes):
        """Path of a good experiment but for the changes; a__b stands for a.b. Its output is the path without .yaml."""
        self.count += 1
        output = self.path("run%d" % self.count)
        tree = {"output": output, "precision": "fp32",
                "model": {"config": os.path.join(TINY, "model.yaml"), "init": os.path.join(TINY, "init.safetensors")},
                "data": {"train": os.path.join(TINY, "store.h5"), "max_boxes": 4, "shuffle": False, "workers": 1},
                "losses": {"global_contrastive": 1.0},
                "train": {"steps": 3, "batch_size": 4, "log_every": 1, "schedule": {"warmup_steps": 1},
                          "checkpoint": {"every_epochs": 0}},
                "eval": {"every_epochs": 0, "before_training": False}}
        for key, value in changes.items():
            put(tree, key.replace("__", "."), value)
        with open(output + ".yaml", "w") as f:
            json.dump(tree, f, indent=1)  # JSON is YAML
        return output + ".yaml"

    def refused(self, label, arguments, want, says, ranks=(0,), unharmed=()):
        """The program ends with status `want` and one headline that has every word of `says`, soon, and leaves files alone."""
        before = [digest(path) for path in unharmed]
        text = ""
        for number in ranks:
            begun = time.monotonic()
            where = "%s, np %d" % (label, number)
            status, _, text = run_program(arguments, number, timeout=60)
            seconds = time.monotonic() - begun
            self.slowest = max(self.slowest, (seconds, where))
            self.equal(where + ": exit status (" + text.strip()[:600] + ")", status, want)
            heads = [line for line in text.splitlines() if "fineclip: error:" in line]
            self.equal(where + ": headlines in " + text, len(heads), 1)
            for word in says:
                self.that(word in text, "%s: says %r: %s" % (where, word, text))
            # Where in the program it was is told of failures of the system alone.
            noise = ["HDF5-DIAG", "assertion", "Sanitizer"] + (["  at "] if want != RUNTIME else [])
            self.that(not any(word in text for word in noise), where + ": noise: " + text)
            limit = SECONDS + (3 * launcher_seconds(number) if number > 0 else 0)
            self.that(seconds <= limit, "%s: took %.1f s of %.1f" % (where, seconds, limit))
        for path, was in zip(unharmed, before):
            self.equal("%s: %s unharmed" % (label, path), digest(path), was)
        return text

    def works(self, label, arguments, ranks=0):
        status, out, err = run_program(arguments, ranks, timeout=120)
        self.that(status == 0, "%s: exit status %d: %s" % (label, status, err[-3000:]))
        return out + err

    def end(self):
        print("slowest refusal: %.2f s (%s)" % self.slowest)
        return super().end()
