"""Every source of pictures, captions and boxes with small made inputs, through the shipped recipes where there is one.

fctest: timeout=180
"""
import json
import os
import subprocess
import tarfile
import tempfile

import h5py
import numpy as np

from prepare_maker import (VOCABULARY, check_close, items, noise, png, png_bytes, run, summary, tar, texts, write)

RECIPES = os.path.join(os.environ["FINECLIP_SOURCE"], "experiments/prepare")
WORDS = f"vocabulary={VOCABULARY}"
RAW = "picture={size: original, codec: png}"


def as_png(seed, width=24, height=16):
    return png_bytes(noise(seed, width, height).reshape(height, -1))


os.chdir(tempfile.mkdtemp(prefix="fineclip-prepare-"))
os.makedirs("set/val2014")
os.makedirs("set/sub/deep")
os.makedirs("shards")
for i in range(6):
    png(f"set/{i}0.png", noise(i))
png("set/val2014/COCO_val2014_000000000007.png", noise(7))
png("set/sub/deep/x.PNG", noise(8))
write("set/notes.txt", "no picture")

# ---- retrieval lists: all captions, in order; a picture by its number where all names are numbers
write("set/test.json", [{"image": "20.png", "caption": ["A dog", "two dogs", "three"]}, {"caption": "one string", "image": "00.png"}])
run(f"{RECIPES}/flickr30k.yaml", "root=set", "images=.", "retrieval=test.json", "output=r.h5", RAW, WORDS)
s = summary("r.h5")
with h5py.File("r.h5") as f:
    assert texts(f, "images/name") == ["20.png", "00.png"] and f["images/id"][:].tolist() == [20, 0]
    assert texts(f, "captions/text") == ["A dog", "two dogs", "three", "one string"]
    assert f["captions/image_offsets"][:].tolist() == [0, 3, 4] and s["pictures_without_region"] == 2
    assert "source: retrieval" in f.attrs["recipe"]
run(f"{RECIPES}/coco_retrieval.yaml", "root=set", "images=.", "retrieval=test.json", "output=r2.h5", RAW, WORDS)

# ---- Karpathy's splits: folders in the file, cocoid before imgid
write("set/k.json", {"dataset": "coco", "images": [
    {"filepath": "val2014", "filename": "COCO_val2014_000000000007.png", "split": "test", "cocoid": 7, "imgid": 0,
     "sentids": [1], "sentences": [{"tokens": ["a"], "raw": "A kite.", "sentid": 1}, {"raw": "Sky"}]},
    {"filename": "10.png", "split": "restval", "imgid": 1, "sentences": [{"raw": "left"}]},
    {"filename": "00.png", "split": "train", "imgid": 2, "sentences": []}]})
karpathy = [f"{RECIPES}/coco_karpathy.yaml", "root=set", "karpathy.json=k.json", "output=k.h5", RAW, WORDS]
run(*karpathy)
with h5py.File("k.h5") as f:
    assert f["images/id"][:].tolist() == [7] and texts(f, "captions/text") == ["A kite.", "Sky"]
run(*karpathy, "karpathy.split=train+restval")
with h5py.File("k.h5") as f:
    assert f["images/id"][:].tolist() == [1, 2] and summary("k.h5")["pictures_without_caption"] == 1
run(*karpathy, "karpathy.split=nothing", expect=65, says="k.json lists no pictures")

# ---- a folder with records of a captioner and a detector, by name with and without suffix and folder
write("set/c.jsonl", "\n".join(json.dumps(r) for r in (
    {"image_id": "sub/deep/x.PNG", "caption": "deep"}, {"image_id": "00", "caption": "nought"},
    {"image_id": "99", "caption": "nobody"}, {"image_id": "00.png", "caption": "  "})))
write("set/d.jsonl", "\n".join(json.dumps(r) for r in (
    {"image_id": "10", "bbox": [1, 1, 12, 10], "score": 0.5}, {"image_id": "10", "bbox": [1, 1, 12, 9], "score": 0.8, "caption": "best"},
    {"image_id": "10", "bbox": [20, 12, 9, 9], "score": 0.9}, {"image_id": "sub/deep/x", "bbox": [0, 0, 3, 3], "score": 0.9})))
