#!/usr/bin/env python3
"""How `fineclip prepare` does at scale, with made pictures: pictures a second, memory of each rank, size of the store.

    tests/bench/prepare_scale.py [--pictures 100000] [--regions 4] [--ranks 2] [--folder DIR] [--keep]

Makes a folder of COCO's shape (640 x 480 JPEGs of natural statistics, every file different; captions, boxes and their
sentences), prepares it as experiments/prepare/coco.yaml does, and says what it took. While it works, DIR needs some 600 KB a picture (files, blocks, store).
FINECLIP_BIN is the program (build/fineclip), FINECLIP_VOCABULARY CLIP's vocabulary (default: the tests' cut of it).
"""
import argparse
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import time
import zlib

import h5py
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
BIN = os.path.abspath(os.environ.get("FINECLIP_BIN", f"{SOURCE}/build/fineclip"))
VOCABULARY = os.path.abspath(os.environ.get("FINECLIP_VOCABULARY", f"{SOURCE}/tests/golden/prepare/bpe_vocab_48895.txt.gz"))
WIDTH, HEIGHT, KINDS = 640, 480, 64
WORDS = "a the red small dog man holding standing street white table with of and in big green train cat blue sky on".split()


def png(path, rgb):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in rgb)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", rgb.shape[1], rgb.shape[0], 8, 2, 0, 0, 0))
                + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def natural(rng):
    """Noise whose amplitude falls with frequency as in photographs."""
    y, x = np.fft.fftfreq(HEIGHT)[:, None], np.fft.fftfreq(WIDTH)[None]
    fall = 1 / np.maximum(np.hypot(x, y), 1 / WIDTH) ** 1.1
    planes = [np.real(np.fft.ifft2(np.fft.fft2(rng.standard_normal((HEIGHT, WIDTH))) * fall)) for _ in range(2)]
    rgb = np.stack([planes[0] + 0.3 * k * planes[1] for k in (-1, 0, 1)], -1)
    return np.clip(128 + 50 * rgb / rgb.std(), 0, 255).astype(np.uint8)


def make_kinds():
    """JPEGs through the program itself."""
    os.makedirs("kinds")
    rng = np.random.default_rng(1)
    for i in range(KINDS):
        png(f"kinds/{i:03}.png", natural(rng))
    with open("kinds.yaml", "w") as f:
        f.write("output: kinds.h5\nsource: folder\nimages: kinds\npicture: {size: longest, pixels: 640, quality: 60}\n"
                "crops: none\nprompts: none\n")
    subprocess.run([BIN, "prepare", "kinds.yaml"], check=True, stderr=subprocess.DEVNULL)
    with h5py.File("kinds.h5") as f:
        offsets, data = f["images/offsets"][:].astype(int), f["images/bytes"][:].tobytes()
    return [data[a:b] for a, b in zip(offsets, offsets[1:])]


def sentence(rng):
    return " ".join(WORDS[k] for k in rng.integers(0, len(WORDS), rng.integers(5, 14)))


def make(pictures, regions):
    kinds, rng, total = make_kinds(), np.random.default_rng(2), 0
    images, captions, boxes, region_captions = [], [], [], {}
    for i in range(pictures):
        name, jpeg = f"{i:012}.jpg", kinds[i % KINDS]
        path = f"images/{i // 10000:03}/{name}"
        if i % 10000 == 0:
            os.makedirs(os.path.dirname(path))
        comment = b"picture %d" % i  # in a comment of the file: all differ, all cost the same to decode
        with open(path, "wb") as f:
            f.write(jpeg[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment + jpeg[2:])
        total += len(jpeg)
        name = path[len("images/"):]
        images.append({"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT})
        captions += [{"image_id": i, "id": 5 * i + k, "caption": sentence(rng)} for k in range(5)]
        for _ in range(regions):
            w, h = WIDTH * rng.uniform(0.2, 0.5), HEIGHT * rng.uniform(0.2, 0.5)
            x, y = (WIDTH - w) * rng.random(), (HEIGHT - h) * rng.random()
            box = [round(v, 2) for v in (x, y, w, h)]
            boxes.append({"image_id": i, "id": len(boxes), "bbox": box, "category_id": 1 + len(boxes) % 80})
            region_captions["_".join([name, *(str(int(v)) for v in box)]) + ".jpg"] = sentence(rng)
    categories = [{"id": k, "name": f"kind {k}"} for k in range(1, 81)]
    for name, content in (("captions", {"images": images, "annotations": captions}),
                          ("instances", {"images": images, "annotations": boxes, "categories": categories}), ("regions", region_captions)):
        with open(name + ".json", "w") as f:
            json.dump(content, f)
    return total


def prepare(ranks):
    """Seconds, and the peak memory of each rank in MiB as the kernel saw it."""
    with open("scale.yaml", "w") as f:
        f.write(f"output: scale.h5\nsource: coco\nimages: images\ncaptions: captions.json\ninstances: instances.json\n"
                f"region_captions: regions.json\nvocabulary: {VOCABULARY}\n")
    command = [sys.executable, os.path.join(HERE, "prepare_scale.py"), "--one-rank"]
    if ranks > 1:
        command = ["mpirun", "-np", str(ranks), "--bind-to", "none", *command]
    begin = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.monotonic() - begin
    if done.returncode != 0:
        sys.exit(done.stderr)
    peaks = [int(line.split()[1]) / 1024 for line in done.stdout.splitlines() if line.startswith("peak ")]
    return seconds, peaks, done.stderr


def one_rank():
    """Started once a rank: runs the program and says what memory it took."""
    done = subprocess.run([BIN, "prepare", "scale.yaml"])
    print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, flush=True)
    sys.exit(done.returncode)


def main():
    if "--one-rank" in sys.argv:
        one_rank()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100000)
    parser.add_argument("--regions", type=int, default=4)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--folder", default="prepare_scale")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    a = parser.parse_args()
    os.makedirs(a.folder)
    os.chdir(a.folder)
    begin = time.monotonic()
    source = make(a.pictures, a.regions)
    print(f"made {a.pictures} pictures of {source / a.pictures / 1e3:.0f} KB, {a.pictures * a.regions} regions in {time.monotonic() - begin:.0f} s", flush=True)
    seconds, peaks, said = prepare(a.ranks)
    with h5py.File("scale.h5") as f:
        assert len(f["images/id"]) == a.pictures and len(f["regions/boxes"]) == a.pictures * a.regions
        assert f["summary"].attrs["regions_captioned"] == a.pictures * a.regions
    size = os.path.getsize("scale.h5")
    print(said, end="")
    print(f"{a.ranks} ranks: {seconds:.1f} s, {a.pictures / seconds:.1f} pictures/s, {a.pictures * a.regions / seconds:.1f} regions/s; "
          f"peak memory a rank {', '.join(f'{p:.0f}' for p in peaks)} MiB; store {size / 1e9:.2f} GB, {size / a.pictures / 1e3:.0f} KB a picture")
    print(f"2.5 million pictures at this rate: {2.5e6 / (a.pictures / seconds) / 3600:.1f} hours, {size / a.pictures * 2.5e6 / 1e9:.0f} GB")
    os.chdir("..")
    if not a.keep:
        shutil.rmtree(a.folder)


if __name__ == "__main__":
    main()
