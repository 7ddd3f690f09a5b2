"""Images in and out as uint8 arrays, from files or bytes: harmless modes are read right, others are one clear error."""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from idekernels.errors import InputError, in_short
from idekernels.files.atomic import replace_when_done
from idekernels.files.notices import tell_once
from idekernels.files.regular import regular_file
from idemodel.files.formats import HEAD, LABELS, Format, can_read, format_of, open_heif, webp_size
from idemodel.files.large import decoding
from idemodel.files.png import significant_bits, without_metadata
from idemodel.files.warned import warnings_ignored

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
MAX_PIXELS = 64_000_000  # a phone's largest picture; past it a small file can fill the memory
LARGEST = 2**29  # bytes of a file: so many pixels of 16 bits, three channels, uncompressed, and some

_USUAL = ("PNG", "JPEG", "BMP", "TIFF")  # tried on a file whose first bytes are no format's, for Pillow's reason
_ONE_OF_SEVERAL = ("MPO", "GIF", "HEIF")  # formats of several pictures whose first is the one that a person means
_LARGEST_MENDED = 2**27  # bytes of a PNG that is read again without its metadata
_SIXTEEN = 2**16 - 1  # the largest of 16 bits
_MAX_SAMPLE, _BITS = 281, 258  # tags of TIFF
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
        raise InputError(f"{misfit(image, name, size, whose)}; {remedy}")


def misfit(
    image: NDArray[np.uint8], name: str | os.PathLike[str], size: tuple[int, int], whose: str = "the bank"
) -> str:
    """That an image (H, W) or (H, W, 3) has another size (rows, columns) than what it goes with, in words."""
    rows, columns = image.shape[:2]
    return f"{os.fspath(name)}: is {rows} x {columns} (rows x columns), {whose} {size[0]} x {size[1]}"


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


def encode_image(image: NDArray[np.uint8], form: str = "PNG") -> bytes:
    """The content of an image file: ``(H, W)`` or ``(H, W, 3)`` uint8 as "PNG", or as "JPEG" of high quality."""
    made = io.BytesIO()
    Image.fromarray(image).save(made, format=form, **({"quality": 88} if form == "JPEG" else {}))
    return made.getvalue()


