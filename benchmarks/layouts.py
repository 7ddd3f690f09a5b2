"""Where planes lie in memory and what that takes of a CPU: steps, faces and crops of stage 2, in processor time.

    python -m benchmarks.layouts [--rounds N] [--write docs/GPU.md]

One thread, in turns, the least of N rounds: processor time, which other work on the machine hardly touches. The section
"layouts" of the page. A minute.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_stage2 import network_of, noise_pairs
from benchmarks.machine import describe, one_line
from benchmarks.script import parser, publish
from idemodel.generator import network
from idemodel.generator.checkpoint import load_generator
from idemodel.generator.enhance import network_for_inference
from idemodel.generator.network import MLANet
from idemodel.generator.weights import PHANTOM
from idemodel.training.crops import Batch
from idemodel.training.recipe import RECIPES
from idemodel.training.resident import as_numbers, resident_pairs
from idemodel.training.trainer import Trainer

PACKAGES = ("torch",)
Run = Callable[[], Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all and write the table."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=6, help="of each measurement")
    chosen = options.parse_args(arguments)
    torch.set_num_threads(1)
    lines = [f"{one_line(describe(PACKAGES))} One thread, processor time, least of {chosen.rounds}."]
    lines += ["", "| | as it is | otherwise | difference of results |", "|---|---|---|---|"]
    rows = [*(step(name, chosen.rounds) for name in ("compact", "drawn")), *faces(chosen.rounds)]
    rows += [crops(name, chosen.rounds) for name in ("compact", "drawn", "paper")]
    publish({"layouts": "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])}, chosen.write)


def step(name: str, rounds: int) -> tuple[str, ...]:
    """A training step: features that are joined stay channels last, or are joined as planes."""
    recipe, size = RECIPES[name], network_of(RECIPES[name])
    numbers = torch.Generator().manual_seed(0)
    truth = torch.rand(recipe.batch, size.channels, recipe.crop, recipe.crop, generator=numbers)
    half = recipe.crop // 2
    inputs = torch.rand(recipe.batch, size.channels + size.guide, half, half, generator=numbers)
    trainers = {kind: Trainer(recipe, size, 0) for kind in ("last", "planes")}
    joined = {"last": network._interleave, "planes": _joined_as_planes}

    def run(kind: str) -> None:
        before, network._interleave = network._interleave, joined[kind]
        try:
            trainers[kind].step(Batch(inputs, truth), recipe.structure_first)
        finally:
            network._interleave = before

    found = least({kind: partial(run, kind) for kind in trainers}, rounds)
    ours, others = (trainers[kind].state() for kind in trainers)
    same = all(torch.equal(value, others[name]) for name, value in ours.items())
    told = f"step of `{name}`: joined channels last / as planes"
    return told, f"{found['last']:.1f} ms", f"{found['planes']:.1f} ms", "none" if same else "other bits"


def _joined_as_planes(first: Tensor, second: Tensor) -> Tensor:
    return torch.stack((first, second), dim=2).flatten(1, 2)


def faces(rounds: int) -> list[tuple[str, ...]]:
    """Faces of 250 x 200 enhanced: weights as planes, or channels last."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        paper = MLANet(**vars(network_of(RECIPES["paper"])))
    rows = []
    for name, made, count in (("`drawn`", load_generator(PHANTOM), 1), ("`drawn`", load_generator(PHANTOM), 8),
                              ("`paper`", paper, 1)):  # fmt: skip
        planes = network_for_inference(made, "cpu", "float32")
        last: Any = copy.deepcopy(planes)
        last = last.to(memory_format=torch.channels_last)
        given = torch.rand(count, planes.config.channels + planes.config.guide, 125, 100)
        with torch.no_grad():
            found = least({"planes": partial(planes, given), "last": partial(last, given)}, rounds)
            apart = 255 * (planes(given) - last(given)).abs().max().item()
        told = f"{name}, {count} face{'s' * (count > 1)}: weights as planes / channels last"
        rows.append((told, f"{found['planes']:.0f} ms", f"{found['last']:.0f} ms", f"{apart:.0e} of a level"))
    return rows


def crops(name: str, rounds: int) -> tuple[str, ...]:
    """A batch of crops: cut and halved one by one, or by indexing in pairs that are kept whole."""
    recipe = RECIPES[name]
    pairs = noise_pairs(recipe, 8)
    resident = resident_pairs(pairs, "cpu", 2**40)
    assert resident is not None

    def cut() -> Batch:
        return resident.cut(as_numbers(pairs.draws(0, 1, recipe.batch)))

    found = least({"host": partial(pairs.batch, 0, 1, recipe.batch), "indexed": cut}, rounds)
    same = torch.equal(pairs.batch(0, 1, recipe.batch).inputs, cut().inputs)
    told = f"crops of a step of `{name}`: one by one / by indexing"
    return told, f"{found['host']:.1f} ms", f"{found['indexed']:.1f} ms", "none" if same else "other bits"


def least(runs: Mapping[str, Run], rounds: int) -> dict[str, float]:
    """Milliseconds of processor time, the least of the rounds, in turns, after one call that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if number:
                taken[name].append(1e3 * (time.process_time() - start))
    return {name: min(values) for name, values in taken.items()}


if __name__ == "__main__":
    main()
