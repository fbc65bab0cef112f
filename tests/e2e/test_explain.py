"""fctest: timeout=300
`fineclip explain`: what it writes, checked against features of the same model and against itself; its table of localisation
on any number of ranks; and what it refuses. The model is at its random start: that maps are right is tests/models/test_relevance.c,
that a trained model's point at things is in the README.
"""
import os
import struct
import sys
import tempfile

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import Checks, run_program  # noqa: E402

EXPERIMENT = "experiments/quickstart.yaml"
SOURCE = os.environ["FINECLIP_SOURCE"]
TEXT = "a red star above a blue ring"
checks = Checks()


class Run:
    def __init__(self, folder):
        self.folder = folder
        self.base = [os.path.join(SOURCE, EXPERIMENT), "output=" + os.path.join(folder, "run"), "train.resume=never",
                     "eval.retrieval=null", "eval.box_classification={data: {synthetic: {images: 7, seed: 2, unseen: true}}}"]

    def __call__(self, verb, *keys, ranks=0, want=0):
        status, out, err = run_program([verb] + self.base + list(keys), ranks)
        checks.that(status == want, "%s %s: exit status %d, want %d: %s" % (verb, keys, status, want, err[-2000:]))
        return out, err

    def maps(self, *keys, folder="maps"):
        out, _ = self("explain", "folder=" + os.path.join(self.folder, folder), *keys)
        path = os.path.join(self.folder, folder, "maps.h5")
        with h5py.File(path, "r") as f:
            pages = []
            for i in range(int(f.attrs["pictures"])):
                page = {n: d[...] for n, d in f[str(i)].items()}
                for n in ("text", "kind", "token_text"):
                    page[n] = [t.decode() for t in page[n]]
                pages.append((page, dict(f[str(i)].attrs)))
            return out, dict(f.attrs), pages


def png_size(path):
    with open(path, "rb") as f:
        head = f.read(24)
    checks.that(head[:8] == b"\x89PNG\r\n\x1a\n", path + " is a PNG")
    return struct.unpack(">II", head[16:24])


def test_store_picture(run, store):
    """A store's picture with its own caption and words; similarities are those of `features`."""
    features = os.path.join(run.folder, "features.h5")
    run("features", "store=eval", "kinds=global,dense,text", "file=" + features)
    out, attrs, pages = run.maps("image=eval:3")
    page, about = pages[0]
    with h5py.File(features, "r") as f, h5py.File(store, "r") as s:
        caption = int(s["captions/image_offsets"][3])
        text = f["captions/text"][caption]
        checks.equal("the caption is the text", page["text"][0], s["captions/text"][caption].decode())
        checks.near("similarity", page["similarity"][0], f["images/global"][3] @ text, 1e-5)
        dense = f["images/dense"][3] @ text
        checks.near("dense similarity", np.max(np.abs(page["dense_similarity"][0].ravel() - dense)), 0, 1e-5)
        checks.equal("weights", [attrs["weights"], attrs["weights_crc32"]], [f.attrs["weights"], f.attrs["weights_crc32"]])
    checks.equal("format", [attrs["format"], int(attrs["version"]), attrs["layers"], attrs["phrase_as"], int(attrs["grid"])],
                 ["fineclip-maps", 1, "last", "text", 8])
    checks.equal("picture", [page["picture"].shape, about["source"]], [(96, 96, 3), "eval:3"])
    kinds = page["kind"]
    checks.that(kinds[0] == "sentence" and len(kinds) > 2 and set(kinds[1:]) == {"phrase"}, "own words: %s" % page["text"])
    checks.that(all(w in page["text"][0] and w not in ("a", "the", "of") for w in page["text"][1:]), "words: %s" % page["text"])
    checks.that(page["text"][0] in out and "%.3f" % page["similarity"][0] in out, "the table: " + out)
    test_maps(page)

    folder = os.path.join(run.folder, "maps")
    checks.equal("an overlay's size", png_size(os.path.join(folder, "0-01-relevance-%s.png" % page["text"][1])), (448, 448))
    width, height = png_size(os.path.join(folder, "sheet.png"))
    checks.that(width >= 720 and height > 400, "the sheet is %d x %d" % (width, height))
    checks.equal("a file a map", len(os.listdir(folder)), 2 * len(kinds) + 2)


def test_maps(page):
    relevance, dense, tokens = page["relevance"], page["dense_similarity"], page["token_relevance"]
    count = len(page["text"])
    checks.equal("shapes", [relevance.shape, dense.shape], [(count, 8, 8)] * 2)
    checks.that(np.all(relevance >= 0) and np.all(relevance.max((1, 2)) > 0), "relevance is not negative, and not 0 everywhere")
    checks.that(np.all(np.abs(dense) <= 1 + 1e-6) and np.all(np.abs(page["similarity"]) <= 1 + 1e-6), "cosines")
    for i in range(count):
        row = slice(page["token_offsets"][i], page["token_offsets"][i + 1])
        shown = page["token_text"][row]
        checks.equal("tokens of %r" % page["text"][i], " ".join(shown[1:-1]), page["text"][i].replace(",", " ,"))
        checks.near("relevance of tokens adds up", tokens[row].sum(), 1, 1e-9)
        checks.that(tokens[row][0] == 0 and tokens[row][-1] == 0 and np.all(tokens[row] >= 0), "start and end count for nothing")


