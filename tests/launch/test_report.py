"""fctest: timeout=120
`fineclip report`: every number of its tables against the results files they come from, rows beside the paper's and what differs
from its setting, pages that need nothing but themselves, and what it cannot read.
"""
import base64
import csv
import html.parser
import os
import re
import shutil
import sys
import tempfile
import xml.dom.minidom
import zlib

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from program import Checks, run_program  # noqa: E402

USAGE, DATA, NOINPUT = 64, 65, 66
BOX = ["top1", "top5", "micro_top1", "micro_top5"]
RETRIEVAL = ["i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10"]
TRAIN = ["epoch", "loss", "lr", "logit_scale", "grad_norm", "seconds", "data_seconds", "images_per_second"]
LONG = {"GC": "global_contrastive", "RC": "region_contrastive", "SD": "self_distillation"}
SOURCE = os.environ.get("FINECLIP_SOURCE", os.getcwd())
checks = Checks()


def config(name, seed, terms, **change):
    """What a run in the paper's setting records, as far as a report looks at it."""
    c = {"init": "weights.safetensors", "lr": "1.0e-5", "boxes": 20, "resize": "squash", "samples": "all", **change}
    losses = "\n".join("  %s: 1.0" % LONG.get(t, t) for t in terms) if terms else "  {}"
    return """name: %s
seed: %d
output: runs/%s
model: {config: eva02-clip-b-16, init: %s, image_size: null, freeze: [text]}
data: {train: coco.h5, samples: %s, max_boxes: %d}
losses:
%s
train:
  epochs: 10
  steps: null
  batch_size: 32
  optimizer: {lr: %s, weight_decay: 0.1}
  schedule: {warmup_steps: 1000}
eval:
  box_classification: {data: val.h5, image_size: null, resize: squash}
  retrieval: {data: val.h5, image_size: null, resize: %s}
""" % (name, seed, name, c["init"], c["samples"], c["boxes"], losses, c["lr"], c["resize"])


def write_run(folder, name, seed, terms, status="completed", images=118287, more=(), **change):
    """A results.h5 with random numbers; returns what a report should find in it."""
    rng = np.random.default_rng(zlib.crc32(name.encode()) + seed)
    path = os.path.join(folder, name)
    os.makedirs(path)
    rows, evals = 40, 3
    with h5py.File(os.path.join(path, "results.h5"), "w") as f:
        f.attrs.update({"format": "fineclip-run", "version": 1, "name": name, "config": config(name, seed, terms, **change),
                        "code_version": "test", "started": "2026-01-01T00:00:00Z", "finished": "2026-01-02T00:00:00Z",
                        "status": status, "device": "cuda", "precision": "bf16", "world_size": 8, "parameters": 1,
                        "train_images": images})
        f["train/step"] = np.arange(1, rows + 1) * 50
        for c in TRAIN:
            f["train/" + c] = rng.uniform(1, 2, rows)
        for t in terms:
            f["train/losses/" + LONG.get(t, t)] = rng.uniform(0, 1, rows)
        f["eval/epoch"] = np.arange(evals, dtype=float)
        for c in BOX:
            f["eval/box_classification/" + c] = rng.uniform(0, 1, evals)
        for c in RETRIEVAL:
            f["eval/retrieval/" + c] = rng.uniform(0, 1, evals)
        f["eval/box_classification/regions"] = np.full(evals, 1000)
        f["eval/box_classification/per_category_top1"] = rng.uniform(0, 1, (evals, 133))
        f["eval/box_classification"].attrs["protocol"] = "zero-shot; data d/val.h5; categories 133; image size 224; resize squash; prompts 8379"
        f["eval/retrieval"].attrs["protocol"] = "data d/val.h5; images 5000; captions 25010; image size 224; resize squash"
        for extra in more:
            for c in RETRIEVAL:
                f["eval/retrieval_%s/%s" % (extra, c)] = rng.uniform(0, 1, evals)
            f["eval/retrieval_" + extra].attrs["protocol"] = "data d/f.h5; images 1000; captions 5000; image size 224; resize squash"
        f["cost/epoch_seconds"] = rng.uniform(600, 700, 2)
        f["cost/peak_device_bytes"] = rng.integers(1 << 30, 1 << 35, 8)
        f["cost/peak_host_bytes"] = rng.integers(1 << 30, 1 << 31, 8)
    return path


def last(path, dataset):
    with h5py.File(os.path.join(path, "results.h5"), "r") as f:
        return float(f[dataset][-1])


