"""Owns what other faces, lamps and cameras do to a pair, so that a generator learns from more than was drawn."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from .pairs import PhantomPair
from .raster import Floats, Frame, blur, smooth_noise

_BENT = 0.035  # face units that a place is moved by, one deviation


def varied(pair: PhantomPair, seed: int) -> PhantomPair:
    """The pair bent a little, photo and sketch alike, and its photo as another lamp and camera would show it.

    Parameters
    ----------
    pair : PhantomPair
    seed : int
        At least 0; with the pair's name it decides everything.

    Returns
    -------
    PhantomPair
        Of the same name and size. Grey levels are moved by a power, a contrast and a slope of light; then come blur,
        grain of skin and sensor, and JPEG, each of a random strength.
    """
    rng = np.random.default_rng([seed, int(pair.name), 7])
    frame = Frame.portrait(*pair.sketch.shape)
    places = _bent(frame, rng)
    sketch = _read(pair.sketch, places)
    photo = np.stack([_read(pair.photo[..., channel], places) for channel in range(3)], axis=-1)
    return PhantomPair(pair.name, _taken(photo, frame, rng), sketch)


def _bent(frame: Frame, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Rows and columns (H, W) that the bent picture's pixels come from; the field is smooth over half an eye's way."""
    down, right = (smooth_noise(rng, frame, 0.7) * np.float32(_BENT * frame.scale) for _ in range(2))
    return np.arange(frame.rows)[:, None] + down, np.arange(frame.cols)[None, :] + right


def _read(plane: NDArray[np.uint8], places: tuple[Floats, Floats]) -> NDArray[np.uint8]:
    read = ndimage.map_coordinates(plane.astype(np.float32), places, order=1, mode="nearest")
    return np.asarray(np.clip(read + 0.5, 0, 255), dtype=np.uint8)


def _taken(photo: NDArray[np.uint8], frame: Frame, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The photo (H, W, 3) under another light, through another lens, and compressed."""
    value = (photo / np.float32(255)) ** np.float32(np.exp(rng.normal(0, 0.25)))
    value = 0.5 + (value - 0.5) * rng.uniform(0.75, 1.2) + rng.normal(0, 0.04)
    slope = 1 + rng.normal(0, 0.06) * frame.x + rng.normal(0, 0.04) * frame.y
    value = value * slope[..., None]
    sigma = rng.uniform(0, 0.022) * frame.scale
    value = np.stack([blur(value[..., channel], sigma) for channel in range(3)], axis=-1)
    grain = blur(rng.standard_normal(frame.shape), 0.02 * frame.scale)
    grain *= rng.uniform(0, 0.025) / grain.std()
    noise = rng.uniform(0, 0.02) * rng.standard_normal(frame.shape)
    value = value + (grain + noise)[..., None]
    packed = io.BytesIO()
    picture = Image.fromarray((np.clip(value, 0, 1) * 255 + 0.5).astype(np.uint8))
    picture.save(packed, "JPEG", quality=int(rng.integers(40, 96)))
    return np.array(Image.open(packed))
