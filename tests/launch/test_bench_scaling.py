"""fctest: timeout=120
`fineclip bench --ranks N`: what it says to mistakes, and the table beside what two ranks measure."""
import os
import re
import sys

SOURCE = os.environ.get("FINECLIP_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(SOURCE, "tests"))
import program

checks = program.Checks()
EXPERIMENT = os.path.join(SOURCE, "tests", "cuda", "bench_tiny.yaml")
MISTAKES = [
    ("--ranks 0", "--ranks 0: want a whole number from 1"),
    ("--ranks -2", "--ranks -2: want a whole number from 1"),
    ("--ranks many", "--ranks many: want a whole number from 1"),
    ("--ranks 8x", "--ranks 8x: want a whole number from 1"),
    ("--ranks 2.5", "--ranks 2.5: want a whole number from 1"),
    ("--ranks", "--ranks: want a value behind it"),
    ("--ranks 12", "--ranks 12: more than one host's 8 and no multiple of it; --ranks-per-host"),
    ("--ranks 12 --ranks-per-host 5", "more than one host's 5"),
    ("--ranks 12 --ranks-per-host 0", "--ranks-per-host 0: want a whole number from 1"),
    ("--ranks 8 --link -1e9", "--link -1e9: want bytes a second, a number above 0"),
    ("--ranks 8 --link 0", "--link 0: want bytes a second"),
    ("--ranks 8 --network nan", "--network nan: want bytes a second"),
    ("--ranks 8 --network 50GB/s", "--network 50GB/s: want bytes a second"),
    ("--ranks 8 --link-latency -1", "--link-latency -1: want seconds, a number of at least 0"),
    ("--ranks 8 --network-latency=soon", "--network-latency soon: want seconds"),
    ("--link 1e9", "--link goes with --ranks N"),
    ("--rank 8", "--rank: no such flag; did you mean --ranks?"),
    ("--ranks 8 train.shard_optimizer=true train.compat=[unsynced_gradients]", "train.shard_optimizer"),
]


def test_mistakes():
    for words, want in MISTAKES:
        status, out, err = program.run_program(["bench", EXPERIMENT] + words.split())
        checks.that(status == 64 and want in err and out == "", "%s: status %d, want 64 and %r: %s" % (words, status, want, err))


def test_two_ranks():
    """Links so slow that nothing hides them: what is predicted can be worked out from what is printed."""
    words = "device=cpu --ranks 6 --ranks-per-host 3 --link 1e6 --link-latency 0 --network 1e5 --network-latency=0"
    status, out, err = program.run_program(["bench", EXPERIMENT] + words.split(), ranks=2)
    if not checks.that(status == 0, "status %d: %s" % (status, err)):
        return
    check = dict(re.findall(r"^(sum of gradients|waited for gradients|step)\b.*?  ([\d.e+-]+  +[\d.e+-]+)$", out, re.M))
    checks.equal("measured beside predicted", sorted(check), ["step", "sum of gradients", "waited for gradients"])
    rows = [line.split() for line in out.split("predicted; ")[1].split("\n")[3:7]]
    checks.equal("ranks and hosts", [row[:2] for row in rows], [["1", "1"], ["2", "1"], ["3", "1"], ["6", "2"]])
    mib = float(re.search(r"of ([\d.e+]+) MiB in all", out).group(1)) * (1 << 20)
    for ranks, row, rate in zip((2, 3, 6), rows[1:], (1e6, 1e6, 3e5)):
        gradients = 2 * (ranks - 1) / ranks * mib / rate
        checks.near("gradients on %d" % ranks, float(row[5]), gradients, 2e-3 * gradients)
        # Pictures with captions and regions with theirs, 2 rows a rank each: both kinds' features (64) and log-sum-exps.
        features = 2 * 2 * (ranks - 1) * 2 * (64 + 1) * 4 / rate
        checks.near("features on %d" % ranks, float(row[4]), features, 2e-3 * features)
        whole = sum(float(row[i]) for i in (3, 4, 6, 7))
        checks.near("the parts of a step on %d" % ranks, float(row[2]), whole, 2e-3 * whole)
        checks.near("images/s on %d" % ranks, float(row[9]), 2 * ranks / float(row[2]), 2e-3 * float(row[9]))
        efficiency = 100 * float(rows[0][2]) / float(row[2])
        checks.near("efficiency on %d" % ranks, float(row[8]), efficiency, 0.06 + 2e-3 * efficiency)
    checks.near("the same for the ranks there are", float(check["sum of gradients"].split()[1]), float(rows[1][5]), 0)
    checks.that(re.search(r"that of --link \S+ --link-latency \S", out), "the link that was found: " + out)


test_mistakes()
test_two_ranks()
sys.exit(checks.end())
