"""The tree obeys the house rules, and each rule does reject a file that breaks it.  fctest: timeout=120"""
import os
import shutil
import sys
import tempfile

SOURCE = os.environ.get("FINECLIP_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "tests"))
sys.dont_write_bytecode = True
import lint  # noqa: E402

# The open-end marker in pieces, so that this file passes its own rule.
OPEN_END = "TO" + "DO"
# rule, file, content, line of the complaint or None where there must be none
CASES = [
    ("exit", "core/a.c", "void f(void)\n{\n    exit(1);\n}\n", 3),
    ("exit", "core/a.c", "void f(void)\n{\n    MPI_Abort (c, 1);\n}\n", 3),
    ("exit", "core/fatal.c", "void f(void)\n{\n    abort();\n}\n", None),
    ("exit", "core/a.c", "/* calls exit(1) */ void atexit(void); // abort()\nchar *s = \"exit(\";\n", None),
    ("exit", "tests/op/test_a.c", "int main(void)\n{\n    exit(1);\n}\n", None),
    ("memory", "data/a.c", "void *f(void)\n{\n    return malloc(3);\n}\n", 3),
    ("memory", "data/a.c", "void f(void *p)\n{\n    free(p);\n}\n", 3),
    ("memory", "data/a.c", "void f(void *p)\n{\n    free(p); /* lint: allow, the library allocated it */\n}\n", None),
    ("memory", "data/a.c", "void f(void *p)\n{\n    /* lint: allow, the library allocated it */\n    free(p);\n}\n", None),
    ("memory", "data/a.c", "void f(void *p)\n{\n    fc_free(p);\n    p->free(p);\n    yajl_tree_free(p);\n}\n", None),
    ("memory", "core/memory.c", "void *f(void)\n{\n    return malloc(3);\n}\n", None),
    ("assert", "core/a.h", "#include <assert.h>\n", 1),
    ("length", "core/a.c", "int x;\n" * 601, 601),
    ("length", "core/a.c", "int x;\n" * 600, None),
    ("ascii", "core/a.c", "/* \u00e9 */\n", 1),
    ("ascii", "experiments/a.yaml", "name: a\nnote: \u00e9\n", 2),
    ("ascii", "tests/golden/a.json", "\"\u00e9\"\n", None),
    ("todo", "launch/a.sh", f"# {OPEN_END}: later\n", 1),
    ("todo", "launch/a.sh", f"# {OPEN_END}(ann): later\n", None),
    ("fast-math", "CMakeLists.txt", "add_compile_options(-ffast-math)\n", 1),
    ("unregistered", "losses/a.c", "const fc_loss_def fc_loss_a = {0};\n", 1),
    ("readme", "losses/README.md", None, 1),
    ("readme", "losses/README.md", "line\n" * 41, 41),
    ("readme", "losses/README.md", "line\n" * 40, None),
]


def complaints_of(path, content):
    """Lint of a tiny tree that is clean but for one file; content None leaves that file out."""
    root = tempfile.mkdtemp(prefix="fineclip-lint-")
    try:
        files = {f"{folder}/README.md": "words\n" for folder in lint.FOLDERS}
        files[path] = content
        for name, text in files.items():
            if text is not None:
                os.makedirs(os.path.dirname(f"{root}/{name}") or root, exist_ok=True)
                with open(f"{root}/{name}", "w", encoding="utf-8") as file:
                    file.write(text)
        return lint.lint(root)[0]
    finally:
        shutil.rmtree(root)


def main():
    failed = 0
    for rule, path, content, line in CASES:
        got = complaints_of(path, content)
        want = [] if line is None else [f"{path}:{line}: {rule}:"]
        if len(got) != len(want) or not all(g.startswith(w) for g, w in zip(got, want)):
            failed += 1
            print(f"rule {rule} on {path} {content!r:.60}: got {got}, want {want or 'no complaint'}")
    tree, files, _ = lint.lint(SOURCE)
    for complaint in tree:
        print(complaint)
    if files < 50:
        failed += 1
        print(f"only {files} files found in {SOURCE}")
    print(f"{len(CASES)} rule checks, {failed} failed; {files} files, {len(tree)} complaints")
    return 1 if failed or tree else 0


if __name__ == "__main__":
    sys.exit(main())
