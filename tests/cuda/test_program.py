"""fctest: timeout=240
fctest: cases=golden,ways,bf16,ranks,terms,sides,choice,tuning
The whole program on an emulated device: device memory that the host may not touch, kernels as they are compiled for a GPU,
NCCL over MPI. What runs here ran on no GPU; tests/gpu does the same on one.
"""
import os
import re
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.dirname(HERE))
import device_runs as runs  # noqa: E402
import program  # noqa: E402

CUDA = os.environ.get("FINECLIP_EMULATED", "build/tests/fineclip_emulated")
PLAIN = program.BIN


def devices(count):
    os.environ["FINECLIP_EMULATED_DEVICES"] = str(count)


def golden(checks):
    runs.golden_fp32(checks, CUDA, [("eva_tiny", runs.ALL)])


def ways(checks):
    runs.ways(checks, CUDA, ["train.recompute=blocks", "train.accumulate=2", "train.memory_budget=1GiB"])
    same = [runs.run(checks, CUDA, "clip_tiny", "precision=fp32 device=" + device) for device in ("cuda", "cpu")]
    runs.same_runs(checks, "clip_tiny", "clip_tiny", same[0], same[1], 2e-4)


def bf16(checks):
    runs.bf16(checks, CUDA, "eva_tiny_text")


def ranks(checks):
    """Two ranks share a device and exchange through the host, or have one each and NCCL."""
    runs.ways(checks, CUDA, ["run.staged_collectives=true train.shard_optimizer=true"], 2)
    devices(2)
    runs.ways(checks, CUDA, ["", "train.shard_optimizer=true"], 2)
    two = runs.run(checks, CUDA, "eva_tiny_text", "device=cuda precision=bf16 train.shard_optimizer=true", 2)
    one = runs.run(checks, CUDA, "eva_tiny_text", "device=cuda precision=bf16")
    runs.close(checks, "bf16 on two ranks and one", two[0] and two[0]["loss"], one[0] and one[0]["loss"], 1e-2)


def fails(checks, words, status, text, ranks_=0, binary=CUDA, **environment):
    with runs.using(binary):
        got, _, err = program.run_program(["bench", os.path.join(HERE, "bench_tiny.yaml")] + words.split(), ranks_, environment=environment)
    checks.that(got == status and text in err, "%s: %d, want %d and %r: %s" % (words, got, status, text, err))


def tuning(checks):
    """Products are timed unless the run is deterministic, and kept where the environment says."""
    with tempfile.TemporaryDirectory() as top, runs.using(CUDA):
        own, users, home = (os.path.join(top, name) for name in ("own/deep", "users", "home"))
        for words, environment, said in [
                ("", {"FINECLIP_CACHE": own, "XDG_CACHE_HOME": users, "HOME": home}, "on in " + own),
                ("", {"FINECLIP_CACHE": "", "XDG_CACHE_HOME": users, "HOME": home}, f"on in {users}/fineclip"),
                ("", {"FINECLIP_CACHE": "", "XDG_CACHE_HOME": "", "HOME": home}, f"on in {home}/.cache/fineclip"),
                ("", {"FINECLIP_CACHE": "", "XDG_CACHE_HOME": "relative", "HOME": ""}, "on in nothing"),
                ("deterministic=true", {"FINECLIP_CACHE": os.path.join(top, "never")}, "off in nothing")]:
            call = [os.path.join(HERE, "bench_tiny.yaml"), "--dry-run", "device=cuda", "output=" + os.path.join(top, "runs")]
            status, _, err = program.run_program(call + words.split(), environment={"FINECLIP_EMULATED_TUNING": "1", **environment})
            checks.that(status == 0 and f"emulate: tuning {said}\n" in err, f"{words} {environment}: {status}, want {said!r}: {err}")
            folder = said.split()[-1]
            checks.that(folder == "nothing" or os.path.isdir(folder), folder + " was not made")
        checks.that(not os.path.exists(os.path.join(top, "never")), "a deterministic run made a folder for timed products")
        with open(os.path.join(top, "file"), "w", encoding="ascii"):
            pass
        status, _, err = program.run_program(call, environment={"FINECLIP_CACHE": os.path.join(top, "file", "below")})
        checks.that(status == 0, f"a cache that cannot be made: {status}: {err}")


def choice(checks):
    """auto takes the device; what cannot be had is said, and never replaced."""
    out = runs.bench(checks, CUDA, os.path.join(HERE, "bench_tiny.yaml"), [", bf16", "device: emulated device 0", "linear_fwd", "attention_bwd"])
    checks.that("share_of_gemm" in out, out)
    ratio = re.search(r"^peak_over_predicted: (\S+)", out, re.M)
    checks.near("peak of device memory over what was predicted", float(ratio.group(1)) if ratio else float("nan"), 1, 0.1)
    plans = []
    for here in ("1", "0"):
        with runs.using(CUDA), tempfile.TemporaryDirectory() as folder:
            dry = [os.path.join(HERE, "bench_tiny.yaml"), "--dry-run", "device=cuda", "output=" + folder]
            status, out, err = program.run_program(dry, environment={"FINECLIP_EMULATED_DEVICES": here})
        plans += re.findall(r"at most (\d+) MiB on", out)
        checks.that(status == 0 and ("none is here" in out) == (here == "0"), "a plan with %s devices: %s %s" % (here, out[-300:], err))
    checks.that(len(plans) == 2 and plans[0] == plans[1], "memory planned with a device and without: %s" % plans)
    fails(checks, "device=cuda", 64, "would share a CUDA device", 2)
    fails(checks, "device=cuda", 71, "libnccl.so.2", 2, FINECLIP_EMULATED_DEVICES="2", FINECLIP_EMULATED_NO_NCCL="1")
    fails(checks, "device=cuda", 64, "no CUDA device here", FINECLIP_EMULATED_DEVICES="0")
    fails(checks, "precision=bf16", 64, "bf16 needs a CUDA device", FINECLIP_EMULATED_DEVICES="0")
    fails(checks, "device=cpu precision=bf16", 64, "bf16")
    fails(checks, "device=cuda precision=fp64", 64, "fp64")


def main():
    devices(1)
    runs.small = True
    checks = program.Checks()
    {"golden": golden, "ways": ways, "bf16": bf16, "ranks": ranks, "terms": lambda c: runs.terms(c, CUDA),
     "sides": lambda c: runs.sides(c, CUDA), "choice": choice, "tuning": tuning}[sys.argv[1]](checks)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