def test_files(run):
    """Picture files, texts before and behind them, the two ways to take a phrase, more blocks."""
    picture = os.path.join(run.folder, "maps", "0-00-relevance-x.png")
    for name in sorted(os.listdir(os.path.dirname(picture))):
        if name.startswith("0-00-relevance"):
            picture = os.path.join(os.path.dirname(picture), name)
    ask = ["text=" + TEXT, "phrase=red star", "image=" + picture, "image=" + picture, "text=a green heart", "phrase="]
    _, _, pages = run.maps(*ask, folder="last")
    texts = [page["text"] for page, _ in pages]
    checks.equal("texts", texts, [[TEXT, "red star"], [TEXT, "red star", "a green heart"]])
    checks.equal("sentences", [list(page["sentence"]) for page, _ in pages], [[-1, 0], [-1, 0, -1]])
    checks.that(np.allclose(pages[0][0]["relevance"], pages[1][0]["relevance"][:2], rtol=1e-3), "the same in any company")
    last = pages[0][0]["relevance"]
    _, attrs, pages = run.maps(*ask, "layers=all", "precision=fp64", folder="all")
    checks.equal("layers", [attrs["layers"], attrs["precision"]], ["all", "fp64"])
    every = pages[0][0]["relevance"]
    checks.that(np.all(every >= last * (1 - 1e-4)) and every.sum() > 1.01 * last.sum(), "blocks before the last add to it")
    _, _, pages = run.maps(*ask[:4], "phrase_as=token", folder="token")
    page = pages[0][0]
    checks.that(np.allclose(page["relevance"][0], last[0]) and not np.allclose(page["relevance"][1], last[1], rtol=0.01),
                "a phrase by its tokens is another target")
    phrase = page["token_relevance"][page["token_offsets"][1]:]
    checks.that(np.all(np.isnan(phrase)), "a phrase of tokens has no map of its own tokens")


def test_regions(run):
    tables, files = [], []
    for ranks in (0, 2):
        out, _ = run("explain", "regions=eval", "folder=" + run.folder, ranks=ranks)
        tables.append(out)
        with h5py.File(os.path.join(run.folder, "regions.h5"), "r") as f:
            files.append({n: f[n][...] for n in f})
            maps, store = [m.decode() for m in f["maps"][...]], f.attrs["store"]
    checks.equal("the table on two ranks", tables[1], tables[0])
    for n in files[0]:
        checks.that(np.array_equal(files[0][n], files[1][n]), "%s is the same on two ranks" % n)
    found = files[0]
    with h5py.File(store, "r") as s:
        regions = s["regions/boxes"].shape[0]
        boxes = s["regions/boxes"][...] / 96
    checks.equal("shape", found["lift"].shape, (regions, 2, len(maps)))
    checks.near("means", np.max(np.abs(found["lift"].mean(0) - found["mean_lift"])), 0, 1e-12)
    most = 1 / np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    checks.that(np.all(found["lift"] >= 0) and np.all(found["lift"] <= most[:, None, None] * (1 + 1e-5)), "no more than all mass in the box")
    checks.that(set(np.unique(found["peak_inside"])) <= {0.0, 1.0}, "a peak is inside or not")
    for i, phrase in enumerate(("region caption", "category")):
        for k, name in enumerate(maps):
            line = [x for x in tables[0].splitlines() if x.startswith(phrase) and name in x]
            checks.that(len(line) == 1 and "%.2f" % found["mean_lift"][i, k] in line[0], "the table says %s: %s" % (name, line))


def test_refused(run, store):
    for keys, status, text in (
            ([], 64, "nothing to explain"), (["text=a red star"], 64, "no image="), (["imgae=x.png"], 64, "did you mean image?"),
            (["image=%s:99" % store, "text=" + TEXT], 64, "pictures 0 to 6"), (["image=none.png", "text=" + TEXT], 66, "none.png"),
            (["image=none.h5:1"], 66, "none.h5"), (["image=%s:0" % store, "text=a red helmet"], 64, "no word for helmet"),
            (["image=%s:0" % store, "text=" + TEXT, "phrase=green", "phrase_as=token"], 64, "not in its sentence"),
            (["image=%s:0" % store, "layers=first"], 64, "last | all"), (["regions=none.h5"], 66, "none.h5"),
            (["image=" + os.path.join(run.folder, "maps", "sheet.png")], 64, "nothing to look for"),
            (["image=" + os.path.join(run.folder, "maps", "maps.h5"), "text=" + TEXT], 65, "maps.h5"),
            (["image=%s:0" % store, "vocabulary=none.gz"], 66, "none.gz")):
        _, err = run("explain", "folder=" + os.path.join(run.folder, "refused"), *keys, want=status)
        checks.that(text in err and err.count("fineclip: error") == 1, "%s: %s" % (keys, err))
    checks.that(not any(n.endswith((".h5", ".partial")) for n in os.listdir(os.path.join(run.folder, "refused"))), "nothing is left behind")


def main():
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder)
        test_regions(run)
        data = os.path.join(folder, "run", "data")
        store = os.path.join(data, os.listdir(data)[0])
        test_store_picture(run, store)
        test_files(run)
        test_refused(run, store)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
