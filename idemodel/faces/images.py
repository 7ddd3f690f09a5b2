"""Image files in and out as uint8 arrays: every mode that is harmless is read right, the rest is one clear error."""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from idekernels.atomic import replace_when_done
from idekernels.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
MAX_PIXELS = 64_000_000  # a phone's largest picture; past it a small file can fill the memory

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")  # JPEG opens phones' MPO files as well
_ONE_AT_A_TIME = threading.Lock()  # the warning filter belongs to the whole process
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, Image.DecompressionBombError)


def read_grey(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read an image file as grey levels.

    Colour becomes luma (ITU-R 601, Pillow's ``convert("L")``); transparency is laid over white.

    Returns
    -------
    (H, W) uint8

    Raises
    ------
    InputError
        Missing, unreadable, animated, in floating point, or over ``MAX_PIXELS``.
    """
    return np.array(_read(Path(path)).convert("L"))


def read_colour(path: str | os.PathLike[str], also: tuple[str, ...] = ()) -> NDArray[np.uint8]:
    """Read an image file as RGB, (H, W, 3) uint8; see :func:`read_grey` for what is accepted and raised.

    ``also`` names formats of Pillow that are taken besides (``PPM``, in which data sets come).
    """
    return np.array(_read(Path(path), also).convert("RGB"))


def write_image(path: str | os.PathLike[str], image: NDArray[np.uint8]) -> None:
    """Write ``(H, W)`` or ``(H, W, 3)`` uint8 as a PNG that appears whole or not at all.

    Raises
    ------
    TypeError, ValueError
        Another dtype or shape.
    OSError
        The folder is missing or read-only, or the disk is full.
    """
    if image.dtype != np.uint8:
        raise TypeError(f"an image is written from uint8, not {image.dtype}")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or image.size == 0:
        raise ValueError(f"an image is (H, W) or (H, W, 3), not {image.shape}")
    with replace_when_done(path) as partial:
        Image.fromarray(image).save(partial, format="PNG")


def _read(path: Path, also: tuple[str, ...] = ()) -> Image.Image:
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not an image")
    try:
        with _ONE_AT_A_TIME, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about metadata that does no harm
            # an open file, not a path: Pillow maps a path's TIFF with the sides of a turned picture swapped
            with path.open("rb") as file, Image.open(file, formats=(*_FORMATS, *also)) as image:
                _refuse(path, image)
                image.load()
                return _eight_bit(path, ImageOps.exif_transpose(image))
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except PermissionError:
        raise InputError(f"{path}: may not be read (permission denied)") from None
    except _DAMAGE as error:
        raise InputError(f"{path}: not a readable PNG, JPEG, BMP or TIFF image ({_short(error)})") from error


def _refuse(path: Path, image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise InputError(
            f"{path}: {image.width} x {image.height} pixels are over the limit of {MAX_PIXELS // 10**6} million; "
            "scale it down first"
        )
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise InputError(f"{path}: holds {getattr(image, 'n_frames', 1)} frames; save the one you mean")
    if image.mode in ("F", "I"):
        raise InputError(f"{path}: has {image.mode} pixels (32 bits) of unknown range; save it with 8 or 16 bits")


def _eight_bit(path: Path, image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        levels = np.asarray(image).astype(np.float64)
        return Image.fromarray(np.round(levels / 257.0).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:100] if text else type(error).__name__
