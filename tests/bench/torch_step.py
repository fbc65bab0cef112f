#!/usr/bin/python3
"""Time one FineCLIP training step in PyTorch, on the CPU or on a GPU: the yardstick of compare_torch.py.

An EVA-02-CLIP model (torch_model.py) with random weights on made-up pictures, text tower frozen or (--train-text) not. Without
options it is the published method's own way in fp32 on the CPU: text rows padded to the context length, and the vision
tower run once for the pictures' class tokens, once for their dense features and once for the crops. The options give
what a good engineer would do today; torch.md says which. Pictures go to the device as bytes while the step before computes.

    tests/bench/torch_step.py --threads 2 --steps 5
    tests/bench/torch_step.py --device cuda --dtype bf16 --fast --batch 32 --boxes 20

Needs torch (1.13 or newer; fused attention and torch.compile need 2.x).
"""
import argparse
import math
import resource
import statistics
import time

import torch

import torch_model

MODELS = {"b16": "eva02-clip-b-16", "l14": "eva02-clip-l-14-336"}
CAPTION_TOKENS, REGION_TOKENS = 16, 12  # as `fineclip bench` makes them up
FAST = {"attention": "fused", "compile": "blocks", "shared_trunk": True, "last_block": "used", "text_rows": "trimmed",
        "residual": "bf16"}


def make_optimizer(model, fused, lr=1e-5, weight_decay=0.1):
    """AdamW without decay for vectors and scalars."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8, **({"fused": True} if fused else {}))


def train_step(model, optimizer, batch, terms=torch_model.TERMS, losses=torch_model.losses):
    """One update; returns the terms' values, which stay on the device: reading them would make the host wait."""
    optimizer.zero_grad(set_to_none=True)
    values = losses(model, batch, terms)
    sum(values).backward()
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, math.log(100))
    return [value.detach() for value in values]


def made_up_tokens(rows, words, length, vocab):
    """Start, words, end, zeros up to length: what CLIP's tokenizer gives for a short caption."""
    tokens = torch.zeros(rows, length, dtype=torch.long)
    words = min(words, length)
    tokens[:, 0] = vocab - 2
    tokens[:, 1:words - 1] = torch.randint(1, vocab - 2, (rows, words - 2))
    tokens[:, words - 1] = vocab - 1
    return tokens


def trim(tokens):
    """Without the columns after the last end token; exact, since attention is causal."""
    return tokens[:, :int(tokens.argmax(dim=1).max()) + 1].contiguous()


def made_up_batch(pictures, boxes, size, length, vocab, terms=torch_model.TERMS):
    """See torch_model.losses; what no term needs is left out."""
    regions = pictures * boxes
    batch = {"pictures": torch.randint(0, 256, (pictures, 3, size, size), dtype=torch.uint8)}
    if "global" in terms:
        batch["captions"] = made_up_tokens(pictures, CAPTION_TOKENS, length, vocab)
    if "region" in terms:
        batch["region_captions"] = made_up_tokens(regions, REGION_TOKENS, length, vocab)
    if "distill" in terms:
        batch["crops"] = torch.randint(0, 256, (regions, 3, size, size), dtype=torch.uint8)
    if "region" in terms or "distill" in terms:
        corner = torch.rand(regions, 2) * 0.5
        batch["boxes"] = torch.cat([corner, corner + 0.1 + torch.rand(regions, 2) * 0.4], dim=1)
        batch["picture_of"] = torch.arange(pictures).repeat_interleave(boxes)
        batch["slot_of"] = torch.arange(boxes).repeat(pictures)
        batch["most_boxes"] = boxes
    return batch