folder = [f"{RECIPES}/folder.yaml", "images=set", "captions=set/c.jsonl", "detections=set/d.jsonl", "proposals.min_side=4",
          "output=f.h5", "crops={size: 8, codec: raw}", WORDS]
said = run(*folder, RAW)
s = summary("f.h5")
assert s["files_ignored"] == 5 and s["captions_elsewhere"] == 1 and s["captions_empty"] == 1, s
assert s["regions_suppressed"] == 1 and s["regions_too_small"] == 1 and s["regions_cut"] == 1, s
with h5py.File("f.h5") as f:
    assert texts(f, "images/name") == ["00.png", "10.png", "20.png", "30.png", "40.png", "50.png", "sub/deep/x.PNG",
                                       "val2014/COCO_val2014_000000000007.png"]
    assert f["images/id"][:].tolist() == list(range(8))  # not all names are numbers: positions
    assert texts(f, "captions/text") == ["nought", "deep"] and f["captions/image_offsets"][:].tolist() == [0, 1, 1, 1, 1, 1, 1, 2, 2]
    check_close(f["regions/boxes"][:], [[20, 12, 24, 16], [1, 1, 13, 10]], 1e-6)
    check_close(f["regions/score"][:], [0.9, 0.8], 1e-6)
    assert texts(f, "regions/text") == ["", "best"]
run(*folder, "captions=null", "detections=null", "picture={size: longest, pixels: 12, codec: jpeg}")
with h5py.File("f.h5") as f:
    assert f["images/width"][:].tolist() == [12] * 8 and len(f["regions/boxes"]) == 0
run(*folder, "detections=set/k.json", expect=65, says="record 0 has no image_id")

# ---- the published FineCLIP files for COCO: coco_url where there is no file_name, boxes that are no whole pixels
write("set/proposals.json", {"images": [{"id": 1, "file_name": "10.png"}, {"id": 2, "coco_url": "http://images.cocodataset.org/val/20.png"}],
                             "annotations": [{"id": 5, "image_id": 1, "bbox": [2.9, 3.1, 10.5, 9.9], "score": 0.1},
                                             {"id": 6, "image_id": 2, "bbox": [0, 0, 24, 16]}]})
write("set/captions.json", {"images": [{"id": 1, "file_name": "10.png"}, {"id": 2, "file_name": "20.png"}],
                            "annotations": [{"id": 1, "image_id": 2, "caption": "whole"}]})
write("set/coco_captions.json", {"10.png_2_3_10_9.jpg": "inside", "20.png_0_0_24_16.jpg": "all of it", "20.png_0_0_1_1.jpg": "no"})
published = [f"{RECIPES}/fineclip_coco.yaml", "root=set", "images=.", "captions=captions.json", "instances=proposals.json",
             "region_captions=coco_captions.json", "output=p.h5", RAW, WORDS]
run(*published)
assert summary("p.h5")["region_captions_unused"] == 1
with h5py.File("p.h5") as f:
    assert texts(f, "regions/text") == ["inside", "all of it"] and f["regions/category"][:].tolist() == [-1, -1]
run(*published, "captions=null")
with h5py.File("p.h5") as f:
    assert texts(f, "images/name") == ["10.png", "20.png"] and len(f["captions/tokens"]) == 0

# ---- COCO val: panoptic masks beside captions, through the shipped recipe
mask = np.zeros((16, 24, 3), np.uint8)
mask[2:10, 4:21] = [7, 1, 0]
os.mkdir("set/masks")
png("set/masks/10.png", mask)
write("set/panoptic.json", {
    "images": [{"id": 1, "file_name": "10.png"}], "categories": [{"id": 1, "name": "cat", "isthing": 1}, {"id": 9, "name": "sky-other", "isthing": 0}],
    "annotations": [{"image_id": 1, "file_name": "10.png", "segments_info": [
        {"id": 263, "category_id": 9, "bbox": [0, 0, 1, 1]}, {"id": 5, "category_id": 1, "bbox": [3, 3, 9, 9], "iscrowd": 0}]}]})
