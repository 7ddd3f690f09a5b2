"""The table of image formats that are read, and how a file's first bytes tell which it is; decodes no pixels.

A format whose reader starts another program (EPS, through Ghostscript) never belongs in this table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

HEAD = 64  # bytes of a file that tell its format

_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # their lengths, which tell a bitmap from a text that begins with BM


@dataclass(frozen=True)
class Format:
    """A format: what a person calls it, Pillow's name of its reader, and whether a file's ``HEAD`` bytes are its."""

    label: str
    reader: str
    begins: Callable[[bytes], bool]


def _brands(head: bytes) -> set[bytes]:
    """The brands of a file of boxes (ISO 14496-12), as far as the head goes."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[place : place + 4] for place in range(16, end - 3, 4))}


def _is_bmp(head: bytes) -> bool:
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS


FORMATS = (
    Format("PNG", "PNG", lambda head: head.startswith(b"\x89PNG\r\n\x1a\n")),
    Format("JPEG", "JPEG", lambda head: head.startswith(b"\xff\xd8\xff")),  # phones' MPO files as well
    Format("BMP", "BMP", _is_bmp),
    Format("TIFF", "TIFF", lambda head: re.match(rb"II[*+]\0|MM\0[*+]", head) is not None),
    Format("WebP", "WEBP", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP"),
    Format("GIF", "GIF", lambda head: head[:6] in (b"GIF87a", b"GIF89a")),
    Format("AVIF", "AVIF", lambda head: bool(_brands(head) & {b"avif", b"avis"})),
    Format("HEIC", "HEIF", lambda head: bool(_brands(head) & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1"})),
)
LABELS = ", ".join(each.label for each in FORMATS[:-1]) + f" or {FORMATS[-1].label}"


def format_of(head: bytes) -> Format | None:
    """The format of a file that begins with these bytes, ``HEAD`` of them if there are so many; None for no image."""
    return next((each for each in FORMATS if each.begins(head)), None)


def can_read(found: Format) -> bool:
    """Whether this installation of Pillow has the format's reader."""
    if found.reader not in Image.OPEN:
        Image.init()  # loads those that are needed rarely
    return found.reader in Image.OPEN


def open_heif() -> bool:
    """Make Pillow read HEIC by the package pillow-heif; whether that is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener(thumbnails=False)
    return True


def webp_size(head: bytes) -> tuple[int, int] | None:
    """(width, height) that a WebP file claims: its decoder takes memory for them before it tells them."""
    kind, data = head[12:16], head[20:]
    if kind == b"VP8X" and len(data) >= 10:
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if kind == b"VP8L" and len(data) >= 5:
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(data) >= 10:
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    return None
