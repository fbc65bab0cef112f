#!/usr/bin/env python3
"""Fail when a test was skipped that needs neither a GPU nor Slurm, or when no test ran.

    tests/skips.py BUILD      after ctest --output-junit BUILD/tests.xml
"""
import json
import subprocess
import sys
import xml.etree.ElementTree


# Label: what a machine may lack.
MAY_BE_SKIPPED = {"gpu", "slurm"}


def labels_of(build):
    """{test name: set of labels}, as ctest knows them."""
    shown = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1"], check=True, stdout=subprocess.PIPE)
    labels = {}
    for test in json.loads(shown.stdout)["tests"]:
        values = [p["value"] for p in test.get("properties", []) if p["name"] == "LABELS"]
        labels[test["name"]] = set(values[0] if values else [])
    return labels


def complaints(junit, labels):
    """Lines saying what is wrong with a run; junit is the text of ctest's JUnit file."""
    ran = 0
    wrong = []
    for case in xml.etree.ElementTree.fromstring(junit).iter("testcase"):
        name = case.get("name")
        # ctest writes run, fail, disabled or notrun; only the first two were executed to their end.
        if case.get("status") in ("run", "fail") and case.find("skipped") is None:
            ran += 1
        elif not MAY_BE_SKIPPED & labels.get(name, set()):
            wrong.append(f"{name} was skipped; only tests labelled {' or '.join(sorted(MAY_BE_SKIPPED))} may be")
    if ran == 0:
        wrong.append("no test ran")
    return wrong


def main():
    build = sys.argv[1]
    try:
        with open(f"{build}/tests.xml", encoding="utf-8") as file:
            wrong = complaints(file.read(), labels_of(build))
    except FileNotFoundError:
        wrong = ["ctest left no tests.xml: no test ran"]
    for line in wrong:
        print(f"skips: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
