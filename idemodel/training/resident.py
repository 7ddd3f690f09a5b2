"""The pairs of a run kept whole on one device, and crops cut there by plain indexing, without a sum; draws nothing.

A crop's numbers are the same on every device, bit for bit: everything that is computed, the division by 255 and the
halving of the coarse sketches in every orientation, is computed once, on the CPU, before it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from idemodel.generator.config import inputs_of
from idemodel.generator.inputs import generator_input
from idemodel.training.crops import Batch, Draw, TrainingPairs

SHARE = 0.25  # of the device's free memory that pairs may take
_ORDER = ("coarse", "quilt", "intra", "photo")  # of the planes in a generator's input


@dataclass(frozen=True)
class ResidentPairs:
    """N pairs of H x W on a device.

    Parameters
    ----------
    planes : (N, S, H, W) float32 Tensor
        Planes of full resolution: those of the guide, and the truth.
    halves : (N, O, channels, h * w) float32 Tensor
        The halved coarse sketches, in each of O orientations.
    taken : (P,) int64 Tensor
        Which of the S planes the guide holds, and at the end those of the truth, one for every channel.
    slots : (3,) int64 Tensor
        How far apart in O the orientations lie that are flipped, upended, transposed, and that are not.
    crop, channels : int
    """

    planes: Tensor
    halves: Tensor
    taken: Tensor
    slots: Tensor
    crop: int
    channels: int

    def cut(self, draws: Tensor) -> Batch:
        """The crops of drawn numbers, (B, 6) int64 on this device, see :func:`as_numbers`."""
        rows, columns = self._pixels(draws)
        image = draws[:, 0, None, None, None]
        found = self.planes[image, self.taken[:, None, None], rows[:, None], columns[:, None]]
        half = self._half(draws, image)
        guide, truth = found[:, : -self.channels], found[:, -self.channels :].contiguous()
        inputs = torch.cat((half, functional.pixel_unshuffle(guide, 2)), dim=1) if guide.shape[1] else half
        return Batch(inputs, truth)

    def _pixels(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Row and column in the upright image of every pixel of the crops, (B, crop, crop) each."""
        height, width = self.planes.shape[2:]
        flip, upend, transpose = (draws[:, number, None, None] > 0 for number in (3, 4, 5))
        reach = torch.arange(self.crop, device=draws.device)
        down, right = draws[:, 1, None, None] + reach[:, None], draws[:, 2, None, None] + reach
        row, column = torch.where(transpose, right, down), torch.where(transpose, down, right)
        row, column = row.clamp(max=height - 1), column.clamp(max=width - 1)  # an odd last one is there twice
        return torch.where(upend, height - 1 - row, row), torch.where(flip, width - 1 - column, column)

    def _half(self, draws: Tensor, image: Tensor) -> Tensor:
        """The coarse sketch of half the resolution, (B, channels, crop / 2, crop / 2)."""
        high, wide = ((side + 1) // 2 for side in self.planes.shape[2:])
        turned = draws[:, 3:]
        slot = (turned * self.slots).sum(1)[:, None, None, None]
        stride = torch.where(turned[:, 2] > 0, high, wide)[:, None, None]
        reach = torch.arange(self.crop // 2, device=draws.device)
        row, column = (draws[:, number, None, None] // 2 for number in (1, 2))
        places = (row + reach[:, None]) * stride + column + reach
        return self.halves[
            image, slot, torch.arange(self.channels, device=draws.device)[:, None, None], places[:, None]
        ]


def as_numbers(draws: Sequence[Draw]) -> Tensor:
    """Draws as (B, 6) int64 on the CPU: image, row, column, and whether flipped, upended, transposed."""
    rows = [(one.image, one.row, one.column, one.flip, one.upend, one.transpose) for one in draws]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 6)


def room_on(device: str | torch.device) -> int:
    """Bytes that pairs may take on a device: a quarter of what is free; none on a CPU, whose files are mapped."""
    if torch.device(device).type != "cuda":
        return 0
    with torch.cuda.device(device):
        return int(SHARE * torch.cuda.mem_get_info()[0])


def resident_pairs(pairs: TrainingPairs, device: str | torch.device, room: int) -> ResidentPairs | None:
    """The pairs on a device, 1.1 MB each of 250 x 200 for the recipe ``drawn``; None where they need more bytes."""
    layout = _Layout.of(pairs)
    if layout.bytes > room:
        return None
    planes, halves = (torch.empty(shape, device=device) for shape in (layout.planes, layout.halves))
    for image in range(len(pairs)):
        found = {**pairs.planes(image), "truth": pairs.truth(image)}
        planes[image] = torch.cat([found[name] for name in layout.names])
        halves[image] = torch.stack([_halved(found["coarse"], turn, layout) for turn in layout.turns])
    taken, slots = (torch.tensor(some, device=device) for some in (layout.taken, layout.slots))
    return ResidentPairs(planes, halves, taken, slots, pairs.recipe.crop, layout.channels)


@dataclass(frozen=True)
class _Layout:
    """What lies where: names of the planes of full resolution, orientations, shapes; see :class:`ResidentPairs`."""

    names: tuple[str, ...]
    taken: tuple[int, ...]
    turns: tuple[Draw, ...]
    slots: tuple[int, int, int]
    channels: int
    planes: tuple[int, int, int, int]
    halves: tuple[int, int, int, int]

    @classmethod
    def of(cls, pairs: TrainingPairs) -> _Layout:
        """Of these pairs."""
        channels, guide, recipe = pairs.network.channels, pairs.network.guide, pairs.recipe
        named = {**pairs.planes(0), "truth": pairs.truth(0)}
        inputs = inputs_of(channels, guide) if guide else frozenset()
        names = (*(name for name in _ORDER if name in inputs), "truth")
        taken, stored = list[int](), 0
        for name in names:
            count = named[name].shape[0]
            wanted = 1 if name == "photo" else channels
            taken += [stored + (channel if count == wanted else 0) for channel in range(wanted)]  # grey is expanded
            stored += count
        turns, slots = _turns(recipe.flips, recipe.transposes)
        (height, width), count = pairs.size, len(pairs)
        half = ((height + 1) // 2) * ((width + 1) // 2)
        return cls(
            names, tuple(taken), turns, slots, channels, (count, stored, height, width),
            (count, len(turns), channels, half),
        )  # fmt: skip

    @property
    def bytes(self) -> int:
        """Of both tensors."""
        return 4 * (torch.Size(self.planes).numel() + torch.Size(self.halves).numel())


def _turns(flips: bool, transposes: bool) -> tuple[tuple[Draw, ...], tuple[int, int, int]]:
    """The orientations that a recipe has, as draws, in the order of their slots, and how far apart those lie."""
    kinds = (flips, flips and transposes, transposes)
    every = product(*((False, True) if kind else (False,) for kind in reversed(kinds)))  # the first one fastest
    slots = (int(flips), 2 * int(kinds[1]), int(transposes) * (4 if kinds[1] else 1))
    return tuple(Draw(0, flip, upend, transpose, 0, 0) for transpose, upend, flip in every), slots


def _halved(coarse: Tensor, turn: Draw, layout: _Layout) -> Tensor:
    """A coarse sketch (C, H, W), turned, as the generator sees it: halved, (channels, h * w)."""
    return generator_input(turn.turned(coarse)[None], channels=layout.channels)[0].flatten(1)
