"""A made-up store that is ragged on purpose: pictures of many sizes with 0 to 5 regions, several in a row with none, regions
without captions, one to three captions a picture. And the settings to train a tiny model on it."""
import json
import os

import h5py
import numpy as np

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
VOCABULARY, CONTEXT, CATEGORIES = 600, 16, 7
# In batches of 8 on 4 ranks: rank 1 holds no region in step 0, ranks 0 and 3 in step 1, nobody in step 2.
REGIONS = [2, 1, 0, 0, 5, 3, 1, 0, 0, 0, 4, 1, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 1, 5, 2, 0, 4, 1]


def write_store(path, seed=3, regions=None):
    """Raw pictures, crops cut while loading. Every picture keeps a caption; every third region has none."""
    rng = np.random.default_rng(seed)
    regions = REGIONS if regions is None else regions
    count = len(regions)

    def sentences(number, empty=0):
        rows = []
        for i in range(number):
            length = 0 if empty and i % empty == empty - 1 else int(rng.integers(1, CONTEXT - 2))
            words = rng.integers(0, VOCABULARY - 2, length)
            rows.append(np.concatenate([[VOCABULARY - 2], words, [VOCABULARY - 1]]) if length else np.zeros(0))
        return (np.concatenate(rows).astype(np.uint16) if rows else np.zeros(0, np.uint16), offsets(rows))

    def offsets(rows):
        return np.cumsum([0] + [len(r) for r in rows]).astype(np.uint64)

    sizes = rng.integers(40, 90, (count, 2))
    pictures = [rng.integers(0, 256, (int(h), int(w), 3), dtype=np.uint8).reshape(-1) for h, w in sizes]
    boxes = []
    for (h, w), n in zip(sizes, regions):
        for _ in range(n):
            side = rng.integers(10, 36, 2)
            x, y = rng.uniform(0, w - side[0]), rng.uniform(0, h - side[1])
            boxes.append([x, y, x + side[0], y + side[1]])
    captions = 1 + np.arange(count) % 3
    with h5py.File(path, "w") as f:
        f.attrs.update({"format": "fineclip-store", "version": 1, "context_length": CONTEXT, "vocab_size": VOCABULARY,
                        "tokenizer": "made-up", "crop_size": 0, "crop_scale": 1.5, "source": "ragged"})
        f["images/bytes"], f["images/offsets"] = np.concatenate(pictures), offsets(pictures)
        f["images"].attrs["codec"] = "raw"
        f["images/height"], f["images/width"] = sizes[:, 0].astype(np.int32), sizes[:, 1].astype(np.int32)
        f["images/id"] = np.arange(count, dtype=np.int64)
        f["captions/tokens"], f["captions/offsets"] = sentences(int(captions.sum()))
        f["captions/image_offsets"] = np.cumsum(np.concatenate([[0], captions])).astype(np.uint64)
        f["regions/boxes"] = np.array(boxes, np.float32).reshape(-1, 4)
        f["regions/image_offsets"] = np.cumsum([0] + list(regions)).astype(np.uint64)
        f["regions/tokens"], f["regions/offsets"] = sentences(len(boxes), empty=3)
        f["regions/category"] = rng.integers(0, CATEGORIES, len(boxes)).astype(np.int32)
        f["regions/score"] = np.ones(len(boxes), np.float32)
        f.create_dataset("categories/names", data=["category %d" % k for k in range(CATEGORIES)], dtype=h5py.string_dtype())
        f["categories/isthing"] = np.ones(CATEGORIES, np.uint8)
        f["categories/prompt_tokens"], f["categories/prompt_offsets"] = sentences(2 * CATEGORIES)
        f["categories/category_offsets"] = (2 * np.arange(CATEGORIES + 1)).astype(np.uint64)


TERMS = {"global_contrastive": 1.0, "region_contrastive": 0.7, "self_distillation": 1.3}


def write_experiment(path, store, output, model="eva_tiny", losses=None, **train):
    """An experiment of 8 pictures a step in all; further keys are meant to come as key=value."""
    settings = {
        "output": output, "precision": "fp64", "seed": 5,
        "model": {"config": os.path.join(GOLDEN, model, "model.yaml"), "init": "random"},
        "data": {"train": store, "caption": "random", "regions": "random", "max_boxes": 4, "shuffle": False, "workers": 1},
        "losses": TERMS if losses is None else losses,
        "train": {"steps": 4, "batch_size": 8, "log_every": 1,
                  "optimizer": {"lr": 1e-3, "weight_decay": 0.1, "betas": [0.9, 0.98], "eps": 1e-6},
                  "schedule": {"kind": "cosine", "warmup_steps": 2},
                  "checkpoint": {"every_epochs": 0, "keep": 2}, **train},
        "eval": {"every_epochs": 0, "before_training": False},
    }
    with open(path, "w") as f:
        json.dump(settings, f)  # JSON is YAML


def rows(path):
    """Everything under /train of a results file but what the clock says."""
    clock = ("seconds", "data_seconds", "images_per_second", "losses")
    with h5py.File(path, "r") as f:
        columns = {k: v[...] for k, v in f["train"].items() if k not in clock}
        columns.update({"losses/" + k: v[...] for k, v in f["train/losses"].items()})
    return columns


def newest_state(output):
    folder = os.path.join(output, "checkpoints")
    return os.path.join(folder, max(f for f in os.listdir(folder) if f.startswith("state_")))
