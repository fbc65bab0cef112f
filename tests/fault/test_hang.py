"""Ranks that do not get on: the watchdog ends the job, and names who hangs and what each rank did. And what only looks like it.
fctest: cases=step,data,collective,checkpoint,evaluation,all,stopped,stopped_first timeout=400
fctest: cases=long_evaluation,suspended,link
"""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from survival import MPIEXEC, REGIONS, RUNTIME, STEP, STEPS, Run, headlines, main, processes, rank_of, write_store  # noqa: E402

# Seconds; on a machine that is busy with other things a healthy step takes long, too.
TIMEOUT = max(3, round(2 * os.getloadavg()[0] / os.cpu_count()))
WATCHED = ("run.step_timeout=%d" % TIMEOUT,)
HUNG = "nothing gets on for"
SILENT = "no sign of life for"


def hang(done, fault, says, ranks=(0, 2, 4), step=STEP, **options):
    def case(s):
        if "extra" in options:
            options["extra"] = WATCHED + (options["extra"] % s.store,)
        s.endures("R:%d:%s" % (step, fault), RUNTIME, ["step %d: " % step] + says, ranks=ranks, limit=TIMEOUT,
                  **{"extra": WATCHED, **options})
        s.row(done, RUNTIME)
    return case


def stopped(rank):
    def case(s):
        """What a rank did last is as old as its last report; what the others do is known."""
        s.endures("R:%d:stop" % STEP, RUNTIME, [SILENT, "the process is stopped"], ranks=(2,) if rank else (4,), rank=rank,
                  limit=TIMEOUT, extra=WATCHED)
        s.row("SIGSTOP to %s" % ("the last rank" if rank else "rank 0, which watches the others"), RUNTIME)
    return case


def everybody(s):
    s.endures("*:%d:hang" % STEP, RUNTIME, ["step %d: " % STEP, HUNG, "in a step"], ranks=(4,), rank="*", limit=TIMEOUT, extra=WATCHED)
    s.row("all ranks sleep", RUNTIME)


def long_evaluation(s):
    """A rank evaluates for longer than the time limit, piece by piece, and the others wait for it: no hang."""
    write_store(s.store, regions=(TIMEOUT + 1) * REGIONS)
    extra = WATCHED + ("eval.retrieval=" + s.store, "eval.box_classification=" + s.store)
    for n in (0, 2):
        path = s.experiment()
        run = Run(s.arguments(path, n, extra), n, "%d:%d:slow@evaluation" % (max(n - 1, 0), STEPS))
        s.equal("np %d: status (%s)" % (n, run.text[-2000:]), run.end(), 0)
        s.equal("np %d: headlines in %s" % (n, run.text), headlines(run.text), [])
        s.that(run.seconds > TIMEOUT + 1, "np %d: took %.1f s, no longer than the limit" % (n, run.seconds))
        s.slowest = max(s.slowest, run.seconds)
    s.row("an evaluation that takes longer than `run.step_timeout`, on one rank", 0)


def suspended(s):
    """A whole job that is suspended for longer than the time limit goes on as if nothing had been."""
    for n in (0, 2):
        path = s.experiment()
        run = Run(s.arguments(path, n, WATCHED), n, "*:1:slow")
        s.that(run.await_line("train 2/"), "np %d: a second step" % n)
        pids = processes(path)
        s.equal("np %d: processes" % n, len(pids), max(n, 1))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(TIMEOUT + 2.5)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        s.equal("np %d: status (%s)" % (n, run.text[-2000:]), run.end(), 0)
        s.equal("np %d: headlines in %s" % (n, run.text), headlines(run.text), [])
        s.slowest = max(s.slowest, run.seconds)
        s.goes_on("np %d" % n, path, n, WATCHED)
    s.row("SIGSTOP to all ranks for longer than `run.step_timeout`, then SIGCONT", 0)


