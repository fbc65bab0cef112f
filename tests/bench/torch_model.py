"""EVA-02-CLIP and FineCLIP's three losses in PyTorch: the arithmetic that torch_step.py times.

Parameters have EVA-CLIP's names, so that weights fineclip reads or writes load as they are. A Way says how the
arithmetic is carried out; whatever it says, the losses are the same but for rounding (tests/meta/test_torch_yardstick.py).

Shapes: B pictures, R regions, n sequences, L tokens, W width, H heads, d of a head, E joint width, P patches, G grid side
(P = G*G).
"""
import dataclasses
import math
import os
import re

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from share import share

TERMS = ("global", "region", "distill")
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)
HAS_FUSED_ATTENTION = hasattr(F, "scaled_dot_product_attention")


@dataclasses.dataclass(frozen=True)
class Way:
    """How a step is computed. The defaults are the published program's way."""

    fused_attention: bool = False  # scaled_dot_product_attention in place of two products and a softmax
    shared_trunk: bool = False  # pictures and crops in one pass, both kinds of features out of it; else a pass for each
    last_block_used: bool = False  # the last block's queries and MLP only for the tokens that are read
    recompute: bool = False  # keep what goes into each block but the last and run it again on the way back
    bf16: bool = False  # autocast to bf16; the weights stay fp32
    bf16_residual: bool = False  # the residual stream is bf16, too; autocast by itself leaves it fp32


def read_config(name):
    """A name in models/configs or a path -> the configuration; of YAML it knows what those files use."""

    def value(text):
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                pass
        return {"true": True, "false": False}.get(text, text)

    config = {}
    with open(name if os.sep in name else share(f"models/configs/{name}.yaml"), encoding="utf-8") as file:
        for line in file:
            pair = re.match(r"(\w+):\s*(.*\S)", line)
            if pair and pair[2][0] == "{":
                config[pair[1]] = {key: value(text) for key, text in re.findall(r"(\w+):\s*([^,}\s]+)", pair[2])}
            elif pair:
                config[pair[1]] = value(pair[2])
    if config["vision_cfg"].pop("kind", "") != "eva02" or config.pop("quick_gelu", False):
        raise SystemExit(f"torch_model: {name} is no EVA-02 model; the yardstick has no other tower")
    return config


class Norm(nn.LayerNorm):
    """In fp32 whatever comes in; what autocast does on a GPU, and what its CPU side did not do before 2.0."""

    def forward(self, x):
        return super().forward(x.float())


def attention(way, q, k, v, causal=False, mask=None):
    """softmax(q k^T / sqrt(d) + mask) v; q (n,H,Q,d), k and v (n,H,L,d); mask is added, causal needs Q = L."""
    if way.fused_attention:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    scores = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)
    if causal:
        mask = torch.full(scores.shape[-2:], -math.inf, dtype=scores.dtype, device=scores.device).triu(1)
    return torch.softmax(scores if mask is None else scores + mask, dim=-1) @ v


