"""tests/skips.py lets a passing run and skipped tests of what a machine lacks through, and nothing else."""
import os
import sys

SOURCE = os.environ.get("FINECLIP_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "tests"))
sys.dont_write_bytecode = True
import skips  # noqa: E402

RUN = '<testcase name="op.a" status="run"/>'
FAILED = '<testcase name="op.b" status="fail"><failure message=""/></testcase>'
GPU = '<testcase name="parity.c" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>'
SLURM = '<testcase name="slurm.f" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>'
SKIPPED = '<testcase name="data.d" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>'
DISABLED = '<testcase name="data.e" status="disabled"/>'
LABELS = {"op.a": {"op"}, "op.b": {"op"}, "parity.c": {"parity", "gpu"}, "data.d": {"data"}, "data.e": {"data"},
          "slurm.f": {"slurm"}}
# cases of the run, what the complaints must contain
CASES = [
    (RUN, []),
    (RUN + GPU, []),
    (RUN + SLURM, []),
    (RUN + FAILED, []),  # ctest itself reports that one
    (RUN + SKIPPED, ["data.d"]),
    (RUN + DISABLED, ["data.e"]),
    (SKIPPED, ["data.d", "no test ran"]),
    (GPU, ["no test ran"]),
    ("", ["no test ran"]),
    (RUN + '<testcase name="new.one" status="notrun"/>', ["new.one"]),
]


def main():
    failed = 0
    for cases, want in CASES:
        got = skips.complaints(f"<testsuite>{cases}</testsuite>", LABELS)
        if len(got) != len(want) or not all(w in g for g, w in zip(got, want)):
            failed += 1
            print(f"{cases}: got {got}, want {want}")
    print(f"{len(CASES)} checks, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
