"""Stage 2 on a device: training steps and inference, launched singly and replayed, by every precision; writes no page.

The parts ``training`` and ``inference`` of benchmarks.gpu_parts. Every function takes a device, so that all but the
recording and the times can be tried on a CPU.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idemodel.generator.checkpoint import load_generator
from idemodel.generator.config import MLAConfig, guide_channels
from idemodel.generator.enhance import network_for_inference
from idemodel.generator.graphs import Repeated, graphs_on
from idemodel.generator.network import MLANet
from idemodel.generator.precision import float32_products
from idemodel.generator.weights import PHANTOM
from idemodel.training.crops import TrainingPairs
from idemodel.training.data import Faces
from idemodel.training.losses import VGG19_WIDTHS, PerceptualLoss, vgg19_features
from idemodel.training.recipe import RECIPES, Recipe
from idemodel.training.resident import resident_pairs, room_on
from idemodel.training.steps import Steps
from idemodel.training.trainer import Trainer

HEIGHT, WIDTH = 250, 200  # of the pairs
WARM, ROUNDS = 6, 10  # calls before those that are timed: three singly, one that records
ALIKE = 0.01  # by how much losses of steps launched singly and replayed may differ, where sums have no fixed order
TRAINED = {"`compact`": "compact", "`drawn`": "drawn", "`paper`, untrained VGG19": "paper"}  # what is shown: recipe


@dataclass(frozen=True)
class Found:
    """Columns' names, rows, a sentence on how, and whether every result is right; as benchmarks.gpu_parts.Table."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    sound: bool


def network_of(recipe: Recipe) -> MLAConfig:
    """The generator's size for grey sketches."""
    channels = recipe.channels or 1
    return MLAConfig(channels, recipe.features, recipe.modules, 2, guide_channels(recipe.inputs, channels), recipe.tail)


# ---- training


@dataclass(frozen=True)
class Way:
    """How a step is taken, pairs on the device: by which precision, recorded."""

    precision: str = "float32"
    recorded: bool = True


WAYS: Mapping[str, Way] = {
    "singly": Way(recorded=False),
    "graph, strict float32": Way(),
    "graph, tf32": Way("tf32"),
    "graph, bf16": Way("bf16"),
}


def training(device: str = "cuda", pairs: int = 8, rounds: int = ROUNDS) -> Found:
    """A step as ``train`` takes it once the discriminator has joined, drawing and reading the losses back included."""
    rows, sound, notes = [], True, []
    for shown, name in TRAINED.items():
        taken = {way: _steps(RECIPES[name], how, device, pairs, rounds) for way, how in WAYS.items()}
        apart = _apart(taken["singly"].losses, taken["graph, strict float32"].losses)
        sound &= apart <= ALIKE
        notes += [line for one in taken.values() for line in one.told]
        rows.append((shown, *(f"{one.milliseconds:.1f}" for one in taken.values()), f"{apart:.1e}"))
    how = f"Wall clock, median of {rounds}; losses after {WARM} steps, graph against singly."
    head = ("training step, ms", *WAYS, "losses apart")
    return Found(head, tuple(rows), " ".join([how, *dict.fromkeys(notes)]), sound)


@dataclass(frozen=True)
class Taken:
    """Steps that were taken: the median of their times, the losses of the last one before, and what was told."""

    milliseconds: float
    losses: Mapping[str, float]
    told: tuple[str, ...]


def _steps(recipe: Recipe, way: Way, device: str, pairs: int, rounds: int) -> Taken:
    told: list[str] = []
    recipe = replace(recipe, precision=way.precision)
    data = noise_pairs(recipe, pairs)
    perceptual = copy.deepcopy(_untrained_vgg19()) if recipe.losses.perceptual else None
    trainer = Trainer(recipe, data.network, 0, perceptual, device)
    resident = resident_pairs(data, device, room_on(device))
    graphs = graphs_on(device) if way.recorded else None
    steps, first = Steps(data, trainer, resident, graphs, told=told.append), recipe.structure_first

    def step(number: int) -> dict[str, float]:
        losses = steps.take(0, first + number, recipe.batch)
        return dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))

    with float32_products(device, way.precision == "tf32"):
        before = [step(number) for number in range(WARM)]
        taken = [_seconds(partial(step, WARM + number)) for number in range(rounds)]
    return Taken(1e3 * statistics.median(taken), before[-1], tuple(told))


