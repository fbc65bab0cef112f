"""fctest: timeout=120
The PyTorch yardstick (tests/bench) computes what fineclip computes: trained on the golden sets, its losses are the published
program's in every step, whichever way it goes about it. Where torch is not installed only compare_torch.py's own part is
checked.
"""
import importlib.util
import json
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

SOURCE = os.environ.get("FINECLIP_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(SOURCE, "tests"), os.path.join(SOURCE, "tests", "bench")]
import compare_torch  # noqa: E402
from program import BIN, Checks, read_safetensors, run_program  # noqa: E402

GOLDEN = os.path.join(SOURCE, "tests", "golden")
TERMS = {"global_itc": "global", "region_itc": "region", "distill": "distill"}
ALL = "distill,global_itc,region_itc"


def raw_pictures(group, prefix=""):
    """(n,3,S,S) 8-bit; the golden stores keep pixels as they are, all of one size."""
    size = group[prefix + "height"][0]
    return group[prefix + "bytes"][()].reshape(-1, size, size, 3).transpose(0, 3, 1, 2).copy()


def batch_of(torch, store, images, length):
    """The first caption and all regions of these images, as torch_model.losses takes them."""
    def rows(group, items):
        offsets, tokens = group["offsets"][()], group["tokens"][()]
        out = torch.zeros(len(items), length, dtype=torch.long)
        for row, item in zip(out, items):
            ids = tokens[offsets[item]:offsets[item + 1]].astype(np.int64)
            row[:len(ids)] = torch.from_numpy(ids)
        return out

    first = store["regions/image_offsets"][()].astype(int)
    regions = [r for i in images for r in range(first[i], first[i + 1])]
    counts = [first[i + 1] - first[i] for i in images]
    pictures = raw_pictures(store["images"])
    size = pictures.shape[-1]
    return {
        "pictures": torch.from_numpy(pictures[images]),
        "crops": torch.from_numpy(raw_pictures(store["regions"], "crop_")[regions]),
        "boxes": torch.from_numpy(store["regions/boxes"][()][regions] / np.float32(size)),
        "picture_of": torch.tensor([b for b, n in enumerate(counts) for _ in range(n)]),
        "slot_of": torch.tensor([slot for n in counts for slot in range(n)]),
        "most_boxes": int(max(counts)),
        "captions": rows(store["captions"], [int(store["captions/image_offsets"][i]) for i in images]),
        "region_captions": rows(store["regions"], regions),
    }


def losses_of_run(name, run, way, text_rows="padded", steps=None):
    """[{term: loss}] of a golden run, trained by the yardstick."""
    import torch
    import torch_model
    import torch_step

    folder = os.path.join(GOLDEN, name)
    expected = json.load(open(os.path.join(folder, "expected.json")))
    config = torch_model.read_config(os.path.join(folder, "model.yaml"))
    model = torch_model.Clip(config, way)
    weights = {k: torch.tensor(v) for k, v in read_safetensors(os.path.join(folder, "init.safetensors")).items() if "rope.freqs" not in k}
    model.load_state_dict(weights)
    model.text.requires_grad_(expected["train_text"])
    optimizer = torch_step.make_optimizer(model, False, expected["base_lr"], expected["weight_decay"])
    terms = [TERMS[term] for term in run.split(",")]
    got = []
    with h5py.File(os.path.join(folder, "store.h5")) as store:
        for s, want in enumerate(expected["runs"][run][:steps]):
            for group in optimizer.param_groups:
                group["lr"] = want["lr"]
            images = [(s * expected["batch"] + j) % expected["images"] for j in range(expected["batch"])]
            batch = batch_of(torch, store, images, config["text_cfg"]["context_length"])
            if text_rows == "trimmed":
                batch.update({key: torch_step.trim(batch[key]) for key in ("captions", "region_captions")})
            values = torch_step.train_step(model, optimizer, batch, terms)
            got.append(dict(zip(terms, map(float, values))))
    return got, expected["runs"][run][:steps]


def check_arithmetic(checks):
    import torch
    import torch_model

    torch.set_num_threads(1)
    fused = torch_model.HAS_FUSED_ATTENTION
    plain = torch_model.Way()
    fast = torch_model.Way(fused_attention=fused, shared_trunk=True, last_block_used=True, recompute=True)
    one_by_one = [torch_model.Way(**{option: True}) for option in ("fused_attention", "shared_trunk", "last_block_used", "recompute")
                  if option != "fused_attention" or fused]
    cases = [(name, run, way, rows) for name in ("eva_tiny", "eva_tiny_text") for run in ("global_itc", "region_itc", "distill", ALL)
             for way, rows in ((plain, "padded"), (fast, "trimmed"))]
    cases += [("eva_tiny_text", ALL, way, "padded") for way in one_by_one]
    for name, run, way, rows in cases:
        for s, (got, want) in enumerate(zip(*losses_of_run(name, run, way, rows))):
            for term, short in TERMS.items():
                if term in want:
                    checks.near(f"{name} {run} {way} {rows} step {s} {term}", got[short], want[term], 2e-4 * abs(want[term]))
    # bf16 has 8 bits: what is compared is that it stays near, and that it is not fp32.
    for way in (torch_model.Way(bf16=True), torch_model.Way(fused, True, True, True, bf16=True, bf16_residual=True)):
        (got,), (want,) = losses_of_run("eva_tiny_text", ALL, way, "trimmed", 1)
        for term, short in TERMS.items():
            checks.near(f"{way} {term}", got[short], want[term], 3e-2 * abs(want[term]))
        checks.that(any(abs(got[short] / want[term] - 1) > 1e-5 for term, short in TERMS.items()), f"{way}: bf16 is used")


def check_unused_is_not_computed(checks):
    """The global term alone needs neither crops nor dense features."""
    import torch
    import torch_model
    import torch_step

    batch = torch_step.made_up_batch(2, 1, 64, 16, 600, ["global"])
    checks.equal("batch of the global term", sorted(batch), ["captions", "pictures"])
    config = torch_model.read_config(os.path.join(GOLDEN, "eva_tiny", "model.yaml"))
    for way in (torch_model.Way(), torch_model.Way(shared_trunk=True, last_block_used=True)):
        model = torch_model.Clip(config, way)
        model.visual.blocks[-1].dense = None
        with torch.no_grad():
            (value,) = torch_model.losses(model, batch, ["global"])
        checks.that(0 < float(value) < 10, f"global term alone: {float(value)}")


def check_models(checks):
    import torch_model
    import torch_step

    for short, (config, size, _) in compare_torch.CONFIGS.items():
        checks.equal(f"model {short}", torch_step.MODELS[short], config)
        checks.equal(f"{config}: pixels", torch_model.read_config(config)["vision_cfg"]["image_size"], size)


def check_program(checks):
    """torch_step.py as it is run, on a model of this repository, and what compare_torch.py reads of it."""
    command = [sys.executable, os.path.join(SOURCE, "tests", "bench", "torch_step.py"), "--model", "tiny-eva02", "--steps", "2", "--warmup", "1"]
    done = subprocess.run([*command, "--shared-trunk", "--last-block", "used", "--text-rows", "trimmed"], text=True, capture_output=True)
    if checks.that(done.returncode == 0, f"torch_step: {done.stderr}"):
        seconds, images, peak = compare_torch.figures(done.stdout)
        checks.near("images a second", images, 2 / seconds, 1e-4 * images)
        checks.that(20 < peak < 20000, f"peak of {peak} MiB")
    done = subprocess.run([*command, "--terms", "global,glob"], text=True, capture_output=True)
    checks.that(done.returncode == 2 and "--terms" in done.stderr, f"a wrong term: {done.returncode} {done.stderr}")


# What `fineclip bench` prints on a device, cut.
OURS = """device: NVIDIA H100 80GB HBM3
steps: 40, medians follow
step_seconds: 0.1625
gradient_seconds: 0.1601
images_per_second: 196.9
gemm_8192_gflops: 7.1e+05 a second and rank, same process, same type
peak_host_mib: 1200
peak_device_mib: 5.1e+04
peak_over_needed: 1.08
"""


def check_figures(checks):
    checks.equal("figures of bench", compare_torch.figures(OURS), (0.1625, 196.9, 51000.0))
    checks.equal("on the CPU", compare_torch.figures(OURS.replace("peak_device", "x")), (0.1625, 196.9, 1200.0))
    for bad in ("step_seconds: nan", "step_seconds: 0", "step_second: 1"):
        try:
            compare_torch.figures(OURS.replace("step_seconds: 0.1625", bad))
            checks.that(False, f"'{bad}' is taken for a figure")
        except compare_torch.Failed:
            checks.that(True, bad)
    work = compare_torch.WORKLOADS["l14"]
    ours, theirs = compare_torch.medians([(1, 20, 30), (3, 10, 30), (2, 15, 30)]), compare_torch.medians([None, (4, 5, 6)])
    rows = [compare_torch.row(work, ours, theirs), compare_torch.row(work, ours, compare_torch.medians([None]))]
    checks.equal("row", rows[0], ["ViT-L/14 at 336, 10 x 5, all terms", "2", "15", "4", "5", "3.00", "30", "6"])
    checks.equal("row of a failure", rows[1][3:], ["failed", "-", "-", "30", "-"])
    markdown = compare_torch.table(rows, True).split("\n")
    checks.equal("columns of the table", {line.count("|") for line in markdown}, {len(rows[0]) + 1})
    checks.equal("lines of the table", len(markdown), 4)


def check_words(checks):
    """fineclip takes the words of every workload: its --dry-run reads what bench reads. A tiny model stands in, drawn in no time."""
    model = [f"model.config={GOLDEN}/eva_tiny/model.yaml", "model.image_size=64"]
    with tempfile.TemporaryDirectory(prefix="fineclip-yardstick-") as folder:
        data = [f"data.train={GOLDEN}/eva_tiny/store.h5", f"output={folder}", "train.steps=1", "eval.box_classification=null", "eval.retrieval=null"]
        for name, work in compare_torch.WORKLOADS.items():
            args = compare_torch.parse(["--device=cpu", "--recompute", f"--fineclip={BIN}"])
            checks.equal("workload of a CPU", compare_torch.settle(args, False), [compare_torch.WORKLOADS["small"]])
            _, verb, experiment, *words = compare_torch.our_command(args, work._replace(batch=2))
            config, size, _ = compare_torch.CONFIGS[work.model]
            checks.that(verb == "bench" and f"model.config={config}" in words and f"model.image_size={size}" in words, f"{name}: {words}")
            status, out, err = run_program([experiment, "--dry-run", *words, *model, *data], cwd=SOURCE)
            checks.that(status == 0, f"{name}: {status} {err}")
            wanted = ["recompute: blocks", f"max_boxes: {work.boxes}", "device: cpu", "precision: fp32", "freeze: [text]"]
            wanted += [f"{term}: {'1' if short in work.terms.split(',') else 'null'}" for short, term in compare_torch.TERMS.items()]
            checks.equal(name, [line for line in wanted if f"{line}\n" not in out], [])


def main():
    checks = Checks()
    check_figures(checks)
    check_words(checks)
    torch_there = importlib.util.find_spec("torch") is not None
    if torch_there:
        check_arithmetic(checks)
        check_unused_is_not_computed(checks)
        check_models(checks)
        check_program(checks)
    print(f"torch {'used' if torch_there else 'not installed'}")
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