def split_heads(x, heads):
    """(n,L,W) -> (n,H,L,d)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x):
    """(n,H,L,d) -> (n,L,W)."""
    return x.transpose(1, 2).flatten(2)


def run_blocks(way, blocks, x, *rest):
    for block in blocks:
        if way.recompute and torch.is_grad_enabled():
            x = checkpoint(block, x, *rest, use_reentrant=False)
        else:
            x = block(x, *rest)
    return x


def start_residual(way, x):
    return x.to(torch.bfloat16) if way.bf16 and way.bf16_residual else x


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
    """Rotate neighbouring channel pairs of every token but the class token; x (n,H,L,d), computed in fp32."""
    patches = x[:, :, 1:]
    pairs = patches.unflatten(-1, (-1, 2))
    turned = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).flatten(-2)
    return torch.cat([x[:, :, :1], (patches * cos + turned * sin).to(x.dtype)], dim=2)


class EvaAttention(nn.Module):
    def __init__(self, way, width, heads):
        super().__init__()
        self.way, self.heads = way, heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.inner_attn_ln = Norm(width, eps=1e-6)
        self.proj = nn.Linear(width, width)

    def value(self, x):
        return F.linear(x, self.v_proj.weight, self.v_bias)

    def attend(self, x, value, cos, sin, class_only=False):
        """x, value (n,L,W) -> what all tokens, or the class tokens alone, see."""
        q = split_heads(F.linear(x[:, :1] if class_only else x, self.q_proj.weight, self.q_bias), self.heads)
        k = split_heads(self.k_proj(x), self.heads)
        q = q if class_only else rotate(q, cos, sin)
        return join_heads(attention(self.way, q, rotate(k, cos, sin), split_heads(value, self.heads)))

    def out(self, x):
        return self.proj(self.inner_attn_ln(x))


class SwiGlu(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.w1 = nn.Linear(width, hidden)
        self.w2 = nn.Linear(width, hidden)
        self.ffn_ln = Norm(hidden, eps=1e-6)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.w3(self.ffn_ln(F.silu(self.w1(x)) * self.w2(x)))


class EvaBlock(nn.Module):
    def __init__(self, way, width, heads, hidden):
        super().__init__()
        self.norm1 = Norm(width, eps=1e-6)
        self.attn = EvaAttention(way, width, heads)
        self.norm2 = Norm(width, eps=1e-6)
        self.mlp = SwiGlu(width, hidden)

    def finish(self, x, mixed):
        x = x + self.attn.out(mixed)
        return x + self.mlp(self.norm2(x))

    def forward(self, x, cos, sin):
        y = self.norm1(x)
        return self.finish(x, self.attn.attend(y, self.attn.value(y), cos, sin))

    def dense(self, x):
        """The last block's dense path: every token keeps its own value."""
        return self.finish(x, self.attn.value(self.norm1(x)))

    def used(self, x, cos, sin, class_first, dense_count):
        """As the last block, only what is read: (C,W) class tokens of sequences from class_first on, then (dense_count*P, W)."""
        y = self.norm1(x)
        value = self.attn.value(y)
        mixed, kept = [], []
        if class_first < len(x):
            attended = self.attn.attend(y[class_first:], value[class_first:], cos, sin, class_only=True)
            mixed.append(attended.flatten(0, 1))
            kept.append(x[class_first:, 0])
        if dense_count > 0:
            mixed.append(value[:dense_count, 1:].flatten(0, 1))
            kept.append(x[:dense_count, 1:].flatten(0, 1))
        return self.finish(torch.cat(kept), torch.cat(mixed))


class PatchEmbed(nn.Module):
    def __init__(self, patch, width):
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(3, width, patch, stride=patch)  # holds the weights; patches do not overlap: one product

    def forward(self, pictures):
        n, channels, side, _ = pictures.shape
        grid = side // self.patch
        x = pictures.view(n, channels, grid, self.patch, grid, self.patch).permute(0, 2, 4, 1, 3, 5)
        return F.linear(x.reshape(n, grid * grid, -1), self.proj.weight.flatten(1), self.proj.bias)