def report(arguments, want=0, cwd=None):
    status, out, err = run_program(["report"] + arguments, cwd=cwd)
    checks.that(status == want, "%s: exit status %d, want %d: %s" % (arguments, status, want, err[-2000:]))
    return out, err


def tables(markdown):
    """Every table of a Markdown text as rows of cells, heading first; checks that no row lacks a cell."""
    found, current = [], None
    for line in markdown.split("\n"):
        if not line.startswith("|"):
            current = None
            continue
        cells = [c.strip() for c in line.strip("|").split("|")]
        if current is None:
            current = []
            found.append(current)
        if not set(line) <= set("|-: "):
            current.append(cells)
    for t in found:
        checks.that(all(len(r) == len(t[0]) for r in t), "as many cells in every row: %s" % t)
    return found


def row_of(table, name, skip=0):
    return next(r for r in table if r[skip] == name)


DATASET = {"box_top1": "eval/box_classification/top1", "box_top5": "eval/box_classification/top5",
           **{c: "eval/retrieval/" + c for c in RETRIEVAL}}
PAPER = {"box_top1": {"GC": 42.3, "RC": 45.5, "GC+RC+SD": 48.4}, "i2t_r1": {"GC": 62.4, "RC": 39.5, "GC+RC+SD": 62.2, "GC+RC": 62.5}}


def test_numbers(folder):
    """Rows of three seeds each, and one that has not ended."""
    sets = {"row2": ["GC"], "row4": ["RC"], "row5": ["GC", "RC"], "row6": ["GC", "RC", "SD"]}
    path = {n: [write_run(folder, "%s-seed%d" % (n, k), k, t) for k in range(3)] for n, t in sets.items()}
    write_run(folder, "row6-seed3", 3, sets["row6"], status="interrupted")
    out, _ = report([folder, "--png"])
    names = sorted(n for n in os.listdir(folder) if n.startswith("report"))
    checks.equal("files", names, ["report.csv", "report.html", "report.md", "report_bars.png", "report_forgotten.png",
                                  "report_losses.png", "report_runs.csv"])
    lines = list(csv.DictReader(open(os.path.join(folder, "report.csv"))))
    checks.equal("lines", len(lines), 4 * len(DATASET))
    for line in lines:
        values = 100 * np.array([last(p, DATASET[line["measure"]]) for p in path[line["run"]]])
        label = line["run"] + " " + line["measure"]
        checks.equal(label + ": terms and seeds", (line["terms"], line["seeds"]), ("+".join(sets[line["run"]]), "3"))
        checks.near(label + ": mean", float(line["mean"]), values.mean(), 1e-12)
        checks.near(label + ": deviation", float(line["deviation"]), values.std(ddof=1), 1e-12)
        paper = PAPER.get(line["measure"], {}).get(line["terms"])
        if paper is not None:
            checks.near(label + ": paper", float(line["paper"]), paper, 1e-12)
            checks.near(label + ": difference", float(line["difference"]), values.mean() - paper, 1e-12)
    for line in csv.DictReader(open(os.path.join(folder, "report_runs.csv"))):
        one = os.path.join(folder, line["name"])
        for measure, dataset in DATASET.items():
            checks.equal(line["name"] + " " + measure, float(line[measure]), last(one, dataset))
        with h5py.File(os.path.join(one, "results.h5"), "r") as f:
            checks.equal(line["name"], (line["status"], int(line["peak_device_bytes"]), float(line["epoch_seconds"])),
                         (f.attrs["status"], f["cost/peak_device_bytes"][...].max(), f["cost/epoch_seconds"][...].mean()))

    printed = tables(out)
    whole = tables(open(os.path.join(folder, "report.md")).read())
    results, effects, cost = printed
    checks.equal("printed tables are those of the file", printed, [whole[0], whole[1], whole[3]])
    head = results[0]
    for n in sets:
        values = 100 * np.array([last(p, DATASET["box_top1"]) for p in path[n]])
        row, at = row_of(results, n), head.index("box top-1")
        checks.equal(n + " in the table", row[at], "%.1f +- %.1f" % (values.mean(), values.std(ddof=1)))
        paper = PAPER["box_top1"].get("+".join(sets[n]))
        checks.equal(n + " beside the paper", row[at + 1:at + 3],
                     ["%.1f" % paper, "%+.1f" % (values.mean() - paper)] if paper else ["-", "-"])
    checks.equal("where", row_of(results, "row6")[-1], "Table 1 row 6, FineCLIP")
    a, b = (100 * np.array([last(p, DATASET["box_top1"]) for p in path[n]]) for n in ("row4", "row6"))
    row = next(r for r in effects if r[:2] == ["GC+SD", "RC"])
    error = np.sqrt(a.var(ddof=1) / 3 + b.var(ddof=1) / 3)
    points = b.mean() - a.mean()
    checks.equal("an effect", row[2:4], ["%+.1f +- %.1f" % (points, error), "+2.9"])
    checks.equal("and its verdict", row[4], "within noise" if abs(points) <= 2 * error else "yes" if points > 0 else "no")
    seconds = np.mean([h5py.File(p + "/results.h5", "r")["cost/epoch_seconds"][...].mean() for p in path["row6"]])
    bytes_ = np.mean([h5py.File(p + "/results.h5", "r")["cost/peak_device_bytes"][...].max() for p in path["row6"]])
    checks.equal("cost", row_of(cost, "row6")[1:5], ["%.3g" % (seconds / 60), "11", "%.3g" % (bytes_ / 1e9), "36"])
    checks.that("Not completed and in no mean: row6-seed3 (interrupted)." in out, "what is left out: " + out)
    checks.that("another measurement" not in out, "the paper's setting: " + out)
    return names


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.sources, self.cells, self.bad = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.bad += [tag] if tag in ("script", "link", "iframe", "object") else []
        self.sources += [attrs[a] for a in ("src", "href") if a in attrs]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.bad.append("/" + tag)

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


