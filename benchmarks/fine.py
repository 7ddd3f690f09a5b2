"""``make results-fine``: the recipe drawn trained on the CUHK pairs, twice; sections "fine", "hand", "costs".

    python -m benchmarks.fine [--data DIR] [--published DIR] [--out DIR] [--jobs N] [--write docs/RESULTS.md]

Trains on ``train`` with two seeds (``--jobs 2``: at once, a thread each; stopped and started again it goes on),
sketches the photos of ``test`` and scores them beside their coarse sketches, with several hands too. Makes contact
sheets of them, and of the faces in ``--published`` beside the sketches that the method's authors published, which are
scored as well. Then times the networks. Says so and ends with 0 without data.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe, one_line
from benchmarks.results import METRICS, PLANES, Summary, count_photos, do
from benchmarks.script import DATA, has_pairs, parser, publish
from benchmarks.timing import in_turns, quartiles
from idemodel.files.contact_sheet import contact_sheet
from idemodel.files.images import read_colour, write_image
from idemodel.generator.checkpoint import read_header
from idemodel.generator.config import MLAConfig, guide_channels
from idemodel.generator.network import MLANet
from idemodel.training.crops import Batch
from idemodel.training.losses import VGG19_WIDTHS, PerceptualLoss, vgg19_features
from idemodel.training.recipe import COMPACT, DRAWN, PAPER, Recipe
from idemodel.training.trainer import Trainer

PACKAGES = ("idesketch", "torch", "numpy", "numba")
SEEDS = (0, 1)
HANDS = (0.8, 1.0, 1.25, 1.5, 1.75)  # of --press
SHOWN = 10  # test faces a contact sheet


def main() -> None:
    """Train, sketch, score, time, and write the sections."""
    making = parser(__doc__, data=DATA, out="results-output")
    making.add_argument(
        "--published", type=Path, default=DATA.parent / "cuhk_published", help="photo, sketch, published"
    )
    making.add_argument("--jobs", type=int, default=1, help="seeds trained at a time, one thread each")
    arguments = making.parse_args()
    data, out = arguments.data, arguments.out
    if not has_pairs(data, "train"):
        return
    out.mkdir(parents=True, exist_ok=True)
    bank = build_planes(data, out)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = list(pool.map(lambda seed: trained(data / "train", bank, out / f"drawn-{seed}", seed), SEEDS))
    sections = {"fine": _scored(data, bank, runs, out), "hand": _hands(data, bank, runs[0], out)}
    if (arguments.published / "published").is_dir():
        sections["published"] = _beside_published(arguments.published, bank, runs, out)
    publish({**sections, "costs": _costs()}, arguments.write)


def build_planes(data: Path, out: Path) -> Path:
    """The bank of four planes of the training pairs, made where it is not there."""
    bank = out / "planes.h5"
    if not bank.exists():
        do("bank", "build", str(data / "train"), str(bank), *(part for plane in PLANES for part in ("--plane", plane)))
    return bank


def trained(train: Path, bank: Path, run: Path, seed: int, *recipe: str) -> Path:
    """A run's folder, trained in a process of its own as far as it is not; one thread, so that several can."""
    resume = ["--resume"] if (run / "state.safetensors").exists() else ["--seed", str(seed), *recipe]
    command = [
        sys.executable,
        "-m",
        "idecli",
        "train",
        str(train),
        str(bank),
        "-o",
        str(run),
        "--device",
        "cpu",
        *resume,
    ]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return run


def _synthesised(bank: Path, run: Path, photos: Path, out: Path, *options: str) -> Path:
    model = str(run / "best.safetensors")
    do("synth", str(bank), model, str(photos), "-o", str(out), "--overwrite", "--device", "cpu", *options)
    return out


def _scored(data: Path, bank: Path, runs: Sequence[Path], out: Path) -> str:
    photos, truth = data / "test" / "photo", data / "test" / "sketch"
    made = [_synthesised(bank, run, photos, out / "fine" / run.name, "--save-coarse") for run in runs]
    start = time.perf_counter()
    _synthesised(bank, runs[0], photos, out / "again")
    seconds = (time.perf_counter() - start) / count_photos(data)
    coarse = made[0] / "coarse"
    rows = [row("coarse (`mwf`, four planes)", scores(coarse, truth, out / "report-coarse"))]
    for seed, sketches in zip(SEEDS, made, strict=True):
        report = out / f"report-{sketches.name}"
        summary = scores(sketches, truth, report, "--against", f"coarse={coarse}", "--photos", str(photos))
        rows.append(row(f"fine (`drawn`, seed {seed})", summary))
    names = sorted(file.name for file in truth.glob("*.png"))
    for first in range(0, len(names), SHOWN):
        columns = {"photo": photos, "coarse": coarse, "fine": made[0], "fine, other seed": made[1], "artist": truth}
        _sheet(columns, names[first : first + SHOWN], out / "sheets" / f"test-{first:02d}.png")
    return "\n".join(
        [
            f"{one_line(describe(PACKAGES))} {count_photos(data)} test photos; means. {_how_trained(runs[0])}; "
            f"the whole command `synth` takes {1e3 * seconds:.0f} ms a photo.",
            "",
            *_head("sketch"),
            *rows,
        ]
    )