run(f"{RECIPES}/coco_val.yaml", "root=set", "images=.", "captions=captions.json", "panoptic={json: panoptic.json, masks: masks}",
    "output=v.h5", RAW, WORDS)
with h5py.File("v.h5") as f:
    check_close(f["regions/boxes"][:], [[4, 2, 20, 9], [3, 3, 12, 12]], 1e-6)  # the far edge is the last pixel itself
    assert f["regions/category"][:].tolist() == [1, 0] and f["categories/category_offsets"][:].tolist() == [0, 63, 126]
summary("v.h5")

# ---- webdataset shards: caption from txt, else json; long names; sizes of json; the same picture twice; no picture
tar("shards/b.tar", [("000000003.json", b'{"caption": "from json", "width": 24, "height": 16}'), ("000000003.png", as_png(3)),
                     ("000000004.txt", b"no picture"),
                     ("000000005.png", as_png(3)), ("000000005.txt", b"a copy"), ("000000005.cls", b"1")])
tar("shards/a.tar", [("000000001.png", as_png(1)), ("000000001.txt", "caf\u00e9 &amp; cake".encode()), ("000000001.json", b"{}"),
                     ("000000002.png", as_png(2, 90, 10)), ("000000002.txt", b"long")])
shards = [f"{RECIPES}/cc_shards.yaml", "root=.", "shards=shards", "output=s.h5", RAW, WORDS, "filter.min_side=8", "max_bad_fraction=0.4"]
run(*shards)
s = summary("s.h5")
assert s["shards_read"] == 2 and s["pictures_too_long"] == s["pictures_missing"] == s["pictures_duplicate"] == 1, s
with h5py.File("s.h5") as f:
    assert f["images/id"][:].tolist() == [1, 3] and texts(f, "images/name") == ["000000001.png", "000000003.png"]
    assert texts(f, "captions/text") == ["caf\u00e9 &amp; cake", "from json"]
    assert bytes(items(f, "images/bytes", "images/offsets", 1))[:4] == b"\x89PNG"
run(*shards, "duplicates=keep", "shards=[shards/b.tar, 'shards/{a,c}.tar']", "filter.max_aspect=0")
with h5py.File("s.h5") as f:
    assert f["images/id"][:].tolist() == [3, 5, 1, 2] and summary("s.h5")["pictures_repeated"] == 1
run(*shards, "shards=shards/c*.tar", expect=66, says="no shard matches")
os.makedirs("range")
for i in (8, 9, 10, 100):
    tar(f"range/{i:02}-a.tar", [(f"{i:09}.png", as_png(i)), (f"{i:09}.txt", b"word")])
for names, ids in (("range/{08..10}-a.tar", [8, 9, 10]), ("range/{9..10}*", None), ("range/{10..10}-{a,b}.tar", [10]),
                   ("'range/{0..1}{0..0}-a.tar'", None), ("[range/100-a.tar, 'range/{08..09}-?.tar']", [100, 8, 9])):
    run(*shards, f"shards={names}", expect=66 if ids is None else 0, says="of a range all must be there" if ids is None else "")
    if ids is not None:
        with h5py.File("s.h5") as f:
            assert f["images/id"][:].tolist() == ids
for wrong in ("range/{10..08}-a.tar", "range/{08..99999999}-a.tar", "'range/{{08..09},10}-a.tar'"):
    run(*shards, f"shards={wrong}", expect=64, says="a range counts up")
run(*shards, "images=set", expect=64, says="lie in them")
for form, name in ((tarfile.GNU_FORMAT, "x/" * 60 + "000000009"), (tarfile.PAX_FORMAT, "\u00e9/" * 90 + "000000009")):
    tar("long.tar", [(name + ".png", as_png(9)), (name + ".txt", b"long name")], form)
    run(*shards, "shards=long.tar")
    with h5py.File("s.h5") as f:
        assert texts(f, "images/name") == [name + ".png"] and texts(f, "captions/text") == ["long name"]
# two sets with the same keys: numbers would repeat, so pictures are numbered by position, and captions stay with their own
tar("again.tar", [("000000001.png", as_png(11)), ("000000001.txt", b"another one")])
run(*shards, "shards=[again.tar, shards/a.tar]", "filter.max_aspect=0")
with h5py.File("s.h5") as f:
    assert f["images/id"][:].tolist() == [0, 1, 2] and texts(f, "captions/text")[0] == "another one"