def test_page(folder):
    text = open(os.path.join(folder, "report.html"), encoding="utf-8").read()
    checks.that(not re.search(r"https?:|url\(|@import", text), "nothing from elsewhere")
    page = Page()
    page.feed(text)
    checks.equal("well formed", (page.bad, page.open), ([], []))
    checks.equal("pictures", len(page.sources), 3)
    for source in page.sources:
        kind, _, data = source.partition(",")
        checks.equal("embedded", kind, "data:image/svg+xml;base64")
        svg = xml.dom.minidom.parseString(base64.b64decode(data, validate=True)).documentElement
        linked = [e.getAttribute("xlink:href") for e in svg.getElementsByTagName("*") if e.hasAttribute("xlink:href")]
        checks.that(svg.tagName == "svg" and all(x.startswith("#") for x in linked), "an SVG of its own")
        checks.that(len(svg.getElementsByTagName("path")) > 20, "with something in it")
    cells = [c.replace("\u00b1", "+-") for c in page.cells]
    for t in tables(open(os.path.join(folder, "report.md")).read()):
        for row in t:
            for cell in row:
                checks.that(cell == "" or cell in cells, "%s is on the page" % cell)
    for name in ("bars", "losses", "forgotten"):
        data = open(os.path.join(folder, "report_%s.png" % name), "rb").read()
        checks.that(data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 10000, name + ".png")


def test_settings(folder):
    """Other settings have no difference; other terms no row of the paper; more pictures another row."""
    a = write_run(folder, "small", 0, ["GC", "RC", "SD"], lr="1.0e-3", boxes=5)
    b = write_run(folder, "scaled", 0, ["GC", "RC", "SD"], images=2500000, samples="2500000", more=("flickr30k", "own"))
    c = write_run(folder, "between", 0, ["GC", "RC", "SD"], images=500000, samples="500000")
    d = write_run(folder, "more", 0, ["GC", "other_term"])
    e = write_run(folder, "gc", 0, ["GC"], lr="1.0e-4")
    out, _ = report([a, b, c, d, e, "output=" + os.path.join(folder, "r"), "name=A <b> & c"])
    results = tables(out)[0]
    checks.that(all(t[0][0] != "added" for t in tables(out)), "no effect of a term where more than terms differs: " + out)
    checks.equal("no deviation of one", row_of(results, "small")[results[0].index("box top-1")],
                 "%.1f" % (100 * last(a, "eval/box_classification/top1")))
    at = results[0].index("box top-1")
    checks.equal("the paper beside, no difference", row_of(results, "small")[at + 1:at + 3], ["48.4", "-"])
    checks.that("of small: lr 0.001 (1e-05), boxes a picture 5 (20)." in out, "what differs: " + out)
    value = 100 * last(b, "eval/box_classification/top1")
    checks.equal("2.5M", row_of(results, "scaled")[at + 1:at + 3], ["50.7", "%+.1f" % (value - 50.7)])
    value = 100 * last(b, "eval/retrieval_flickr30k/t2i_r5")
    whole = tables(open(os.path.join(folder, "r", "report.md")).read())
    recall = next(t for t in whole if "flickr30k T2I R@5" in t[0])
    at_5 = recall[0].index("flickr30k T2I R@5")
    checks.equal("Flickr30k", row_of(recall, "scaled")[at_5:at_5 + 3], ["%.1f" % value, "89.1", "%+.1f" % (value - 89.1)])
    own = 100 * last(b, "eval/retrieval_own/i2t_r1")
    checks.equal("a set of one's own", row_of(results, "scaled")[results[0].index("own I2T R@1")], "%.1f" % own)
    checks.equal("500K", (row_of(results, "between")[at + 1], row_of(results, "between")[-1]), ("-", ""))
    checks.equal("other terms", (row_of(results, "more")[1], row_of(results, "more")[-1]), ("GC+other_term", ""))
    text = open(os.path.join(folder, "r", "report.html")).read()
    checks.that("<h1>A &lt;b&gt; &amp; c</h1>" in text, "a title with marks")
    checks.that("With more training pictures" in text, "a picture of scaling")


