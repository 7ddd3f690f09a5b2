"""Photos as they come from elsewhere: a laboratory photo's light, colour, noise or background altered, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Alteration = Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]]


def _dark(photo: Any, _: Any) -> Any:
    return 0.5 * photo


def _bright(photo: Any, _: Any) -> Any:
    return 1.5 * photo


def _gamma(photo: Any, _: Any) -> Any:
    return 255.0 * (photo / 255.0) ** 2.2


def _flat(photo: Any, _: Any) -> Any:
    return 128.0 + 0.5 * (photo - 128.0)


def _cast(photo: Any, _: Any) -> Any:
    return photo * (1.3, 1.0, 0.7)


def _side(photo: Any, _: Any) -> Any:
    return photo * np.linspace(0.4, 1.3, photo.shape[1])[:, None]


def _shadow(photo: Any, _: Any) -> Any:
    """Half the face in shadow, with an edge of an eighth of the width: no straight slope."""
    across = (np.arange(photo.shape[1]) + 0.5) / photo.shape[1] - 0.5
    return photo * (0.4 + 0.6 / (1.0 + np.exp(-across / 0.06)))[:, None]


def _dim(photo: Any, chance: np.random.Generator) -> Any:
    return 0.25 * photo + chance.normal(0.0, 6.0, photo.shape)


def _dark_ground(photo: Any, _: Any) -> Any:
    return _before(photo, (45.0, 42.0, 40.0))


def _white_ground(photo: Any, _: Any) -> Any:
    return _before(photo, (240.0, 240.0, 236.0))


def _busy_ground(photo: Any, chance: np.random.Generator) -> Any:
    """Blots and stripes, black to white."""
    from scipy.ndimage import gaussian_filter

    blots = gaussian_filter(chance.normal(size=photo.shape[:2]), 6.0)
    grey = 120.0 + 40.0 * blots / blots.std() + 40.0 * np.sin(np.arange(photo.shape[1]) / 5.0)
    return _before(photo, grey[..., None] * (1.0, 0.9, 0.75))


def _before(photo: Any, ground: Any) -> Any:
    """The person before another background: what is blue (the CUHK backdrop), or a black bar on top, is replaced."""
    from scipy.ndimage import binary_opening, gaussian_filter

    red, _, blue = np.moveaxis(photo, 2, 0)
    top = np.arange(len(photo))[:, None] < 12
    backdrop = ((blue - red > 45.0) & (blue > 100.0)) | ((photo.max(axis=2) < 12.0) & top)
    share = gaussian_filter(binary_opening(backdrop).astype(float), 0.7)[..., None]
    return photo * (1.0 - share) + share * np.asarray(ground)


ALTERATIONS: Mapping[str, Alteration] = MappingProxyType(
    {
        "clean": lambda photo, _: photo,
        "brightness x 0.5": _dark,
        "brightness x 1.5, clipped": _bright,
        "gamma 2.2": _gamma,
        "contrast x 0.5": _flat,
        "colour cast, R x 1.3, B x 0.7": _cast,
        "side light, 0.4 to 1.3": _side,
        "half in shadow, 0.4": _shadow,
        "dim x 0.25, noise 6": _dim,
        "dark background": _dark_ground,
        "white background": _white_ground,
        "busy background": _busy_ground,
    }
)


def altered(photo: Image, name: str, seed: int = 0) -> Image:
    """One of :data:`ALTERATIONS` of a colour photo, (H, W, 3) uint8; the same for the same seed."""
    made = ALTERATIONS[name](photo.astype(np.float64), np.random.default_rng(seed))
    return np.clip(np.rint(made), 0.0, 255.0).astype(np.uint8)
