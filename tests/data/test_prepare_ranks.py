"""A store is the same whatever the number of ranks and threads, and whatever happened on the way: stopped by a signal,
killed in the middle, gone on with by another number of ranks.

fctest: timeout=180
"""
import json
import os
import signal
import subprocess
import tempfile
import time

import numpy as np

from prepare_maker import BIN, VOCABULARY, noise, png, run, summary, write, write_bytes

PICTURES = 800  # four blocks

os.chdir(tempfile.mkdtemp(prefix="fineclip-prepare-"))
os.mkdir("pictures")
images, captions, regions = [], [], []
for i in range(PICTURES):
    k = i if i < 700 else i - 700  # the last 100 are copies
    png(f"pictures/{i:04}.png", noise(k, 20 + k % 9, 16 + k % 5))
    images.append({"id": i, "file_name": f"{i:04}.png"})
    captions += [{"image_id": i, "caption": f"number {i} {'of many ' * k}"} for k in range(i % 3)]
    regions += [{"image_id": i, "bbox": [k, 1, 9, 8.5], "category_id": 1 + k % 2} for k in range(i % 4)]
write_bytes("pictures/0300.png", b"no picture")
os.remove("pictures/0600.png")
write("captions.json", {"images": images, "annotations": captions})
write("instances.json", {"images": images, "annotations": regions,
                         "categories": [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}]})
write("regions.json", {f"{i:04}.png_1_1_9_8.jpg": f"region of {i % 10}" for i in range(PICTURES)})
write("recipe.yaml", f"""
output: store.h5
source: coco
images: pictures
captions: captions.json
instances: instances.json
region_captions: regions.json
vocabulary: {VOCABULARY}
picture: {{size: squash, pixels: 16, codec: jpeg}}
crops: {{size: 12, codec: jpeg}}
max_bad_fraction: 0.01
duplicates: drop
""")
FIXED = {"SOURCE_DATE_EPOCH": "1700000000"}


def contents():
    with open("store.h5", "rb") as f:
        return f.read()


said = run("recipe.yaml", environment={**FIXED, "OMP_NUM_THREADS": "1"})
want = contents()
counts = summary("store.h5")
assert counts["pictures_missing"] == counts["pictures_damaged"] == 1 and counts["pictures_duplicate"] == 100, counts
assert "left out: pictures/0300.png: neither JPEG nor PNG" in said and "left out: pictures/0600.png" in said, said
assert sorted(os.listdir(".")) == ["captions.json", "instances.json", "pictures", "recipe.yaml", "regions.json", "store.h5"]
for ranks, threads in ((0, 3), (3, 1)):
    os.remove("store.h5")
    run("recipe.yaml", ranks=ranks, environment={**FIXED, "OMP_NUM_THREADS": str(threads)})
    assert contents() == want, (ranks, threads)
os.remove("store.h5")


def parts():
    try:
        return sorted(name for name in os.listdir("store.h5.work") if name.startswith("part.") and "partial" not in name)
    except FileNotFoundError:
        return []


def interrupt(number, expect):
    """Start, send a signal once two blocks are done; the blocks that are left."""
    with subprocess.Popen([BIN, "prepare", "recipe.yaml", "crops.size=96"], stderr=subprocess.PIPE, text=True,
                          env={**os.environ, **FIXED, "OMP_NUM_THREADS": "1"}) as process:
        while len(parts()) < 2 and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(number)
        said = process.communicate()[1]
    assert process.returncode == expect, (process.returncode, said)
    assert not os.path.exists("store.h5") and len(parts()) >= 2, parts()
    return said


run("recipe.yaml", "crops.size=96", environment=FIXED)
large = contents()
os.remove("store.h5")
assert "the same command goes on from there" in interrupt(signal.SIGTERM, 75)
done = {name: os.stat(f"store.h5.work/{name}").st_mtime_ns for name in parts()}
write_bytes("store.h5.work/part.0000003.partial", b"half a block")
if len(done) < 4:
    interrupt(signal.SIGKILL, -signal.SIGKILL)
    again = {name: os.stat(f"store.h5.work/{name}").st_mtime_ns for name in parts()}
    assert done.items() <= again.items(), (done, again)  # what was done stayed done
said = run("recipe.yaml", "crops.size=96", ranks=2, environment=FIXED)
assert "going on with what an earlier run left in store.h5.work" in said, said
assert contents() == large and not os.path.exists("store.h5.work")

# ---- another recipe, or another annotation file, does not go on with the wrong plan
os.remove("store.h5")
interrupt(signal.SIGTERM, 75)
assert "going on" not in run("recipe.yaml", environment=FIXED)
assert contents() == want
os.remove("store.h5")
interrupt(signal.SIGKILL, -signal.SIGKILL)
write("regions.json", json.dumps({f"{i:04}.png_1_1_9_8.jpg": f"region {i}" for i in range(PICTURES)}))
assert "going on" not in run("recipe.yaml", "crops.size=96", environment=FIXED)
assert contents() != large

# ---- too many bad pictures: what is done is kept, and a larger fraction goes on with it
os.remove("store.h5")
said = run("recipe.yaml", "max_bad_fraction=0.002", expect=65)
assert "2 of 800 pictures are missing or damaged" in said, said
assert parts(), os.listdir(".")
assert "going on" in run("recipe.yaml", "max_bad_fraction=0.003")
assert np.isfinite(summary("store.h5")["pictures_written"])
subprocess.run(["rm", "-rf", os.getcwd()], check=True)
print("ok")
