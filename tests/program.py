"""What tests of the whole program share: running it on ranks, reading its files, checks that fail on NaN."""
import json
import os
import struct
import subprocess

import numpy as np

BIN = os.environ.get("FINECLIP_BIN", "build/fineclip")
MPIEXEC = os.environ.get("FINECLIP_MPIEXEC", "mpirun")


def run_program(arguments, ranks=0, timeout=120, environment=None, cwd=None):
    """Run fineclip (ranks 0: without mpirun). Returns exit status, stdout, stderr."""
    command = [BIN] + list(arguments)
    if ranks > 0:
        command = [MPIEXEC, "-np", str(ranks)] + command
    env = dict(os.environ)
    env.update(environment or {})
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env, cwd=cwd,
                          stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def read_safetensors(path, metadata=False):
    types = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "U8": np.uint8}
    with open(path, "rb") as f:
        length = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(length))
        data = f.read()
    meta = header.pop("__metadata__", {})
    tensors = {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        tensors[name] = np.frombuffer(data[begin:end], types[t["dtype"]]).reshape(t["shape"])
    return (tensors, meta) if metadata else tensors


class Checks:
    """Counts checks; a comparison passes only where the difference is at most the tolerance, so NaN fails."""

    def __init__(self):
        self.run = self.failed = 0

    def that(self, ok, text):
        self.run += 1
        if not ok:
            self.failed += 1
            print("check failed: " + text)
        return bool(ok)

    def equal(self, label, got, want):
        return self.that(got == want, "%s: %r, want %r" % (label, got, want))

    def near(self, label, got, want, tolerance):
        return self.that(abs(float(got) - float(want)) <= tolerance,
                         "%s: %.9g, want %.9g +- %.3g" % (label, got, want, tolerance))

    def end(self):
        print("%d checks, %d failed" % (self.run, self.failed))
        return 0 if self.run > 0 and self.failed == 0 else 1
