"""What is wrong with real data: each is counted or refused as data/README.md says, none crashes, nothing is lost.

fctest: timeout=120
"""
import base64
import json
import os
import struct
import subprocess
import tempfile

import h5py
import numpy as np

from prepare_maker import VOCABULARY, check_close, items, noise, png, png_bytes, run, summary, tar, texts, write, write_bytes

GREY = base64.b64decode(  # 16 x 8, value 16 x
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4z"
    "NDL/wAALCAAIABABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAABwj/xAAWEAADAAAAAAAAAAAAAAAAAAAABkP/2gAIAQEAAD8AN06ZQCdM/9k=")
CMYK = base64.b64decode(  # 16 x 8, value 16 x + 40 k of component k, as Adobe stores it
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAIBgYHBgUIBwcHCQkICgwUDQwLCwwZEhMPFB0aHx4dGhwcICQuJyAiLCMcHCg3KSwwMTQ0NB8nOT04MjwuMzQy"
    "/8AAFAgACAAQBEMRAE0RAFkRAEsRAP/EABcAAAMBAAAAAAAAAAAAAAAAAAQGBwj/xAAgEAABAgYDAQAAAAAAAAAAAAAABkMDBAU3dbMCB4S0/9oADgRD"
    "AE0AWQBLAAA/AJujmxfRzYQjmxwRzZoBHNlAXtoKz5/ohi/29cOmYqFtikfm7hqLKzW3kf/Z")


def rotated(jpeg, orientation, little):
    order = "<" if little else ">"
    tiff = (b"II" if little else b"MM") + struct.pack(order + "HIHHHIHH", 42, 8, 1, 0x0112, 3, 1, orientation, 0) + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 2 + 6 + len(tiff)) + b"Exif\0\0" + tiff + jpeg[2:]


os.chdir(tempfile.mkdtemp(prefix="fineclip-prepare-"))
os.mkdir("in")
ramp = np.repeat(np.arange(24, dtype=np.uint8)[None] * 10, 16, 0)  # (16, 24)
high = np.stack([ramp, 255 - ramp], -1).reshape(16, 48)  # 16 bits: high byte, low byte
good = {
    "cmyk.jpg": CMYK, "grey.jpg": GREY, "turned.jpg": rotated(GREY, 6, True), "turned2.jpg": rotated(GREY, 8, False),
    "upright.jpg": rotated(GREY, 1, True),
    "grey16.png": png_bytes(high, 16, 0), "palette.png": png_bytes(ramp // 128, 8, 3, palette=bytes([255, 0, 0, 0, 0, 255])),
    "bits.png": png_bytes(np.full((16, 3), 0xf0, np.uint8), 1, 0), "alpha.png": png_bytes(np.repeat(ramp, 4, 1), 8, 6)}
bad = {
    "cut.jpg": CMYK[:len(CMYK) * 3 // 5], "cut.png": png_bytes(ramp, 8, 0)[:60], "empty.jpg": b"", "text.jpg": b"<html>not found</html>",
    "head.jpg": GREY[:30], "gif.png": b"GIF89a" + bytes(40), "exif.jpg": b"\xff\xd8\xff\xe1\xff\xffExif\0\0II*\0\xff\xff\xff\xff"}
for name, data in {**good, **bad}.items():
    write_bytes(f"in/{name}", data)
write("folder.yaml", f"""
output: out.h5
source: folder
images: in
vocabulary: {VOCABULARY}
picture: {{size: original, codec: raw}}
crops: none
prompts: none
""")
said = run("folder.yaml", expect=65, says="max_bad_fraction: 0.001 allows no more")
assert os.listdir(".") == ["in", "folder.yaml"] or sorted(os.listdir(".")) == ["folder.yaml", "in"]
said = run("folder.yaml", "max_bad_fraction=0.5")
s = summary("out.h5")
assert s["pictures_damaged"] == len(bad) and s["pictures_written"] == len(good), s
assert s["pictures_rotated"] == 2, s
assert all(f"in/{name}" in said for name in bad), said
with h5py.File("out.h5") as f:
    names = texts(f, "images/name")
    assert names == sorted(good)
    size = {name: (int(w), int(h)) for name, w, h in zip(names, f["images/width"], f["images/height"])}
    rgb = {name: items(f, "images/bytes", "images/offsets", i).reshape(size[name][1], size[name][0], 3).astype(int)
           for i, name in enumerate(names)}
assert size["turned.jpg"] == (16, 8), size  # EXIF rotation is not applied: boxes refer to pixels as they are stored
assert (rgb["turned.jpg"] == rgb["grey.jpg"]).all()
check_close(rgb["grey.jpg"][:, :, 0], np.repeat(np.arange(16)[None] * 16, 8, 0), 4)
assert (rgb["grey.jpg"][:, :, 0] == rgb["grey.jpg"][:, :, 2]).all() and np.ptp(rgb["cmyk.jpg"]) > 20
check_close(rgb["grey16.png"], np.repeat(ramp[:, :, None], 3, 2), 0)
assert (rgb["palette.png"][:, :13] == [255, 0, 0]).all() and (rgb["palette.png"][:, 13:] == [0, 0, 255]).all()
assert (rgb["bits.png"][:, :4] == 255).all() and (rgb["bits.png"][:, 4:8] == 0).all()
check_close(rgb["alpha.png"], np.repeat(ramp[:, :, None], 3, 2), 0)

# ---- boxes: empty, turned inside out, outside, reaching out, not finite; pictures without captions; empty captions
png("in/a.png", noise(1))
images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "grey.jpg"}]
boxes = [[1, 1, 0, 5], [1, 1, 5, 0], [5, 5, -2, -2], [24, 0, 5, 5], [-9, -9, 9, 9], [-3, -3, 9, 9], [1e999, 0, 5, 5], [0, 0, 1e999, 5],
         [0, 0, 1e308, 1e308], [2, 2, 5, 5], [0, 0, 1e-9, 1e-9]]
