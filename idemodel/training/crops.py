"""Crops of faces and coarse sketches as a training step sees them, at places that seed and step alone decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idekernels.errors import InputError
from idekernels.representations import intensity
from idemodel.files.tensors import as_planes
from idemodel.generator.config import MLAConfig
from idemodel.generator.inputs import even_sided, generator_input
from idemodel.training.data import Faces
from idemodel.training.recipe import Recipe


@dataclass(frozen=True)
class Batch:
    """What one step sees, float32 in [0, 1].

    Parameters
    ----------
    inputs : (B, channels + guide, crop / 2, crop / 2) Tensor
        What the generator is given.
    truth : (B, channels, crop, crop) Tensor
        What it should make of that.
    """

    inputs: Tensor
    truth: Tensor


class TrainingPairs:
    """Coarse sketches, sources and targets of the same faces, from which every step's crops are drawn.

    Parameters
    ----------
    faces : Faces
        N pairs of H x W.
    coarse : sequence of N (C, H, W) float32 Tensors in [0, 1]
        Their coarse sketches; not copied.
    recipe : Recipe
        Says size and stride of the crops, and how they are turned.
    network : MLAConfig
        Says how many channels the generator takes and makes.
    beside : mapping of str to sequence of N (C, H, W) float32 Tensors in [0, 1], optional
        What goes with the coarse sketches where the generator takes it, ``quilt`` and ``intra``; not copied.

    Raises
    ------
    InputError
        A crop is larger than the images.
    """

    def __init__(
        self,
        faces: Faces,
        coarse: Sequence[Tensor],
        recipe: Recipe,
        network: MLAConfig,
        beside: Mapping[str, Sequence[Tensor]] | None = None,
    ) -> None:
        self.recipe, self.network = recipe, network
        self._coarse, self._beside = list(coarse), dict(beside or {})
        self._guides = np.stack([intensity(image) for image in faces.source]) if network.guide else None
        self._targets = faces.target
        self.size = height, width = faces.source.shape[1:3]
        if recipe.crop > min(height, width):
            raise InputError(f"crops of {recipe.crop} do not fit into {height} x {width}; choose a smaller crop")

    def batch(self, seed: int, step: int, size: int, part: slice = slice(None)) -> Batch:
        """The batch of a step: ``size`` crops, drawn with replacement, or the ``part`` of them for this process."""
        crops = [self._crop(draw) for draw in self.draws(seed, step, size, part)]
        return Batch(torch.stack([one for one, _ in crops]), torch.stack([other for _, other in crops]))

    def draws(self, seed: int, step: int, size: int, part: slice = slice(None)) -> list[Draw]:
        """What :meth:`batch` cuts, for those who cut it themselves."""
        numbers = np.random.default_rng([seed, step])
        return [self._draw(numbers) for _ in range(size)][part]

    def planes(self, image: int) -> dict[str, Tensor]:
        """What the generator's input is made of, (C, H, W) float32 in [0, 1], by name: coarse, photo, quilt, intra."""
        planes = {"coarse": self._coarse[image], **{name: made[image] for name, made in self._beside.items()}}
        if self._guides is not None:
            planes["photo"] = as_planes(self._guides[image])
        return planes

    def truth(self, image: int) -> Tensor:
        """The sketch to be made, (C, H, W) float32 in [0, 1]."""
        return as_planes(self._targets[image])

    def __len__(self) -> int:
        return len(self._coarse)

    def _draw(self, numbers: np.random.Generator) -> Draw:
        """One crop; which draw comes when is part of a run's result, so lines here must not change places."""
        image = int(numbers.integers(len(self._coarse)))
        flip = bool(numbers.integers(2)) and self.recipe.flips
        transpose = bool(numbers.integers(2)) and self.recipe.transposes
        upend = self.recipe.flips and self.recipe.transposes and bool(numbers.integers(2))
        places = [self._places(side, turned) for side, turned in zip(self.size, (upend, flip), strict=True)]
        row, column = (int(numbers.choice(some)) for some in (reversed(places) if transpose else places))
        return Draw(image, flip, upend, transpose, row, column)

    def _places(self, side: int, turned: bool) -> NDArray[np.int64]:
        """Where a crop may begin: every ``stride`` pixels and, the last one, at the (even) end.

        In a mirrored image these are the mirrored places: the crops are those of the image as it is, turned.
        """
        last = side + side % 2 - self.recipe.crop
        places = np.unique(np.append(np.arange(0, last, self.recipe.stride), last))
        return last - places[::-1] if turned else places

    def _crop(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """Input and truth of one crop, as in :class:`Batch` without the leading axis."""
        turned = {name: draw.turned(plane)[None] for name, plane in self.planes(draw.image).items()}
        inputs = generator_input(
            turned["coarse"],
            *(turned.get(name) for name in ("photo", "quilt", "intra")),
            channels=self.network.channels,
            guide=self.network.guide,
        )
        truth = draw.turned(self.truth(draw.image))[None]
        truth = even_sided(truth).expand(-1, self.network.channels, -1, -1)
        crop, row, column = self.recipe.crop, draw.row, draw.column
        half = inputs[0, :, row // 2 : (row + crop) // 2, column // 2 : (column + crop) // 2]
        return half, truth[0, :, row : row + crop, column : column + crop]


@dataclass(frozen=True)
class Draw:
    """One crop: the image's number, how the whole image is turned, and the crop's first row and column after that.

    ``flip`` mirrors left to right, ``upend`` top to bottom, then ``transpose`` swaps rows and columns.
    """

    image: int
    flip: bool
    upend: bool
    transpose: bool
    row: int
    column: int

    def turned(self, plane: Tensor) -> Tensor:
        """(C, H, W) mirrored and transposed."""
        mirrored = plane.flip([axis for axis, turned in ((-1, self.flip), (-2, self.upend)) if turned])
        return mirrored.transpose(-1, -2) if self.transpose else mirrored
