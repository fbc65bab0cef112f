"""What tests of `fineclip prepare` share: made-up pictures and shards, running a recipe, what a store must add up to."""
import io
import json
import os
import struct
import subprocess
import tarfile
import zlib

import h5py
import numpy as np

BIN = os.environ["FINECLIP_BIN"]
VOCABULARY = os.path.join(os.environ["FINECLIP_SOURCE"], "tests/golden/prepare/bpe_vocab_48895.txt.gz")


def png_bytes(rows, depth=8, colour=2, palette=None):
    """rows: (height, bytes of a row) uint8, as PNG wants them; colour: PNG's type."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    height, width = rows.shape[0], rows.shape[1] * 8 // (depth * samples)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
            + (chunk(b"PLTE", palette) if palette else b"")
            + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))) + chunk(b"IEND", b""))


def png(path, rgb):
    write_bytes(path, png_bytes(rgb.reshape(rgb.shape[0], -1)))


def noise(seed, width=24, height=16):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write_bytes(path, data):
    with open(path, "wb") as f:
        f.write(data)


def write(path, text):
    with open(path, "w") as f:
        f.write(text if isinstance(text, str) else json.dumps(text))


def tar(path, members, form=tarfile.USTAR_FORMAT):
    """members: (name, bytes) in order."""
    with tarfile.open(path, "w", format=form) as f:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            f.addfile(info, io.BytesIO(data))


def run(recipe, *overrides, expect=0, says=None, ranks=0, environment=None):
    command = [BIN, "prepare", recipe, *overrides]
    if ranks:
        command = [os.environ.get("FINECLIP_MPIEXEC", "mpirun"), "-np", str(ranks), *command]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
                          env={**os.environ, **(environment or {})})
    assert done.returncode == expect, (done.returncode, expect, done.stderr)
    assert says is None or says in done.stderr, (says, done.stderr)
    return done.stderr


def items(f, name, offsets, i):
    o = f[offsets][:].astype(int)
    return f[name][o[i]:o[i + 1]]


def texts(f, name):
    return [text.decode() for text in f[name][:]]


def check_close(a, b, tol):
    error = np.abs(np.asarray(a, float) - np.asarray(b, float)).max()
    assert not error > tol and error == error, (a, b)


def summary(path):
    """The counts of a store, after checking that nothing vanished: what was read was written, or dropped by name."""
    with h5py.File(path) as f:
        s = {name: int(value) for name, value in f["summary"].attrs.items()}
        regions = [s["regions_" + word] for word in (
            "elsewhere", "with_picture", "crowd", "double", "not_finite", "empty", "outside", "low_score", "too_small",
            "too_large", "suppressed", "over_limit")]
        pictures = [s["pictures_" + word] for word in (
            "missing", "damaged", "other_size", "too_small", "too_long", "few_captions", "few_regions", "not_sampled",
            "duplicate")]
        assert s["pictures_listed"] == s["pictures_written"] + sum(pictures), s
        assert s["captions_read"] == s["captions_written"] + s["captions_elsewhere"] + s["captions_with_picture"] + \
            s["captions_empty"], s
        assert s["regions_read"] == s["regions_written"] + sum(regions), s
        assert s["pictures_written"] == len(f["images/id"]) == len(f["images/hash"])
        assert s["captions_written"] == len(f["captions/offsets"]) - 1
        assert s["regions_written"] == len(f["regions/boxes"])
    return s
