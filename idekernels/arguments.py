"""Checks of shapes, dtypes and ranges: a wrong argument becomes an error that says what was given and what fits.

Arrays are NumPy's, or a CUDA device's (CuPy's). Of those only what is known without waiting is checked: no values.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels.bank import PatchBank
from idekernels.grid import PatchGrid

PEAK = 255 * 255  # the largest squared difference of two uint8 pixels


def on_device(value: Any) -> bool:
    """Whether an array lies on a CUDA device."""
    return not isinstance(value, np.ndarray) and hasattr(value, "__cuda_array_interface__")


def namespace(value: Any) -> Any:
    """The module whose functions take this array: numpy, or its own (cupy)."""
    return sys.modules[type(value).__module__.partition(".")[0]] if on_device(value) else np


def array(name: str, value: Any, dtype: Any, dims: int, *, empty: bool = False) -> NDArray[Any]:
    """A C-contiguous array of exactly this dtype and number of dimensions; not empty unless it may be."""
    if not (isinstance(value, np.ndarray) or on_device(value)):
        raise TypeError(f"{name} must be a NumPy array, not {type(value).__name__}")
    if value.dtype != dtype:
        raise TypeError(f"{name} must be {np.dtype(dtype)}, not {value.dtype}")
    if value.ndim != dims:
        raise ValueError(f"{name} must have {dims} dimensions, not the shape {value.shape}")
    if value.size == 0 and not empty:
        raise ValueError(f"{name} is empty: {value.shape}")
    contiguous: NDArray[Any] = namespace(value).ascontiguousarray(value)
    return contiguous


def finite(name: str, value: NDArray[Any]) -> None:
    """Neither infinite nor NaN; of a device's array this is not looked at."""
    if not on_device(value) and not np.isfinite(value).all():
        raise ValueError(f"{name} must be finite")


def shape(name: str, value: NDArray[Any], expected: tuple[int | None, ...]) -> None:
    """Every axis as expected; None for any length."""
    if any(want not in (None, have) for have, want in zip(value.shape, expected, strict=True)):
        raise ValueError(f"{name} must have the shape {expected} (None: any), not {value.shape}")


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """An integer in a range."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name} must be {least} or more{f' and at most {most}' if most else ''}, not {value}")
    return int(value)


def real(name: str, value: Any, least: float, most: float = math.inf) -> float:
    """A finite number in a range."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, not {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        number = math.inf
    if not (math.isfinite(number) and least <= number <= most):
        raise ValueError(f"{name} must be finite and in [{least}, {most}], not {value}")
    return number


def choice(name: str, value: str, among: Any) -> str:
    """One of a few names."""
    if value not in tuple(among):
        raise ValueError(f"{name} must be one of {', '.join(among)}, not {value!r}")
    return value


def query(value: Any, bank: PatchBank, grid: PatchGrid) -> NDArray[np.uint8]:
    """Query planes (B, L, H, W) of the bank's and the grid's size."""
    planes = array("query", value, np.uint8, 4)
    if (grid.height, grid.width) != (bank.height, bank.width):
        raise ValueError(f"the grid is {grid.height} x {grid.width}, the bank {bank.height} x {bank.width}")
    shape("query", planes, (None, bank.planes, bank.height, bank.width))
    return planes


def excluded(value: Any, photos: int, images: int) -> NDArray[np.int64]:
    """Images that each photo must not use, (B, X) int64: from None, one a photo (B,) or several (B, X); -1 for none."""
    if value is None:
        return np.full((photos, 1), -1, np.int64)
    ids = np.asarray(value)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"exclude must hold integers, not {ids.dtype}")
    if ids.ndim not in (1, 2) or len(ids) != photos or ids.size == 0:
        raise ValueError(f"exclude must be ({photos},) or ({photos}, X), not {ids.shape}")
    if ids.min() < -1 or ids.max() >= images:
        raise ValueError(f"exclude must hold image ids below {images}, or -1 for none, not {ids.min()} .. {ids.max()}")
    return np.ascontiguousarray(ids.reshape(photos, -1), np.int64)


def enough_positions(
    bank: PatchBank, grid: PatchGrid, radius: int, k: int, exclude: NDArray[np.int64], most: int | None = None
) -> None:
    """K must not exceed the positions that the most cornered patch has in the images searched, at most ``most``."""
    most = bank.images if most is None else most
    barred = max(len(np.unique(ids[ids >= 0])) for ids in exclude) if exclude.max() >= 0 else 0
    images = min(most, bank.images - barred)
    down, across = grid.positions(radius)
    remedy = "a larger bank" if most == bank.images else "more preselected images"
    positions = images * int(down.min()) * int(across.min())
    if k > positions:
        raise ValueError(
            f"k is {k}, but a corner patch has only {positions} positions in {images} images at radius {radius}; "
            f"take a smaller k, a larger radius or {remedy}"
        )


def exact_distance(bank: PatchBank, patch: int) -> None:
    """Distances are exact in uint32; what could reach 2^32 is refused."""
    worst = sum(bank.weights) * patch * patch * PEAK
    if worst >= 2**32:
        raise ValueError(
            f"patch {patch} with weights {bank.weights} could reach a distance of {worst}, past 2^32; "
            "take smaller patches or weights"
        )


def exact_products(patch: int, planes: int) -> None:
    """Tables of products are summed in int32; what could reach 2^31 is refused."""
    worst = patch * patch * planes * PEAK
    if worst >= 2**31:
        raise ValueError(f"patch {patch} with {planes} planes could reach a product of {worst}, past 2^31")
