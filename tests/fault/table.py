#!/usr/bin/env python3
"""Writes the table of tests/fault/README.md from what the tests measure, or checks that it names every case and no other.

    tests/fault/table.py BUILD [TESTS]   runs the tests of faults there (those that match, as ctest -R), writes their lines
    tests/fault/table.py                 only checks; status 1 and a line for each complaint (as meta.fault_table does)
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
README = os.path.join(HERE, "README.md")
BEGIN, END = "<!-- faults: written by table.py -->\n", "<!-- /faults -->\n"
HEAD = "| test | what was done | status | message | seconds | what going on lost |\n| --- | --- | --- | --- | --- | --- |\n"


def cases():
    """Names of the ctests that print a row: fault.FILE.CASE, and fault.FILE of files with a row and no cases."""
    names = []
    for name in sorted(os.listdir(HERE)):
        found = re.fullmatch(r"test_(\w+)\.py", name)
        if not found:
            continue
        with open(os.path.join(HERE, name), encoding="utf-8") as file:
            text = file.read()
        listed = [case for line in re.findall(r"fctest:.*", text) for words in re.findall(r"cases=([a-z0-9_,]+)", line)
                  for case in words.split(",") if case]
        names += ["fault.%s.%s" % (found.group(1), case) for case in listed]
        if not listed and re.search(r"print\(.row: ", text):
            names.append("fault." + found.group(1))
    return names


def named_rows(text):
    """{name: line} of a table's lines, and of lines behind "row:"."""
    return {name: line for line, name in re.findall(r"(?:^|row: )(\| (fault\.\S+) \|.*\|)$", text, re.M)}


def parts(text):
    """What is before, within and behind the table's marks."""
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return text[:begin], text[begin:end], text[end:]


def complaints(text, names):
    rows = re.findall(r"^\| (fault\.\S+) \|", parts(text)[1], re.M)
    wrong = ["%s is in the table and no test" % name for name in rows if name not in names]
    wrong += ["%s is a test and not in the table: run tests/fault/table.py BUILD" % name for name in names if name not in rows]
    return wrong + ["%s is in the table twice" % name for name in sorted(set(rows)) if rows.count(name) > 1]


def readme():
    with open(README, encoding="utf-8") as file:
        return file.read()


def write(build, only):
    command = ["ctest", "--test-dir", build, "-V", "-j2", "-L", "^fault$"] + (["-R", only] if only else [])
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    before, old, after = parts(readme())
    rows = {**named_rows(old), **named_rows(run.stdout)}
    with open(README, "w", encoding="utf-8") as file:
        file.write(before + HEAD + "".join(rows[name] + "\n" for name in cases() if name in rows) + after)
    return run.returncode


def main():
    status = write(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "") if len(sys.argv) > 1 else 0
    wrong = complaints(readme(), cases())
    for line in wrong:
        print("faults: " + line)
    return 1 if wrong or status != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