write("boxes.json", json.dumps({"images": images, "annotations": [{"image_id": 1, "bbox": box} for box in boxes]}).replace("Infinity", "1e999"))
write("captions.json", {"images": images, "annotations": [{"image_id": 1, "caption": "  \t\n"}, {"image_id": 1, "caption": ""},
                                                          {"image_id": 1, "caption": "real"}, {"image_id": 9, "caption": "lost"}]})
write("coco.yaml", f"""
output: out.h5
source: coco
images: in
captions: captions.json
instances: boxes.json
vocabulary: {VOCABULARY}
picture: {{size: original, codec: png}}
crops: {{size: 4, codec: raw}}
prompts: none
""")
run("coco.yaml")
s = summary("out.h5")
assert s["regions_empty"] == 3 and s["regions_outside"] == 2 and s["regions_not_finite"] == 2, s
assert s["regions_cut"] == 2 and s["regions_written"] == 4 and s["pictures_without_caption"] == 1, s
assert s["captions_empty"] == 2 and s["captions_elsewhere"] == 1, s
with h5py.File("out.h5") as f:
    check_close(f["regions/boxes"][:3], [[0, 0, 6, 6], [0, 0, 24, 16], [2, 2, 7, 7]], 1e-5)
assert subprocess.run([os.environ["FINECLIP_BIN"], "inspect", "--check", "out.h5"], capture_output=True).returncode == 0
run("coco.yaml", "filter={min_captions: 1, min_regions: 1}")
assert summary("out.h5")["pictures_few_captions"] == 1

# ---- bytes that are not UTF-8 become U+FFFD, in captions and names
write_bytes("captions.json", b'{"images": [{"id": 1, "file_name": "a.png"}, {"id": 3, "file_name": "caf\xe9.png"}], "annotations": ['
            b'{"image_id": 1, "caption": "caf\xe9 \xc3\xa9t\xc3\xa9 \xff\xfe"}, {"image_id": 3, "caption": "\xed\xa0\x80"}]}')
