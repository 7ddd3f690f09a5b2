"""Images that somebody made with care: bombs, absurd tags, frames without end, and the largest that are read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.harness import Worker, judged
from tests.fuzz.readers import find


def png(width: int, height: int, *chunks: tuple[bytes, bytes], kind: int = 0, depth: int = 8) -> bytes:
    """A PNG of these chunks behind its header."""
    head = (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    out = b"\x89PNG\r\n\x1a\n"
    for name, body in (head, *chunks, (b"IEND", b"")):
        out += len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
    return out


def rows(width: int, height: int, channels: int = 1) -> bytes:
    """Black rows as a PNG packs them; a megabyte for a gigabyte."""
    packer, row = zlib.compressobj(1), bytes(1 + width * channels)
    return b"".join([packer.compress(row) for _ in range(height)]) + packer.flush()


def tiff(*tags: tuple[int, int, int, int], after: int = 0) -> bytes:
    """A little-endian TIFF of one directory: tag, type, count, value."""
    body = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + struct.pack("<I", after) + bytes(200)


def tags(width: int, height: int, **others: int) -> tuple[tuple[int, int, int, int], ...]:
    """What a grey TIFF must say."""
    packed = others.get("packed", 1)
    return ((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, packed), (262, 3, 1, 1),
            (273, 4, 1, 150), (278, 4, 1, others.get("strip", height)), (279, 4, 1, 60))  # fmt: skip


def many_frames(count: int) -> bytes:
    """A TIFF of this many directories, each of one tag."""
    head = tiff(*tags(8, 8), after=300)
    size = 2 + 12 + 4
    frames = [
        struct.pack("<HHHIII", 1, 256, 4, 1, 8, 300 + (number + 1) * size if number + 1 < count else 0)
        for number in range(count)
    ]
    return head.ljust(300, b"\0") + b"".join(frames)


IMAGES: dict[str, tuple[Callable[[], bytes], str]] = {
    "too many pixels": (lambda: png(2**31 - 1, 2**31 - 1, (b"IDAT", b"")), "exceeds limit"),
    "all pixels that are read": (lambda: png(8000, 8000, (b"IDAT", rows(8000, 8000, 4)), kind=6), "read"),
    "sixteen bits of all": (lambda: png(8000, 8000, (b"IDAT", rows(8000, 8000, 2)), depth=16), "read"),
    "one row too many": (lambda: png(8000, 8001, (b"IDAT", b"")), "over the limit"),
    "no rows": (lambda: png(10, 0, (b"IDAT", b"")), "not a readable"),
    "very wide": (lambda: png(65535, 1, (b"IDAT", rows(65535, 1))), "read"),
    "more rows than said": (lambda: png(8, 8, (b"IDAT", rows(1000, 100_000))), "read"),
    "a bomb as profile": (
        lambda: png(1, 1, (b"iCCP", b"x\0\0" + rows(10**6, 200)), (b"IDAT", rows(1, 1))), "not a readable|read"),
    "a bomb as text": (
        lambda: png(1, 1, (b"zTXt", b"x\0\0" + rows(10**6, 200)), (b"IDAT", rows(1, 1))), "not a readable|read"),
    "many texts": (
        lambda: png(1, 1, *[(b"zTXt", b"x\0\0" + rows(10**6, 1))] * 300, (b"IDAT", rows(1, 1))),
        "not a readable|read"),
    "a broken orientation": (
        lambda: png(1, 1, (b"eXIf", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x05\0\xff\xff\xff\xff\xff\xff\xff\xff"),
                    (b"IDAT", rows(1, 1))), "not a readable|read"),
    "a strip of everything": (lambda: tiff(*tags(8000, 8000)), "not a readable"),
    "huge strips": (lambda: tiff(*tags(8, 8, packed=5, strip=2**31)), "not a readable|read"),
    "huge tiles": (
        lambda: tiff(*tags(8, 8, packed=5), (322, 4, 1, 2**20), (323, 4, 1, 2**20), (324, 4, 1, 150), (325, 4, 1, 50)),
        "not a readable|read"),
    "an absurd tag": (lambda: tiff(*tags(8, 8), (700, 1, 2**32 - 1, 8)), "not a readable|read"),
    "a directory in a circle": (lambda: tiff(*tags(8, 8), after=8), "not a readable|read"),
    "a million frames": (lambda: many_frames(1_000_000), "several frames"),
    "a JPEG of comments": (lambda: b"\xff\xd8" + b"\xff\xfe\xff\xff".ljust(65537, b"x") * 200, "not a readable"),
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str, worker: Worker, tmp_path: Path) -> None:
    make, expected = IMAGES[name]
    told = judged(worker, find("image"), make(), tmp_path)
    assert any(part in told for part in expected.split("|")), told
