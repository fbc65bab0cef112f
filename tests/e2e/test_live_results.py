"""fctest: timeout=200
Another process reads results.h5 with h5py, again and again, while the run writes it: every look finds a whole file, with columns
of one length and no row that changed or went away.
"""
import os
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import BIN, Checks  # noqa: E402
from ragged import write_experiment, write_store  # noqa: E402

STEPS = 200
checks = Checks()


def look(path):
    """Losses and number of evaluations."""
    with h5py.File(path, "r") as f:
        checks.that(f.attrs["format"] == "fineclip-run" and f.attrs["status"] in ("running", "completed"), "attributes")
        columns = {k: v[...] for k, v in f["train"].items() if isinstance(v, h5py.Dataset)}
        columns.update({k: v[...] for k, v in f["train/losses"].items()})
        lengths = sorted({len(v) for v in columns.values()})
        checks.that(len(lengths) == 1, "columns of one length: %s" % lengths)
        checks.that(np.array_equal(columns["step"], np.arange(1, len(columns["step"]) + 1)), "steps: %s" % columns["step"])
        evals = {len(v) for v in f["eval/retrieval"].values()} if "eval/retrieval" in f else {0}
        checks.that(evals == {len(f["eval/epoch"])} or evals == {0}, "evaluations of one length: %s" % evals)
        return columns["loss"], len(f["eval/epoch"])


def main():
    with tempfile.TemporaryDirectory() as folder:
        store, output = os.path.join(folder, "ragged.h5"), os.path.join(folder, "run")
        write_store(store)
        write_experiment(output + ".yaml", store, output, steps=STEPS, checkpoint={"every_epochs": 0, "every_steps": 20})
        process = subprocess.Popen([BIN, output + ".yaml", "precision=fp32", "eval.retrieval=" + store,
                                    "eval.every_epochs=10"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   stdin=subprocess.DEVNULL)
        path, seen, before = output + "/results.h5", 0, np.zeros(0)
        lengths = set()
        while process.poll() is None:
            if os.path.exists(path):
                losses, _ = look(path)
                checks.that(losses[:len(before)].tobytes() == before.tobytes(), "rows stay as they were")
                before, seen = losses, seen + 1
                lengths.add(len(losses))
            time.sleep(0.002)
        err = process.stderr.read()
        checks.equal("exit status: " + err[-2000:], process.returncode, 0)
        checks.that(seen >= 20 and len(lengths) >= 5, "looked %d times, saw %s rows" % (seen, sorted(lengths)))
        losses, evaluations = look(path)
        checks.equal("rows and evaluations at the end", (len(losses), evaluations), (STEPS, STEPS // 40))
        print("%d looks, %d different lengths" % (seen, len(lengths)))
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
