#!/usr/bin/env python3
"""Writes the seeds that are not text into tests/fuzz/seeds; the text ones are written by hand.

    tests/fuzz/make_seeds.py
"""
import gzip
import io
import json
import os
import struct
import tarfile
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))


def write(target, name, data):
    folder = f"{HERE}/seeds/{target}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{name}", "wb") as file:
        file.write(data)


def png(colour, bits, width, height, rows, interlace=0, extra=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"tEXt", b"key\0value") + chunk(b"IEND", b""))


def pngs():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    palette = chunk(b"PLTE", bytes(range(12)))
    yield "grey1", png(0, 1, 9, 3, (b"\0" + b"\xaa\x80") * 3)
    yield "grey16", png(0, 16, 2, 2, (b"\1" + b"\1\2\3\4") * 2)
    yield "rgb", png(2, 8, 3, 2, b"".join(bytes([f]) + bytes(range(9)) for f in (2, 4)))
    yield "rgb16", png(2, 16, 2, 1, b"\0" + bytes(range(12)))
    yield "palette2", png(3, 2, 5, 2, (b"\0" + b"\x1b\x40") * 2, 0, palette + chunk(b"tRNS", b"\0\x80"))
    yield "grey_alpha", png(4, 8, 2, 2, (b"\3" + b"\1\2\3\4") * 2)
    yield "rgba_interlaced", png(6, 8, 3, 3, b"".join(b"\0" + bytes(4 * n) for n in (1, 1, 2, 1, 3)), 1)


def shards():
    """Tars as img2dataset and GNU tar write them, with long names and metadata; one that is cut."""
    def shard(form, members):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as file:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
        return out.getvalue()[:-8192 - 512] + bytes(1024)  # less padding

    sample = [("000.jpg", b"\xff\xd8\xff"), ("000.txt", b"a man"), ("000.json", b'{"width": 3, "height": 2, "caption": "x"}')]
    yield "plain", shard(tarfile.USTAR_FORMAT, sample)
    yield "gnu", shard(tarfile.GNU_FORMAT, [("long/" * 30 + "1.png", b"png"), *sample[1:]])
    yield "pax", shard(tarfile.PAX_FORMAT, [("long/" * 60 + "1.png", b"png"), ("read.me", b""), *sample])
    yield "cut", shard(tarfile.USTAR_FORMAT, sample)[:1300]


def safetensors():
    """First byte 0: a whole file; 1: two bytes of data size, header, data (the target adds the length)."""
    def header(**tensors):
        return json.dumps(tensors).encode()

    plain = header(__metadata__={"format": "pt", "step": "12"},
                   a={"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
                   b={"dtype": "I64", "shape": [], "data_offsets": [16, 24]})
    yield "whole", b"\0" + struct.pack("<Q", len(plain)) + plain + bytes(24)
    yield "two", b"\1" + struct.pack("<H", 24) + plain + bytes(24)
    kinds = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1}
    at, entries = 0, {}
    for dtype, size in kinds.items():
        entries["x." + dtype] = {"dtype": dtype, "shape": [3], "data_offsets": [at, at + 3 * size]}
        at += 3 * size
    yield "dtypes", b"\1" + struct.pack("<H", at) + header(**entries) + bytes(range(at))
    deep = header(t={"dtype": "F16", "shape": [1, 2, 1, 2, 1, 1, 1, 0], "data_offsets": [0, 0]})
    yield "axes", b"\1\0\0" + deep
    yield "empty", b"\1\0\0{}"


def main():
    for name, data in pngs():
        write("png", name + ".png", data)
    for name, data in safetensors():
        write("safetensors", name, data)
    for name, data in shards():
        write("shards", name, data)
    lines = b'"bpe_simple_vocab_16e6.txt#version: 0.2\ni n\nt h\na n\nr e</w>\nth e</w>\n\xc4\xa0 a\n'
    write("vocabulary", "text", lines)
    write("vocabulary", "gzip", gzip.compress(lines, mtime=0))


if __name__ == "__main__":
    main()
