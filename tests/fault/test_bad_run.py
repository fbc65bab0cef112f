"""fctest: timeout=600
What goes wrong while a run goes on or goes on again: pictures that do not decode, losses that are not finite, damaged
states, output that cannot be written. And recipes of `prepare` that cannot be followed.
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import h5py

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from refusals import BIN, DATA, NOINPUT, RUNTIME, TINY, USAGE, Refusals, digest  # noqa: E402

RANKS = (0, 2, 4)
VOCABULARY = os.path.join(os.path.dirname(TINY), "prepare", "bpe_vocab_48895.txt.gz")


def shorten_last(count):
    """Picture 7, and 3 of the others, lose bytes: raw pictures of the wrong length do not decode."""
    def spoil(f):
        if count > 1:
            f["images/offsets"][4] = f["images/offsets"][4] - 3  # 3 is short, 4 long
        f["images/offsets"][-1] = f["images/offsets"][-1] - 3
    return spoil


def test_pictures(t):
    one, three = t.store(shorten_last(1)), t.store(shorten_last(3))
    for ranks in RANKS:
        said = t.works("one bad picture of 8, np %d" % ranks,
                       [t.experiment(data__train=one, train__steps=6, train__batch_size=4 // max(ranks, 1))], ranks)
        if ranks == 0:
            t.equal("warnings in " + said, said.count("a bad picture is left out"), 1)
            t.that("/images/bytes" in said or "image 7" in said, "the warning names it: " + said)
    for ranks in RANKS:
        path = t.experiment(data__train=three, train__steps=6, train__batch_size=4 // max(ranks, 1))
        t.refused("three bad pictures of 8", [path], DATA, ["did not decode", "1 in 1000", os.path.basename(three)], (ranks,), [three])
    t.refused("inspect finds them", ["inspect", "--check", three], DATA, ["4 findings"])  # one says that bytes are left over
    t.refused("a bad picture in an evaluation", ["eval", t.experiment(eval__retrieval=one)], DATA, [os.path.basename(one), "7"],
              (0, 2), [one])

    def no_picture(f):
        f["images/offsets"][1:] = 0
    t.refused("no picture at all", [t.experiment(data__train=t.store(no_picture))], DATA, ["/images"], (0, 2))


def test_one_rank(t):
    """Only the last rank meets it, in the second step, while the others wait for it."""
    def spoil(f):
        f["regions/boxes"][13] = [0, 0, 9999, 20]
    store = t.store(spoil)
    for ranks, size, last in ((2, 2, "1/2"), (4, 1, "3/4")):
        path = t.experiment(data__train=store, losses={"self_distillation": 1}, train__batch_size=size)
        t.refused("one rank alone", [path], DATA, ["rank " + last, "box 13", "9999", os.path.basename(store)], (ranks,), [store])


def nan_weights(path):
    raw = bytearray(open(os.path.join(TINY, "init.safetensors"), "rb").read())
    size = struct.unpack("<Q", raw[:8])[0]
    at = json.loads(raw[8:8 + size])["visual.head.weight"]["data_offsets"][0]
    raw[8 + size + at:8 + size + at + 4] = struct.pack("<f", float("nan"))
    with open(path, "wb") as f:
        f.write(raw)
    return path


def test_loss(t):
    losses = {"global_contrastive": 1, "self_distillation": 1}
    for ranks in RANKS:
        path = t.experiment(model__init=nan_weights(t.path("nan.safetensors")), losses=losses,
                            train__batch_size=4 // max(ranks, 1))
        t.refused("a loss that is not finite", [path], DATA,
                  ["step 1", "global_contrastive nan", "self_distillation nan", "not finite", "run.on_bad_loss"], (ranks,))
        with h5py.File(path[:-5] + "/results.h5", "r") as f:
            t.equal("status of results", str(f.attrs["status"]), "failed" if ranks == 0 else str(f.attrs["status"]))
    said = t.works("skip", [path, "run.on_bad_loss=skip", "train.batch_size=4", "train.resume=never"])
    t.equal("skipped steps", said.count("step skipped"), 3)


def states(output):
    folder = os.path.join(output, "checkpoints")
    return sorted(os.path.join(folder, n) for n in os.listdir(folder) if n.startswith("state_"))


def damage(path):
    raw = bytearray(open(path, "rb").read())
    raw[-40] ^= 1
    with open(path, "wb") as f:
        f.write(raw[:] if path.endswith("2.safetensors") else raw[:len(raw) // 2])


def test_resume(t):
    path = t.experiment(train__checkpoint={"every_steps": 1, "keep": 3, "every_epochs": 0})
    output = path[:-5]
    t.works("a run to go on with", [path])
    more = [path, "train.steps=4"]
    t.equal("states", len(states(output)), 3)
    t.refused("another batch", more + ["train.batch_size=2"], USAGE, ["global batch of 4", "has 2", "resume: never"],
              unharmed=[output])
    t.refused("ranks that do not divide the batch", more, USAGE, ["4 images a step", "3 ranks", "resume=never"], (3,), [output])
    t.refused("fewer steps", [path, "train.steps=2"], USAGE, ["step 3", "step 2"], unharmed=[output])
    damage(states(output)[-1])
    said = t.works("a damaged state", more)
    t.that("going back to the checkpoint before it" in said and "step 2 of 4" in said, "falls back: " + said)
    for state in states(output):
        damage(state)
    for ranks in (0, 2):
        extra = ["train.batch_size=%d" % (4 // max(ranks, 1))]
        t.refused("damaged states only", more + extra, DATA, ["checkpoints", "train.resume=never"], (ranks,),
                  [output + "/checkpoints", output + "/results.h5"])
    t.refused("evaluating damaged states", ["eval"] + more + ["eval.retrieval=" + TINY + "/store.h5"], DATA,
              ["checkpoints", "train.resume=never"], unharmed=[output + "/checkpoints"])
    t.refused("a damaged state by name", more + ["train.resume=" + states(output)[-1]], DATA, [states(output)[-1]],
              unharmed=[output + "/checkpoints", output + "/results.h5"])
    t.works("anew, as the message says", more + ["train.resume=never"])
    kept = [n for n in os.listdir(output + "/checkpoints") if n.startswith("abandoned")]
    t.that(len(kept) > 0, "damaged states are kept aside: %s" % kept)
    t.refused("a model for a state", more + ["train.resume=" + TINY + "/init.safetensors"], DATA, ["model.init"], unharmed=[output])
    clip = os.path.join(os.path.dirname(TINY), "clip_tiny")
    t.refused("a state of another model", more + ["model.config=" + clip + "/model.yaml", "model.init=random"], DATA,
              ["another model", "resume: never"], unharmed=[output])
    # Results are set aside where they cannot be added to; the run itself is whole.
    with open(output + "/results.h5", "wb") as f:
        f.write(b"no results")
    said = t.works("damaged results", more + ["train.steps=5"])
    t.that("warning" in said and "results.damaged.1.h5" in said, "says so: " + said)
    t.equal("damaged results are kept", open(output + "/results.damaged.1.h5", "rb").read(), b"no results")


def test_output(t):
    blocked = t.write("a_file", "mine")
    for ranks in (0, 2):
        for label, output in (("below a file", blocked + "/run"), ("a file", blocked)):
            t.refused("output " + label, [t.experiment(output=output)], RUNTIME, [blocked], (ranks,), [blocked])
            t.refused("eval, output " + label, ["eval", t.experiment(output=output, eval__retrieval=TINY + "/store.h5")],
                      RUNTIME, [blocked], (ranks,), [blocked])
    path = t.experiment(train__checkpoint={"every_steps": 1, "every_epochs": 0})
    t.works("a run to go on with", [path])
    before = digest(states(path[:-5])[-1])
    # A full disk: files may not grow beyond 400 KB, which results do not need and states do.
    command = "trap '' XFSZ; ulimit -f 400; exec \"$0\" \"$@\""
    done = subprocess.run(["bash", "-c", command, BIN, path, "train.steps=5"], capture_output=True, text=True, timeout=60)
    heads = [line for line in done.stderr.splitlines() if "fineclip: error:" in line]
    t.equal("full disk: exit status: " + done.stderr, done.returncode, RUNTIME)
    t.that(len(heads) == 1 and "checkpoints/state_" in heads[0], "full disk: one headline: " + done.stderr)
    t.equal("full disk: the state before", digest(states(path[:-5])[-1]), before)
    left = [n for n in os.listdir(path[:-5] + "/checkpoints") if not n.endswith((".safetensors", ".h5"))]
    t.equal("full disk: nothing half written is left", left, [])
    t.works("going on with room again", [path, "train.steps=5"])


def test_prepare(t):
    os.mkdir(t.path("pictures"))
    shutil.copy(os.path.join(os.path.dirname(TINY), "prepare", "grey.jpg"), t.path("pictures"))
    good = {"images": [{"id": 1, "file_name": "grey.jpg"}], "annotations": []}
    captions = t.write("captions.json", json.dumps(good))
    recipe = {"output": t.path("made/store.h5"), "source": "coco", "images": t.path("pictures"), "captions": captions,
              "vocabulary": VOCABULARY, "crops": "none", "prompts": "none"}
    path = t.write("recipe.yaml", json.dumps(recipe))
    t.works("the recipe that is spoilt", ["prepare", path])
    made = t.path("made")
    broken = t.write("broken.json", json.dumps(good)[:-9])
    listed = t.write("list.json", "[1, 2]")
    other = t.write("other.json", json.dumps({"images": [{"id": "one", "file_name": 3}], "annotations": []}))
    gone = t.write("gone.json", json.dumps({"images": [{"id": 1, "file_name": "gone.jpg"}], "annotations": []}))
    for label, override, want, says in (
            ("unknown key", "picture.qualty=3", USAGE, ["qualty", "quality"]),
            ("captions are gone", "captions=" + t.path("no.json"), NOINPUT, ["no.json"]),
            ("captions are a folder", "captions=" + made, NOINPUT, [made]),
            ("JSON cut short", "captions=" + broken, DATA, ["broken.json"]),
            ("JSON that is no mapping", "captions=" + listed, DATA, ["list.json"]),
            ("JSON without pictures", "captions=" + t.write("none.json", "{}"), DATA, ["none.json", "images"]),
            ("JSON of other types", "captions=" + other, DATA, ["other.json"]),
            ("a picture is gone", "captions=" + gone, NOINPUT, ["gone.jpg"]),
            ("pictures are gone", "images=" + t.path("nowhere"), NOINPUT, ["nowhere"]),
            ("pictures are a file", "images=" + captions, NOINPUT, ["captions.json"]),
            ("vocabulary is gone", "vocabulary=" + t.path("no.gz"), NOINPUT, ["no.gz"]),
            ("vocabulary is a folder", "vocabulary=" + made, NOINPUT, [made]),
            ("vocabulary is another file", "vocabulary=" + captions, DATA, ["captions.json"]),
            ("output below a file", "output=" + captions + "/store.h5", RUNTIME, ["captions.json"]),
            ("output is a folder", "output=" + made, RUNTIME, [made])):
        t.refused("prepare: " + label, ["prepare", path, override], want, says, unharmed=[made, captions, path])
    t.refused("prepare: a recipe that is a folder", ["prepare", made], NOINPUT, [made])
    t.refused("prepare: an experiment", ["prepare", t.experiment()], USAGE, ["run"])


def main():
    before = digest(TINY)
    with tempfile.TemporaryDirectory() as folder:
        t = Refusals(folder)
        test_pictures(t)
        test_one_rank(t)
        test_loss(t)
        test_resume(t)
        test_output(t)
        test_prepare(t)
        t.equal("the golden files", digest(TINY), before)
    return t.end()


if __name__ == "__main__":
    sys.exit(main())
