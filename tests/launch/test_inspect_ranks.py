#!/usr/bin/env python3
"""inspect on ranks: the check finds the same on any number of them, what is shown is shown once; two stores compared.
fctest: timeout=120
"""
import os
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, os.path.join(os.environ.get("FINECLIP_SOURCE", "."), "tests"))
from program import Checks, run_program  # noqa: E402

RANKS = (0, 3)
checks = Checks()


def make(folder, name, images, seed):
    path = os.path.join(folder, name)
    recipe = os.path.join(folder, "recipe.yaml")
    with open(recipe, "w", encoding="ascii") as f:
        f.write("output: %s\nsource: synthetic\nsynthetic: {images: %d, seed: %d}\n" % (path, images, seed))
    status, _, errors = run_program(["prepare", recipe])
    checks.equal("prepare (%s)" % errors, status, 0)
    return path


def damage(path):
    """Something wrong of many kinds, more than are listed. Returns how many findings that makes."""
    with h5py.File(path, "r+") as f:
        boxes = f["/regions/boxes"]
        boxes[0:90, 0] = np.nan
        f["/captions/tokens"][int(f["/captions/offsets"][5]) + 1] = 60000
        f["/regions/category"][2] = 999
        data, offsets = f["/images/bytes"], f["/images/offsets"][:]
        for i in (3, 17, 40, *range(60, 75)):
            data[int(offsets[i])] = 0
        f["/images/hash"][7] = 0
        del f.attrs["tokenizer"]
    return 90 + 1 + 1 + 18 + 1 + 1


with tempfile.TemporaryDirectory() as folder:
    path = make(folder, "a.h5", 90, 1)
    other = make(folder, "b.h5", 60, 1)
    third = make(folder, "c.h5", 20, 2)

    status, output, errors = run_program(["inspect", path, "--check"], 2)
    checks.equal("whole: status (%s)" % errors, status, 0)
    checks.equal("whole: said once", output.count("checked: no findings"), 1)
    checks.equal("whole: shown once", output.count("pictures    90"), 1)

    status, output, _ = run_program(["inspect", path, other])
    checks.equal("overlap: status", status, 0)
    checks.that("60 of them (66.67 %) are in B" in output and "60 of them (100 %) are in A" in output, output)
    checks.equal("overlap: listed", len([line for line in output.splitlines() if line.split()[:1] and
                                         line.split()[0].isdigit()]), 60)
    status, output, _ = run_program(["inspect", path, third, "--check"])
    checks.equal("no overlap: status", status, 0)
    status, output, errors = run_program(["inspect", path, other, "--check"], 2)
    checks.equal("overlap, check: status", status, 65)
    checks.equal("overlap, check: one message (%s)" % errors, errors.count("share pictures"), 1)
    checks.equal("overlap, check: shown once", output.count("60 of them (100 %)"), 1)

    findings = damage(path)
    outputs = []
    for ranks in RANKS:
        status, output, errors = run_program(["inspect", path, "--check"], ranks)
        checks.equal("damaged, %d ranks: status" % ranks, status, 65)
        checks.that("%d findings" % findings in errors, "%d ranks: no '%d findings' in %s" % (ranks, findings, errors))
        checks.equal("damaged, %d ranks: one message" % ranks, errors.count("fineclip: error:"), 1)
        outputs.append(output)
    listed = [line for line in outputs[0].splitlines() if "a.h5:/" in line or "of " + path in line]
    checks.equal("listed", len(listed), 100)
    checks.that("and %d more" % (findings - 100) in outputs[0], outputs[0][-300:])
    for ranks, output in zip(RANKS[1:], outputs[1:]):
        checks.that(output == outputs[0], "%d ranks list the same:\n%s" % (ranks, output))

sys.exit(checks.end())
