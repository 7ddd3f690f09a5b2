"""``make results-fine``: compact trained on the CUHK pairs, its sketches scored; the sections "fine" and "costs".

    python -m benchmarks.fine [--data DIR] [--out DIR] [--write docs/RESULTS.md]

Trains on ``train`` (about 45 minutes on two cores; stopped and started again it goes on), sketches the photos of
``test`` and scores them beside their coarse sketches. Then times the networks. Says so and ends with 0 without data.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe, one_line
from benchmarks.results import AS_THEY_ARE, METRICS, PLANES, count_photos, do
from benchmarks.script import DATA, has_pairs, parser, publish
from benchmarks.timing import in_turns, quartiles
from idemodel.generator.checkpoint import read_header
from idemodel.generator.config import MLAConfig, guide_channels
from idemodel.generator.network import MLANet
from idemodel.training.crops import Batch
from idemodel.training.losses import VGG19_WIDTHS, PerceptualLoss, vgg19_features
from idemodel.training.recipe import COMPACT, PAPER, Recipe
from idemodel.training.trainer import Trainer

PACKAGES = ("idesketch", "torch", "numpy", "numba")


def main() -> None:
    """Train, sketch, score, time, and write both sections."""
    arguments = parser(__doc__, data=DATA, out="results-output").parse_args()
    if not has_pairs(arguments.data, "train"):
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    publish({"fine": _scored(arguments.data, arguments.out), "costs": _costs()}, arguments.write)


def _scored(data: Path, out: Path) -> str:
    bank, run = out / "planes.h5", out / "compact-run"
    planes = [part for plane in PLANES for part in ("--plane", plane)]
    if not bank.exists():
        do("bank", "build", str(data / "train"), str(bank), *planes)
    resume = ["--resume"] if (run / "state.safetensors").exists() else []
    do("train", str(data / "train"), str(bank), "-o", str(run), "--device", "cpu", *resume)
    model, photos, fine = run / "best.safetensors", data / "test" / "photo", out / "compact"
    synth = ("synth", str(bank), str(model), str(photos), "-o", str(fine), "--save-coarse", *AS_THEY_ARE)
    do(*synth, "--device", "cpu")
    start = time.perf_counter()
    do(*synth, "--device", "cpu")
    seconds = (time.perf_counter() - start) / count_photos(data)
    coarse = ("--against", f"coarse={fine / 'coarse'}", "--photos", str(photos))
    do("evaluate", str(fine), str(data / "test" / "sketch"), "-o", str(out / "report-fine"), *coarse)
    report = json.loads((out / "report-fine" / "scores.json").read_text())
    return "\n".join(
        [
            f"{one_line(describe(PACKAGES))} {count_photos(data)} test photos; means. {_trained(run)}; "
            f"the whole command `synth` takes {1e3 * seconds:.0f} ms a photo.",
            "",
            f"| sketch | {' | '.join(METRICS.values())} |",
            f"|---|{'---|' * len(METRICS)}",
            row("coarse (`mwf`, four planes)", report["methods"]["coarse"]["summary"]),
            row("fine (`compact`)", report["summary"]),
        ]
    )


def _trained(run: Path) -> str:
    """Steps and minutes of a run, as its log has them."""
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    seconds = [entry["seconds"] for entry in entries if "seconds" in entry]
    steps, recipe = entries[-1]["step"], read_header(run / "best.safetensors").recipe
    mean = sum(seconds) / len(seconds)
    return f"Recipe `{recipe['name']}`, {steps} steps of {mean:.2f} s, {steps * mean / 60:.0f} minutes in all"


def row(name: str, summary: dict[str, dict[str, float]]) -> str:
    figures = " | ".join(f"{summary[metric]['mean']:.4f}" for metric in METRICS)
    return f"| {name} | {figures} |"


def _costs() -> str:
    """Seconds of a forward pass to 200 x 250 and of a training step at batch 4, both recipes in turns."""
    runs: dict[str, Any] = {}
    for recipe in (PAPER, COMPACT):
        network = _network(recipe)
        runs[f"{recipe.name} forward"] = _forward(network)
        runs[f"{recipe.name} step"] = _step(recipe, network)
    for run in runs.values():
        run()
    times = {name: quartiles(values)[1] for name, values in in_turns(runs, 5).items()}
    lines = [
        f"{one_line(describe(PACKAGES))} Medians of five, in turns; `paper` with an untrained VGG19.",
        "",
        "| recipe | parameters | one face, 100 x 125 to 200 x 250 | one training step, batch 4 |",
        "|---|---|---|---|",
    ]
    for recipe in (PAPER, COMPACT):
        size = sum(value.numel() for value in MLANet(**asdict(_network(recipe))).parameters())
        forward, step = times[f"{recipe.name} forward"], times[f"{recipe.name} step"]
        lines.append(f"| `{recipe.name}` | {size:,} | {forward:.3f} s | {step:.2f} s |")
    return "\n".join(lines)


def _network(recipe: Recipe) -> MLAConfig:
    channels = recipe.channels or 1
    return MLAConfig(channels, recipe.features, recipe.modules, 2, guide_channels(recipe.inputs, channels))


def _forward(config: MLAConfig) -> Any:
    network = MLANet(**asdict(config)).fold_weight_norm().eval()
    inputs = torch.rand(1, config.channels + config.guide, 100, 125)

    def forward() -> None:
        with torch.no_grad():
            network(inputs)

    return forward


def _step(recipe: Recipe, config: MLAConfig) -> Any:
    untrained = _untrained_vgg19() if recipe.losses.perceptual else None
    trainer, half = Trainer(recipe, config, seed=0, perceptual=untrained), recipe.crop // 2
    batch = Batch(
        torch.rand(4, config.channels + config.guide, half, half),
        torch.rand(4, config.channels, recipe.crop, recipe.crop),
    )
    return lambda: trainer.step(batch, 0)


def _untrained_vgg19() -> PerceptualLoss:
    features = vgg19_features(VGG19_WIDTHS).to_empty(device="cpu")
    for value in features.parameters():
        torch.nn.init.normal_(value, std=0.02)
    return PerceptualLoss(features)


if __name__ == "__main__":
    main()
