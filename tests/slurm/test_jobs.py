#!/usr/bin/env python3
"""launch/slurm under a slurmctld and a slurmd of the test's own: a job that completes, one that is asked to stop before
its time limit, one that Slurm requeues, one that cannot run, one that is cancelled, and a sweep.

Skipped where Slurm is not installed (launch/setup.sh --slurm).  fctest: timeout=600
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import h5py

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from program import BIN, Checks  # noqa: E402

SOURCE = pathlib.Path(os.environ.get("FINECLIP_SOURCE", ".")).resolve()
SCRIPTS = SOURCE / "launch" / "slurm"
DAEMONS = ("munged", "slurmctld", "slurmd")

EXPERIMENT = """
base: %(quickstart)s
name: %(name)s
output: %(folder)s/${name}
model: {config: tiny-eva02}
data: {train: {synthetic: {images: 64, seed: 1}}, max_boxes: 2}
train: {steps: %(steps)d, batch_size: 4, log_every: 1, checkpoint: {every_steps: 5}}
eval: {before_training: false, box_classification: null, retrieval: null}
"""


class Cluster:
    """One node that says it has four cores and two GPUs (which are never touched)."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("etc", "run", "log", "spool", "state"):
            (folder / name).mkdir()
        host = os.uname().nodename
        (folder / "etc" / "slurm.conf").write_text("\n".join([
            "ClusterName=one", f"SlurmctldHost={host}(127.0.0.1)", "SlurmUser=root",
            f"AuthInfo=socket={folder}/run/munge.socket,cred_expire=5",
            f"SlurmctldPidFile={folder}/run/slurmctld.pid", f"SlurmdPidFile={folder}/run/slurmd.pid",
            f"SlurmctldPort={self.port(0)}", f"SlurmdPort={self.port(1)}",
            f"SlurmdSpoolDir={folder}/spool", f"StateSaveLocation={folder}/state",
            f"SlurmctldLogFile={folder}/log/slurmctld.log", f"SlurmdLogFile={folder}/log/slurmd.log",
            "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny", "SlurmdParameters=config_overrides",
            "ProctrackType=proctrack/linuxproc", "MpiDefault=pmix", "SelectType=select/cons_tres",
            "SchedulerParameters=sched_interval=2,bf_interval=2", "ReturnToService=2", "KillWait=20",
            "MailProg=/bin/true", "GresTypes=gpu", f"NodeName={host} NodeAddr=127.0.0.1 CPUs=4 Gres=gpu:2",
            f"PartitionName=debug Nodes={host} Default=YES", ""]))
        (folder / "etc" / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        (folder / "etc" / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (folder / "etc" / "munge.key").write_bytes(os.urandom(128))
        (folder / "etc" / "munge.key").chmod(0o600)
        self.environment = dict(os.environ, SLURM_CONF=str(folder / "etc" / "slurm.conf"), FINECLIP=BIN)

    @staticmethod
    def port(which):
        return 20000 + (os.getpid() * 2 + which) % 20000

    def call(self, *command, timeout=60):
        return subprocess.run(list(command), capture_output=True, text=True, timeout=timeout, env=self.environment,
                              cwd=self.folder, stdin=subprocess.DEVNULL)

    def start(self):
        run, log = self.folder / "run", self.folder / "log"
        conf = self.environment["SLURM_CONF"]
        for command in (["munged", f"--key-file={self.folder}/etc/munge.key", f"--socket={run}/munge.socket",
                         f"--pid-file={run}/munged.pid", f"--log-file={log}/munged.log",
                         f"--seed-file={run}/munge.seed"], ["slurmctld", "-f", conf], ["slurmd", "-f", conf]):
            done = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
            if done.returncode != 0:
                raise RuntimeError(f"{command[0]} does not start: {done.stderr}")
        for _ in range(60):
            if "idle" in self.call("sinfo", "-h", "-o", "%t").stdout:
                return
            time.sleep(0.5)
        raise RuntimeError("the node does not become idle: " + self.call("scontrol", "show", "node").stdout)

    def stop(self):
        self.call("scancel", "-u", "root")
        for name in reversed(DAEMONS):
            try:
                os.kill(int((self.folder / "run" / f"{name}.pid").read_text()), 15)
            except (FileNotFoundError, ProcessLookupError, ValueError):
                pass
        time.sleep(1)

    def submit(self, script, *arguments, options=()):
        done = self.call("sbatch", "--parsable", "--ntasks-per-node=2", "--gres=gpu:2", "--cpus-per-task=1",
                         f"--output={self.folder}/%j.log", *options, str(SCRIPTS / script), *arguments)
        if done.returncode != 0:
            raise RuntimeError("sbatch: " + done.stderr)
        return done.stdout.strip().split(";")[0]

    def state(self, job):
        shown = self.call("scontrol", "show", "job", job).stdout
        fields = dict(word.split("=", 1) for word in shown.split() if "=" in word)
        return fields.get("JobState", "?"), fields.get("ExitCode", "?"), int(fields.get("Restarts", 0))

    def wait(self, job, until, seconds=150):
        """Until the job's state is one of those named, or something else is true."""
        end = time.time() + seconds
        while time.time() < end:
            state = self.state(job)
            if until() if callable(until) else state[0] in until:
                return state
            time.sleep(0.3)
        return self.state(job)

    def log(self, job):
        path = self.folder / f"{job}.log"
        return path.read_text() if path.exists() else ""


def losses(folder, name):
    with h5py.File(folder / name / "results.h5", "r") as f:
        return f.attrs["status"], list(f["train/step"][:]), list(f["train/loss"][:])


def experiment(folder, name, steps):
    path = folder / f"{name}.yaml"
    path.write_text(EXPERIMENT % {"quickstart": SOURCE / "experiments" / "quickstart.yaml", "name": name,
                                  "folder": folder, "steps": steps})
    return str(path)


ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
STEPS = 40


def jobs(c, cluster, folder):
    calm = cluster.submit("train.sbatch", experiment(folder, "calm", STEPS))
    state, code, restarts = cluster.wait(calm, ENDED)
    c.equal("a job that nobody disturbs", (state, code, restarts), ("COMPLETED", "0:0", 0))
    if state != "COMPLETED":
        print(cluster.log(calm))
        return
    status, steps, wanted = losses(folder, "calm")
    c.equal("its run", (status, steps), ("completed", list(range(1, STEPS + 1))))

    def is_under_way(name):
        def look():
            try:
                return len(losses(folder, name)[1]) >= 5
            except OSError:
                return False
        return look

    # A signal as before the time limit, and Slurm's own requeueing, as after preemption.
    for name, command in (("limit", ["scancel", "--signal=USR1"]), ("requeued", ["scontrol", "requeue"])):
        path = experiment(folder, name, STEPS)
        job = cluster.submit("train.sbatch", path, f"seed=0")
        cluster.wait(job, is_under_way(name))
        c.equal(f"{name}: {command[0]}", cluster.call(*command, job).returncode, 0)
        cluster.wait(job, lambda: cluster.state(job)[2] > 0)
        state, code, restarts = cluster.wait(job, ENDED)
        c.equal(f"{name}: the job", (state, code, restarts), ("COMPLETED", "0:0", 1))
        text = cluster.log(job)
        c.that("attempt 2" in text and "going on from" in text, f"{name}: its log tells of the second attempt: {text}")
        if state == "COMPLETED":
            c.equal(f"{name}: the run is that of an undisturbed one", losses(folder, name), (status, steps, wanted))

    wrong = cluster.submit("train.sbatch", str(folder / "missing.yaml"))
    state, code, restarts = cluster.wait(wrong, ENDED)
    c.equal("a file that is not there", (state, code, restarts), ("FAILED", "66:0", 0))
    c.that("missing.yaml" in cluster.log(wrong), "its log names the file")

    gone = cluster.submit("train.sbatch", experiment(folder, "gone", 100000))
    cluster.wait(gone, is_under_way("gone"))
    c.equal("scancel", cluster.call("scancel", gone).returncode, 0)
    state, code, restarts = cluster.wait(gone, ENDED)
    c.equal("a cancelled job stays cancelled", (state, restarts), ("CANCELLED", 0))


def sweep(c, cluster, folder):
    experiment(folder, "first", 5)
    experiment(folder, "second", 5)
    path = folder / "both.yaml"
    path.write_text("name: both\noutput: %s/both\nruns: [first.yaml, second.yaml]\nmatrix: {seed: [0, 1]}\n" % folder)
    job = cluster.submit("sweep.sbatch", str(path))
    state, code, restarts = cluster.wait(job, ENDED)
    if not c.equal("a sweep in one job", (state, code, restarts), ("COMPLETED", "0:0", 0)):
        print(cluster.log(job))

    # A job a run: the scripts as somebody would change them for this cluster.
    scripts = folder / "launch" / "slurm"
    scripts.mkdir(parents=True)
    shutil.copy(SCRIPTS / "job.sh", scripts)
    text = (SCRIPTS / "train.sbatch").read_text()
    for old, new in (("--ntasks-per-node=8", "--ntasks-per-node=2"), ("gpu:8", "gpu:2"), ("#SBATCH --exclusive\n", "")):
        c.that(old in text, f"train.sbatch has {old!r}")
        text = text.replace(old, new)
    (scripts / "train.sbatch").write_text(text)
    path.write_text(path.read_text().replace("/both\n", "/jobs\n"))
    done = cluster.call(BIN, "sweep", str(path), "--jobs", "slurm", timeout=120)
    c.equal("sweep --jobs slurm", done.returncode, 0)
    listed = cluster.call("squeue", "-h", "-o", "%i").stdout.split()
    c.that(len(listed) == 5, f"four runs and a report are submitted: {listed}")
    for job in listed:
        c.equal(f"job {job}", cluster.wait(job, ENDED)[:2], ("COMPLETED", "0:0"))
    c.that((folder / "jobs" / "report.html").exists(), "the last job makes the report: " + done.stderr)
    done = cluster.call(BIN, "sweep", str(path), "--jobs", "slurm", timeout=120)
    c.equal("a sweep that is completed submits no run", (done.returncode, done.stderr.count("is completed already")),
            (0, 4))


def main():
    missing = [name for name in DAEMONS + ("sbatch", "srun") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        print("skipped: " + (f"{', '.join(missing)} not installed (launch/setup.sh --slurm)" if missing
                             else "needs root to start slurmd"))
        return 77
    c = Checks()
    with tempfile.TemporaryDirectory(prefix="fineclip-slurm-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)  # munge wants its socket to be reachable
        cluster = Cluster(folder)
        try:
            cluster.start()
            jobs(c, cluster, folder)
            sweep(c, cluster, folder)
        finally:
            cluster.stop()
    return c.end()


if __name__ == "__main__":
    sys.exit(main())
