"""The chunks of a PNG file: what is read of them beside Pillow, and a copy without metadata; decodes no pixels."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

_SIGNATURE = 8  # bytes
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_WHERE_WHOLE = (b"eXIf", b"acTL")  # how the picture is turned, and whether it moves
_SHORT = 2**16  # bytes of such a chunk


def significant_bits(file: BinaryIO) -> int:
    """The bits of a level that the chunk sBIT says, the most of all channels; 16 where there is none."""
    file.seek(_SIGNATURE)
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"sBIT":
            return min(16, max(file.read(min(length, 4)), default=16) or 16)
        file.seek(length + 4, io.SEEK_CUR)
    return 16


def without_metadata(file: BinaryIO) -> BinaryIO:
    """A copy in memory of the chunks that pixels are made of, and of those others that are small and whole."""
    made = io.BytesIO(file.read(_SIGNATURE))
    made.seek(0, io.SEEK_END)
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in _PIXELS:
            made.write(head + file.read(length + 4))
        elif kind in _WHERE_WHOLE and length < _SHORT:
            data, checksum = file.read(length), file.read(4)
            if zlib.crc32(kind + data).to_bytes(4, "big") == checksum:
                made.write(head + data + checksum)
        else:
            file.seek(length + 4, io.SEEK_CUR)
    made.seek(0)
    return made