def _hands(data: Path, bank: Path, run: Path, out: Path) -> str:
    """The trade-off that ``--press`` moves along."""
    rows = []
    for press in HANDS:
        made = _synthesised(bank, run, data / "test" / "photo", out / "hands" / f"{press}", "--press", f"{press}")
        rows.append(row(f"`--press {press}`", scores(made, data / "test" / "sketch", out / "report-hand")))
    usual = f"The recipe's own is {DRAWN.hand.press}, with `--paper {DRAWN.hand.paper}` throughout; seed {SEEDS[0]}."
    return "\n".join([usual, "", *_head("hand"), *rows])


def _beside_published(folder: Path, bank: Path, runs: Sequence[Path], out: Path) -> str:
    """The published faces: theirs and ours against the artist, as a table and as a sheet."""
    made = [_synthesised(bank, run, folder / "photo", out / "published" / run.name, "--save-coarse") for run in runs]
    rows = [row("published", scores(folder / "published", folder / "sketch", out / "report-published"))]
    for seed, sketches in zip(SEEDS, made, strict=True):
        rows.append(row(f"ours, seed {seed}", scores(sketches, folder / "sketch", out / "report-published")))
    columns = {
        "photo": folder / "photo",
        "coarse": made[0] / "coarse",
        "ours": made[0],
        "published": folder / "published",
    }
    names = sorted(file.name for file in (folder / "photo").glob("*.png"))
    _sheet({**columns, "artist": folder / "sketch"}, names, out / "sheets" / "published.png")
    return "\n".join(
        [f"The {len(names)} faces whose published sketches are at hand; means.", "", *_head("sketch"), *rows]
    )


def _sheet(columns: Mapping[str, Path], names: Sequence[str], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_image(
        file, contact_sheet([(title, [read_colour(at / name) for name in names]) for title, at in columns.items()])
    )


def scores(made: Path, truth: Path, report: Path, *options: str) -> Summary:
    """Mean scores of a folder, by ``idesketch evaluate``."""
    do("evaluate", str(made), str(truth), "-o", str(report), *options)
    summary: Summary = json.loads((report / "scores.json").read_text())["summary"]
    return summary


def _head(first: str) -> list[str]:
    return [f"| {first} | {' | '.join(METRICS.values())} |", f"|---|{'---|' * len(METRICS)}"]


def _how_trained(run: Path) -> str:
    """Steps and minutes of a run, as its log has them."""
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    seconds = [entry["seconds"] for entry in entries if "seconds" in entry]
    steps, recipe = entries[-1]["step"], read_header(run / "best.safetensors").recipe
    mean = sum(seconds) / len(seconds)
    minutes = f"{steps * mean / 60:.0f} minutes in all"
    return f"Recipe `{recipe['name']}`, {steps} steps of {mean:.2f} s on one thread, {minutes}"


def row(name: str, summary: Summary) -> str:
    """A line of a table of scores."""
    figures = " | ".join(f"{summary[metric]['mean']:.4f}" for metric in METRICS)
    return f"| {name} | {figures} |"


def _costs() -> str:
    """Seconds of a forward pass to 200 x 250 and of a training step at batch 4, both recipes in turns."""
    runs: dict[str, Any] = {}
    for recipe in (PAPER, COMPACT, DRAWN):
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
    for recipe in (PAPER, COMPACT, DRAWN):
        size = sum(value.numel() for value in MLANet(**asdict(_network(recipe))).parameters())
        forward, step = times[f"{recipe.name} forward"], times[f"{recipe.name} step"]
        lines.append(f"| `{recipe.name}` | {size:,} | {forward:.3f} s | {step:.2f} s |")
    return "\n".join(lines)


def _network(recipe: Recipe) -> MLAConfig:
    channels = recipe.channels or 1
    guide = guide_channels(recipe.inputs, channels)
    return MLAConfig(channels, recipe.features, recipe.modules, 2, guide, recipe.tail)


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
    return lambda: trainer.step(batch, recipe.structure_first)


def _untrained_vgg19() -> PerceptualLoss:
    features = vgg19_features(VGG19_WIDTHS).to_empty(device="cpu")
    for value in features.parameters():
        torch.nn.init.normal_(value, std=0.02)
    return PerceptualLoss(features)


if __name__ == "__main__":
    main()
