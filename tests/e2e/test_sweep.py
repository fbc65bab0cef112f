"""fctest: timeout=400
`fineclip sweep`: every combination of the matrix in a folder of its own; what is done is skipped, what was stopped goes on,
what fails does not keep the others from their turn; what cannot start is named before anything does. Alone and on two ranks.
And the jobs it hands to sbatch, which a script stands in for.
"""
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import BIN, MPIEXEC, Checks, run_program  # noqa: E402
from ragged import rows, write_experiment, write_store  # noqa: E402

INTERRUPTED, USAGE, DATA, NOINPUT, RUNTIME = 75, 64, 65, 66, 71
STEPS = 4
checks = Checks()


def attribute(output, name):
    with h5py.File(os.path.join(output, "results.h5"), "r") as f:
        value = f.attrs[name]
        return value.decode() if isinstance(value, bytes) else str(value)


class Sweeps:
    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.store = os.path.join(folder, "ragged.h5")
        write_store(self.store)

    def new(self, experiments=("a", "b"), matrix="{seed: [0, 1]}", more="", **train):
        """A sweep file over experiments of these names, and the folder it writes to."""
        self.count += 1
        top = os.path.join(self.folder, "sweep%d" % self.count)
        os.makedirs(top)
        for name in experiments:
            write_experiment(os.path.join(top, name + ".yaml"), self.store, "elsewhere", **{"steps": STEPS, **train})
        path = os.path.join(top, "sweep.yaml")
        with open(path, "w") as f:
            f.write("output: %s/out\nruns: [%s]\nmatrix: %s\n%s" % (top, ", ".join(n + ".yaml" for n in experiments), matrix, more))
        return path, os.path.join(top, "out")

    def run(self, path, *extra, ranks=0, want=0, environment=None, cwd=None):
        batch = "train.batch_size=%d" % (8 // max(ranks, 1))
        status, out, err = run_program(["sweep", path, "precision=fp32", batch] + list(extra), ranks, environment=environment,
                                       cwd=cwd)
        checks.that(status == want, "%s %s: exit status %d, want %d: %s" % (path, extra, status, want, err[-3000:]))
        return out, err


def folders(output):
    return sorted(n for n in os.listdir(output) if os.path.isdir(os.path.join(output, n)))


def test_matrix_and_skip(s, ranks):
    path, output = s.new(matrix="{seed: [0, 1], train.optimizer: {lr: [1.0e-3, 2.0e-3]}}", more="set: {train.log_every: 2}\n")
    out, err = s.run(path, "--dry-run")
    names = ["%s-seed%d-lr%s" % (n, k, lr) for n in "ab" for k in (0, 1) for lr in ("1.0e-3", "2.0e-3")]
    checks.that(all(n in out for n in names) and out.count("trained") == 8, "the plan: " + out)
    checks.that(not os.path.exists(output), "a dry run writes nothing")
    out, err = s.run(path, ranks=ranks)
    checks.equal("folders", folders(output), names)
    checks.equal("order", [n for line in err.split("\n") for n in names if line.startswith("run ") and n in line], names)
    for n in names:
        checks.equal(n, [attribute(os.path.join(output, n), a) for a in ("status", "name")], ["completed", n])
    config = attribute(os.path.join(output, "b-seed1-lr2.0e-3"), "config")
    checks.that(all(x in config for x in ("seed: 1", "lr: 2.0e-3", "log_every: 2")), config)
    checks.equal("set", list(rows(os.path.join(output, names[0], "results.h5"))["step"]), [1, 2, 4])
    checks.that(all(os.path.exists(os.path.join(output, f)) for f in ("report.html", "report.md", "report.csv")), "a report")

    before = {n: os.stat(os.path.join(output, n, "results.h5")).st_mtime_ns for n in names}
    shutil.rmtree(os.path.join(output, names[5]))
    again, err = s.run(path, ranks=ranks)
    after = {n: os.stat(os.path.join(output, n, "results.h5")).st_mtime_ns for n in names}
    checks.equal("what runs the second time", [n for n in names if before[n] != after[n]], [names[5]])
    checks.that("7 of 8 runs are completed already" in err and "run 1 of 1" in err, "says what it skips: " + err)
    if ranks == 0:
        text, _ = s.run(path, "--report")
        checks.equal("the report alone is the same", text, again)


def test_same_as_alone(s):
    """A run of a sweep is the run of the experiment: the second of two, after the first has left its traces."""
    path, output = s.new(matrix="{seed: [3, 4]}")
    s.run(path)
    alone = os.path.join(s.folder, "alone")
    status, _, err = run_program([os.path.join(os.path.dirname(path), "b.yaml"), "output=" + alone, "seed=4", "precision=fp32",
                                  "train.batch_size=8"])
    checks.equal("alone", status, 0)
    want, got = rows(os.path.join(alone, "results.h5")), rows(os.path.join(output, "b-seed4", "results.h5"))
    for name in want:
        checks.that(got[name].tobytes() == want[name].tobytes(), "%s: %s, want %s %s" % (name, got[name], want[name], err[-500:]))


def test_failure(s, ranks):
    """The loss of the first of four is no number at its second step."""
    path, output = s.new()
    nan = {"FINECLIP_FAULT": "*:2:nan"}
    out, err = s.run(path, ranks=ranks, want=DATA, environment=nan)
    state = {n: attribute(os.path.join(output, n), "status") for n in folders(output)}
    checks.equal("the others have had their turn", state, {"a-seed0": "failed", "a-seed1": "completed", "b-seed0": "completed",
                                                           "b-seed1": "completed"})
    tail = err[err.rfind("1 of 4 runs failed"):]
    checks.that("a-seed0: step 2: loss" in tail and "not finite" in tail, "says so at the end: " + err)
    checks.that("Not completed and in no mean: a-seed0 (failed)" in out, "the report: " + out)
    _, err = s.run(path, ranks=ranks, want=DATA, environment=nan)
    checks.that("run 1 of 1: a-seed0" in err, "tried again: " + err)
    s.run(path, ranks=ranks)
    checks.equal("and well", attribute(os.path.join(output, "a-seed0"), "status"), "completed")


def test_one_rank_fails(s):
    """Rank 1 alone meets an error, rank 0 waits in a collective: the job ends, and the next one begins with the others."""
    path, output = s.new()
    started = time.time()
    _, err = s.run(path, ranks=2, want=RUNTIME, environment={"FINECLIP_FAULT": "1:2:error"})
    checks.that(time.time() - started < 60 and "rank 1/2" in err, "the job ends: " + err)
    _, err = s.run(path, ranks=2)
    order = [line.split(":")[1].split(",")[0].strip() for line in err.split("\n") if line.startswith("run ")]
    checks.equal("what took the job down comes last", order, ["a-seed1", "b-seed0", "b-seed1", "a-seed0"])
    _, err = s.run(s.new()[0], ranks=2, want=RUNTIME, environment={"FINECLIP_FAULT": "*:2:error"})
    checks.that("1 of 4 runs failed" in err and "run 4 of 4" in err, "all ranks failed: the sweep goes on: " + err)


def stop_at(s, path, output, ranks):
    """Send SIGTERM once the second run has begun to learn."""
    command = ([MPIEXEC, "-np", str(ranks)] if ranks else []) + [BIN, "sweep", path, "precision=fp32",
                                                                "train.batch_size=%d" % (8 // max(ranks, 1))]
    slow = dict(os.environ, FINECLIP_FAULT="*:*:slow")  # else a run may be over before the signal is sent
    job = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, stdin=subprocess.DEVNULL, env=slow)
    lines = []
    for line in job.stderr:
        lines.append(line)
        if line.startswith("run 2 of"):
            job.send_signal(signal.SIGTERM)
            break
    lines.append(job.stderr.read())
    return job.wait(), "".join(lines)


def test_signal(s, ranks):
    path, output = s.new(steps=12)
    status, err = stop_at(s, path, output, ranks)
    if ranks == 0:  # mpirun has an opinion of its own on statuses
        checks.equal("status", status, INTERRUPTED)
    checks.that("the same command goes on" in err, "says so: " + err)
    checks.that("run 3 of" not in err, "no other run begins: " + err)
    done = [n for n in folders(output) if attribute(os.path.join(output, n), "status") == "completed"]
    checks.that("a-seed0" in done and len(done) < 3, "completed: %s" % done)
    _, err = s.run(path, ranks=ranks)
    checks.equal("all completed", {attribute(os.path.join(output, n), "status") for n in folders(output)}, {"completed"})
    step = rows(os.path.join(output, "a-seed1", "results.h5"))["step"]
    checks.that(np.array_equal(step, np.arange(1, 13)), "every step once: %s" % step)


def test_refusals(s):
    path, output = s.new()
    s.run(path)
    _, err = s.run(path, "train.optimizer.eps=1.0e-7", want=USAGE)
    checks.that("another configuration: train.optimizer.eps is 1e-06 there and 1.0e-7 here" in err, "another run: " + err)
    _, err = s.run(path, "train.log_every=3", "data.workers=2")
    checks.that("all completed (4 of them before)" in err, "keys that change nothing: " + err)
    _, err = s.run(path, "eval.retrieval=" + s.store)
    checks.that("has trained all" in err and "all completed (0 of them before)" in err, "other evaluations are made up for: " + err)
    _, err = s.run(path, "seed=7", want=USAGE)
    checks.that("matrix.seed" in err, "a key of the matrix: " + err)

    path, output = s.new(experiments=("a", "b", "c"))
    for name, old, new in (("b", "ragged.h5", "gone.h5"), ("c", '"batch_size"', '"bacth_size"')):
        file = os.path.join(os.path.dirname(path), name + ".yaml")
        text = open(file).read().replace(old, new)
        open(file, "w").write(text)
    _, err = s.run(path, want=USAGE)
    checks.that("c.yaml" in err and "train.batch_size" in err and not os.path.exists(output), "unknown key: " + err)
    _, err = s.run(path, "runs=[%s/a.yaml, %s/b.yaml]" % ((os.path.dirname(path),) * 2), want=NOINPUT)
    checks.that("2 of 4 runs cannot start" in err and "b-seed0" in err and "b-seed1" in err and "gone.h5" in err and
                not os.path.exists(os.path.join(output, "a-seed0", "results.h5")), "nothing starts: " + err)
    for text, word in (("runs: []", "runs: want a list"), ("runs: [a.yaml]\nmatrix: {seed: 1}", "matrix.seed: want the list"),
                       ("runs: [a.yaml]\nmatrx: {}", "matrix"), ("runs: [a.yaml, a.yaml]", "both be called a"),
                       ("runs: [a.yaml]\nmatrix: {train.steps: [1], train: {steps: [2]}}", "twice"),
                       ("runs: [a.yaml]\nmatrix: {output: [x]}", "its folder")):
        file = os.path.join(os.path.dirname(path), "bad.yaml")
        open(file, "w").write(text)
        _, err = s.run(file, want=USAGE)
        checks.that("bad.yaml" in err and word in err, "%s: %s" % (text, err))
    open(file, "w").write("runs: [none.yaml]")
    _, err = s.run(file, want=NOINPUT)
    checks.that("none.yaml" in err, "a missing experiment: " + err)


def first_loss(output):
    return rows(os.path.join(output, "results.h5"))["loss"][0]


def test_start_from(s):
    """One run trains what the others start from: they begin with its weights, and it is in no table."""
    path, output = s.new(experiments=("a", "b", "first"), more="start_from: first.yaml\nset: {train.log_every: 1}\n", log_every=1)
    text = open(path).read()
    open(path, "w").write(text.replace(", first.yaml]", "]"))
    plan, _ = s.run(path, "--dry-run")
    order = [line.split()[0] for line in plan.split("\n") if "trained" in line]
    checks.equal("the plan", order, ["first", "a-seed0", "a-seed1", "b-seed0", "b-seed1"])
    out, err = s.run(path, environment={"FINECLIP_FAULT": "*:2:nan"}, want=DATA)
    checks.that("no run was begun: the one they start from failed" in err and folders(output) == ["first"], "a failure: " + err)
    out, err = s.run(path, ranks=2)
    checks.equal("all completed", {attribute(os.path.join(output, n), "status") for n in folders(output)}, {"completed"})
    checks.that("first" not in out and "5 runs, all completed" in err, "the table is of the others: " + out)
    alone = os.path.join(s.folder, "alone_from")
    batch = ["precision=fp32", "train.batch_size=4", "train.log_every=1", "seed=1", "output=" + alone]
    start = os.path.join(output, "first")
    model = max(os.listdir(start + "/checkpoints"), key=lambda n: int(n[6:-12]) if n.startswith("epoch_") else -1)
    losses = []
    for init in (start, start + "/checkpoints/" + model, "random"):  # a run's folder is its newest model
        status, _, err = run_program([os.path.join(os.path.dirname(path), "b.yaml"), "model.init=" + init] + batch, 2)
        checks.equal("alone", status, 0)
        losses.append(first_loss(alone))
        shutil.rmtree(alone)
    checks.that(losses[0] == losses[1] and losses[0] != losses[2], "three starts: %s" % losses)
    checks.equal("begins with the model of the first", first_loss(os.path.join(output, "b-seed1")), losses[0])
    shutil.rmtree(os.path.join(output, "b-seed1"))
    _, err = s.run(path, ranks=2)
    checks.that("4 of 5 runs are completed already" in err, "the first is kept: " + err)
    _, err = s.run(path, "model.init=x.safetensors", want=USAGE)
    checks.that("start_from" in err and "model.init" in err, "two starts: " + err)
    _, err = s.run(path, "start_from=gone.yaml", want=NOINPUT)
    checks.that("gone.yaml" in err, "no such start: " + err)


def test_start_from_slurm(s):
    path, output = s.new(experiments=("a", "first"), more="start_from: first.yaml\n")
    text = open(path).read()
    open(path, "w").write(text.replace(", first.yaml]", "]"))
    out, _ = s.run(path, "--jobs", "slurm", "--dry-run")
    jobs = [line for line in out.split("\n") if line.startswith("sbatch")]
    chain = [[w for w in j.split() if w.startswith("--dependency")] for j in jobs]
    checks.equal("who waits for whom", chain, [[], ["--dependency=afterok:JOB1"], ["--dependency=afterok:JOB1,afterany:JOB2"],
                                               ["--dependency=afterany:JOB1:JOB2:JOB3"]])
    checks.that("--job-name=first" in jobs[0] and "model.init=%s/first" % output in jobs[1] and "--kill-on-invalid-dep=yes" in jobs[1],
                str(jobs))


def test_shipped(s):
    """The ablation on made-up scenes, with few of them."""
    few = ["%s.synthetic.images=16" % k for k in ("data.train", "eval.box_classification.data", "eval.retrieval.data")]
    status, out, err = run_program(["sweep", "experiments/quickstart_ablation.yaml", "output=" + os.path.join(s.folder, "shipped"),
                                    "--dry-run"] + few)
    names = ["quickstart_pretrain"] + ["quickstart_row%d-seed%d" % (row, seed) for row in range(1, 7) for seed in range(3)]
    checks.equal("the plan", (status, [line.split()[0] for line in out.split("\n") if "trained" in line]), (0, names))
    checks.equal("one copy of the scenes", sum(n.endswith(".h5") for n in os.listdir(os.path.join(s.folder, "shipped", "data"))), 3)


def test_slurm(s):
    path, output = s.new(experiments=("a", "b"), matrix="{seed: [0, 1]}")
    here = os.path.join(s.folder, "cluster")
    os.makedirs(os.path.join(here, "launch", "slurm"))
    open(os.path.join(here, "launch", "slurm", "train.sbatch"), "w").write("#!/bin/sh\n")
    fake = os.path.join(here, "sbatch")
    open(fake, "w").write('#!/bin/sh\necho "FINECLIP=$FINECLIP" "$@" >>%s/jobs\nn=$(wc -l <%s/jobs)\n[ "$n" -ne "${REFUSE:-0}" ] || exit 1\n'
                          'echo "$((100 + n));cluster"\n' % (here, here))
    os.chmod(fake, stat.S_IRWXU)
    env = {"PATH": here + ":" + os.environ["PATH"]}
    s.run(path, "matrix.seed=[0]", environment=env, cwd=here)  # a-seed0 and b-seed0 are there already
    out, _ = s.run(path, "--jobs", "slurm", "--dry-run", environment=env, cwd=here)
    checks.that(not os.path.exists(os.path.join(here, "jobs")) and out.count("sbatch --parsable") == 3 and "afterany:JOB1" in out, out)
    s.run(path, "--jobs", "slurm", environment=env, cwd=here)
    jobs = open(os.path.join(here, "jobs")).read().strip().split("\n")
    folder = os.path.dirname(path)
    checks.equal("jobs", len(jobs), 3)
    want = "FINECLIP=%s --parsable --job-name=a-seed1 launch/slurm/train.sbatch %s/a.yaml seed=1 precision=fp32" % (
        os.path.realpath(BIN), folder)
    checks.that(jobs[0].startswith(want) and "name=a-seed1 output=%s/a-seed1" % output in jobs[0], jobs[0])
    checks.that("--dependency=afterany:101 --job-name=b-seed1" in jobs[1], jobs[1])
    checks.that("--dependency=afterany:101:102 --job-name=sweep-report" in jobs[2] and "--report" in jobs[2], jobs[2])
    os.unlink(os.path.join(here, "jobs"))
    s.run(path, "matrix.seed=[1,2,3]", "--jobs=slurm", "--at-once", "2", "--sbatch", " --nodes=2  --qos=low ", environment=env, cwd=here)
    checks.equal("words for sbatch", [j.split()[2:4] == ["--nodes=2", "--qos=low"] for j in open(os.path.join(here, "jobs"))],
                 [True] * 6 + [False])
    chain = [next((w for w in j.split() if w.startswith("--dependency")), "-") for j in open(os.path.join(here, "jobs"))]
    checks.equal("two at once", [c.replace("--dependency=afterany:", "") for c in chain],
                 ["-", "-", "101", "102", "103", "104", "101:102:103:104:105:106"])
    os.unlink(os.path.join(here, "jobs"))
    _, err = s.run(path, "--jobs", "slurm", want=RUNTIME, environment={**env, "REFUSE": "2"}, cwd=here)
    checks.that("sbatch refused" in err and "1 jobs were submitted" in err, "a refusal: " + err)
    _, err = s.run(path, "--jobs", "pbs", want=USAGE)
    checks.that("only slurm" in err, err)
    _, err = s.run(path, "--at-once", "2", want=USAGE)
    checks.that("is for --jobs slurm" in err, err)


def main():
    folder = tempfile.mkdtemp(prefix="fineclip-sweep-")
    try:
        s = Sweeps(folder)
        for ranks in (0, 2):
            test_matrix_and_skip(s, ranks)
            test_failure(s, ranks)
            test_signal(s, ranks)
        test_same_as_alone(s)
        test_one_rank_fails(s)
        test_refusals(s)
        test_start_from(s)
        test_start_from_slurm(s)
        test_shipped(s)
        test_slurm(s)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
