#!/usr/bin/env python3
"""Turn a published PyTorch checkpoint (.pt, .pth, .bin) into the safetensors file `model.init` reads.

    launch/pt_to_safetensors.py IN.pt OUT.safetensors [--dtype keep|f32]

Takes a plain state dict, one under `state_dict` or `model` (training checkpoints), and OpenAI's TorchScript archives; strips
`module.` as DistributedDataParallel leaves it. Half precision is kept unless --dtype f32; double becomes single. Entries
that are not numbers of the model (step counters, OpenAI's input_resolution and the like) are left out and named.

Needs torch to read .pt (Debian: python3-torch, installed by launch/setup.sh --bench), nothing to write safetensors.
Checkpoints are read with weights_only, which refuses Python objects that could run code.
"""
import argparse
import json
import os
import struct
import sys

# Bytes of one element of the types this program writes.
SIZES = {"F32": 4, "F16": 2, "BF16": 2}
# In OpenAI's archives beside the weights; the model configuration has them.
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
PREFIX = "module."


class ConvertError(Exception):
    """The checkpoint is not what it should be; the text says where."""


def write_safetensors(path, tensors):
    """tensors: list of (name, type of SIZES, shape, function without arguments that returns the little-endian bytes).

    One tensor is in memory at a time; the file appears under its name when it is whole.
    """
    header = {}
    offset = 0
    for name, dtype, shape, _ in tensors:
        if name in header or name == "__metadata__":
            raise ConvertError(f"two tensors are called {name}" if name in header else f"{name} is a reserved name")
        size = SIZES[dtype]
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the data starts at a multiple of 8
    part = f"{path}.part"
    try:
        with open(part, "wb") as file:
            file.write(struct.pack("<Q", len(text)))
            file.write(text)
            for name, _, _, data in tensors:
                content = data()
                begin, end = header[name]["data_offsets"]
                if len(content) != end - begin:
                    raise ConvertError(f"{name}: {len(content)} bytes, {end - begin} by its shape and type")
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)


def unwrap(loaded):
    """The mapping name -> tensor inside whatever a checkpoint holds."""
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        raise ConvertError(f"no state dict in it: found {type(loaded).__name__}, want a mapping of names to tensors")
    return loaded


def strip_prefix(names):
    """{old name: new name}; the prefix goes only when every name has it."""
    if names and all(name.startswith(PREFIX) for name in names):
        return {name: name[len(PREFIX):] for name in names}
    return {name: name for name in names}


def load(path):
    """State dict of a checkpoint file, on the CPU."""
    import torch

    with open(path, "rb"):
        pass  # a file that cannot be opened is an OSError, whatever torch would make of it
    try:
        return torch.jit.load(path, map_location="cpu").state_dict()
    except RuntimeError:
        pass  # not TorchScript: an ordinary checkpoint
    try:
        return unwrap(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise ConvertError(
            f"torch does not read it as a checkpoint ({error})\nIf it holds Python objects beside the weights and you trust its source, load it in Python "
            "and save its state dict alone: torch.save(checkpoint['state_dict'], 'weights.pt')"
        ) from error


def as_bytes(tensor):
    """Raw little-endian content of a CPU tensor of any 2- or 4-byte type."""
    import torch

    flat = tensor.contiguous().reshape(-1)
    return flat.view(torch.int32 if flat.element_size() == 4 else torch.int16).numpy().tobytes()


def plan(state, keep_half):
    """What to write out of a state dict: list for write_safetensors, and the names left out."""
    import torch

    written = []
    left_out = []
    names = strip_prefix([name for name in state if name not in NOT_WEIGHTS])
    types = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}
    for old, tensor in state.items():
        if old not in names or not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            left_out.append(old)
            continue
        dtype = types.get(tensor.dtype, "F32") if keep_half else "F32"
        as_type = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}[dtype]
        written.append((names[old], dtype, tuple(tensor.shape), lambda t=tensor, a=as_type: as_bytes(t.detach().to(a))))
    if not written:
        raise ConvertError("no tensor of floating-point numbers in it")
    return written, left_out


def convert(source, target, keep_half=True):
    written, left_out = plan(load(source), keep_half)
    write_safetensors(target, written)
    return written, left_out


def main():
    if sys.byteorder != "little":
        raise SystemExit("pt_to_safetensors: safetensors are little-endian and this machine is not")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", metavar="IN.pt")
    parser.add_argument("target", metavar="OUT.safetensors")
    parser.add_argument("--dtype", choices=("keep", "f32"), default="keep", help="keep half precision, or write f32")
    args = parser.parse_args()
    try:
        written, left_out = convert(args.source, args.target, args.dtype == "keep")
    except ImportError:
        raise SystemExit("pt_to_safetensors: needs torch; on Debian: apt install python3-torch") from None
    except OSError as error:
        raise SystemExit(f"pt_to_safetensors: {error}") from None
    except ConvertError as error:
        raise SystemExit(f"pt_to_safetensors: {args.source}: {error}") from None
    for name in left_out:
        print(f"left out: {name}")
    print(f"{args.target}: {len(written)} tensors, {os.path.getsize(args.target) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