# ---- samples are nested, whatever is listed beside them, and count pictures that pass the filter
tar("many.tar", [(f"{i:09}.{kind}", data) for i in range(60) for kind, data in (
    ("png", as_png(i, 24, 6 if i % 4 == 0 else 16)), ("txt", b"word"))])
chosen = {}
for n in (5, 20, 45, 1000):
    run(*shards, "shards=many.tar", f"samples={n}")
    assert summary("s.h5")["pictures_written"] == min(n, 45)
    with h5py.File("s.h5") as f:
        chosen[n] = f["images/id"][:].tolist()
    assert chosen[n] == sorted(chosen[n])
assert set(chosen[5]) < set(chosen[20]) < set(chosen[45]) == set(chosen[1000]) == {i for i in range(60) if i % 4}
run(*shards, "shards=[many.tar, shards/a.tar]", "samples=5")
with h5py.File("s.h5") as f:
    assert len(set(texts(f, "images/name")) & {f"{i:09}.png" for i in chosen[5]}) >= 3

# ---- the paper's way: boxes of a detector by sample key -> crops in shards -> sentences by the crops' keys -> store
write("boxes.jsonl", "\n".join(json.dumps(r) for r in (
    {"image_id": "000000001", "bbox": [1.7, 2.2, 12, 10.9], "score": 0.9}, {"image_id": "000000001", "bbox": [1.2, 2.9, 12.4, 10], "score": 0.8},
    {"image_id": "000000001", "bbox": [14, 2, 9, 9], "score": 0.7}, {"image_id": "000000003", "bbox": [0, 0, 24, 16], "score": 0.6},
    {"image_id": "000000003", "bbox": [0, 0, 24, 16], "score": 0.1})))
pipeline = [f"{RECIPES}/pipeline.yaml", "root=.", "shards=shards", "detections=boxes.jsonl", "output=w.h5", RAW, WORDS, "filter.min_side=8",
            "max_bad_fraction=0.4", "proposals={min_side: 8, nms_iou: 0.95}", "export_crops.output=crops"]
said = run(*pipeline, ranks=2)
assert "crops: 3 written; dropped: 1 of the same whole pixels as another one" in said and "regions: 5 read, 4 written" in said, said
assert sorted(os.listdir("crops")) == ["000000.tar"] and not os.path.exists("crops.work") and not os.path.exists("w.h5")
lines = []
with tarfile.open("crops/000000.tar") as f:
    names = f.getnames()
    assert names == [f"000000001_png_{box}.{kind}" for box in ("1_2_12_10", "14_2_9_9") for kind in ("jpg", "json")] + \
        ["000000003_png_0_0_24_16.jpg", "000000003_png_0_0_24_16.json"], names
    for name in names[1::2]:
        about = json.load(f.extractfile(name))
        assert f.extractfile(about["key"] + ".jpg").read(3) == b"\xff\xd8\xff"
        lines.append({"key": about["key"], "caption": f"crop of {about['image']} at {about['bbox'][0]:g}"})
run(*pipeline, expect=64, says="crops holds shards already")
write("back.jsonl", "\n".join(map(json.dumps, lines)))
run(*pipeline, "export_crops=none", "region_captions=back.jsonl", "drop_repeated_captions=false")
assert summary("w.h5")["region_captions_unused"] == 0
with h5py.File("w.h5") as f:
    assert texts(f, "regions/text") == ["crop of 000000001.png at 1.7"] * 2 + ["crop of 000000001.png at 14", "crop of 000000003.png at 0"]
    check_close(f["regions/score"][:], [0.9, 0.8, 0.7, 0.6], 1e-6)
    assert f["images/id"][:].tolist() == [1, 3]  # min_regions 1, duplicates dropped
said = run(*pipeline, "export_crops=none", "region_captions=back.jsonl")
assert "1 boxes whose caption their picture has already" in said, said
subprocess.run(["rm", "-rf", os.getcwd()], check=True)
print("ok")
