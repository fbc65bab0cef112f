"""fctest: timeout=200
`fineclip features` against the published program's features (tests/golden), read with h5py: every kind, raw and of unit length,
half precision, the same file on any number of ranks, and what goes wrong.
"""
import os
import shutil
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import Checks, read_safetensors, run_program  # noqa: E402

GOLDEN = os.path.join(os.environ["FINECLIP_SOURCE"], "tests", "golden")
ALL = "kinds=global,dense,box,crop,text"
checks = Checks()


def features(folder, experiment, *keys, ranks=0, want=0, file="features.h5"):
    path = os.path.join(folder, file)
    status, out, err = run_program(["features", experiment, "store=" + os.path.join(folder, "store.h5"), "file=" + path]
                                   + list(keys), ranks)
    checks.that(status == want, "features %s: exit status %d, want %d: %s" % (keys, status, want, err[-2000:]))
    return path, err


def arrays(path):
    found = {}
    with h5py.File(path, "r") as f:
        f.visititems(lambda n, o: found.update({n: o[...]}) if isinstance(o, h5py.Dataset) else None)
    return found


def close(label, got, want, tolerance):
    checks.that(got is not None and got.shape == want.shape, "%s: shape %s, want %s" % (label, None if got is None else got.shape, want.shape))
    if got is not None and got.shape == want.shape:
        checks.near(label, np.max(np.abs(got.astype(np.float64) - want)), 0, tolerance)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_golden(folder, experiment, name):
    golden = {k: v.astype(np.float64) for k, v in read_safetensors(os.path.join(GOLDEN, name, "features.safetensors")).items()}
    same = {"images/dense": golden["dense_features"], "regions/crop": golden["crop_features"],
            "regions/box": golden["roi_features"], "regions/text": golden["region_text_features"],
            "categories/text": golden["class_embeddings"]}
    for precision, tolerance in (("fp32", 1e-5), ("fp64", 2e-6)):
        path, _ = features(folder, experiment, ALL, "precision=" + precision)
        found = arrays(path)
        first = found["captions/image_offsets"][:-1]
        for dataset, want in same.items():
            close("%s %s %s" % (name, precision, dataset), found.get(dataset), want, tolerance)
        close(name + " pictures", found["images/global"], unit(golden["image_features"]), tolerance)
        close(name + " captions", found["captions/text"][first], unit(golden["text_features"]), tolerance)

    path, _ = features(folder, experiment, ALL, "normalize=false")
    raw = arrays(path)
    close(name + " raw pictures", raw["images/global"], golden["image_features"], 1e-5)
    close(name + " raw captions", raw["captions/text"][first], golden["text_features"], 1e-5)
    close(name + " dense stay of unit length", raw["images/dense"], golden["dense_features"], 1e-5)
    close(name + " boxes as pooled", unit(raw["regions/box"]), golden["roi_features"], 1e-5)
    checks.that(np.all(np.linalg.norm(raw["regions/box"], axis=1) < 1), "pooled boxes are shorter than 1")
    with h5py.File(path, "r") as f:
        checks.equal("normalized", [int(f[d].attrs["normalized"]) for d in ("images/global", "images/dense", "regions/box",
                                                                            "captions/text", "categories/text")], [0, 1, 0, 0, 1])


def test_file(folder, experiment):
    """Attributes, what the store says, half precision, other ranks, a choice of kinds."""
    path, _ = features(folder, experiment, ALL)
    one = arrays(path)
    with h5py.File(path, "r") as f, h5py.File(os.path.join(folder, "store.h5"), "r") as store:
        a = dict(f.attrs)
        checks.equal("attributes", [a["format"], int(a["version"]), a["resize"], a["dtype"], int(a["embed_dim"]), int(a["image_size"])],
                     ["fineclip-features", 1, "squash", "f32", f["images/global"].shape[1], 64])
        checks.that(a["weights"].endswith("init.safetensors") and len(a["weights_crc32"]) == 8 and "eva_tiny" in a["config"],
                    "where the weights are from: %s" % a)
        for n in ("captions/image_offsets", "regions/image_offsets", "regions/boxes", "images/id"):
            checks.that(np.array_equal(f[n][...], store[n][...]), n)
    for ranks in (2, 3):
        path, _ = features(folder, experiment, ALL, ranks=ranks)
        other = arrays(path)
        checks.equal("datasets on %d ranks" % ranks, sorted(other), sorted(one))
        for n in one:
            checks.that(np.array_equal(other[n], one[n]), "%s is the same on %d ranks" % (n, ranks))
    path, _ = features(folder, experiment, ALL, "dtype=f16")
    half = arrays(path)
    checks.equal("half precision", half["images/dense"].dtype, np.float16)
    close("half precision", half["images/dense"], one["images/dense"], 2 ** -11)
    checks.that(np.array_equal(half["images/dense"], one["images/dense"].astype(np.float16)), "rounded as numpy does")
    path, _ = features(folder, experiment, "kinds=box")
    checks.equal("box alone", sorted(n for n, v in arrays(path).items() if v.ndim > 1 and "boxes" not in n), ["regions/box"])


def test_refused(folder, experiment):
    for keys, status, text in ((["kinds=global,boxes"], 64, "global | dense | box | crop | text"),
                               (["dtype=f64"], 64, "f32 | f16"), (["normalise=true"], 64, "did you mean normalize?"),
                               (["resize=center_crop"], 64, "center_crop"), (["image_size=50"], 64, "multiple of the patch"),
                               (["train.resume=" + folder + "/none.safetensors"], 66, "none.safetensors")):
        path, err = features(folder, experiment, *keys, want=status, file="refused.h5")
        checks.that(text in err, "%s: %s" % (keys, err))
        checks.that(not os.path.exists(path) and not os.path.exists(path + ".partial"), "%s leaves nothing behind" % keys)
    with h5py.File(os.path.join(folder, "store.h5"), "r+") as f:
        f["regions/boxes"][1] = [5, 5, 5000, 9]
    path, err = features(folder, experiment, want=65, ranks=2, file="refused.h5")
    checks.that("store.h5:/regions/boxes" in err and err.count("fineclip: error") == 1, "a box outside: " + err)
    checks.that(not os.path.exists(path) and not os.path.exists(path + ".partial"), "a damaged store leaves nothing behind")


def main():
    for name in ("eva_tiny", "clip_tiny"):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(os.path.join(GOLDEN, name, "store.h5"), folder)
            experiment = os.path.join(folder, "golden.yaml")
            with open(experiment, "w") as f:
                f.write("model: {config: %s, init: %s}\noutput: %s/run\n" % (
                    os.path.join(GOLDEN, name, "model.yaml"), os.path.join(GOLDEN, name, "init.safetensors"), folder))
            test_golden(folder, experiment, name)
            if name == "eva_tiny":
                test_file(folder, experiment)
                test_refused(folder, experiment)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
