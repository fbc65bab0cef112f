"""Ranks that crash, fail or vanish in the middle of a run. One message from one rank, status and time to the end, and what
the same command finds when it goes on.
fctest: cases=segv,bus,fpe,ill,abort,exit,overflow,bug,no_memory,failure timeout=400
fctest: cases=killed,killed_first,all_segv,all_fail,two_fail,collective,hdf5,loader,loader_overflow,loader_memory
fctest: cases=checkpoint,evaluation,no_folder
"""
import os
import sys
import time

import h5py

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from survival import BUG, KILLED, RUNTIME, STEP, STEPS, Run, main  # noqa: E402

AT = "step %d" % STEP


def crash(done, fault, want, says, **options):
    def case(s):
        s.endures("R:%d:%s" % (STEP, fault), want, says, **options)
        s.row(done, want)
    return case


def hdf5(s):
    """Compressed pictures, which only HDF5 can read: what lies in one piece is read without it."""
    with h5py.File(s.store, "r+") as f:
        values = f["images/bytes"][...]
        del f["images/bytes"]
        f["images"].create_dataset("bytes", data=values, compression="gzip")
    s.endures("R:%d:segv@hdf5" % STEP, BUG, ["SIGSEGV", "in a loader thread"], ranks=(2,))
    s.row("SIGSEGV inside HDF5, its lock held", BUG)


def two_fail(s):
    """Whoever is first speaks for both."""
    s.endures("1:%d:segv,3:%d:error" % (STEP, STEP), (BUG, RUNTIME), [], ranks=(4,), rank=None)
    s.row("two of four ranks fail at once, in two ways", (BUG, RUNTIME))


def evaluation(s):
    s.endures("R:%d:segv@evaluation" % STEPS, BUG, ["step %d: SIGSEGV" % STEPS, "during evaluation"], ranks=(0, 4),
              extra=("eval.retrieval=" + s.store,))
    s.row("SIGSEGV while evaluating after the last step", BUG)


def no_folder(s):
    """Where there is no folder to agree in, rank 0 speaks, or the one rank that fails."""
    path = s.experiment()
    for n, rank in ((2, "1"), (4, "*")):
        begun = time.monotonic()
        run = Run(["eval", path, "precision=fp32", "train.resume=never", "eval.retrieval=" + s.store], n, rank + ":0:error@evaluation")
        s.ended("np %d, rank %s" % (n, rank), run, RUNTIME, ["a failure on purpose"], begun)
    s.row("ranks of `eval`, which has no folder to agree in, fail", RUNTIME, "-")


CASES = {
    "segv": crash("SIGSEGV in a step", "segv", BUG, [AT + ": SIGSEGV", "during a step", "fineclip+0x"]),
    "bus": crash("SIGBUS in a step: a mapped file is gone", "bus", RUNTIME, [AT + ": SIGBUS", "during a step"], ranks=(2,)),
    "fpe": crash("SIGFPE in a step", "fpe", BUG, [AT + ": SIGFPE", "during a step"], ranks=(0,)),
    "ill": crash("SIGILL in a step", "ill", BUG, [AT + ": SIGILL", "during a step"], ranks=(0,)),
    "abort": crash("a library calls abort", "abort", BUG, [AT + ": SIGABRT", "during a step"], ranks=(2,)),
    "exit": crash("a library calls exit", "exit", BUG, [AT + ": a library ended the process", "during a step"], ranks=(4,)),
    "overflow": crash("the main thread's stack overflows", "overflow", BUG, [AT + ": SIGSEGV", "during a step"], ranks=(0,)),
    "bug": crash("an assertion fails", "bug", BUG, ["assertion failed"], ranks=(4,)),
    "no_memory": crash("no memory", "nomem", RUNTIME, ["no memory for"], ranks=(0,)),
    "failure": crash("a call to the system fails", "error", RUNTIME, ["a failure on purpose"], ranks=(0, 2)),
    "killed": crash("SIGKILL to the last rank", "crash", KILLED, ["gone without a word"]),
    "killed_first": crash("SIGKILL to rank 0", "crash", KILLED, ["gone without a word"], ranks=(4,), rank=0),
    "all_segv": crash("SIGSEGV on all ranks at once", "segv", BUG, [AT + ": SIGSEGV"], ranks=(4,), rank="*"),
    "all_fail": crash("all ranks fail at once", "error", RUNTIME, ["a failure on purpose"], ranks=(4,), rank="*"),
    "collective": crash("SIGSEGV before a collective the others wait in", "segv@collective", BUG,
                        [AT + ": SIGSEGV", "during losses"], ranks=(2,)),
    "hdf5": hdf5,
    "loader": crash("SIGSEGV in a loader thread", "segv@loader", BUG, ["SIGSEGV", "in a loader thread"], ranks=(2,)),
    "loader_overflow": crash("a loader thread's stack overflows", "overflow@loader", BUG, ["SIGSEGV", "in a loader thread"], ranks=(0,)),
    "loader_memory": crash("no memory in a loader thread", "nomem@loader", RUNTIME, ["no memory for"], ranks=(4,)),
    "checkpoint": crash("SIGSEGV while a state is written", "segv@checkpoint", BUG, [AT + ": SIGSEGV", "during checkpoint"], rank=0, ranks=(4,)),
    "two_fail": two_fail,
    "evaluation": evaluation,
    "no_folder": no_folder,
}

if __name__ == "__main__":
    sys.exit(main("crash", CASES))
