#!/usr/bin/env python3
"""House rules a machine can check. Prints FILE:LINE: RULE: WHAT and ends with 1 when there is any.

    tests/lint.py [ROOT]

A line that breaks a rule for a good reason says so beside it: `lint: allow` and the reason, in a comment on that line or
on the line above. clang-format runs only where version 14 is installed: other versions disagree with it.
"""
import os
import re
import shutil
import subprocess
import sys

FOLDERS = ["core", "models", "losses", "data", "launch", "experiments", "tests"]
C_FILES = (".c", ".h", ".cu", ".cuh")
TEXT_FILES = C_FILES + (".def", ".py", ".sh", ".yaml", ".yml", ".json", ".md", ".txt", ".cmake")
MAX_LINES = 600
README_LINES = 40

ENDS_PROCESS = re.compile(r"\b(exit|_exit|_Exit|quick_exit|abort|MPI_Abort)\s*\(")
RAW_MEMORY = re.compile(r"(?<![\w.>])(malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|strdup|strndup|free|cudaMalloc|cudaFree)\s*\(")
ASSERT_H = re.compile(r"#\s*include\s*<assert\.h>")
FAST_MATH = re.compile(r"-ffast-math|-Ofast|--use_fast_math")
UNOWNED = re.compile(r"\b(TODO|FIXME|XXX)\b(?!\([\w.-]+\))")  # lint: allow, the rule itself
LOSS = re.compile(r"^const fc_loss_def fc_loss_(\w+)", re.M)
ALLOWED = "lint: allow"


def tracked_files(root):
    """Paths below root that git knows or would add; every file where there is no git, generated folders left out."""
    try:
        top = subprocess.run(["git", "-C", root, "rev-parse", "--show-toplevel"], check=True, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.strip()
        if os.path.realpath(top) == os.path.realpath(root):
            listed = subprocess.run(["git", "-C", root, "ls-files", "-z", "-co", "--exclude-standard"], check=True,
                                    text=True, stdout=subprocess.PIPE).stdout
            return sorted(path for path in set(listed.split("\0")) if path and os.path.isfile(f"{root}/{path}"))
    except (OSError, subprocess.CalledProcessError):
        pass  # no git here, or not a checkout: take the folder as it is
    found = []
    for folder, inner, names in os.walk(root):
        if folder == root:
            inner[:] = [name for name in inner if not name.startswith(("build", ".git")) and name != "runs"]
        inner[:] = [name for name in inner if name != "__pycache__"]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(found)


def without_comments(text):
    """C source with comments and literals blanked, line breaks kept, so that words in them are not taken for code."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def check_text(path, text, report):
    for number, line in enumerate(text.split("\n"), 1):
        if not line.isascii():
            report(path, number, "ascii", "a character outside ASCII; write an escape")
        if UNOWNED.search(line):
            report(path, number, "todo", "an open end without an owner; write NAME in brackets behind it, or do it")
    if "CMakeLists.txt" in path or path.endswith((".cmake", "CMakePresets.json")):
        for number, line in enumerate(text.split("\n"), 1):
            if FAST_MATH.search(line):
                report(path, number, "fast-math", "breaks NaN checks and agreement between ranks")


def check_c(path, text, report):
    lines = text.count("\n")
    if lines > MAX_LINES:
        report(path, lines, "length", f"{lines} lines; at most {MAX_LINES}, one concept a file")
    for number, line in enumerate(without_comments(text).split("\n"), 1):
        # Tests are programs of their own; everywhere else one file ends the process and three own memory.
        if not path.startswith("tests/"):
            if path != "core/fatal.c" and ENDS_PROCESS.search(line):
                report(path, number, "exit", "only core/fatal.c ends the process; return a status")
            if path not in ("core/memory.c", "core/arena.c", "core/cuda/runtime.c") and RAW_MEMORY.search(line):
                report(path, number, "memory", "use core/memory.h")
        if ASSERT_H.search(line):
            report(path, number, "assert", "assert vanishes under NDEBUG; use FC_ASSERT")


def check_losses(texts, report):
    """A line without a file does not link; this finds the file without a line, which would never run."""
    for path, text in texts.items():
        for name in LOSS.findall(text):
            if f"FC_LOSS({name})" not in texts.get("losses/loss.def", "").split():
                report(path, 1, "unregistered", f"losses/loss.def has no line FC_LOSS({name})")


def check_folders(root, files, report):
    for folder in FOLDERS:
        readme = f"{folder}/README.md"
        if readme not in files:
            report(readme, 1, "readme", "every top folder says what lives here, how to add one, which tests then run")
            continue
        with open(f"{root}/{readme}", encoding="utf-8") as file:
            lines = len(file.readlines())
        if lines > README_LINES:
            report(readme, lines, "readme", f"{lines} lines, at most {README_LINES}")


def check_format(root, files, report):
    """Returns whether clang-format 14 was there to check with."""
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if tool is None or " 14." not in subprocess.run([tool, "--version"], text=True, stdout=subprocess.PIPE).stdout:
        return False
    sources = [path for path in files if path.endswith(C_FILES)]
    if sources and os.path.exists(f"{root}/.clang-format"):
        run = subprocess.run([tool, "--dry-run", "-Werror", *sources], cwd=root, text=True, stderr=subprocess.PIPE)
        seen = set()
        for path, number in re.findall(r"^(.+?):(\d+):\d+: error: code should be clang-formatted", run.stderr, re.M):
            if path not in seen:  # one line a file: the remedy is the same for all
                seen.add(path)
                report(path, int(number), "format", f"run clang-format -i {path}")
        if run.returncode != 0 and not seen:
            report(".clang-format", 1, "format", f"clang-format failed: {run.stderr.strip()[:200]}")
    return True


def lint(root):
    """All complaints about the tree at root, as sorted lines; the number of files looked at; whether layout was among the rules."""
    complaints = []
    files = tracked_files(root)
    texts = {}
    for path in files:
        if path.endswith(TEXT_FILES) and not path.startswith("tests/golden/"):
            with open(f"{root}/{path}", encoding="utf-8", errors="surrogateescape") as file:
                texts[path] = file.read()

    def report(path, number, rule, what):
        lines = texts.get(path, "").split("\n")
        if not any(ALLOWED in line for line in lines[max(0, number - 2):number]):
            complaints.append((path, number, rule, what))

    for path, text in texts.items():
        check_text(path, text, report)
        if path.endswith(C_FILES):
            check_c(path, text, report)
    check_losses(texts, report)
    check_folders(root, set(files), report)
    layout = check_format(root, files, report)
    return [f"{path}:{number}: {rule}: {what}" for path, number, rule, what in sorted(complaints)], len(texts), layout


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    complaints, files, layout = lint(root)
    for line in complaints:
        print(line)
    print(f"lint: {files} files, {len(complaints)} complaints{'' if layout else '; no clang-format 14 here, layout not checked'}")
    return 1 if complaints or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
