"""launch/pt_to_safetensors.py: the file it writes, read back here by an independent reader.

Where torch is installed, whole checkpoints are converted too; without it the writer and the names are still checked.
"""
import importlib.util
import json
import os
import struct
import sys
import tempfile

import numpy as np

SOURCE = os.environ.get("FINECLIP_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "launch"))
sys.dont_write_bytecode = True
import pt_to_safetensors as convert  # noqa: E402

run = failed = 0


def check(ok, what):
    global run, failed
    run += 1
    if not ok:
        failed += 1
        print(f"check failed: {what}")


def check_raises(call, part):
    try:
        call()
    except convert.ConvertError as error:
        check(part in str(error), f"message {error} contains {part}")
    else:
        check(False, f"no error with {part}")


def read(path):
    """{name: (type, shape, bytes)}; also checks that the data is contiguous, aligned and nothing but it follows."""
    with open(path, "rb") as file:
        content = file.read()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + length])
    data = content[8 + length:]
    check(length % 8 == 0, "data starts at a multiple of 8")
    end = 0
    tensors = {}
    for name, entry in header.items():
        begin, stop = entry["data_offsets"]
        check(begin == end, f"{name} starts where the one before it ends")
        end = stop
        tensors[name] = (entry["dtype"], tuple(entry["shape"]), data[begin:stop])
    check(end == len(data), "the last tensor ends the file")
    return tensors


def test_writer(folder):
    rng = np.random.default_rng(5)
    arrays = {
        "logit_scale": rng.standard_normal(()).astype("<f4"),
        "visual.proj": rng.standard_normal((3, 5)).astype("<f2"),
        "text.positional_embedding": rng.standard_normal((7, 2)).astype("<f4"),
        "empty": np.zeros((0, 4), "<f4"),
    }
    path = f"{folder}/a.safetensors"
    types = {"<f4": "F32", "<f2": "F16"}
    convert.write_safetensors(path, [(n, types[a.dtype.str], a.shape, a.tobytes) for n, a in arrays.items()])
    tensors = read(path)
    check(list(tensors) == list(arrays), "names and their order")
    for name, array in arrays.items():
        dtype, shape, content = tensors[name]
        check(dtype == types[array.dtype.str] and shape == array.shape, f"type and shape of {name}")
        check(content == array.tobytes(), f"content of {name}")
    check(sorted(os.listdir(folder)) == ["a.safetensors"], "no partial file is left")

    one = np.ones(2, "<f4")
    check_raises(lambda: convert.write_safetensors(f"{folder}/b", [("x", "F32", (2,), one.tobytes)] * 2), "called x")
    check_raises(lambda: convert.write_safetensors(f"{folder}/b", [("x", "F32", (3,), one.tobytes)]), "x: 8 bytes")
    check_raises(lambda: convert.write_safetensors(f"{folder}/b", [("__metadata__", "F32", (2,), one.tobytes)]), "reserved")
    check(sorted(os.listdir(folder)) == ["a.safetensors"], "a failed conversion leaves nothing behind")


def test_names():
    check(convert.unwrap({"state_dict": {"a": 1}, "epoch": 3}) == {"a": 1}, "state_dict")
    check(convert.unwrap({"model": {"a": 1}}) == {"a": 1}, "model")
    check(convert.unwrap({"a": 1}) == {"a": 1}, "plain")
    check_raises(lambda: convert.unwrap([1]), "found list")
    check(convert.strip_prefix(["module.a", "module.b.c"]) == {"module.a": "a", "module.b.c": "b.c"}, "module.")
    check(convert.strip_prefix(["module.a", "b"]) == {"module.a": "module.a", "b": "b"}, "not on all: kept")


def test_torch(folder):
    import torch

    torch.manual_seed(3)
    state = {
        "module.logit_scale": torch.tensor(2.5),
        "module.visual.w": torch.randn(4, 3).t(),  # not contiguous
        "module.text.h": torch.randn(6).half(),
        "module.text.b": torch.randn(6).bfloat16(),
        "module.text.d": torch.randn(2).double(),
        "module.steps": torch.tensor(7),
    }
    source, target = f"{folder}/in.pt", f"{folder}/out.safetensors"
    torch.save({"epoch": 2, "state_dict": state, "name": "x"}, source)
    _, left_out = convert.convert(source, target)
    check(left_out == ["module.steps"], "integers are left out and named")
    tensors = read(target)
    check(sorted(tensors) == ["logit_scale", "text.b", "text.d", "text.h", "visual.w"], "names without module.")
    check(tensors["logit_scale"][1] == (), "scalar stays 0-dimensional")
    check(tensors["visual.w"][1] == (3, 4), "shape of a transposed view")
    check(tensors["visual.w"][2] == state["module.visual.w"].contiguous().numpy().tobytes(), "its content, row by row")
    check(tensors["text.h"][0] == "F16" and tensors["text.h"][2] == state["module.text.h"].numpy().tobytes(), "half kept")
    bits = np.frombuffer(tensors["text.b"][2], "<u2").astype("<u4") << 16
    check(tensors["text.b"][0] == "BF16", "bfloat16 kept")
    check(np.array_equal(bits.view("<f4"), state["module.text.b"].float().numpy()), "content of bfloat16")
    check(tensors["text.d"][0] == "F32", "double becomes single")
    convert.convert(source, target, keep_half=False)
    tensors = read(target)
    check({t[0] for t in tensors.values()} == {"F32"}, "f32 on request")
    check(np.array_equal(np.frombuffer(tensors["text.h"][2], "<f4"), state["module.text.h"].float().numpy()), "half to single")

    # OpenAI publishes TorchScript archives.
    model = torch.nn.Linear(3, 2)
    torch.jit.script(model).save(source)
    convert.convert(source, target)
    tensors = read(target)
    check(sorted(tensors) == ["bias", "weight"], "names of a TorchScript archive")
    check(tensors["weight"][2] == model.weight.detach().numpy().tobytes(), "its content")

    with open(source, "wb") as file:
        file.write(b"not a checkpoint")
    check_raises(lambda: convert.convert(source, target), "")
    torch.save({"a": torch.tensor(1)}, source)
    check_raises(lambda: convert.convert(source, target), "no tensor of floating-point numbers")


def main():
    test_names()
    with tempfile.TemporaryDirectory(prefix="fineclip-convert-") as folder:
        test_writer(folder)
    torch_there = importlib.util.find_spec("torch") is not None
    if torch_there:
        with tempfile.TemporaryDirectory(prefix="fineclip-convert-") as folder:
            test_torch(folder)
    print(f"{run} checks, {failed} failed, torch {'used' if torch_there else 'not installed'}")
    return 1 if failed or run == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