class VisionTower(nn.Module):
    def __init__(self, way, embed_dim, image_size, patch_size, width, layers, head_width, mlp_ratio, pt_hw_seq_len):
        super().__init__()
        self.way, self.grid = way, image_size // patch_size
        self.patch_embed = PatchEmbed(patch_size, width)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, self.grid**2 + 1, width) * 0.02)
        hidden = int(width * mlp_ratio)
        self.blocks = nn.ModuleList(EvaBlock(way, width, width // head_width, hidden) for _ in range(layers))
        self.norm = Norm(width, eps=1e-6)
        self.head = nn.Linear(width, embed_dim)
        cos, sin = rotary_table(self.grid, head_width, pt_hw_seq_len)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("scale", 1 / (torch.tensor(PIXEL_STD).view(3, 1, 1) * 255), persistent=False)

    def embed(self, pictures):
        x = self.patch_embed((pictures.float() - self.mean) * self.scale)
        return start_residual(self.way, torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed)

    def forward(self, pictures, class_first, dense_count):
        """(n,3,S,S) 8-bit -> (C,E) class-token features from picture class_first on, (dense_count,P,E) dense ones; not normalised."""
        x = run_blocks(self.way, self.blocks[:-1], self.embed(pictures), self.cos, self.sin)
        last, count = self.blocks[-1], len(x) - class_first
        if self.way.last_block_used:
            x = self.head(self.norm(last.used(x, self.cos, self.sin, class_first, dense_count)))
            return x[:count], x[count:].unflatten(0, (dense_count, -1)) if dense_count > 0 else None
        classes = self.head(self.norm(last(x[class_first:], self.cos, self.sin)[:, 0])) if count > 0 else None
        return classes, self.head(self.norm(last.dense(x[:dense_count, 1:]))) if dense_count > 0 else None


class TextAttention(nn.Module):
    def __init__(self, way, width, heads):
        super().__init__()
        self.way, self.heads = way, heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x):
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        heads = (split_heads(part, self.heads) for part in (q, k, v))
        return self.out_proj(join_heads(attention(self.way, *heads, causal=True)))

    def at_end(self, x, end_x, end):
        """What the end tokens end_x (n,1,W), at index end (n) of their rows x (n,L,W), see."""
        width = x.shape[-1]
        q = F.linear(end_x, self.in_proj_weight[:width], self.in_proj_bias[:width])
        k, v = F.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:]).chunk(2, dim=-1)
        after = torch.arange(x.shape[1], device=x.device) > end[:, None]
        mask = torch.zeros_like(after, dtype=q.dtype).masked_fill(after, -math.inf)[:, None, None, :]
        heads = (split_heads(part, self.heads) for part in (q, k, v))
        return self.out_proj(join_heads(attention(self.way, *heads, mask=mask)))


class TextMlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x)))


class TextBlock(nn.Module):
    def __init__(self, way, width, heads):
        super().__init__()
        self.ln_1 = Norm(width)
        self.attn = TextAttention(way, width, heads)
        self.ln_2 = Norm(width)
        self.mlp = TextMlp(width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))

    def used(self, x, end):
        """As the last block, only what is read: (n,W) of the tokens at index end (n)."""
        rows = torch.arange(len(x), device=x.device)
        y = self.ln_1(x)
        x = x[rows, end] + self.attn.at_end(y, y[rows, end][:, None], end)[:, 0]
        return x + self.mlp(self.ln_2(x))


class TextTransformer(nn.Module):
    def __init__(self, way, width, heads, layers):
        super().__init__()
        self.resblocks = nn.ModuleList(TextBlock(way, width, heads) for _ in range(layers))


