"""tests/fault/README.md has one line for each test of a fault, and no other; the check finds what is missing or made up."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fault"))
import table  # noqa: E402


def main():
    names, text = table.cases(), table.readme()
    wrong = table.complaints(text, names)
    without = "".join(line for line in text.splitlines(True) if not line.startswith("| %s |" % names[0]))
    caught = [table.complaints(without, names) != wrong, table.complaints(text, names[1:]) != wrong,
              table.complaints(text.replace(table.END, "| %s | again |\n%s" % (names[0], table.END)), names) != wrong]
    for line in wrong:
        print("faults: " + line)
    print("%d tests of faults, %d complaints, %d of 3 made-up faults found" % (len(names), len(wrong), sum(caught)))
    return 0 if not wrong and all(caught) and len(names) > 20 else 1


if __name__ == "__main__":
    sys.exit(main())
