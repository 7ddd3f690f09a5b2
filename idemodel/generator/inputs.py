"""The generator's input made of coarse sketch and photo, and its output cut to size; knows no networks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from idekernels import arguments

SIZES = ("source", "double")
_PHASES = 4  # pixels of the doubled image, 2 x 2, that one pixel of the generator's input covers


def guide_channels(inputs: str, channels: int) -> int:
    """Input channels behind the coarse sketch's ``channels``, for a recipe's ``inputs``.

    ``coarse``: none. ``coarse+photo``: coarse sketch and grey photo of the doubled size, four channels for each plane.
    """
    return {"coarse": 0, "coarse+photo": _PHASES * (channels + 1)}[inputs]


def generator_input(
    coarse: Tensor, photo: Tensor | None = None, *, channels: int, guide: int = 0, size: str = "source"
) -> Tensor:
    """Make the generator's input, whose doubling has the wanted size.

    ``source``: the coarse sketch is halved by an antialiased bicubic filter (a = -0.5, as Pillow's and MATLAB's), so
    that the fine sketch has the coarse one's size; odd sides first repeat their last row or column, which
    :func:`fitted` takes off again. ``double``: the coarse sketch goes in whole. With a guide, coarse sketch and photo
    of the fine sketch's size follow with nothing lost: every 2 x 2 pixels become four channels.

    Parameters
    ----------
    coarse : (B, 1 or channels, H, W) floating point in [0, 1]
    photo : (B, 1, H, W), optional
        What the coarse sketch was made from (for sketch-to-photo a sketch), grey, in [0, 1]; needed where there is a
        guide.
    channels, guide : int
        Of :class:`idemodel.generator.network.MLAConfig`.
    size : {"source", "double"}

    Returns
    -------
    (B, channels + guide, h, w) Tensor
        h, w = ceil(H / 2), ceil(W / 2) for ``source``, H, W for ``double``. Without a guide and with ``double`` it
        shares the coarse sketch's memory.

    Raises
    ------
    ValueError
        Shapes that do not fit, a missing photo, or an unknown size.
    """
    arguments.choice("size", size, SIZES)
    if coarse.ndim != 4 or coarse.shape[1] not in (1, channels):
        raise ValueError(f"the coarse sketch must be (B, {channels}, H, W), not {tuple(coarse.shape)}")
    whole = coarse.expand(-1, channels, -1, -1)
    if not guide:
        return _halved(even_sided(whole)) if size == "source" else whole
    return _with_guide(whole, _checked_photo(photo, coarse), size)


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


def _with_guide(whole: Tensor, photo: Tensor, size: str) -> Tensor:
    if size == "source":
        whole, photo = even_sided(whole), even_sided(photo)
        base = _halved(whole)
    else:
        base, whole, photo = whole, _doubled(whole), _doubled(photo)
    return torch.cat((base, functional.pixel_unshuffle(whole, 2), functional.pixel_unshuffle(photo, 2)), dim=1)


def _checked_photo(photo: Tensor | None, coarse: Tensor) -> Tensor:
    if photo is None:
        raise ValueError("this generator was trained on coarse sketch and photo: give it the photo as well")
    if photo.shape != (coarse.shape[0], 1, *coarse.shape[2:]):
        raise ValueError(f"the photo must be {(coarse.shape[0], 1, *coarse.shape[2:])}, not {tuple(photo.shape)}")
    return photo


def _halved(images: Tensor) -> Tensor:
    half = functional.interpolate(images, scale_factor=0.5, mode="bicubic", align_corners=False, antialias=True)
    return half.clamp(0.0, 1.0)


def _doubled(images: Tensor) -> Tensor:
    return functional.interpolate(images, scale_factor=2.0, mode="bicubic", align_corners=False).clamp(0.0, 1.0)