png(b"in/caf\xe9.png", noise(2))
run("coco.yaml")
assert summary("out.h5")["texts_repaired"] == 2
with h5py.File("out.h5") as f:
    assert texts(f, "captions/text")[0] == "caf\ufffd \u00e9t\u00e9 \ufffd\ufffd", texts(f, "captions/text")
    assert texts(f, "images/name") == ["a.png", "caf\ufffd.png"]

# ---- annotations that are refused, with file and line
pictures = '{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [\n'
for text, what in (("", "captions.json is empty"), ("{}", "captions.json lists no pictures"), ("   ", "captions.json"),
                   ('{"images": []}', "lists no pictures"), ("[]", "captions.json lists no pictures"),
                   (pictures + '{"image_id": 1, "caption": NaN}]}', "captions.json:2: not JSON"),
                   (pictures + '{"image_id": 1, "caption": null}]}', "captions.json:2: annotations 0 has no caption"),
                   (pictures + '{"image_id": 1, "caption": "a"},', "captions.json:2: not JSON"),
                   (pictures + '{"image_id": 1, "caption": "a"}]} trailing', "captions.json:2: not JSON"),
                   (pictures + '{"caption": "a"}]}', "annotations 0 has no image_id"),
                   ('{"images": [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]}', "image id 1 occurs twice")):
    write("captions.json", text)
    run("coco.yaml", "instances=null" if "captions.json lists" in what else "text=true", expect=65, says=what)
assert not os.path.exists("out.h5.work"), os.listdir(".")

# ---- half a tar: what is whole stays, what is not is counted
members = [(f"{i:03}.{kind}", data) for i in range(8) for kind, data in (
    ("png", png_bytes(noise(i).reshape(16, -1))), ("txt", f"picture {i}".encode()))]
tar("whole.tar", members)
write("shards.yaml", f"output: out.h5\nsource: shards\nshards: cut.tar\nvocabulary: {VOCABULARY}\ncrops: none\nprompts: none\n"
      "picture: {size: original, codec: png}\nmax_bad_fraction: 1\n")
with open("whole.tar", "rb") as f:
    whole = f.read()
one = 512 + 512 * -(-len(members[0][1]) // 512) + 1024  # a sample of a picture and a text
for size, kept, damaged, without, cut in ((3 * one, 3, 0, 0, 1), (3 * one + 100, 3, 0, 0, 1), (3 * one + 600, 3, 1, 0, 1),
                                          (4 * one - 1024, 4, 0, 1, 1), (4 * one - 505, 4, 0, 1, 1), (4 * one - 500, 4, 0, 0, 1), (8 * one, 8, 0, 0, 1),
                                          (8 * one + 1024, 8, 0, 0, 0)):
    write_bytes("cut.tar", whole[:size])
    said = run("shards.yaml")
    s = summary("out.h5")
    found = (s["pictures_written"], s["pictures_damaged"], s["pictures_without_caption"], s["shards_cut"])
    assert found == (kept, damaged, without, cut), (size, found, said)
    assert not cut or "cut.tar ends too early" in said, said
spoiled = bytearray(whole)
spoiled[2 * one] ^= 1  # a head whose check sum is wrong
write_bytes("cut.tar", spoiled)
run("shards.yaml", says="damaged at byte")
assert summary("out.h5")["pictures_written"] == 2
for data, what in ((b"", "is not a tar"), (b"\x1f\x8b" + bytes(600), "it is compressed"), (b"x" * 2000, "is not a tar"),
                   (bytes(1024), "lists no pictures")):
    write_bytes("cut.tar", data)
    run("shards.yaml", expect=65, says=what)
write_bytes("cut.tar", whole)
with open("cut.tar", "r+b") as f:
    f.seek(512 + 40)
    f.write(b"\0" * 200)  # pixels, not heads
run("shards.yaml")
assert summary("out.h5")["pictures_damaged"] == 1
subprocess.run(["rm", "-rf", os.getcwd()], check=True)
print("ok")