def scaled_within(image: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """An image ``(H, W, 3)`` uint8, scaled down where its longer side has more than ``longest`` pixels."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0))


def _read(path: Path, also: tuple[str, ...] = ()) -> Image.Image:
    regular_file(path, "an image", LARGEST)
    return _decoded(str(path), lambda: path.open("rb"), also)


def _decode(content: bytes, name: str) -> Image.Image:
    if len(content) > LARGEST:
        raise InputError(f"{name}: has {len(content)} bytes, more than the {LARGEST} that are read; wanted is an image")
    return _decoded(name, lambda: io.BytesIO(content))


def _decoded(name: str, opened: Callable[[], BinaryIO], also: tuple[str, ...] = ()) -> Image.Image:
    try:
        # Pillow warns about metadata that does no harm. It gets an open file: a path's TIFF it maps with the sides of a
        # turned picture swapped
        with warnings_ignored(), opened() as file:
            head = file.read(HEAD)
            file.seek(0)
            found = format_of(head)
            if found is None:
                return _pixels(name, file, (*_USUAL, *also))
            _refuse_unopened(name, found, head)
            return _pixels_whatever_is_beside(name, file, found.reader)
    except InputError:
        raise
    except PermissionError:
        raise InputError(f"{name}: may not be read (permission denied)") from None
    except MemoryError:
        raise InputError(f"{name}: claims to need more memory than there is; save it anew, or scale it down") from None
    except _DAMAGE as error:
        raise InputError(f"{name}: not a readable {LABELS} image ({_reason(error)})") from error


def _pixels_whatever_is_beside(name: str, file: BinaryIO, reader: str) -> Image.Image:
    """The pixels; a PNG that cannot be read is read again without its comments, profiles and other metadata."""
    try:
        return _pixels(name, file, (reader,))
    except InputError:
        raise
    except _DAMAGE as error:
        if reader != "PNG" or file.seek(0, io.SEEK_END) > _LARGEST_MENDED:
            raise
        file.seek(0)
        try:
            return _pixels(name, without_metadata(file), (reader,))
        except InputError:
            raise
        except _DAMAGE:
            raise error from None


def _pixels(name: str, file: BinaryIO, formats: tuple[str, ...]) -> Image.Image:
    """The picture upright and in 8 bits."""
    with Image.open(file, formats=formats) as image:
        _refuse(name, image)
        with decoding(image.width * image.height):
            return _upright(name, image, file)


def _upright(name: str, image: ImageFile.ImageFile, file: BinaryIO) -> Image.Image:
    """An open picture, decoded, turned and in 8 bits."""
    deep = any(";16" in str(part) for part in image.tile)
    image.load()
    with contextlib.suppress(*_DAMAGE):  # EXIF data that cannot be read turn nothing
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        return _from_sixteen(name, image, _largest_level(image, file))
    made = _eight_bit(image)
    if deep and 0 < int(np.asarray(made).max()) < 16:
        tell_once(
            "dark", f"{name}: is nearly black: colour of 12 bits in 16, it seems; save it, and others alike, with 8"
        )
    return made


def _refuse_unopened(name: str, found: Format, head: bytes) -> None:
    """What must be known before a decoder opens the file: whether there is one, and what it would take."""
    if found.reader == "HEIF" and not open_heif():
        raise InputError(
            f"{name}: is a HEIC picture; pip install 'idesketch[heic]' to have them read, or save it as JPEG"
        )
    if not can_read(found):
        raise InputError(f"{name}: is {found.label}, which this Pillow does not read; pip install --upgrade pillow")
    if found.reader == "WEBP":
        if head[12:16] == b"VP8X" and head[20:21] and head[20] & 2:
            raise _several_frames(name)
        width, height = webp_size(head) or (0, 0)
        _refuse_large(name, width, height)


def _reason(error: BaseException) -> str:
    """Pillow's complaint, without the object in memory that it calls an open file or bytes."""
    return in_short(re.sub(r" '?<[\w.]+ (object at|name=)[^>]*>'?", "", str(error)) or error)


def _several_frames(name: str) -> InputError:
    return InputError(f"{name}: holds several frames; save the one you mean")


def _refuse(name: str, image: Image.Image) -> None:
    _refuse_large(name, image.width, image.height)
    if image.format not in _ONE_OF_SEVERAL and getattr(image, "is_animated", False):
        raise _several_frames(name)  # frames are not counted: there may be millions
    if image.mode in ("F", "I"):
        raise InputError(f"{name}: has {image.mode} pixels (32 bits) of unknown range; save it with 8 or 16 bits")


def _refuse_large(name: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: {width} x {height} pixels are over the limit of {MAX_PIXELS // 10**6} million; "
            "scale it down first"
        )


def _largest_level(image: Image.Image, file: BinaryIO) -> int:
    """The largest level of a grey picture's 16 bits, as far as the file says; 65535 where it does not."""
    if image.format == "PNG":
        return int(2 ** significant_bits(file)) - 1
    tags = getattr(image, "tag_v2", {})
    for value in (tags.get(_MAX_SAMPLE), 2 ** int(np.max(tags.get(_BITS, 16))) - 1):
        told = np.max(value) if value is not None else _SIXTEEN
        if 0 < told < _SIXTEEN:
            return int(told)
    return _SIXTEEN


def _from_sixteen(name: str, image: Image.Image, largest: int) -> Image.Image:
    """A grey picture of 16 bits in 8; 8 or 12 bits that were put into 16 are told by the file, or by its levels.

    PNG's own rule is that fewer bits are spread over all 16, so what a file says counts only where no level is above.
    """
    levels = np.asarray(image)
    highest = int(levels.max())
    if highest > largest:
        largest = _SIXTEEN
    if largest == _SIXTEEN and 0 < highest < 2**12:
        bits = 8 if highest < 2**8 else 12
        largest = 2**bits - 1
        tell_once(
            f"{bits} bits",
            f"{name}: none of its 16-bit levels is over {largest}; it and those alike are taken as {bits}-bit pictures",
        )
    table = np.round(np.minimum(np.arange(2**16) / largest, 1.0) * 255.0).astype(np.uint8)
    return Image.fromarray(table[levels])


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _over_white(_as(image, "RGBA")).convert("RGB")
    return image if image.mode == "L" else _as(image, "RGB")


def _over_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)


def _as(image: Image.Image, mode: str) -> Image.Image:
    """The image in this mode; no copy where it has it already, a large one takes a quarter of a gigabyte."""
    return image if image.mode == mode else image.convert(mode)
