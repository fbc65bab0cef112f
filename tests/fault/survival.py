"""What tests of faults share: a run that is hit by one, what its end has to look like, and going on from there.

Every case is a ctest and a line of tests/fault/README.md; it prints that line, as measured, behind "row:" (table.py).
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import BIN, MPIEXEC, Checks  # noqa: E402
from ragged import REGIONS, rows, write_experiment, write_store  # noqa: E402,F401

USAGE, DATA, BUG, RUNTIME, INTERRUPTED, KILLED = 64, 65, 70, 71, 75, 128 + signal.SIGKILL
STEPS, STEP = 6, 3  # of a run, and where faults happen
LAST = -1  # rank
SANITIZED = os.environ.get("FINECLIP_SANITIZE", "") != ""  # slow, and the same code on one size of job
WITHIN = 10  # seconds from fault (or time limit) to the end of the job


def headlines(text):
    return [line for line in text.splitlines() if "fineclip: error:" in line]


def processes(word):
    """Process ids of this program that have the word among their arguments."""
    found = []
    for name in os.listdir("/proc"):
        try:
            words = open("/proc/%s/cmdline" % name, "rb").read().split(b"\0") if name.isdigit() else []
        except OSError:
            continue
        if words and os.path.basename(words[0]) == os.path.basename(BIN).encode() and word.encode() in words:
            found.append(int(name))
    return sorted(found)


def rank_of(pid):
    try:
        for word in open("/proc/%d/environ" % pid, "rb").read().split(b"\0"):
            if word.startswith(b"OMPI_COMM_WORLD_RANK="):
                return int(word.split(b"=")[1])
    except OSError:
        pass
    return -1


class Run:
    """One start of the program that is looked at while it runs."""

    def __init__(self, arguments, ranks, fault=None, launcher=None):
        env = dict(os.environ)
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":allocator_may_return_null=1"  # out of memory is ours to report
        env.pop("FINECLIP_FAULT", None)
        if fault:
            env["FINECLIP_FAULT"] = fault
        command = launcher or ([MPIEXEC, "-np", str(ranks)] if ranks else [])
        self.path = next(word for word in arguments if word.endswith(".yaml"))
        self.begun = time.monotonic()
        self.process = subprocess.Popen(command + [BIN] + arguments, env=env, text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.text = ""

    def await_line(self, part):
        for line in self.process.stderr:
            self.text += line
            if part in line:
                return True
        return False

    def end(self, timeout=90):
        """Exit status (128 + N for signal N, as a shell says it)."""
        try:
            self.text += self.process.communicate(timeout=timeout)[1]
        except subprocess.TimeoutExpired:
            for pid in processes(self.path):
                os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.text += self.process.communicate()[1] + "\n(did not end within %d s)" % timeout
        self.seconds = time.monotonic() - self.begun
        code = self.process.returncode
        return code if code >= 0 else 128 - code


class Survival(Checks):
    def __init__(self, folder, case):
        super().__init__()
        self.folder, self.case, self.count = folder, case, 0
        self.whole = {}  # rows of runs that nothing happened to
        self.slowest, self.said = 0.0, ""
        self.store = os.path.join(folder, "store.h5")
        write_store(self.store)

    def experiment(self, **train):
        self.count += 1
        output = os.path.join(self.folder, "run%d" % self.count)
        write_experiment(output + ".yaml", self.store, output, **{"steps": STEPS, **train})
        return output + ".yaml"

    def arguments(self, path, ranks, extra=()):
        return [path, "precision=fp32", "data.shuffle=true", "train.batch_size=%d" % (8 // max(ranks, 1)),
                "train.checkpoint.every_steps=1"] + list(extra)

    def undisturbed(self, ranks, extra=()):
        key = (ranks,) + tuple(extra)
        if key not in self.whole:
            path = self.experiment()
            run = Run(self.arguments(path, ranks, extra), ranks)
            self.equal("np %d, undisturbed: status (%s)" % (ranks, run.text[-500:]), run.end(), 0)
            self.whole[key] = rows(path[:-5] + "/results.h5")
        return self.whole[key]

    def ended(self, label, run, want, says, since, heads=1, within=WITHIN):
        """The run ends with this status and one headline with every word of `says`, in time, and leaves no process."""
        status = run.end()
        seconds = time.monotonic() - since
        self.slowest = max(self.slowest, seconds)
        wanted = want if isinstance(want, tuple) else (want,)
        self.that(status in wanted, "%s: status %d, want %s (%s)" % (label, status, wanted, run.text[-2500:]))
        found = headlines(run.text)
        self.equal("%s: headlines in %s" % (label, run.text[-2500:]), len(found), heads)
        for word in says:
            self.that(any(word in line for line in (found or run.text.splitlines())),
                      "%s: says %r: %s" % (label, word, run.text[-2500:]))
        # What it says of memory that is refused on purpose is no finding.
        reports = [line for line in run.text.splitlines() if "Sanitizer" in line and "failed to allocate" not in line]
        self.that(not reports, "%s: sanitizer: %s" % (label, run.text[-2500:]))
        self.that(seconds <= within + load(), "%s: took %.1f s" % (label, seconds))
        for _ in range(20):
            if not processes(run.path):
                break
            time.sleep(0.1)
        self.equal(label + ": processes left", processes(run.path), [])
        self.said = (found or [self.said])[0]
        return run.text

    def goes_on(self, label, path, ranks, extra=()):
        """The same command without the fault ends with the rows of a run that nothing happened to, bit for bit."""
        run = Run(self.arguments(path, ranks, extra), ranks)
        status = run.end()
        if not self.equal("%s, gone on: status (%s)" % (label, run.text[-2500:]), status, 0):
            return
        got, want = rows(path[:-5] + "/results.h5"), self.undisturbed(ranks, extra)
        self.equal(label + ", gone on: columns", sorted(got), sorted(want))
        self.equal(label + ", gone on: steps", list(got["step"]), list(range(1, STEPS + 1)))
        for name in want:
            self.that(got[name].tobytes() == want[name].tobytes(),
                      "%s, gone on: %s is %s, want %s" % (label, name, got[name], want[name]))

    def endures(self, fault, want, says, ranks=(0, 2, 4), rank=LAST, extra=(), limit=0.0):
        """The fault, "R" standing for a rank (the last unless `rank` says which, "*" all, None several), at STEP. limit: seconds before the fault shows."""
        for n in ranks[:1] if SANITIZED else ranks:
            at = str(max(n - 1, 0)) if rank == LAST else str(rank)
            label = "%s np %d" % (fault, n)
            path = self.experiment()
            begun = time.monotonic()
            run = Run(self.arguments(path, n, extra), n, fault.replace("R:", at + ":"))
            # A process that is killed alone has nobody who could speak for it.
            alone = n == 0 and want == KILLED
            self.ended(label, run, want, [] if alone else says, begun + limit, heads=0 if alone else 1)
            if n > 1 and rank not in ("*", None):
                self.that(any("rank %s/%d" % (at, n) in line for line in headlines(run.text)),
                          "%s: names the rank: %s" % (label, run.text[-2500:]))
            self.goes_on(label, path, n, extra)

    def row(self, done, status, lost="nothing"):
        said = self.said.replace("fineclip: error: ", "").replace("fineclip: warning: ", "").replace(self.folder, "RUNS").replace("|", "/")
        said = re.sub(r"0x[0-9a-f]+", "0x...", re.sub(r" \(\S+ cpu\)", "", said))
        status = " or ".join(str(one) for one in (status if isinstance(status, tuple) else (status,)))
        print("row: | %s | %s | %s | %s | %.1f | %s |" % (self.case, done, status, said, self.slowest, lost))


def load():
    """Seconds that a busy machine may add to a limit: launchers alone take some."""
    return 5 * max(0.0, os.getloadavg()[0] / os.cpu_count() - 1)


def main(module, cases, kind=Survival):
    """Run the case that the command line names, out of {name: function of a `kind`}."""
    name = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        s = kind(folder, "fault.%s.%s" % (module, name))
        cases[name](s)
        return s.end()
