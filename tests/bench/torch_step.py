#!/usr/bin/python3
"""Time one FineCLIP training step as a straightforward PyTorch program does it, on the CPU.

The yardstick of compare_torch.py: EVA-02-CLIP ViT-B/16 at 224, random weights, fp32, text tower frozen or (--train-text) not,
made-up pictures.
It follows the published method's own way: text rows padded to the context length, and the vision tower run once
for the pictures' class tokens, once for their dense features and once for the crops.

    tests/bench/torch_step.py --threads 2 --steps 5

Shapes: B pictures, R regions, L tokens, D width, H heads, E joint width, P patches, G grid side (P = G*G).
Needs torch (Debian: python3-torch).
"""
import argparse
import math
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F


def attention(q, k, v, mask=None):
    """softmax(q k^T / sqrt(d) + mask) v; all (B*H, L, d)."""
    q = q * q.shape[-1] ** -0.5
    scores = torch.bmm(q, k.transpose(1, 2)) if mask is None else torch.baddbmm(mask, q, k.transpose(1, 2))
    return torch.bmm(torch.softmax(scores, dim=-1), v)


def split_heads(x, heads):
    """(B,L,D) -> (B*H, L, D/H)."""
    b, l, d = x.shape
    return x.view(b, l, heads, d // heads).transpose(1, 2).reshape(b * heads, l, d // heads)


def join_heads(x, heads):
    """(B*H, L, d) -> (B,L,H*d)."""
    bh, l, d = x.shape
    return x.view(bh // heads, heads, l, d).transpose(1, 2).reshape(bh // heads, l, heads * d)


def rotary_table(grid, head_dim, pretrained_grid):
    """cos and sin (P, head_dim): first half of the channels turns with the row, second half with the column."""
    d = head_dim // 2
    frequency = 10000.0 ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    position = torch.arange(grid, dtype=torch.float64) / grid * pretrained_grid
    angle = (position[:, None] * frequency).repeat_interleave(2, dim=1)  # (G, d)
    row = angle[:, None, :].expand(grid, grid, d)
    column = angle[None, :, :].expand(grid, grid, d)
    both = torch.cat([row, column], dim=-1).reshape(grid * grid, 2 * d)
    return both.cos().float(), both.sin().float()


def rotate(x, cos, sin):
    """Rotate neighbouring channel pairs of every token but the class token; x (B*H, L, d)."""
    patches = x[:, 1:]
    pairs = patches.unflatten(-1, (-1, 2))
    turned = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).flatten(-2)
    return torch.cat([x[:, :1], patches * cos + turned * sin], dim=1)


class EvaAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.inner_attn_ln = nn.LayerNorm(width, eps=1e-6)
        self.proj = nn.Linear(width, width)

    def forward(self, x, cos, sin):
        q = split_heads(F.linear(x, self.q_proj.weight, self.q_bias), self.heads)
        k = split_heads(self.k_proj(x), self.heads)
        v = split_heads(F.linear(x, self.v_proj.weight, self.v_bias), self.heads)
        x = attention(rotate(q, cos, sin), rotate(k, cos, sin), v)
        return self.proj(self.inner_attn_ln(join_heads(x, self.heads)))

    def value_only(self, x):
        """The last block's dense path: every token keeps its own value."""
        return self.proj(self.inner_attn_ln(F.linear(x, self.v_proj.weight, self.v_bias)))


class SwiGlu(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.w1 = nn.Linear(width, hidden)
        self.w2 = nn.Linear(width, hidden)
        self.ffn_ln = nn.LayerNorm(hidden, eps=1e-6)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.w3(self.ffn_ln(F.silu(self.w1(x)) * self.w2(x)))


class EvaBlock(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = EvaAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = SwiGlu(width, hidden)

    def forward(self, x, cos, sin, value_only=False):
        y = self.norm1(x)
        x = x + (self.attn.value_only(y) if value_only else self.attn(y, cos, sin))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, patch, width):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class VisionTower(nn.Module):
    def __init__(self, embed_dim, image_size, patch_size, width, layers, head_width, mlp_ratio, pt_hw_seq_len):
        super().__init__()
        self.grid = image_size // patch_size
        self.patch_embed = PatchEmbed(patch_size, width)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, self.grid**2 + 1, width) * 0.02)
        hidden = int(width * mlp_ratio)
        self.blocks = nn.ModuleList(EvaBlock(width, width // head_width, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, embed_dim)
        cos, sin = rotary_table(self.grid, head_width, pt_hw_seq_len)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def embed(self, pictures):
        x = self.patch_embed(pictures)
        return torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed

    def forward(self, pictures):
        """(B,3,S,S) -> (B,E), class-token feature, unit length."""
        x = self.embed(pictures)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.normalize(self.head(self.norm(x[:, 0])), dim=-1)

    def dense(self, pictures):
        """(B,3,S,S) -> (B,P,E), one unit vector a patch."""
        x = self.embed(pictures)
        for block in self.blocks[:-1]:
            x = block(x, self.cos, self.sin)
        x = self.blocks[-1](x[:, 1:], self.cos, self.sin, value_only=True)
        return F.normalize(self.head(self.norm(x)), dim=-1)


class TextAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x, mask):
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        x = attention(split_heads(q, self.heads), split_heads(k, self.heads), split_heads(v, self.heads), mask)
        return self.out_proj(join_heads(x, self.heads))


class TextMlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x)))


class TextBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = TextAttention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = TextMlp(width)

    def forward(self, x, mask):
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))


class TextTransformer(nn.Module):
    def __init__(self, width, heads, layers):
        super().__init__()
        self.resblocks = nn.ModuleList(TextBlock(width, heads) for _ in range(layers))


class TextTower(nn.Module):
    def __init__(self, embed_dim, context_length, vocab_size, width, heads, layers):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.positional_embedding = nn.Parameter(torch.randn(context_length, width) * 0.01)
        self.transformer = TextTransformer(width, heads, layers)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, embed_dim) * width**-0.5)
        mask = torch.full((1, context_length, context_length), -math.inf).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens):
        """(B,L) ids -> (B,E), the feature at the end token (largest id), unit length."""
        length = tokens.shape[1]
        x = self.token_embedding(tokens) + self.positional_embedding[:length]
        for block in self.transformer.resblocks:
            x = block(x, self.mask[:, :length, :length])
        x = self.ln_final(x[torch.arange(len(x)), tokens.argmax(dim=1)])
        return F.normalize(x @ self.text_projection, dim=-1)


class Clip(nn.Module):
    def __init__(self, embed_dim, vision, text):
        super().__init__()
        self.visual = VisionTower(embed_dim, **vision)
        self.text = TextTower(embed_dim, **text)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.text.requires_grad_(False)


def axis_weights(low, high, grid):
    """(R,G): how much each grid line counts in the mean over the box's bilinear samples along one axis.

    Box edges low, high (R) in patches, already moved by -0.5. Sampling is separable, so RoIAlign to 1x1 is the outer
    product of the two axes' weights.
    """
    count = torch.ceil(high - low).clamp(min=0)
    i = torch.arange(grid, dtype=low.dtype)
    at = low[:, None] + (i + 0.5) * ((high - low) / count.clamp(min=1))[:, None]  # (R,G)
    used = (i < count[:, None]) & (at >= -1) & (at <= grid)
    at = at.clamp(0, grid - 1)
    hat = (1 - (at[:, :, None] - torch.arange(grid, dtype=low.dtype)).abs()).clamp(min=0)  # (R,sample,G)
    return (hat * used[:, :, None]).sum(dim=1) / count.clamp(min=1)[:, None]


def roi_align(dense, grid, boxes, picture_of):
    """dense (B,P,E), boxes (R,4) as fractions x0 y0 x1 y1, picture_of (R) -> (R,E), unit length."""
    edge = boxes * grid - 0.5
    x = axis_weights(edge[:, 0], edge[:, 2], grid)
    y = axis_weights(edge[:, 1], edge[:, 3], grid)
    weights = (y[:, :, None] * x[:, None, :]).flatten(1)  # (R,P)
    return F.normalize(torch.bmm(weights[:, None, :], dense[picture_of])[:, 0], dim=-1)


