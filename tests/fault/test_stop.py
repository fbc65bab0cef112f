"""Signals that ask to stop, wherever they arrive: the step is finished, the state saved, and the same command goes on.
fctest: cases=one_rank,all_ranks,launcher,launcher_term,twice timeout=400
fctest: cases=before_first_step,evaluation,last_evaluation,checkpoint,data
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from survival import INTERRUPTED, SANITIZED, STEPS, WITHIN, Run, headlines, load, main, processes, rank_of  # noqa: E402

SIZES = (0,) if SANITIZED else (0, 2, 4)


def await_results(path):
    """A run has a results file before it evaluates for the first time; it says nothing then."""
    for _ in range(200):
        if os.path.exists(path[:-5] + "/results.h5"):
            return True
        time.sleep(0.05)
    return False


def stop(s, n, number, to, line="train 2/", fault="*:1:slow", extra=(), wait=0.0, experiment=None):
    """Send the signal to `to` (a rank, "all" or "launcher") once the line has come; returns the run and its experiment."""
    label = "%s to %s of np %d" % (signal.Signals(number).name, to, n)
    path = experiment or s.experiment()
    run = Run(s.arguments(path, n, extra), n, fault)
    s.that(run.await_line(line) if line else await_results(path), label + ": runs: " + run.text[-2000:])
    time.sleep(wait)
    pids = {max(rank_of(pid), 0): pid for pid in processes(path)}
    begun = time.monotonic()
    for pid in [run.process.pid] if to == "launcher" else [pids[r] for r in pids if to in ("all", r)]:
        os.kill(pid, number)
    status = run.end()
    seconds = time.monotonic() - begun
    s.slowest = max(s.slowest, seconds)
    s.equal(label + ": processes left", processes(path), [])
    if to == "launcher" and number != signal.SIGUSR1:
        s.equal("%s: status (%s)" % (label, run.text[-2000:]), status, 1)
        return run, path
    s.equal("%s: status (%s)" % (label, run.text[-2000:]), status, INTERRUPTED)
    s.equal("%s: headlines in %s" % (label, run.text), headlines(run.text), [])
    told = [word for word in run.text.splitlines() if word.startswith("fineclip: SIG")]
    s.that(len(told) == 1 and "saved, the same command goes on" in told[0], "%s: one message: %s" % (label, run.text[-2000:]))
    s.said = told[0].replace("fineclip: ", "") if told else ""
    s.that(seconds <= WITHIN + load(), "%s: took %.1f s" % (label, seconds))
    return run, path


def one_rank(s):
    for n, number in ((0, signal.SIGTERM), (2, signal.SIGINT), (4, signal.SIGUSR1)):
        if n in SIZES:
            _, path = stop(s, n, number, max(n - 1, 0))
            s.goes_on("np %d" % n, path, n)
    s.row("SIGTERM, SIGINT, SIGUSR1 to one rank (of 1, 2, 4)", INTERRUPTED)


def all_ranks(s):
    for number in (signal.SIGTERM, signal.SIGUSR1):
        n = SIZES[-1] if number == signal.SIGTERM else SIZES[len(SIZES) // 2]
        _, path = stop(s, n, number, "all")
        s.goes_on("np %d" % n, path, n)
    s.row("SIGTERM, SIGUSR1 to all ranks at once, as a batch system does", INTERRUPTED)


def launcher(s):
    _, path = stop(s, 2, signal.SIGUSR1, "launcher")
    s.goes_on("np 2", path, 2)
    s.row("SIGUSR1 to mpirun, which passes it on", INTERRUPTED)


def launcher_term(s):
    """mpirun passes SIGTERM on after a second, SIGKILL after another, and ends with 1 whatever its ranks do: a step that is done
    within that second is saved, and before it there is the last checkpoint."""
    for number in (signal.SIGTERM, signal.SIGINT):
        _, path = stop(s, 2, number, "launcher")
        s.goes_on("np 2", path, 2)
    s.row("SIGTERM, SIGINT to mpirun, which leaves its ranks a second and ends with 1 in any case", 1, "nothing that was saved")


def twice(s):
    """A second signal ends at once, and nothing is lost that was saved."""
    for n in SIZES[:2]:
        path = s.experiment()
        run = Run(s.arguments(path, n), n, "%d:3:hang" % max(n - 1, 0))
        s.that(run.await_line("train 2/"), "np %d: runs" % n)
        time.sleep(1 + load())  # the third step has begun
        pids = processes(path)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.8)
        begun = time.monotonic()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass  # the first to get it has ended them all
        s.ended("np %d" % n, run, INTERRUPTED, ["a second signal"], begun)
        s.goes_on("np %d" % n, path, n)
    s.row("a second SIGTERM, while a step hangs", INTERRUPTED)


def evaluated(s, path, n, extra, label):
    """Evaluations of the run that went on are those of a run nothing happened to."""
    import h5py
    whole = s.experiment(checkpoint={"every_epochs": 1, "keep": 2})
    run = Run(s.arguments(whole, n, extra), n)
    s.equal("%s: a whole run (%s)" % (label, run.text[-500:]), run.end(), 0)
    with h5py.File(path[:-5] + "/results.h5") as a, h5py.File(whole[:-5] + "/results.h5") as b:
        s.equal(label + ": evaluated at", list(a["eval/epoch"]), list(b["eval/epoch"]))
        for name in b["eval/retrieval"]:
            s.equal(label + ": " + name, list(a["eval/retrieval"][name]), list(b["eval/retrieval"][name]))
        s.equal(label + ": epochs", len(a["cost/epoch_seconds"]), len(b["cost/epoch_seconds"]))


def in_evaluation(before, step, line, done):
    def case(s):
        extra = ("eval.retrieval=" + s.store, "eval.every_epochs=1", "eval.before_training=%s" % str(before).lower())
        for n in SIZES[:2]:
            for _ in range(4):  # on a busy machine the evaluation may be over before this process gets to send the signal
                path = s.experiment(checkpoint={"every_epochs": 1, "keep": 2})
                run, _ = stop(s, n, signal.SIGTERM, 0, line, "*:%d:slow@evaluation" % step, extra, experiment=path, wait=0.1)
                if "after step %d of" % step in run.text:
                    break
            s.that("after step %d of" % step in run.text, "np %d: stopped in that evaluation: %s" % (n, run.text[-2000:]))
            s.goes_on("np %d" % n, path, n, extra)
            evaluated(s, path, n, extra, "np %d" % n)
        s.row(done, INTERRUPTED)
    return case


def checkpoint(s):
    for n in SIZES[:2]:
        _, path = stop(s, n, signal.SIGTERM, max(n - 1, 0), "train 3/", "0:3:slow@checkpoint", wait=0.1)
        s.goes_on("np %d" % n, path, n)
    s.row("SIGTERM while a state is written", INTERRUPTED)


def data(s):
    for n in SIZES[:2]:
        _, path = stop(s, n, signal.SIGTERM, max(n - 1, 0), "train 2/", "0:2:slow@loader", wait=0.05)
        s.goes_on("np %d" % n, path, n)
    s.row("SIGTERM while a rank waits for data", INTERRUPTED)


CASES = {
    "one_rank": one_rank,
    "all_ranks": all_ranks,
    "launcher": launcher,
    "launcher_term": launcher_term,
    "twice": twice,
    "before_first_step": in_evaluation(True, 0, "", "SIGTERM in the evaluation before the first step"),
    "evaluation": in_evaluation(False, 4, "train 4/", "SIGTERM in an evaluation between epochs"),
    "last_evaluation": in_evaluation(False, STEPS, "train %d/" % STEPS, "SIGTERM in the last evaluation"),
    "checkpoint": checkpoint,
    "data": data,
}

if __name__ == "__main__":
    sys.exit(main("stop", CASES))
