"""The generator's input made of coarse sketch and what goes with it, and its output cut to size; no networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from idekernels import arguments
from idemodel.generator.config import inputs_of

SIZES = ("source", "double")


def generator_input(
    coarse: Tensor,
    photo: Tensor | None = None,
    quilt: Tensor | None = None,
    intra: Tensor | None = None,
    *,
    channels: int,
    guide: int = 0,
    size: str = "source",
) -> Tensor:
    """Make the generator's input, whose doubling has the wanted size.

    ``source``: the coarse sketch is halved by an antialiased bicubic filter (a = -0.5, as Pillow's and MATLAB's), so
    that the fine sketch has the coarse one's size; odd sides first repeat their last row or column, which
    :func:`fitted` takes off again. ``double``: the coarse sketch goes in whole. With a guide, coarse, quilt, intra and
    photo of the fine sketch's size follow with nothing lost: every 2 x 2 pixels become four channels.

    Parameters
    ----------
    coarse : (B, 1 or channels, H, W) floating point in [0, 1]
    photo : (B, 1, H, W), optional
        What the coarse sketch was made from (for sketch-to-photo a sketch), grey, in [0, 1]; needed where there is a
        guide.
    quilt : (B, 1 or channels, H, W), optional
        The sketch that one candidate a patch gives, by the same match; needed where the guide holds it.
    intra : (B, 1 or channels, H, W), optional
        The coarse sketch carried over within its domain (:mod:`idemodel.generator.intra`); needed likewise.
    channels, guide : int
        Of :class:`idemodel.generator.config.MLAConfig`.
    size : {"source", "double"}

    Returns
    -------
    (B, channels + guide, h, w) Tensor
        h, w = ceil(H / 2), ceil(W / 2) for ``source``, H, W for ``double``. Without a guide and with ``double`` it
        shares the coarse sketch's memory.

    Raises
    ------
    ValueError
        Shapes that do not fit, something missing, or an unknown size.
    """
    arguments.choice("size", size, SIZES)
    whole = _expanded("coarse sketch", coarse, channels)
    if not guide:
        return _halved(even_sided(whole)) if size == "source" else whole
    taken = inputs_of(channels, guide)
    between = [
        _beside(name, given, coarse, channels) for name, given in (("quilt", quilt), ("intra", intra)) if name in taken
    ]
    return _with_guide([whole, *between, _checked_photo(photo, coarse)], size)


def fitted(fine: Tensor, height: int, width: int, size: str = "source") -> Tensor:
    """Cut fine sketches (B, C, h, w) to the coarse ones' size, and clip them to [0, 1].

    ``height`` and ``width`` are the coarse sketches'; (B, C, height, width) remains for the size ``source``, twice as
    many rows and columns for ``double``.
    """
    times = {"source": 1, "double": 2}[size]
    return fine[..., : times * height, : times * width].clamp(0.0, 1.0)


def even_sided(images: Tensor) -> Tensor:
    """(B, C, H, W) with an odd last row or column repeated once, so that both sides are even; else as it is."""
    height, width = images.shape[2:]
    if height % 2 == 0 and width % 2 == 0:
        return images
    return functional.pad(images, (0, width % 2, 0, height % 2), mode="replicate")


def _with_guide(planes: Sequence[Tensor], size: str) -> Tensor:
    """Coarse sketch, what goes with it, and photo, (B, C, H, W) each, as one input; the coarse one leads it."""
    if size == "source":
        planes = [even_sided(plane) for plane in planes]
        base = _halved(planes[0])
    else:
        base, planes = planes[0], [_doubled(plane) for plane in planes]
    return torch.cat((base, *(functional.pixel_unshuffle(plane, 2) for plane in planes)), dim=1)


def _expanded(what: str, images: Tensor, channels: int) -> Tensor:
    """(B, 1 or channels, H, W) as (B, channels, H, W); ValueError for another shape."""
    if images.ndim != 4 or images.shape[1] not in (1, channels):
        raise ValueError(f"the {what} must be (B, {channels}, H, W), not {tuple(images.shape)}")
    return images.expand(-1, channels, -1, -1)


def _checked_photo(photo: Tensor | None, coarse: Tensor) -> Tensor:
    if photo is None:
        raise ValueError("this generator was trained on coarse sketch and photo: give it the photo as well")
    if photo.shape != (coarse.shape[0], 1, *coarse.shape[2:]):
        raise ValueError(f"the photo must be {(coarse.shape[0], 1, *coarse.shape[2:])}, not {tuple(photo.shape)}")
    return photo


def _beside(name: str, images: Tensor | None, coarse: Tensor, channels: int) -> Tensor:
    """A sketch that goes with the coarse one, (B, channels, H, W), checked."""
    if images is None:
        raise ValueError(f"this generator was trained on coarse sketch, photo and {name}: give it the {name} as well")
    whole = _expanded(name, images, channels)
    if (whole.shape[0], *whole.shape[2:]) != (coarse.shape[0], *coarse.shape[2:]):
        raise ValueError(f"the {name} must be {tuple(coarse.shape)}, as the coarse sketch, not {tuple(images.shape)}")
    return whole


def _halved(images: Tensor) -> Tensor:
    half = functional.interpolate(images, scale_factor=0.5, mode="bicubic", align_corners=False, antialias=True)
    return half.clamp(0.0, 1.0)


def _doubled(images: Tensor) -> Tensor:
    return functional.interpolate(images, scale_factor=2.0, mode="bicubic", align_corners=False).clamp(0.0, 1.0)
