"""fctest: timeout=400
The whole program on a GPU; skipped where the build has no CUDA backend or the machine no device.
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cuda"))
sys.path.insert(0, os.path.dirname(HERE))
import device_runs as runs  # noqa: E402
import program  # noqa: E402

BIN = program.BIN


def missing():
    """Why there is nothing to test here; None: there is a device."""
    done = subprocess.run([BIN, "bench", os.path.join(HERE, "..", "cuda", "bench_tiny.yaml"), "device=cuda", "precision=fp32"],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    absent = done.returncode == 64 and ("no CUDA backend" in done.stderr or "no CUDA device" in done.stderr)
    return done.stderr.strip() if absent else None


def main():
    why = missing()
    if why is not None:
        print("skipped: " + why)
        return 77
    checks = program.Checks()
    runs.golden_fp32(checks, BIN, [(name, terms) for name in ("eva_tiny", "clip_tiny", "eva_tiny_text")
                                   for terms in runs.expected_of(name)["runs"]])
    runs.golden_extras(checks, BIN, ["train.recompute=blocks", "train.accumulate=2", "train.memory_budget=1GiB"])
    for name in ("eva_tiny_text", "clip_tiny"):
        runs.bf16(checks, BIN, name)
    runs.terms(checks, BIN)
    runs.sides(checks, BIN)
    runs.golden_extras(checks, BIN, ["run.staged_collectives=true", "run.staged_collectives=true train.shard_optimizer=true"], 2)
    runs.golden_extras(checks, BIN, ["run.staged_collectives=true"], 4)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
