#!/usr/bin/env python3
"""Stores and h5py: what our writer writes reads back there as FORMATS.md says, and what h5py writes, in layouts ours
never uses (fixed-length strings, compression, other byte order, narrower integers), reads here.
fctest: timeout=60"""
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

PROGRAM = os.path.join(os.path.dirname(os.environ["FINECLIP_BIN"]), "tests", "test_data_store")
CONTEXT, VOCAB, IMAGES = 12, 500, 23
checks = failed = 0


def check(ok, what):
    global checks, failed
    checks += 1
    if not ok:
        failed += 1
        print("check failed:", what, file=sys.stderr)


def ids(key):
    count = 2 + key % (CONTEXT - 1)
    return [VOCAB - 2] + [(key * 31 + k * 7) % (VOCAB - 2) for k in range(1, count - 1)] + [VOCAB - 1]


def items(group, name, offsets):
    values, ends = group[name][...], group[offsets][...]
    return [values[a:b].tolist() for a, b in zip(ends[:-1], ends[1:])]


def check_written(path):
    with h5py.File(path, "r") as f:
        attrs = dict(f.attrs)
        check(attrs["format"] == "fineclip-store" and attrs["version"] == 1 and attrs["complete"] == 1, attrs)
        check(attrs["tokenizer"] == "made-up" and attrs["source"] == "store_maker", attrs)
        check((attrs["context_length"], attrs["vocab_size"], attrs["crop_size"]) == (CONTEXT, VOCAB, 8), attrs)
        check(attrs["crop_scale"] == 1.5 and len(attrs["created"]) == 20, attrs)
        check(f["images"].attrs["codec"] == "raw" and f["regions"].attrs["codec"] == "raw", "codec")
        kinds = {"images/bytes": "u1", "images/offsets": "u8", "images/height": "i4", "images/width": "i4",
                 "images/id": "i8", "captions/tokens": "u2", "captions/offsets": "u8", "captions/image_offsets": "u8",
                 "regions/boxes": "f4", "regions/image_offsets": "u8", "regions/tokens": "u2", "regions/offsets": "u8",
                 "regions/category": "i4", "regions/score": "f4", "regions/crop_bytes": "u1",
                 "regions/crop_offsets": "u8", "regions/crop_height": "i4", "regions/crop_width": "i4",
                 "categories/isthing": "u1", "categories/prompt_tokens": "u2", "categories/prompt_offsets": "u8",
                 "categories/category_offsets": "u8"}
        for name, kind in kinds.items():
            check(f[name].dtype == np.dtype("<" + kind), (name, f[name].dtype))
        captions = sum(1 + i % 3 for i in range(IMAGES))
        regions = sum(i % 4 for i in range(IMAGES))
        check(items(f["captions"], "tokens", "offsets") == [ids(c) for c in range(captions)], "caption tokens")
        check(items(f["regions"], "tokens", "offsets") == [[] if r % 5 == 4 else ids(1000 + r) for r in range(regions)],
              "region tokens")
        check(f["captions/image_offsets"][...].tolist() == np.cumsum([0] + [1 + i % 3 for i in range(IMAGES)]).tolist(),
              "captions of images")
        check(f["regions/boxes"].shape == (regions, 4) and f["regions/crop_bytes"].shape == (regions * 192,), "regions")
        check(f["images/width"][...].tolist() == [20 + 3 * (i % 5) for i in range(IMAGES)], "width")
        check(f["images/offsets"][-1] == f["images/bytes"].shape[0], "bytes")
        check(f["images/name"][3] == b"picture_3.ppm" and f["images/name"].shape == (IMAGES,), "name")
        check(f["captions/text"][5].decode() == "caption 5 \u00e9" and f["regions/text"][1] == b"region 1", "text")
        check([n.decode() for n in f["categories/names"]] == [f"category {k}" for k in range(3)], "categories")
        check(f["categories/category_offsets"][...].tolist() == [0, 1, 3, 6], "prompts")


def rewrite(source, target, fixed, swapped, narrow):
    """A copy in another layout. Scalars stay readable to any HDF5 program."""
    with h5py.File(source, "r") as f, h5py.File(target, "w") as g:
        def attributes(a, b):
            for key, value in a.attrs.items():
                b.attrs[key] = np.bytes_(value) if fixed and isinstance(value, str) else value

        def copy(name, item):
            if isinstance(item, h5py.Group):
                attributes(item, g.create_group(name))
                return
            data = item[...]
            if data.dtype == object:
                g.create_dataset(name, data=np.array(list(data), dtype="S24") if fixed else data,
                                 dtype=None if fixed else h5py.string_dtype())
                return
            if swapped:
                data = data.astype(data.dtype.newbyteorder(">"))
            if narrow and name.endswith("ffsets"):
                data = data.astype("u4")
            elif narrow and name.endswith("tokens"):
                data = data.astype("i4")
            elif narrow and name == "regions/boxes":
                data = data.astype("f8")
            g.create_dataset(name, data=data, compression="gzip" if swapped else None, chunks=True if swapped else None)

        attributes(f, g)
        f.visititems(copy)


def read(path):
    done = subprocess.run([PROGRAM, "read", path], stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout


with tempfile.TemporaryDirectory(prefix="fineclip-test-") as folder:
    ours = f"{folder}/ours.h5"
    subprocess.run([PROGRAM, "write", ours], check=True, stdout=subprocess.DEVNULL)
    check_written(ours)
    status, want = read(ours)
    check(status == 0 and "images=23\n" in want and "findings=0\n" in want, want)
    check("name=picture_22.ppm\n" in want and "tokenizer=made-up\n" in want and want.count("ids=") == 45, want)
    for number, layout in enumerate([(True, False, False), (False, True, False), (False, False, True), (True, True, True)]):
        theirs = f"{folder}/theirs{number}.h5"
        rewrite(ours, theirs, *layout)
        status, got = read(theirs)
        check(status == 0 and got == want, (layout, got))
    with h5py.File(f"{folder}/theirs0.h5", "r+") as f:
        f["regions/boxes"][4, 2] = np.inf
        f.attrs["version"] = np.int8(1)
    status, got = read(f"{folder}/theirs0.h5")
    check(status == 0 and "findings=1\n" in got, got)

print(f"{checks} checks, {failed} failed")
sys.exit(1 if failed or checks == 0 else 0)