def noise_pairs(recipe: Recipe, count: int) -> TrainingPairs:
    """Pairs of noise with everything that a recipe's generator takes."""
    numbers = np.random.default_rng(0)
    source = numbers.integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)
    faces = Faces(tuple(map(str, range(count))), source, source[..., 0].copy())
    coarse = list(torch.rand(count, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)))
    return TrainingPairs(faces, coarse, recipe, network_of(recipe), {"quilt": coarse, "intra": coarse})


@cache
def _untrained_vgg19() -> PerceptualLoss:
    features = vgg19_features(VGG19_WIDTHS).to_empty(device="cpu")
    for number, value in enumerate(features.parameters()):
        torch.nn.init.normal_(value, std=0.02, generator=torch.Generator().manual_seed(number))
    return PerceptualLoss(features)


def _apart(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The largest relative difference of losses."""
    return max(abs(value - other[name]) / max(abs(value), 1e-3) for name, value in one.items())


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


# ---- inference

BATCHES = (1, 64)


@dataclass(frozen=True)
class Kind:
    """How faces are enhanced: the network's precision, tf32 allowed, channels last, recorded."""

    precision: str = "float32"
    tf32: bool = False
    last: bool = False
    recorded: bool = True


KINDS: Mapping[str, Kind] = {
    "singly, strict float32": Kind(recorded=False),
    "singly, tf32": Kind(tf32=True, recorded=False),
    "graph, strict float32": Kind(),
    "graph, strict float32, channels last": Kind(last=True),
    "graph, float16": Kind("float16"),
}


def inference(device: str = "cuda", batches: tuple[int, ...] = BATCHES, rounds: int = ROUNDS) -> Found:
    """The networks alone, 125 x 100 to 250 x 200, milliseconds a face."""
    rows, sound, notes = [], True, []
    for shown, made in (("`paper`, untrained", _paper), ("`drawn`, as it ships", partial(load_generator, PHANTOM))):
        for count in batches:
            found = {name: _faces(made(), kind, device, count, rounds) for name, kind in KINDS.items()}
            apart = _levels(found["singly, strict float32"].fine, found["graph, float16"].fine)
            sound &= int(apart.max()) <= 1
            notes += [line for one in found.values() for line in one.told]
            times = (f"{one.milliseconds / count:.2f}" for one in found.values())
            rows.append((shown, str(count), *times, f"{int(apart.max())}, in {float((apart > 0).float().mean()):.1e}"))
    head = ("inference, ms a face", "batch", *KINDS, "levels apart by float16, most, share")
    how = f"Wall clock of whole batches, median of {rounds}; network alone."
    return Found(head, tuple(rows), " ".join([how, *dict.fromkeys(notes)]), sound)


def _paper() -> MLANet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MLANet(**asdict(network_of(RECIPES["paper"])))


@dataclass(frozen=True)
class Enhanced:
    """Faces that were enhanced: the median of the batch's times, the first sketches, and what was told."""

    milliseconds: float
    fine: Tensor
    told: tuple[str, ...]


def _faces(network: MLANet, kind: Kind, device: str, count: int, rounds: int) -> Enhanced:
    told: list[str] = []
    ready, graphs = network_for_inference(network, device, kind.precision), graphs_on(device) if kind.recorded else None
    if kind.last:
        move: Any = ready.to
        move(memory_format=torch.channels_last)
    channels = ready.config.channels + ready.config.guide
    given = torch.rand(count, channels, HEIGHT // 2, WIDTH // 2, generator=torch.Generator().manual_seed(count))
    given = given.to(device)

    def made(inputs: Tensor) -> dict[str, Tensor]:
        return {"fine": ready(inputs)}

    work = Repeated(made, graphs, 1, told.append) if graphs is not None else made

    def run() -> Tensor:
        fine = work(given)["fine"]
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()
        return fine

    with torch.no_grad(), float32_products(device, kind.tf32):
        first = [run() for _ in range(3)][-1]
        taken = [_seconds(run) for _ in range(rounds)]
    return Enhanced(1e3 * statistics.median(taken), first.float().cpu(), tuple(told))


def _levels(one: Tensor, other: Tensor) -> Tensor:
    """Difference of sketches in grey levels."""
    levels = [(fine.clamp(0, 1) * 255).round() for fine in (one, other)]
    return (levels[0] - levels[1]).abs()