def test_scenes(folder):
    """Combinations never seen: what the run itself prints."""
    scenes = "{synthetic: {images: 24, seed: 2, unseen: true}}"
    run = os.path.join(folder, "scenes")
    status, out, err = run_program([os.path.join(SOURCE, "experiments", "quickstart.yaml"), "output=" + run, "train.steps=2",
                                    "data.train={synthetic: {images: 16}}", "train.batch_size=8", "train.schedule.warmup_steps=1",
                                    "eval.box_classification=" + scenes, "eval.retrieval=" + scenes])
    checks.that(status == 0, "the run: " + err)
    printed = {k: re.search(k + r" +(\S+) +(\S+) ", out).groups() for k in ("combinations seen in training", "combinations never seen", "box classification, top-1")}
    results = tables(report([run])[0])[0]
    for column, k in (("box top-1", "box classification, top-1"), ("top-1, seen", "combinations seen in training"),
                      ("top-1, never seen", "combinations never seen")):
        at = results[0].index(column)
        checks.equal(column, (row_of(results, "before training")[at], row_of(results, "quickstart")[at]), printed[k])
    # One start: what trains of the model may differ between rows, the model may not.
    other = os.path.join(folder, "scenes_other")
    for key, same in (("unlocked_blocks: 4", True), ("init: else.safetensors", False)):
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(run, other)
        with h5py.File(os.path.join(other, "results.h5"), "r+") as f:
            text = f.attrs["config"] if isinstance(f.attrs["config"], str) else f.attrs["config"].decode()
            f.attrs["config"] = re.sub(r"(?m)^(  )%s:.*$" % key.split(":")[0], r"\g<1>" + key, text.replace("name: quickstart", "name: other"))
        first = tables(report([run, other])[0])[0][1]
        checks.equal("a row before training: " + key, first[0] == "before training", same)


def test_refusals(folder):
    _, err = report([], want=USAGE)
    checks.that("no run is named" in err, err)
    _, err = report([os.path.join(folder, "none")], want=NOINPUT)
    checks.that("none" in err and "No such file" in err, err)
    _, err = report([os.path.join(folder, "small"), "--pngs"], want=USAGE)
    checks.that("--pngs" in err, err)
    empty = os.path.join(folder, "empty")
    os.makedirs(empty)
    _, err = report([empty], want=NOINPUT)
    checks.that("no results.h5" in err, err)
    with open(os.path.join(empty, "results.h5"), "wb") as f:
        f.write(b"nothing of the kind")
    _, err = report([empty], want=DATA)
    checks.that("results.h5" in err, err)
    path = write_run(folder, "nan", 0, ["GC"])
    with h5py.File(os.path.join(path, "results.h5"), "r+") as f:
        f["train/loss"][3:9] = np.nan
        f["train/loss"][10] = np.inf
        f["eval/box_classification/top1"][:] = np.nan
        f["eval/retrieval/i2t_r1"][-1] = np.nan
        for c in ("step", *TRAIN):  # nothing logged yet
            del f["train/" + c]
            f["train/" + c] = np.zeros(0, "i8" if c == "step" else "f8")
        del f["train/losses"]
    out, _ = report([path])
    row = row_of(tables(out)[0], "nan")
    checks.that("nan" not in " ".join(row[1:]), "no number where there is none: %s" % row)


def main():
    folder = tempfile.mkdtemp(prefix="fineclip-report-")
    try:
        for name in ("numbers", "settings", "scenes"):
            os.makedirs(os.path.join(folder, name))
        test_numbers(os.path.join(folder, "numbers"))
        test_page(os.path.join(folder, "numbers"))
        test_settings(os.path.join(folder, "settings"))
        test_scenes(os.path.join(folder, "scenes"))
        test_refusals(os.path.join(folder, "settings"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