class Feed:
    """The batch again and again; on a GPU the next copy travels from pinned memory while a step computes."""

    def __init__(self, batch, device):
        self.cuda = device == "cuda"
        if not self.cuda:
            self.buffers = [batch]
            return
        self.source = {key: value.pin_memory() if torch.is_tensor(value) else value for key, value in batch.items()}
        self.buffers = [{key: torch.empty_like(value, device=device) if torch.is_tensor(value) else value
                         for key, value in batch.items()} for _ in range(2)]
        self.stream = torch.cuda.Stream()
        self.step = 0
        self.upload()

    def upload(self):
        self.stream.wait_stream(torch.cuda.current_stream())  # who read this buffer last has ended
        with torch.cuda.stream(self.stream):
            for key, value in self.buffers[self.step % 2].items():
                if torch.is_tensor(value):
                    value.copy_(self.source[key], non_blocking=True)

    def next(self):
        if not self.cuda:
            return self.buffers[0]
        torch.cuda.current_stream().wait_stream(self.stream)
        ready = self.buffers[self.step % 2]
        self.step += 1
        self.upload()
        return ready


def time_steps(step, steps, warmup, cuda):
    """Seconds of each step and the last one's losses. On a GPU the host may run ahead, as it does when training: events
    mark where steps meet."""
    for _ in range(warmup):
        values = step()
    if not cuda:
        seconds = []
        for _ in range(steps):
            start = time.perf_counter()
            values = step()
            seconds.append(time.perf_counter() - start)
        return seconds, values
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    marks[0].record()
    for mark in marks[1:]:
        values = step()
        mark.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / 1000 for a, b in zip(marks, marks[1:])], values


def peak_bytes(cuda):
    """Of tensors on the device, during the timed steps; on the CPU of the whole process."""
    return torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="b16", help="b16, l14 (at 336), a name in models/configs or a path with a /")
    parser.add_argument("--image-size", type=int, help="pixels; default: the model's")
    parser.add_argument("--batch", type=int, default=2, help="pictures a step")
    parser.add_argument("--boxes", type=int, default=4, help="regions a picture")
    parser.add_argument("--terms", default=",".join(torch_model.TERMS), help="which losses; what none needs is not computed")
    parser.add_argument("--train-text", action="store_true", help="train the text tower as well")
    parser.add_argument("--device", choices=["cpu", "cuda", "auto"], default="cpu", help="auto: cuda where there is one")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32", help="bf16: autocast, fp32 weights and optimizer")
    parser.add_argument("--tf32", action="store_true", help="fp32 products of a GPU in TF32; fineclip's are not")
    parser.add_argument("--fast", action="store_true",
                        help="what a good engineer would do: the next six as in brackets, where not given")
    parser.add_argument("--attention", choices=["math", "fused"], help="[fused] scaled_dot_product_attention; default math")
    parser.add_argument("--compile", choices=["no", "blocks", "whole"],
                        help="[blocks] torch.compile, each block by itself or all up to the losses; default no")
    parser.add_argument("--shared-trunk", action=argparse.BooleanOptionalAction, default=None,
                        help="[yes] pictures and crops in one pass, class tokens and dense features out of it; default no")
    parser.add_argument("--last-block", choices=["whole", "used"],
                        help="[used] of the last block only what is read; default whole")
    parser.add_argument("--text-rows", choices=["padded", "trimmed"],
                        help="[trimmed] text rows as long as the longest of the batch; default padded to --text-tokens")
    parser.add_argument("--residual", choices=["fp32", "bf16"],
                        help="[bf16] type of the residual stream with --dtype bf16; default autocast's, fp32")
    parser.add_argument("--compile-mode", default="default",
                        help="default, reduce-overhead (CUDA graphs), max-autotune or max-autotune-no-cudagraphs")
    parser.add_argument("--recompute", action="store_true", help="keep only what goes into each block, run it again on the way back")
    parser.add_argument("--adamw", choices=["auto", "plain", "fused"], default="auto", help="auto: fused on a GPU, where torch has it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="timed steps, after --warmup ones")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--text-tokens", type=int, help="length of the padded text rows; default: the model's context")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    for name, value in FAST.items():
        if args.fast and getattr(args, name) is None:
            setattr(args, name, value)
    args.terms = args.terms.split(",")
    if not set(args.terms) <= set(torch_model.TERMS) or len(set(args.terms)) != len(args.terms):
        parser.error(f"--terms: some of {','.join(torch_model.TERMS)}, each once")
    if min(args.batch, args.boxes, args.threads, args.steps) < 1 or args.warmup < 0:
        parser.error("batch, boxes, threads and steps start at 1, warmup at 0")
    if args.device == "auto":
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} sees no CUDA device")
    if args.attention == "fused" and not torch_model.HAS_FUSED_ATTENTION:
        parser.error(f"torch {torch.__version__} has no scaled_dot_product_attention (2.0 has): --attention math")
    if args.compile not in (None, "no") and not hasattr(torch, "compile"):
        parser.error(f"torch {torch.__version__} has no torch.compile (2.0 has): --compile no")
    return parser, args


