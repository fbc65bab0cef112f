"""fctest: timeout=600
Wrong command lines, experiments, models, weights and stores: each is refused at once with its exit status and one headline
that names file, line and key, or dataset and index, and the way out; and no file is harmed.
"""
import json
import os
import shutil
import struct
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from refusals import DATA, NOINPUT, TINY, USAGE, Refusals, digest  # noqa: E402

RANKS = (0, 2, 4)


def test_command_line(t):
    good = t.experiment()
    t.refused("nothing", [], USAGE, ["--help"])
    t.refused("a verb", ["evall"], USAGE, ["evall", "did you mean eval?"], ranks=RANKS)
    t.refused("a flag", ["--dryrun", good], USAGE, ["--dryrun", "did you mean --dry-run?"])
    t.refused("a flag of a verb", ["eval", good, "--fast"], USAGE, ["--fast", "no such flag"])
    t.refused("two files", [good, good], USAGE, ["one file at a time"])
    t.refused("no file", ["eval"], USAGE, ["no file is named"])
    t.refused("inspect alone", ["inspect"], USAGE, ["inspect"])
    t.refused("prepare alone", ["prepare"], USAGE, ["recipe"])
    t.refused("an override of nothing", [good, "train.batchsize=3"], USAGE, ["command line", "train.batchsize", "batch_size"])
    t.refused("an override of another type", [good, "train.steps=many"], USAGE, ["command line", "train.steps", "many"])
    t.refused("an override below a number", [good, "seed.of=3"], USAGE, ["command line", "seed"])


def test_experiment(t):
    def text(name, body):
        return t.write(name, "output: %s\nmodel: {config: %s/model.yaml, init: random}\n%s" % (t.path("out"), TINY, body))

    store = "data: {train: %s/store.h5}\n" % TINY
    cases = [
        ("unknown key", store + "train:\n  batchsize: 3\n", USAGE, [":5", "batchsize", "batch_size"]),
        ("unknown section", store + "trian: {steps: 3}\n", USAGE, [":4", "trian", "train"]),
        ("wrong type", store + "seed: [1, 2]\n", USAGE, [":4", "seed"]),
        ("no number", store + "train:\n  steps: ten\n", USAGE, [":5", "train.steps", "ten"]),
        ("a fraction", store + "train: {batch_size: 2.5}\n", USAGE, [":4", "train.batch_size", "2.5"]),
        ("a mapping for a number", store + "seed: {a: 1}\n", USAGE, [":4", "seed"]),
        ("out of range", store + "train: {batch_size: 0}\n", USAGE, [":4", "train.batch_size"]),
        ("negative", store + "train: {optimizer: {lr: -1}}\n", USAGE, [":4", "train.optimizer.lr"]),
        ("not finite", store + "train: {optimizer: {lr: .nan}}\n", USAGE, [":4", "train.optimizer.lr"]),
        ("a choice", store + "device: gpu\n", USAGE, [":4", "device", "cuda"]),
        ("a set", store + "train: {compat: [dummy]}\n", USAGE, [":4", "compat", "dummy_region"]),
        ("syntax", store + "train: {steps: 3\nseed: 1\n", USAGE, [":"]),
        ("a tab", store + "train:\n\tsteps: 3\n", USAGE, [":5"]),
        ("twice", store + "seed: 1\nseed: 2\n", USAGE, [":5", "seed"]),
        ("unknown loss", store + "losses: {region_contrast: 1}\n", USAGE, [":4", "region_contrast", "region_contrastive"]),
        ("unknown option of a loss", store + "losses: {self_distillation: {weigth: 1}}\n", USAGE, [":4", "weigth", "weight"]),
        ("no losses", store + "losses: {global_contrastive: 0, region_contrastive: 0, self_distillation: 0}\n", USAGE,
         ["losses", "off"]),
        ("no store", "seed: 3\n", USAGE, ["data.train"]),
        ("all frozen", store + "model: {freeze: [image, text, logit_scale]}\n", USAGE, ["model"]),
        ("patch", store, USAGE, ["model.image_size", "60", "16"], "model.image_size=60"),
        ("accumulate", store, USAGE, ["train.accumulate"], "train.batch_size=2", "train.accumulate=3"),
        ("samples", store, USAGE, ["data.samples", "1000"], "data.samples=1000"),
        ("cuda", store, USAGE, ["device", "CUDA"], "device=cuda"),
        ("bf16", store, USAGE, ["precision", "bf16"], "precision=bf16"),
        ("base is gone", "base: gone.yaml\n" + store, NOINPUT, [":3", "base", "gone.yaml"]),
        ("base is a folder", "base: %s\n" % TINY + store, NOINPUT, [TINY]),
        ("model is gone", store, NOINPUT, ["model.config", "gone"], "model.config=gone"),
        ("model file is gone", store, NOINPUT, ["model.config", "gone.yaml"], "model.config=/nowhere/gone.yaml"),
        ("weights are gone", store, NOINPUT, ["model.init", "gone.safetensors"], "model.init=gone.safetensors"),
        ("weights are a folder without", store, NOINPUT, ["model.init", "folder", "epoch_N"], "model.init=" + TINY),
        ("store is gone", "data: {train: gone.h5}\n", NOINPUT, [":3", "data.train", "gone.h5"]),
        ("store is a folder", "data: {train: %s}\n" % TINY, NOINPUT, [":3", "data.train", "folder"]),
        ("store for evaluation is gone", store + "eval: {retrieval: gone.h5}\n", NOINPUT, [":4", "eval.retrieval", "gone.h5"]),
        ("batch", store, USAGE, ["train.batch_size", "8 images", "400"], "train.batch_size=400"),
        ("state is gone", store, NOINPUT, ["train.resume", "gone"], "train.resume=gone"),
    ]
    many = {"unknown key", "weights are gone", "samples", "syntax"}
    for label, body, want, says, *extra in cases:
        path = text("e.yaml", body)
        t.refused(label, [path] + extra, want, says + (["e.yaml"] if not extra else []), RANKS if label in many else (0,),
                  [path, TINY])
    t.refused("no such experiment", ["gone.yaml"], NOINPUT, ["gone.yaml"], RANKS)
    t.refused("an experiment that is a folder", [TINY], NOINPUT, [TINY])
    t.refused("an experiment of bytes", [os.path.join(TINY, "store.h5")], USAGE, ["store.h5"])
    t.refused("an empty experiment", [t.write("empty.yaml", "")], USAGE, ["empty.yaml"])
    t.refused("an experiment that is a list", [t.write("list.yaml", "- 1\n")], USAGE, ["list.yaml"])
    t.refused("a model's key", [t.experiment(), "model.config=" + t.write(
        "m.yaml", "embed_dim: 48\nvision_cfg: {kind: eva02, image_size: 64, patch: 16, width: 64, layers: 3}\n")], USAGE,
        ["m.yaml:2", "patch"])
    t.refused("nothing to evaluate", ["eval", t.experiment()], USAGE, ["eval", "box_classification", "retrieval"], RANKS)
    t.that(not os.path.exists(t.path("out")), "a refused experiment makes no output folder")


