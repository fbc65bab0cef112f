"""`fineclip prepare` on a folder made here: COCO JSON, panoptic masks, damaged pictures, wrong recipes.

fctest: timeout=120
"""
import hashlib
import os
import subprocess
import tempfile

import h5py
import numpy as np

from prepare_maker import VOCABULARY, check_close, items, png, run, summary, write

# ---- a folder of four pictures, the third damaged, the fourth absent; the second named first
os.chdir(tempfile.mkdtemp(prefix="fineclip-prepare-"))
for folder in ("set/images", "set/masks"):
    os.makedirs(folder)
rng = np.random.default_rng(1)
pictures = {"a": rng.integers(0, 256, (30, 40, 3), np.uint8), "b": rng.integers(0, 256, (24, 20, 3), np.uint8)}
for name, rgb in pictures.items():
    png(f"set/images/{name}.png", rgb)
listed = [{"id": 11, "file_name": "b.png", "width": 20, "height": 24},
          {"id": 5000000000, "file_name": "a.png", "width": 40, "height": 30}]
write("set/captions.json", {
    "images": listed,
    "annotations": [{"image_id": 5000000000, "id": 1, "caption": "A dog &amp; a cat."},
                    {"image_id": 11, "id": 2, "caption": "Two birds"},
                    {"image_id": 5000000000, "id": 3, "caption": "word " * 90}]})
write("set/instances.json", {
    "images": listed,
    "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "owl"}],
    "annotations": [{"image_id": 5000000000, "bbox": [4.6, 5.2, 10.5, 8.9], "category_id": 18, "iscrowd": 0},
                    {"image_id": 5000000000, "bbox": [1, 1, 5, 5], "category_id": 18, "iscrowd": 1},
                    {"image_id": 11, "bbox": [0, 0, 25, 30], "category_id": 3, "iscrowd": 0},
                    {"image_id": 11, "bbox": [3, 3, 0, 4], "category_id": 3, "iscrowd": 0},
                    {"image_id": 11, "bbox": [30, 3, 5, 4], "category_id": 3, "iscrowd": 0},
                    {"image_id": 99, "bbox": [3, 3, 5, 4], "category_id": 3, "iscrowd": 0}]})
write("set/regions.json", {"a.png_4_5_10_8.jpg": "The Dog", "a.png_9_9_9_9.jpg": "nobody"})
write("recipe.yaml", f"""
output: out/store.h5
source: coco
root: set
images: images
captions: captions.json
instances: instances.json
region_captions: regions.json
vocabulary: {VOCABULARY}
picture: {{size: original, codec: png}}
crops: {{size: 8, scale: 1.5, codec: raw}}
""")