def main():
    parser, args = parse()
    cuda = args.device == "cuda"
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision("high" if args.tf32 else "highest")
    config = torch_model.read_config(MODELS.get(args.model, args.model))
    vision, text = config["vision_cfg"], config["text_cfg"]
    vision["image_size"] = args.image_size or vision["image_size"]
    length = args.text_tokens or text["context_length"]
    if vision["image_size"] % vision["patch_size"] != 0:
        parser.error(f"--image-size: {vision['image_size']} is not a multiple of the patch size {vision['patch_size']}")
    if not 8 <= length <= text["context_length"]:
        parser.error(f"--text-tokens lies between 8 and {text['context_length']}")
    way = torch_model.Way(fused_attention=args.attention == "fused", shared_trunk=bool(args.shared_trunk),
                          last_block_used=args.last_block == "used", recompute=args.recompute, bf16=args.dtype == "bf16",
                          bf16_residual=args.residual == "bf16")
    fused = args.adamw == "fused" or (args.adamw == "auto" and cuda and torch_model.HAS_FUSED_ATTENTION)  # both came with 2.0
    model = torch_model.Clip(config, way).to(args.device)
    model.text.requires_grad_(args.train_text)
    optimizer = make_optimizer(model, fused)
    losses = torch_model.losses
    # Every shape apart: here each is met again in every step, and code for any shape is slower.
    if args.compile == "blocks":
        model.compile_blocks(mode=args.compile_mode, dynamic=False)
    elif args.compile == "whole":
        losses = torch.compile(losses, mode=args.compile_mode, dynamic=False)
    batch = made_up_batch(args.batch, args.boxes, vision["image_size"], length, text["vocab_size"], args.terms)
    if args.text_rows == "trimmed":
        batch.update({key: trim(batch[key]) for key in ("captions", "region_captions") if key in batch})
    feed = Feed(batch, args.device)
    print(f"torch: {torch.__version__} on {torch.cuda.get_device_name() if cuda else f'the CPU, {args.threads} threads'}")
    print(f"work: {args.model}, {vision['image_size']} pixels, {args.batch} pictures x {args.boxes} boxes, terms {','.join(args.terms)}, "
          f"text {'trained' if args.train_text else 'frozen'}")
    print(f"way: {args.dtype}, {way}, compile {args.compile or 'no'} ({args.compile_mode}), text rows {args.text_rows or 'padded'}, "
          f"AdamW {'fused' if fused else 'plain'}, TF32 {'on' if args.tf32 else 'off'}", flush=True)
    seconds, values = time_steps(lambda: train_step(model, optimizer, feed.next(), args.terms, losses), args.steps, args.warmup, cuda)
    values = [float(value) for value in values]
    if not all(math.isfinite(value) for value in values):
        raise SystemExit(f"torch_step: a loss is not finite: {values}")
    median = statistics.median(seconds)
    print("losses:", " ".join(f"{value:.6f}" for value in values))
    print("all_seconds:", " ".join(f"{s:.4g}" for s in seconds))
    print(f"step_seconds: {median:.6g}")
    print(f"images_per_second: {args.batch / median:.6g}")
    print(f"peak_mib: {peak_bytes(cuda) / 2**20:.1f}")


if __name__ == "__main__":
    main()