def write_weights(path, tensors):
    header, data = {}, b""
    for name, values in tensors.items():
        raw = np.ascontiguousarray(values, np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
    return path


def test_weights(t):
    from program import read_safetensors
    good = os.path.join(TINY, "init.safetensors")
    tensors = read_safetensors(good)
    names = sorted(tensors)
    wrong = dict(tensors)
    gone, other = "visual.blocks.0.norm1.weight", "visual.blocks.1.norm1.weight"
    t.that(gone in names and other in names, "names of the golden model: %s" % names)
    wrong.pop(gone)
    wrong[other] = np.zeros((3, 5))
    wrong["visual.blocks.9.surplus"] = np.zeros(4)
    spoilt = write_weights(t.path("wrong.safetensors"), wrong)
    t.refused("weights with three faults", [t.experiment(model__init=spoilt)], DATA,
              ["wrong.safetensors", "3 tensors", "missing " + gone, other + " is [3,5]", "unknown visual.blocks.9.surplus"], RANKS, [spoilt])
    clip = os.path.join(os.path.dirname(TINY), "clip_tiny", "init.safetensors")
    text = t.refused("weights of another model", [t.experiment(model__init=clip)], DATA, [clip, "model.config"], (0, 2))
    theirs = set(read_safetensors(clip)) - set(names)
    ours = {n for n in set(names) - set(read_safetensors(clip)) if ".rope." not in n}
    left_out = [n for n in sorted(theirs) if "unknown " + n not in text] + [n for n in sorted(ours) if "missing " + n not in text]
    t.that(len(theirs) > 50 and len(ours) > 50 and not left_out, "every name is told; not so %s" % left_out)
    raw = open(good, "rb").read()
    for label, data in [("cut", raw[:len(raw) // 2]), ("cut in the header", raw[:100]), ("empty", b""),
                        ("other bytes", b"\x89HDF" * 100), ("a huge header", struct.pack("<Q", 1 << 60) + raw[8:])]:
        with open(t.path("damaged.safetensors"), "wb") as f:
            f.write(data)
        t.refused("weights: " + label, [t.experiment(model__init=t.path("damaged.safetensors"))], DATA,
                  ["damaged.safetensors"], (0, 2) if label == "cut" else (0,))
        t.refused("inspect weights: " + label, ["inspect", t.path("damaged.safetensors")], DATA, ["damaged.safetensors"])


def set_value(path, index, value):
    def spoil(f):
        f[path][index] = value
    return spoil


def set_attr(name, value):
    def spoil(f):
        f.attrs[name] = value
    return spoil


def drop(*paths):
    def spoil(f):
        for path in paths:
            del f[path]
    return spoil


def test_store(t):
    cases = [
        ("version", set_attr("version", 7), DATA, ["version", "7"]),
        ("format", set_attr("format", "other"), DATA, ["format", "fineclip-store"]),
        ("incomplete", set_attr("complete", 0), DATA, ["complete"]),
        ("no pictures", drop("images"), DATA, ["/images"]),
        ("no heights", drop("images/height"), DATA, ["/images/height"]),
        ("offsets down", set_value("images/offsets", 2, 0), DATA, ["offset 2 goes down", "/images/offsets"]),
        ("offsets past the end", set_value("captions/offsets", -1, 1 << 40), DATA, ["past the end", "/captions/offsets"]),
        ("vocabulary", set_attr("vocab_size", 700), USAGE, ["700", "600", "data.train"]),
        ("no captions", drop("captions"), DATA, ["no captions", "losses.global_contrastive"]),
        ("token", set_value("captions/tokens", slice(None), 60000), DATA, ["60000", "/captions/tokens"]),
        ("token of a region", set_value("regions/tokens", slice(None), 60000), DATA, ["60000", "/regions/tokens"]),
        ("box outside", set_value("regions/boxes", 0, [0, 0, 9999, 20]), DATA, ["box 0", "9999", "/regions/boxes"]),
        ("box upside down", set_value("regions/boxes", 0, [20, 20, 4, 4]), DATA, ["box 0", "/regions/boxes"]),
        ("box of NaN", set_value("regions/boxes", 0, [np.nan, 0, 20, 20]), DATA, ["box 0", "/regions/boxes"]),
        ("category", set_value("regions/category", 0, 99), DATA, ["category 99", "/regions/category"]),
    ]
    losses = {"global_contrastive": 1, "self_distillation": 1, "region_contrastive": 1}
    for label, spoil, want, says in cases:
        store = t.store(spoil)
        many = label in ("offsets down", "vocabulary", "token", "box outside")
        path = t.experiment(data__train=store, losses=losses)
        t.refused("store: " + label, [path], want, says + [os.path.basename(store)], RANKS if many else (0,), [store])
        if want == DATA and label != "no captions":
            t.refused("inspect --check: " + label, ["inspect", "--check", store], DATA, [os.path.basename(store)],
                      unharmed=[store])
    drop_regions = t.store(drop("regions"))
    t.refused("no regions", [t.experiment(data__train=drop_regions, losses={"self_distillation": 1})], DATA,
              ["no regions", "losses.self_distillation"], (0, 2), [drop_regions])
    bare = t.store(drop("regions/tokens", "regions/offsets"))
    t.refused("no region captions", [t.experiment(data__train=bare, losses={"region_contrastive": 1})], DATA,
              ["no region captions", "losses.region_contrastive"], (0, 2), [bare])
    t.refused("no categories", [t.experiment(eval__box_classification=t.store(drop("categories", "regions/category")))], DATA,
              ["categor"], (0, 2))
    t.refused("nothing to retrieve", [t.experiment(eval__retrieval=t.store(drop("captions")))], DATA, ["caption"], (0, 2))
    good = t.store()
    raw = open(good, "rb").read()
    for label, data in [("cut", raw[:len(raw) // 2]), ("cut early", raw[:3000]), ("not HDF5", b"hello " * 1000), ("empty", b"")]:
        path = t.path("damaged.h5")
        with open(path, "wb") as f:
            f.write(data)
        t.refused("store: " + label, [t.experiment(data__train=path)], DATA, ["damaged.h5"], RANKS if label == "cut" else (0,),
                  [path])
        t.refused("inspect: " + label, ["inspect", path], DATA, ["damaged.h5"])
    results = t.path("results.h5")
    shutil.copyfile(good, results)
    t.refused("a store that is text", [t.experiment(data__train=t.experiment())], DATA, [".yaml"])
    t.refused("inspect nothing", ["inspect", t.path("gone.h5")], NOINPUT, ["gone.h5"])
    t.refused("inspect a folder", ["inspect", TINY], NOINPUT, [TINY])
    t.refused("weights for a store", [t.experiment(data__train=os.path.join(TINY, "init.safetensors"))], DATA, ["init.safetensors"])


def main():
    before = digest(TINY)
    with tempfile.TemporaryDirectory() as folder:
        t = Refusals(folder)
        t.works("the experiment that is spoilt", [t.experiment()])
        test_command_line(t)
        test_experiment(t)
        test_weights(t)
        test_store(t)
        t.equal("the golden files", digest(TINY), before)
    return t.end()


if __name__ == "__main__":
    sys.exit(main())