said = run("recipe.yaml")
summary("out/store.h5")
assert "pictures: 2 listed, 2 written" in said and "1 crowds, 1 empty, 1 outside" in said, said
assert "2 read; dropped: 1 of no known box" in said and "texts: 1 cut at the context length" in said, said
with h5py.File("out/store.h5") as f:
    assert f.attrs["format"] in ("fineclip-store", b"fineclip-store") and f.attrs["version"] == 1
    assert f.attrs["complete"] == 1 and f.attrs["context_length"] == 77 and f.attrs["vocab_size"] == 49408
    assert f.attrs["crop_size"] == 8 and f.attrs["crop_scale"] == 1.5
    assert f["images/id"][:].tolist() == [11, 5000000000]
    assert f["images/name"][:].tolist() == [b"b.png", b"a.png"]
    assert f["images/width"][:].tolist() == [20, 40] and f["images/height"][:].tolist() == [24, 30]
    for i, name in enumerate("ba"):
        with open(f"set/images/{name}.png", "rb") as source:
            assert bytes(f["images/hash"][i]) == hashlib.sha256(source.read()).digest()[:16]
    assert f["captions/image_offsets"][:].tolist() == [0, 1, 3]
    assert f["captions/text"][1] == b"A dog &amp; a cat."
    # a dog & a cat .
    assert items(f, "captions/tokens", "captions/offsets", 1).tolist() == \
        [49406, 320, 1929, 261, 320, 2368, 269, 49407]
    cut = items(f, "captions/tokens", "captions/offsets", 2)
    assert len(cut) == 77 and cut[0] == 49406 and cut[-1] == 49407 and cut[-2] != 49407
    assert f["regions/image_offsets"][:].tolist() == [0, 1, 2]
    check_close(f["regions/boxes"][:], [[0, 0, 20, 24], [4.6, 5.2, 15.1, 14.1]], 1e-5)
    assert f["regions/category"][:].tolist() == [0, 1]  # rows by id: owl 3, dog 18
    assert f["categories/names"][:].tolist() == [b"owl", b"dog"]
    assert len(items(f, "regions/tokens", "regions/offsets", 0)) == 0
    assert items(f, "regions/tokens", "regions/offsets", 1).tolist() == [49406, 518, 1929, 49407]
    assert f["regions/text"][:].tolist() == [b"", b"The Dog"]
    assert f["categories/category_offsets"][:].tolist() == [0, 63, 126]
    # There is an owl in the scene.
    first = items(f, "categories/prompt_tokens", "categories/prompt_offsets", 0).tolist()
    assert first[1:5] == [997, 533, 550, 9899] and first[-2] == 269, first
    # the crop of b is the whole picture (20 x 24 -> 8 x 8): its mean stays close
    crop = items(f, "regions/crop_bytes", "regions/crop_offsets", 0).reshape(8, 8, 3)
    check_close(crop.mean((0, 1)), pictures["b"].mean((0, 1)), 12)
    assert f["regions"].attrs["codec"] in ("raw", b"raw") and f["regions/crop_height"][:].tolist() == [8, 8]

# ---- raw keeps pixels; a crop of unchanged size is a copy; growing, rounding, cutting
write("set/instances.json", {"images": listed, "annotations": [
    {"image_id": 11, "bbox": [6, 8, 8, 8]},       # grown 1.5 times: 4 6 16 18, 12 x 12
    {"image_id": 11, "bbox": [0, 0, 16, 16]}]})   # grown: -4 -4 20 20, cut: 0 0 20 20
raw = ["picture={size: original, codec: raw}", "crops={size: 12, codec: raw}", "captions=null", "region_captions=null"]
run("recipe.yaml", *raw, "text=false")
with h5py.File("out/store.h5") as f:
    assert "captions" not in f or len(f["captions/offsets"]) <= 1
    assert (items(f, "images/bytes", "images/offsets", 1).reshape(30, 40, 3) == pictures["a"]).all()
    assert (items(f, "regions/crop_bytes", "regions/crop_offsets", 0).reshape(12, 12, 3) == pictures["b"][6:18, 4:16]).all()
    assert f["regions/category"][:].tolist() == [-1, -1] and "text" not in f["regions"]
run("recipe.yaml", *raw[:1], "crops={size: 20, codec: raw}", *raw[2:])
with h5py.File("out/store.h5") as f:
    assert (items(f, "regions/crop_bytes", "regions/crop_offsets", 1).reshape(20, 20, 3) == pictures["b"][:20, :20]).all()

# ---- resized pictures: boxes follow; none for crops
run("recipe.yaml", *raw[2:], "picture={size: squash, pixels: 10, codec: raw}", "crops=none")
with h5py.File("out/store.h5") as f:
    assert f["images/width"][:].tolist() == [10, 10] and f["images/height"][:].tolist() == [10, 10]
    check_close(f["regions/boxes"][0], [3, 8 * 10 / 24, 7, 16 * 10 / 24], 1e-5)
    assert "crop_bytes" not in f["regions"]
run("recipe.yaml", *raw[2:], "picture={size: longest, pixels: 12, codec: jpeg}", "crops=none")
with h5py.File("out/store.h5") as f:
    assert f["images/width"][:].tolist() == [10, 12] and f["images/height"][:].tolist() == [12, 9]
    check_close(f["regions/boxes"][0], [3, 4, 7, 8], 1e-5)
    assert items(f, "images/bytes", "images/offsets", 0)[:2].tolist() == [0xff, 0xd8]

