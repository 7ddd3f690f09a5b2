"""Validation: the pairs that a run keeps out of training are sketched, scored and shown side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idekernels.representations import intensity
from idemodel.files.contact_sheet import contact_sheet
from idemodel.files.tensors import as_images, as_planes
from idemodel.generator.config import MLAConfig
from idemodel.generator.hand import Hand
from idemodel.generator.inputs import fitted, generator_input
from idemodel.generator.network import MLANet
from idemodel.metrics import METRICS
from idemodel.training.data import Faces

SCORES = ("ssim", "fsim", "scoot")  # their mean chooses the best generator
_SHOWN = 6  # faces of a sample grid

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Aside:
    """A pair kept out of training.

    Parameters
    ----------
    name : str
    inputs : (1, C, h, w) float32 Tensor in [0, 1]
        What the generator is given, see :func:`idemodel.generator.inputs.generator_input`.
    coarse, truth : (H, W) or (H, W, 3) uint8
        For the metrics and the sample sheet.
    """

    name: str
    inputs: Tensor
    coarse: Image
    truth: Image


def kept_aside(
    faces: Faces,
    coarse: Sequence[Tensor],
    number: int,
    network: MLAConfig,
    beside: Mapping[str, Sequence[Tensor]] | None = None,
) -> Aside:
    """The pair of that number as a generator of this size sees it; ``coarse`` and ``beside`` are of all N."""
    guide = as_planes(intensity(faces.source[number]))[None]
    quilt, intra = (beside[name][number][None] if beside and name in beside else None for name in ("quilt", "intra"))
    planes = (coarse[number][None], guide, quilt, intra)
    inputs = generator_input(*planes, channels=network.channels, guide=network.guide)
    return Aside(faces.names[number], inputs, as_images(coarse[number][None])[0], faces.target[number])


@torch.no_grad()
def sketched(generator: MLANet, one: Aside, device: torch.device, hand: Hand) -> Image:
    """The fine sketch, (H, W) or (H, W, 3) uint8, that a generator in training makes of a pair kept aside."""
    fine = fitted(generator.eval()(one.inputs.to(device)), *one.truth.shape[:2])
    generator.train()
    return as_images(hand.drawn(fine))[0]


def scores(made: Sequence[Image], aside: Sequence[Aside]) -> dict[str, float]:
    """Means of the metrics over the pairs kept aside, in grey, by name, and as ``mean`` the mean of those."""
    pairs = [(intensity(image), intensity(one.truth)) for image, one in zip(made, aside, strict=True)]
    means = {name: float(np.mean([METRICS[name].function(*pair) for pair in pairs])) for name in SCORES}
    return means | {"mean": sum(means.values()) / len(SCORES)}


def sample_sheet(step: int, fine: Sequence[Image], aside: Sequence[Aside]) -> Image:
    """Coarse, fine and true sketches of the first six pairs, side by side, (H', W', 3) uint8."""
    shown = aside[:_SHOWN]
    return contact_sheet(
        [
            ("coarse", [one.coarse for one in shown]),
            (f"fine, step {step}", list(fine[:_SHOWN])),
            ("truth", [one.truth for one in shown]),
        ]
    )