class Hosts:
    """Two hosts on one machine: network namespaces joined by a cable that can be cut."""

    def __init__(self, folder):
        self.names = ["fc%dh%d" % (os.getpid(), h) for h in (1, 2)]
        self.cable = ["fc%dv%d" % (os.getpid() % 100000, h) for h in (1, 2)]
        self.agent, self.hosts = os.path.join(folder, "on"), os.path.join(folder, "hosts")
        with open(self.hosts, "w") as f:
            f.write("127.0.0.1 localhost\n10.99.0.1 h1\n10.99.0.2 h2\n")
        with open(self.agent, "w") as f:  # in place of ssh
            f.write("#!/bin/sh\nh=${1##*.}; shift\nexec nsenter --net=/run/netns/%s$h unshare -u -m sh -c "
                    "\"hostname h$h; mount --bind %s /etc/hosts; $*\"\n" % (self.names[0][:-1], self.hosts))
        os.chmod(self.agent, 0o755)

    def ip(self, *words):
        done = subprocess.run(["ip"] + list(words), capture_output=True, text=True, check=False)
        return done.returncode == 0, done.stderr

    def up(self):
        (a, b), (va, vb) = self.names, self.cable
        steps = [("netns", "add", a), ("netns", "add", b), ("-n", a, "link", "set", "lo", "up"), ("-n", b, "link", "set", "lo", "up"),
                 ("link", "add", va, "netns", a, "type", "veth", "peer", "name", vb, "netns", b),
                 ("-n", a, "addr", "add", "10.99.0.1/24", "dev", va), ("-n", b, "addr", "add", "10.99.0.2/24", "dev", vb),
                 ("-n", a, "link", "set", va, "up"), ("-n", b, "link", "set", vb, "up")]
        for words in steps:
            ok, why = self.ip(*words)
            if not ok:
                return "ip %s: %s" % (" ".join(words), why.strip())
        for name in self.names:  # so that the launcher gives up in seconds what it has sent and nobody receives
            subprocess.run(["nsenter", "--net=/run/netns/" + name, "sh", "-c", "echo 4 > /proc/sys/net/ipv4/tcp_retries2"], check=False)
        return ""

    def cut(self):
        return self.ip("-n", self.names[1], "link", "set", self.cable[1], "down")[0]

    def down(self):
        for name in self.names:
            listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout.split()
            for pid in listed:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except OSError:
                    pass
            self.ip("netns", "del", name)


def launcher_of_two_hosts(hosts):
    # Open MPI's launcher finds a dead link only after minutes unless it is told to look; the ranks do not wait for it.
    settings = {"plm_rsh_agent": hosts.agent, "btl_tcp_if_include": "10.99.0.0/24", "oob_tcp_if_include": "10.99.0.0/24",
                "oob_tcp_keepalive_time": str(2 * TIMEOUT + 6), "oob_tcp_keepalive_intvl": "1", "oob_tcp_keepalive_probes": "3"}
    words = [hosts.agent, "10.99.0.1", MPIEXEC, "--allow-run-as-root"]
    for name, value in settings.items():
        words += ["--mca", name, value]
    return words + ["-x", "FINECLIP_FAULT", "--host", "10.99.0.1:2,10.99.0.2:2", "-np", "4"]


def link(s):
    """The link between two hosts with two ranks each goes down. Where a machine does not allow namespaces, the ranks of the
    second host are stopped instead, which the others cannot tell from it."""
    hosts = Hosts(s.folder)
    path = s.experiment()
    try:
        why = hosts.up()
        if why:
            print("no two hosts here (%s): ranks are stopped instead" % why)
        run = Run(s.arguments(path, 4, WATCHED), 4, "*:1:slow", launcher=None if why else launcher_of_two_hosts(hosts))
        s.that(run.await_line("train 2/"), "a second step: " + run.text[-2000:])
        far = [pid for pid in processes(path) if rank_of(pid) >= 2]
        s.equal("ranks on the second host", len(far), 2)
        if why:
            for pid in far:
                os.kill(pid, signal.SIGSTOP)
        else:
            s.that(hosts.cut(), "the link goes down")
        begun = time.monotonic()
        while processes(path) and time.monotonic() - begun < 60:
            time.sleep(0.1)
        s.that(time.monotonic() - begun <= TIMEOUT + 10, "all ranks are gone after %.1f s" % (time.monotonic() - begun))
        said = s.ended("link", run, RUNTIME, [SILENT, "the link to it is down"], begun + TIMEOUT, within=2 * TIMEOUT + 24)  # the launcher, that is
        s.that("rank 2/4" in said or "rank 3/4" in said, "a rank of the second host is named, whichever fell silent first: " + said[-2000:])
    finally:
        hosts.down()
    s.goes_on("link", path, 4, WATCHED)
    s.row("the link between two hosts (two ranks each) goes down", RUNTIME)


CASES = {
    "step": hang("a rank sleeps", "hang", [HUNG, "in a step"], ranks=(0, 4)),
    "data": hang("a rank stops reading data", "hang@loader", [HUNG, "in loading data"], ranks=(0, 2)),
    "collective": hang("a rank does not join a collective", "hang@collective", [HUNG, "in losses"], ranks=(4,)),
    "checkpoint": hang("writing a state hangs", "hang@checkpoint", [HUNG, "in checkpoint"], rank=0, ranks=(2,)),
    "evaluation": hang("an evaluation hangs", "hang@evaluation", [HUNG, "in evaluation"], step=STEPS, ranks=(2,),
                       extra="eval.retrieval=%s"),
    "all": everybody,
    "stopped": stopped(-1),
    "stopped_first": stopped(0),
    "long_evaluation": long_evaluation,
    "suspended": suspended,
    "link": link,
}

if __name__ == "__main__":
    sys.exit(main("hang", CASES))