# ---- panoptic: a thing with its annotated box, stuff with the box of its mask, crowds stay
mask = np.zeros((24, 20, 3), np.uint8)
mask[2:7, 3:11] = [1, 2, 3]       # segment 1 + 2*256 + 3*65536
mask[10:20, 5:6] = [9, 0, 0]
png("set/masks/b.png", mask)
write("set/panoptic.json", {
    "annotations": [{"image_id": 11, "file_name": "b.png", "segments_info": [
        {"id": 9, "category_id": 1, "bbox": [4, 5, 6, 7], "iscrowd": 1},
        {"id": 1 + 2 * 256 + 3 * 65536, "category_id": 7, "bbox": [0, 0, 1, 1], "iscrowd": 0}]}],
    "images": listed[:1],
    "categories": [{"id": 7, "name": "wall-other", "isthing": 0}, {"id": 1, "name": "cat", "isthing": 1}]})
pan = ["instances=null", "region_captions=null", "panoptic={json: panoptic.json, masks: masks}"]
run("recipe.yaml", *pan)
with h5py.File("out/store.h5") as f:
    assert f["regions/image_offsets"][:].tolist() == [0, 2, 2]
    check_close(f["regions/boxes"][:], [[4, 5, 10, 12], [3, 2, 10, 6]], 1e-5)
    assert f["regions/category"][:].tolist() == [0, 1] and f["categories/isthing"][:].tolist() == [1, 0]
run("recipe.yaml", *pan[:2], "panoptic={json: panoptic.json, masks: images}", expect=0)  # another PNG of that size
png("set/masks/b.png", mask[:, :10])
run("recipe.yaml", *pan, expect=65, says="a mask of 10 x 24")

# ---- missing and damaged pictures: an error that names the first, or tolerated
before = os.stat("out/store.h5").st_mtime_ns
damaged = open("set/images/a.png", "rb").read()
write("set/captions.json", {"images": listed + [{"id": 1, "file_name": "bad.png"}, {"id": 2, "file_name": "none.png"},
                                                 {"id": 3, "file_name": "a.png", "width": 41, "height": 30}],
                            "annotations": []})
with open("set/images/bad.png", "wb") as out:
    out.write(damaged[:len(damaged) // 2])
run("recipe.yaml", "instances=null", "region_captions=null", expect=65, says="images/bad.png: PNG:")
assert os.stat("out/store.h5").st_mtime_ns == before and os.listdir("out") == ["store.h5"], os.listdir("out")
said = run("recipe.yaml", "instances=null", "region_captions=null", "max_bad_fraction=0.6")
assert "2 written" in said and "1 missing, 1 damaged, 1 of another size" in said, said
with h5py.File("out/store.h5") as f:
    assert f["images/id"][:].tolist() == [11, 5000000000]

# ---- wrong recipes end before any work
for arguments, status, message in (
        (["imagse=x"], 64, "imagse"),
        (["picture.size=huge"], 64, "picture.size"),
        (["picture={size: squash}"], 64, "pixels"),
        (["crops.qualty=3"], 64, "qualty"),
        (["crops.size=0"], 64, "crops.size"),
        (["source=flickr"], 64, "source"),
        (["images=null"], 64, "images"),
        (["captions=null", "instances=null", "region_captions=null"], 64, "which pictures"),
        (["captions=absent.json"], 66, "set/absent.json"),
        (["vocabulary=absent.gz"], 66, "OpenAI's CLIP repository"),
        (["vocabulary=null"], 66, "out/bpe_simple_vocab_16e6.txt.gz"),
        (["panoptic={json: panoptic.json}"], 64, "masks")):
    run("recipe.yaml", *arguments, expect=status, says=message)
run("absent.yaml", expect=66, says="absent.yaml")

# ---- made-up scenes
write("scenes.yaml", "output: out/scenes.h5\nsource: synthetic\nsynthetic: {images: 6, seed: 3}\n")
run("scenes.yaml")
with h5py.File("out/scenes.h5") as f:
    assert len(f["images/height"]) == 6
run("scenes.yaml", "synthetic.imagse=3", expect=64, says="imagse")
subprocess.run(["rm", "-rf", os.getcwd()], check=True)
print("ok")
