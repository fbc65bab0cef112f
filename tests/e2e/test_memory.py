"""fctest: timeout=240
`train.memory_budget`: what `--dry-run` says of memory is what `bench` measures; a run that keeps to a budget has the numbers of
one without to the last bit, on one rank and on two; and a budget too small is told apart with the smallest that would do. A plan
for a CUDA device needs none.
"""
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import Checks, run_program  # noqa: E402
from ragged import rows  # noqa: E402

EXPERIMENT = """
model: {config: tiny-eva02, init: random}
data: {train: {synthetic: {images: 64, seed: 1}}, max_boxes: 5, scenes: SCENES}
train:
  steps: 2
  batch_size: 24
  log_every: 1
  optimizer: {lr: 1.0e-3}
  schedule: {warmup_steps: 0}
eval: {every_epochs: 0, before_training: false, box_classification: {data: {synthetic: {images: 8, seed: 2}}}}
"""
BLOCKS = r"(?:(\d) of 3 of the picture tower)?,? ?(?:(\d) of 2 of the text tower)?$"
checks = Checks()


def program(arguments, ranks=0, want=0):
    status, out, err = run_program(arguments, ranks)
    checks.that(status == want, "%s: exit status %d, want %d: %s" % (arguments, status, want, err[-3000:]))
    return out, err


def number(pattern, lines):
    found = re.search(pattern, lines, re.M)
    return float(found.group(1)) if checks.that(found, "no %r in %s" % (pattern, lines[-3000:])) else float("nan")


def blocks_of(text):
    """(picture, text) blocks that run again, as a message says them."""
    said = re.search(r"run again:? +(.*)$", text, re.M)
    found = re.match(BLOCKS, said.group(1)) if said else None
    if not checks.that(said and (found or said.group(1) == "none"), "blocks in %s" % text[-500:]):
        return (0, 0)
    return tuple(int(one or 0) for one in found.groups()) if found and said.group(1) != "none" else (0, 0)


def measured(path, extra):
    """What bench predicts and measures of the same settings."""
    out, _ = program(["bench", path] + extra)
    checks.near("%s: peak over predicted" % extra, number(r"^peak_over_predicted: (\S+)", out), 1, 0.02)
    return number(r"^predicted_mib: (\S+)", out)


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "memory.yaml")
        with open(path, "w") as f:
            f.write(EXPERIMENT.replace("SCENES", os.path.join(folder, "scenes")))

        def planned(budget, ranks=0):
            out, _ = program([path, "--dry-run", "output=" + folder + "/dry"] + budget, ranks)
            return number(r"memory a rank +at most (\d+) MiB on cpu", out), blocks_of(out)

        def run(name, ranks, extra):
            output = os.path.join(folder, name)
            _, err = program([path, "output=" + output] + extra, ranks)
            return rows(output + "/results.h5"), err

        most, blocks = planned([])
        checks.equal("without a budget", blocks, (0, 0))
        _, err = program([path, "--dry-run", "output=" + folder + "/dry", "train.memory_budget=40MiB"], want=64)
        checks.that("memory.yaml" in err or "command line" in err, "names the place: " + err)
        least = number(r"train.memory_budget: 40 MiB is too little: .* takes (\d+) MiB", err)
        checks.that(least < most - 8, "all blocks again take %g of %g MiB" % (least, most))

        plain, err = run("plain", 0, [])
        checks.that("memory_budget" not in err, "no word of a budget: " + err)
        for name, budget, want in (("all", least + 1, (3, 2)), ("some", most - 4, None)):
            words = ["train.memory_budget=%dMiB" % budget]
            took, blocks = planned(words)
            checks.that(took <= budget, "%s: %g of %g MiB" % (name, took, budget))
            checks.that(blocks == want if want else (0, 0) < blocks < (3, 2), "%s: blocks %s" % (name, blocks))
            got, err = run(name, 0, words)
            checks.equal(name + ": told as planned", (number(r"at most (\d+) MiB a rank", err), blocks_of(err)), (took, blocks))
            for column in plain:
                checks.that(got[column].tobytes() == plain[column].tobytes(), "%s: %s is %s, want %s" % (
                    name, column, got[column], plain[column]))

        checks.equal("a budget with room", planned(["train.memory_budget=%dMiB" % (most + 1)]), (most, (0, 0)))

        half = ["train.batch_size=12"]
        two, _ = planned(half, 2)
        twice, _ = run("two", 2, half)
        again, err = run("two_budget", 2, half + ["train.memory_budget=%dMiB" % (two - 1)])
        checks.that(sum(blocks_of(err)) > 0, "two ranks run blocks again: " + err)
        for column in twice:
            checks.that(again[column].tobytes() == twice[column].tobytes(), "two ranks: %s" % column)

        large = ["device=cuda", "model.config=eva02-clip-b-16", "model.image_size=224", "data.max_boxes=4"]
        took = {}
        for precision in ("bf16", "fp32"):
            out, _ = program([path, "--dry-run", "output=" + folder + "/dry", "precision=" + precision] + large)
            took[precision] = number(r"at most \d+ MiB on (?:cuda|a CUDA device \(none is here\)): \d+ whatever the batch, (\d+) with", out)
        checks.near("a step in bf16 over one in fp32", took["bf16"] / took["fp32"], 0.5, 0.05)
        checks.that(took["bf16"] > 2000, "a step of ViT-B/16 takes %g MiB" % took["bf16"])

        _, err = program(["bench", path, "train.memory_budget=40MiB"], want=64)
        checks.that("is too little" in err, "bench with too little: " + err)
        checks.that(measured(path, ["train.memory_budget=%dMiB" % (most - 4)]) <= most - 4, "bench keeps to the budget")
        for words in ("20", "20Gb", "-1GiB", "0GiB", "nan GiB", "1e300GiB", "[1GiB]"):
            _, err = program([path, "--dry-run", "train.memory_budget=" + words], want=64)
            checks.that("want a size with its unit" in err, "%s: %s" % (words, err))
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
