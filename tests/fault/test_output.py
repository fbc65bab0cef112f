"""Files and disks that fail: a full disk, an output that cannot be written, a store that goes away, an output on another file
system, two runs on one output, states and results of other versions, results that a crash has damaged, files left half written.
fctest: cases=full_disk,read_only,other_file_system,lock,store,versions,results,leftovers timeout=200
"""
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from survival import DATA, INTERRUPTED, KILLED, RUNTIME, USAGE, Survival, main  # noqa: E402
from program import BIN, run_program  # noqa: E402
from ragged import rows, write_experiment  # noqa: E402

NOINPUT = 66
STEPS = 12


class Runs(Survival):
    def __init__(self, folder, case):
        super().__init__(folder, case)
        self.whole = self.new()
        self.train(self.whole)

    def new(self, store=None, output=None, **train):
        self.count += 1
        path = os.path.join(self.folder, "run%d" % self.count)
        write_experiment(path + ".yaml", store or self.store, output or path,
                         **{"steps": STEPS, "checkpoint": {"every_epochs": 0, "every_steps": 4}, **train})
        return path

    def train(self, run, *extra, ranks=0, want=0, **environment):
        """Run to its end; where it is to fail, with one headline."""
        command, begun = ["precision=fp32", "train.batch_size=%d" % (8 // max(ranks, 1))] + list(extra), time.monotonic()
        status, _, err = run_program([run + ".yaml"] + command, ranks, environment=environment)
        self.that(status == want, "%s: exit status %d, want %d: %s" % (run, status, want, err[-3000:]))
        if want > 0 and want != INTERRUPTED:
            self.equal("headlines in " + err, err.count("fineclip: error:"), 1)
        self.note(err, time.monotonic() - begun if want else 0)
        return err

    def note(self, err, seconds):
        """For the table: the first message that was not only about progress."""
        found = [line for line in err.splitlines() if line.startswith(("fineclip: error: ", "fineclip: warning: "))]
        self.said = self.said or (found or [""])[0]
        self.slowest = max(self.slowest, seconds)


def states(run):
    return sorted(n for n in os.listdir(run + "/checkpoints") if n.startswith("state_"))


def same_rows(r, label, got, want):
    a, b = rows(got + "/results.h5"), rows(want + "/results.h5")
    for name in b:
        r.that(a[name].tobytes() == b[name].tobytes(), "%s: %s is %s, want %s" % (label, name, a[name], b[name]))


def in_namespace(script, run, *extra):
    """Run the program in a mount namespace of its own after a shell script; None where this machine allows none."""
    probe = subprocess.run(["unshare", "-m", "--map-root-user", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        print("no mount namespaces here: %s" % probe.stderr.decode().strip())
        return None
    words = ["unshare", "-m", "--map-root-user", "sh", "-c", script + ' && exec "$0" "$@"', BIN, run + ".yaml", "precision=fp32",
             "train.batch_size=8"] + list(extra)
    return subprocess.run(words, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False)


def test_full_disk(r):
    """A disk of 5 MB takes results and one state of 3.4 MB, not the second."""
    run = r.new()
    os.mkdir(run)
    kept = os.path.join(r.folder, "kept")
    # What is on the small disk is copied out when the program has ended: the disk goes with the namespace.
    script = 'mount -t tmpfs -o size=5m none %s && "$0" "$@"; status=$?; cp -r %s %s; exit $status; true' % (run, run, kept)
    done = in_namespace(script, run)
    if done is not None:
        r.note(done.stderr, 0)
        r.equal("full disk: exit status: " + done.stderr, done.returncode, RUNTIME)
        r.that(done.stderr.count("fineclip: error:") == 1 and "No space left" in done.stderr and
                    "state_000000008" in done.stderr, "full disk: one message that names the file: " + done.stderr)
        r.equal("full disk: the state before is whole, and nothing else is left",
                     sorted(os.listdir(kept + "/checkpoints")), ["results.h5", "state_000000004.safetensors"])
        shutil.rmtree(run)
        os.rename(kept, run)
        r.train(run)
        same_rows(r, "full disk, gone on with room", run, r.whole)
    for place, file in (("checkpoint", "state_"), ("results", "results.h5")):
        run = r.new()
        err = r.train(run, ranks=2, want=RUNTIME, FINECLIP_FAULT="0:8:enospc@" + place)
        r.that("No space left" in err and file in err, "full disk for %s: %s" % (place, err))
        r.train(run, ranks=2)
        reference = r.new()
        r.train(reference, ranks=2)
        same_rows(r, "full disk for %s, gone on" % place, run, reference)
    r.row("the disk is full at the second state; no room for results", RUNTIME)


def test_read_only(r):
    run = r.new()
    os.mkdir(run)
    done = in_namespace("mount --bind %s %s && mount -o remount,bind,ro %s" % (run, run, run), run)
    if done is not None:
        r.note(done.stderr, 0)
        r.that(done.returncode == RUNTIME and done.stderr.count("fineclip: error:") == 1 and run in done.stderr and
                    "Read-only" in done.stderr, "read-only output: %d: %s" % (done.returncode, done.stderr))
    r.row("the output is read-only", RUNTIME)


def test_other_file_system(r):
    """The output is a link to another disk: files are renamed within it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        run = r.new()
        os.symlink(other, run)
        r.that(os.stat(other).st_dev != os.stat(r.folder).st_dev or r.folder.startswith("/dev/shm"), "another file system")
        err = r.train(run, want=-signal.SIGKILL, FINECLIP_FAULT="0:7:crash")
        r.train(run)
        same_rows(r, "another file system: " + err[-200:], run, r.whole)
        r.equal("another file system: states", states(run), ["state_000000008.safetensors", "state_000000012.safetensors"])
    r.row("the output is a link to another disk, and SIGKILL", KILLED)


def started(r, run, *extra):
    words = [BIN, run + ".yaml", "precision=fp32", "train.batch_size=8", "train.steps=4000", "train.log_every=1"] + list(extra)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    for line in process.stderr:
        if line.startswith("train ") and "/4000" in line:
            return process
    r.that(False, "the run ended with %s" % process.wait())
    return process


def test_lock(r):
    """The second of two runs on one output is refused and told of the first; a killed first blocks nobody."""
    run = r.new()
    first = started(r, run)
    for ranks in (0, 2):
        begun = time.monotonic()
        err = r.train(run, ranks=ranks, want=USAGE)
        r.that("another run writes there" in err and "process %d on %s" % (first.pid, os.uname().nodename) in err and
                    "output=" in err, "the second run: " + err)
        r.that(time.monotonic() - begun < 30, "refused in time")
    r.that(first.poll() is None, "the first goes on")
    first.kill()
    first.communicate()
    r.that("process" in open(run + "/.lock").read(), "the killed run's name is still in the lock's file")
    err = r.train(run, "train.resume=never")
    r.equal("after a killed run: steps", list(rows(run + "/results.h5")["step"]), list(range(1, STEPS + 1)))
    r.equal("a run that ended well leaves no name", open(run + "/.lock").read(), "")
    r.row("a second run on the output of one that goes on; and of one that was killed", USAGE)


def test_store(r):
    """A store that is deleted stays until it is closed; one that is cut short is an error that names it."""
    gone = os.path.join(r.folder, "gone.h5")
    shutil.copyfile(r.store, gone)
    run = r.new(store=gone)
    process = started(r, run)
    os.unlink(gone)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    r.equal("store deleted: " + err, process.returncode, INTERRUPTED)
    err = r.train(run, "train.steps=4000", want=NOINPUT)
    r.that(gone in err and "data.train" in err, "the store is gone: " + err)
    shutil.copyfile(r.store, gone)
    process = started(r, run)
    os.truncate(gone, 20000)
    _, err = process.communicate(timeout=60)
    heads = [line for line in err.splitlines() if "fineclip: error:" in line]
    r.that(process.returncode in (DATA, RUNTIME) and len(heads) == 1 and gone in heads[0],
                "store cut short: %d: %s" % (process.returncode, err[-2000:]))
    r.row("the store is deleted under a run, then cut short", (INTERRUPTED, RUNTIME))


def change_metadata(path, key, value):
    """As another version of the program would have written it."""
    raw = open(path, "rb").read()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    header["__metadata__"][key] = value
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + raw[8 + size:])


def test_versions(r):
    run = r.new()
    r.train(run)
    newest = run + "/checkpoints/state_000000012.safetensors"
    change_metadata(newest, "step", "11")
    err = r.train(run, "train.steps=14")
    r.that("damaged" in err and "step 8 of 14" in err, "a step changed in the header is noticed: " + err)
    for version in ("1", "3"):
        change_metadata(run + "/checkpoints/" + states(run)[-1], "version", version)
        before = sorted(os.listdir(run + "/checkpoints"))
        err = r.train(run, "train.steps=16", want=DATA)
        r.that("version " + version in err and "program that wrote it" in err, "a state of another version: " + err)
        r.equal("states are left alone", sorted(os.listdir(run + "/checkpoints")), before)
    run = r.new()
    r.train(run)
    with h5py.File(run + "/results.h5", "r+") as f:
        f.attrs["version"] = np.int64(2)
    before = open(run + "/results.h5", "rb").read()
    err = r.train(run, "train.steps=14", want=DATA)
    r.that("results.h5 is of version 2" in err and "program that wrote it" in err, "results of another version: " + err)
    r.that(open(run + "/results.h5", "rb").read() == before, "results of another version are left alone")
    r.row("states and results of an older or newer version; a step changed in a header", DATA)


def test_results(r):
    """Results that are damaged or gone are gone on with from the copy beside the newest state."""
    for label, spoil in (("torn", lambda p: os.truncate(p, os.path.getsize(p) // 2)), ("empty", lambda p: os.truncate(p, 0)),
                         ("gone", os.unlink)):
        run = r.new()
        r.train(run, want=-signal.SIGKILL, FINECLIP_FAULT="0:11:crash")
        spoil(run + "/results.h5")
        err = r.train(run)
        r.that("checkpoints/results.h5" in err and "nothing is lost" in err, label + " results: " + err)
        same_rows(r, label + " results", run, r.whole)
        r.equal(label + " results: kept aside", os.path.exists(run + "/results.damaged.1.h5"), label != "gone")
    run = r.new()  # the file system itself tears it
    r.train(run, want=-signal.SIGKILL, FINECLIP_FAULT="0:8:torn@results")
    r.train(run)
    same_rows(r, "results torn by a crash", run, r.whole)
    r.row("results.h5 torn, empty or gone after SIGKILL", KILLED)


def test_leftovers(r):
    run = r.new()
    r.train(run, want=-signal.SIGKILL, FINECLIP_FAULT="0:8:half")
    left = [n for n in os.listdir(run + "/checkpoints") if n.endswith(".partial")]
    r.equal("a writer that was killed leaves", left, ["state_000000008.safetensors.partial"])
    mine = run + "/notes.partial"
    open(mine, "w").close()
    err = r.train(run)
    r.that("removed" in err and left[0] in err, "says what it removes: " + err)
    found = [n for at, _, names in os.walk(run) for n in names if n.endswith(".partial")]
    r.equal("half-written files are gone, others' are not", found, ["notes.partial"])
    same_rows(r, "killed while writing a state", run, r.whole)
    run = r.new()
    r.train(run, want=-signal.SIGKILL, FINECLIP_FAULT="0:8:torn")
    err = r.train(run)
    r.that("going back to the checkpoint before it" in err and "step 4 of" in err, "a torn state: " + err)
    same_rows(r, "a torn state", run, r.whole)
    r.row("SIGKILL while a state is written; a state torn by the file system", KILLED)


CASES = {"full_disk": test_full_disk, "read_only": test_read_only, "other_file_system": test_other_file_system, "lock": test_lock,
         "store": test_store, "versions": test_versions, "results": test_results, "leftovers": test_leftovers}

if __name__ == "__main__":
    sys.exit(main("output", CASES, Runs))
