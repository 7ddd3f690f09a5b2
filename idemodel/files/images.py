"""Images in and out as uint8 arrays, from files or bytes: harmless modes are read right, others are one clear error."""

from __future__ import annotations

import io
import os
import re
import struct
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from idekernels.errors import InputError, in_short
from idekernels.files.atomic import replace_when_done
from idekernels.files.processes import keep_over_forks
from idekernels.files.regular import regular_file

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
MAX_PIXELS = 64_000_000  # a phone's largest picture; past it a small file can fill the memory
LARGEST = 2**29  # bytes of a file: so many pixels of 16 bits, three channels, uncompressed, and some

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")  # JPEG opens phones' MPO files as well
_ONE_AT_A_TIME = threading.Lock()  # the warning filter belongs to the whole process
keep_over_forks(_ONE_AT_A_TIME)
_EIGHT_BIT = np.round(np.arange(2**16) / 257.0).astype(np.uint8)  # of every 16-bit level
_DAMAGE = (  # what Pillow raises on files that are none of its formats, or were cut or altered
    OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError,
    struct.error, Image.DecompressionBombError,
)  # fmt: skip


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
    return np.array(_as(_read(Path(path)), "L"))


def read_colour(path: str | os.PathLike[str], also: tuple[str, ...] = ()) -> NDArray[np.uint8]:
    """Read an image file as RGB, (H, W, 3) uint8; see :func:`read_grey` for what is accepted and raised.

    ``also`` names formats of Pillow that are taken besides (``PPM``, in which data sets come).
    """
    return np.array(_as(_read(Path(path), also), "RGB"))


def decode_grey(content: bytes, name: str) -> NDArray[np.uint8]:
    """Read the content of an image file as grey levels, (H, W) uint8; ``name`` stands for the path in errors.

    See :func:`read_grey` for what is accepted and raised.
    """
    return np.array(_as(_decode(content, name), "L"))


def decode_colour(content: bytes, name: str) -> NDArray[np.uint8]:
    """Read the content of an image file as RGB, (H, W, 3) uint8; ``name`` stands for the path in errors.

    See :func:`read_grey` for what is accepted and raised.
    """
    return np.array(_as(_decode(content, name), "RGB"))


def as_colour(image: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Take an image that is an array already, with the checks of a file.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
    name : str
        What errors call it.

    Returns
    -------
    (H, W, 3) uint8
        The very array where it has three channels.

    Raises
    ------
    TypeError, ValueError
        Another dtype or shape.
    InputError
        Over ``MAX_PIXELS``.
    """
    if image.dtype != np.uint8:
        raise TypeError(f"{name}: is an array of {image.dtype}; an image is uint8")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or image.size == 0:
        raise ValueError(f"{name}: is an array of shape {image.shape}; an image is (H, W) or (H, W, 3)")
    _refuse_large(name, image.shape[1], image.shape[0])
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def require_size(
    image: NDArray[np.uint8],
    name: str | os.PathLike[str],
    size: tuple[int, int],
    *,
    whose: str = "the bank",
    remedy: str = "align or scale it to that size",
) -> None:
    """InputError where an image (H, W) or (H, W, 3) has not the ``size`` (rows, columns) of what it goes with."""
    if image.shape[:2] != size:
        raise InputError(
            f"{os.fspath(name)}: is {image.shape[0]} x {image.shape[1]} (rows x columns), "
            f"{whose} {size[0]} x {size[1]}; {remedy}"
        )


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
    regular_file(path, "an image", LARGEST)
    return _decoded(str(path), lambda: path.open("rb"), also)


def _decode(content: bytes, name: str) -> Image.Image:
    if len(content) > LARGEST:
        raise InputError(f"{name}: has {len(content)} bytes, more than the {LARGEST} that are read; wanted is an image")
    return _decoded(name, lambda: io.BytesIO(content))


def _decoded(name: str, opened: Callable[[], BinaryIO], also: tuple[str, ...] = ()) -> Image.Image:
    try:
        with _ONE_AT_A_TIME, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about metadata that does no harm
            # an open file, not a path: Pillow maps a path's TIFF with the sides of a turned picture swapped
            with opened() as file, Image.open(file, formats=(*_FORMATS, *also)) as image:
                _refuse(name, image)
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return _eight_bit(image)
    except InputError:
        raise
    except PermissionError:
        raise InputError(f"{name}: may not be read (permission denied)") from None
    except MemoryError:
        raise InputError(f"{name}: claims to need more memory than there is; save it anew, or scale it down") from None
    except _DAMAGE as error:
        raise InputError(f"{name}: not a readable PNG, JPEG, BMP or TIFF image ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    """Pillow's complaint; without the place in memory at which bytes that are no file lie."""
    return in_short(re.sub(r" <_io\.BytesIO object at \w+>", "", str(error)) or error)


def _refuse(name: str, image: Image.Image) -> None:
    _refuse_large(name, image.width, image.height)
    if image.format != "MPO" and getattr(image, "is_animated", False):  # frames are not counted: there may be millions
        raise InputError(f"{name}: holds several frames; save the one you mean")
    if image.mode in ("F", "I"):
        raise InputError(f"{name}: has {image.mode} pixels (32 bits) of unknown range; save it with 8 or 16 bits")


def _refuse_large(name: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: {width} x {height} pixels are over the limit of {MAX_PIXELS // 10**6} million; "
            "scale it down first"
        )


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray(_EIGHT_BIT[np.asarray(image)])
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _over_white(_as(image, "RGBA")).convert("RGB")
    return image if image.mode == "L" else _as(image, "RGB")


def _over_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)


def _as(image: Image.Image, mode: str) -> Image.Image:
    """The image in this mode; no copy where it has it already, a large one takes a quarter of a gigabyte."""
    return image if image.mode == mode else image.convert(mode)