class TextTower(nn.Module):
    def __init__(self, way, embed_dim, context_length, vocab_size, width, heads, layers):
        super().__init__()
        self.way = way
        self.token_embedding = nn.Embedding(vocab_size, width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.positional_embedding = nn.Parameter(torch.randn(context_length, width) * 0.01)
        self.transformer = TextTransformer(way, width, heads, layers)
        self.ln_final = Norm(width)
        self.text_projection = nn.Parameter(torch.randn(width, embed_dim) * width**-0.5)

    def forward(self, tokens):
        """(n,L) ids -> (n,E), the feature at the end token (largest id); not normalised."""
        end = tokens.argmax(dim=1)
        blocks = self.transformer.resblocks
        x = start_residual(self.way, self.token_embedding(tokens) + self.positional_embedding[:tokens.shape[1]])
        x = run_blocks(self.way, blocks[:-1], x)
        if self.way.last_block_used:
            x = blocks[-1].used(x, end)
        else:
            x = blocks[-1](x)[torch.arange(len(x), device=x.device), end]
        return self.ln_final(x) @ self.text_projection


class Clip(nn.Module):
    def __init__(self, config, way=Way()):
        super().__init__()
        self.way = way
        self.visual = VisionTower(way, config["embed_dim"], **config["vision_cfg"])
        self.text = TextTower(way, config["embed_dim"], **config["text_cfg"])
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def compile_blocks(self, **options):
        """torch.compile on every block by itself, and on the patches: one kind of block is compiled once, whatever the number of layers."""
        for blocks in (self.visual.blocks, self.text.transformer.resblocks):
            for block in blocks:
                block.forward = torch.compile(block.forward, **options)
            blocks[-1].used = torch.compile(blocks[-1].used, **options)
        self.visual.blocks[-1].dense = torch.compile(self.visual.blocks[-1].dense, **options)
        self.visual.embed = torch.compile(self.visual.embed, **options)

    def text_features(self, tokens):
        with torch.set_grad_enabled(self.text.text_projection.requires_grad and torch.is_grad_enabled()):
            return self.text(tokens)

    def picture_features(self, batch, terms):
        """(picture (B,E), dense (B,P,E), crop (R,E)), None for what no term needs."""
        pictures, crops = batch["pictures"], batch["crops"] if "distill" in terms else None
        want_class, want_dense = "global" in terms, "region" in terms or "distill" in terms
        if self.way.shared_trunk:
            count = len(pictures)
            everything = pictures if crops is None else torch.cat([pictures, crops])
            classes, dense = self.visual(everything, 0 if want_class else count, count if want_dense else 0)
            split = count if want_class else 0
            return classes[:split] if want_class else None, dense, classes[split:] if crops is not None else None
        return (self.visual(pictures, 0, 0)[0] if want_class else None,
                self.visual(pictures, len(pictures), len(pictures))[1] if want_dense else None,
                self.visual(crops, 0, 0)[0] if crops is not None else None)


def axis_weights(low, high, grid):
    """(R,G): how much each grid line counts in the mean over the box's bilinear samples along one axis.

    Box edges low, high (R) in patches, already moved by -0.5. Sampling is separable, so RoIAlign to 1x1 is the outer
    product of the two axes' weights.
    """
    count = torch.ceil(high - low).clamp(min=0)
    i = torch.arange(grid, dtype=low.dtype, device=low.device)
    at = low[:, None] + (i + 0.5) * ((high - low) / count.clamp(min=1))[:, None]  # (R,G)
    used = (i < count[:, None]) & (at >= -1) & (at <= grid)
    at = at.clamp(0, grid - 1)
    hat = (1 - (at[:, :, None] - i).abs()).clamp(min=0)  # (R,sample,G)
    return (hat * used[:, :, None]).sum(dim=1) / count.clamp(min=1)[:, None]


def roi_align(dense, grid, batch):
    """dense (B,P,E), unit length -> (R,E), unit length; a picture's boxes side by side, so that it is one product a picture."""
    edge = batch["boxes"] * grid - 0.5
    x = axis_weights(edge[:, 0], edge[:, 2], grid)
    y = axis_weights(edge[:, 1], edge[:, 3], grid)
    place = batch["picture_of"], batch["slot_of"]
    weights = dense.new_zeros(len(dense), batch["most_boxes"], dense.shape[1])
    weights[place] = (y[:, :, None] * x[:, None, :]).flatten(1)
    return F.normalize(torch.bmm(weights, dense)[place], dim=-1)


def contrastive(u, v, scale):
    logits = scale * u @ v.t()
    target = torch.arange(len(u), device=u.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2


def losses(model, batch, terms=TERMS):
    """The terms' values, in the order of terms. Towers in the way's type, all after them in fp32.

    batch: pictures (B,3,S,S) and crops (R,3,S,S) 8-bit, boxes (R,4) as fractions x0 y0 x1 y1, picture_of and slot_of (R): whose
    box it is and which of its boxes, most_boxes of a picture, captions (B,L) and region_captions (R,L) ids.
    """
    device = batch["pictures"].device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=model.way.bf16):
        text = model.text_features(batch["captions"]) if "global" in terms else None
        region_text = model.text_features(batch["region_captions"]) if "region" in terms else None
        picture, dense, crop = model.picture_features(batch, terms)
    text, region_text, picture, dense, crop = (None if x is None else F.normalize(x.float(), dim=-1)
                                               for x in (text, region_text, picture, dense, crop))
    scale = model.logit_scale.exp()
    region = None if dense is None else roi_align(dense, model.visual.grid, batch)
    values = {"global": lambda: contrastive(picture, text, scale),
              "region": lambda: contrastive(region, region_text, scale),
              "distill": lambda: (1 - (region * crop).sum(dim=-1)).mean()}
    return [values[term]() for term in terms]