def contrastive(u, v, scale):
    logits = scale * u @ v.t()
    target = torch.arange(len(u))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2


def losses(model, batch):
    """The three terms: global contrastive, region contrastive, self-distillation."""
    with torch.set_grad_enabled(model.text.text_projection.requires_grad):
        text = model.text(batch["captions"])
        region_text = model.text(batch["region_captions"])
    picture = model.visual(batch["pictures"])
    dense = model.visual.dense(batch["pictures"])
    region = roi_align(dense, model.visual.grid, batch["boxes"], batch["picture_of"])
    crop = model.visual(batch["crops"])
    scale = model.logit_scale.exp()
    return (
        contrastive(picture, text, scale),
        contrastive(region, region_text, scale),
        (1 - (region * crop).sum(dim=-1)).mean(),
    )


def make_optimizer(model, lr=1e-5, weight_decay=0.1):
    """AdamW without decay for vectors and scalars."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8)


def train_step(model, optimizer, batch):
    optimizer.zero_grad(set_to_none=True)
    terms = losses(model, batch)
    sum(terms).backward()
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, math.log(100))
    return [t.item() for t in terms]


def made_up_tokens(rows, length, vocab):
    """Start, 10 or so words, end, zero padding: what CLIP's tokenizer gives for a short caption."""
    tokens = torch.zeros(rows, length, dtype=torch.long)
    for row in tokens:
        end = min(length - 1, int(torch.randint(6, 16, ())))
        row[0] = vocab - 2
        row[1:end] = torch.randint(1, vocab - 2, (end - 1,))
        row[end] = vocab - 1
    return tokens


def made_up_batch(pictures, boxes, size, length, vocab):
    regions = pictures * boxes
    corner = torch.rand(regions, 2) * 0.5
    side = 0.1 + torch.rand(regions, 2) * 0.4
    return {
        "pictures": torch.randn(pictures, 3, size, size),
        "crops": torch.randn(regions, 3, size, size),
        "boxes": torch.cat([corner, corner + side], dim=1),
        "picture_of": torch.arange(pictures).repeat_interleave(boxes),
        "captions": made_up_tokens(pictures, length, vocab),
        "region_captions": made_up_tokens(regions, length, vocab),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=2, help="pictures a step")
    parser.add_argument("--boxes", type=int, default=4, help="regions a picture")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="timed steps, after --warmup ones")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--text-tokens", type=int, default=77, help="length of the padded text rows")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train-text", action="store_true", help="train the text tower as well")
    args = parser.parse_args()
    if min(args.batch, args.boxes, args.threads, args.steps) < 1 or not 8 <= args.text_tokens <= 77:
        parser.error("batch, boxes, threads and steps start at 1; text-tokens lies between 8 and 77")

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    vocab = 49408
    model = Clip(
        512,
        vision=dict(image_size=224, patch_size=16, width=768, layers=12, head_width=64, mlp_ratio=2.6667,
                    pt_hw_seq_len=16),
        text=dict(context_length=77, vocab_size=vocab, width=512, heads=8, layers=12),
    )
    model.text.requires_grad_(args.train_text)
    optimizer = make_optimizer(model)
    batch = made_up_batch(args.batch, args.boxes, 224, args.text_tokens, vocab)
    for _ in range(args.warmup):
        train_step(model, optimizer, batch)
    seconds = []
    for _ in range(args.steps):
        start = time.perf_counter()
        terms = train_step(model, optimizer, batch)
        seconds.append(time.perf_counter() - start)
    if not all(math.isfinite(t) for t in terms):
        raise SystemExit(f"torch_step: a loss is not finite: {terms}")
    print("losses:", " ".join(f"{t:.6f}" for t in terms))
    print("all_seconds:", " ".join(f"{s:.3f}" for s in seconds))
    print(f"step_seconds: {statistics.median(seconds):.4f}")


if __name__ == "__main__":
    main()
