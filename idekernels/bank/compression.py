"""Zstandard for a bank's planes, through hdf5plugin where it is installed, and the check of a frame's claimed size."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py

from idekernels.errors import BankError, InputError

ZSTANDARD = 32015  # the filter number that the HDF Group registered

_FRAME = (0xFD2FB528).to_bytes(4, "little")  # how a Zstandard frame begins


def zstandard() -> dict[str, Any]:
    """The options of ``h5py.Group.create_dataset`` that compress.

    Raises
    ------
    InputError
        hdf5plugin is not installed.
    """
    try:
        import hdf5plugin
    except ImportError:
        raise InputError(
            "a compressed bank needs hdf5plugin; install it with: pip install 'idesketch[compress]'"
        ) from None
    return dict(hdf5plugin.Zstd())


def filters_of(data: h5py.Dataset) -> set[int]:
    """The numbers of the filters that a data set went through when it was written."""
    properties = data.id.get_create_plist()
    return {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}


def is_compressed(data: h5py.Dataset, path: Path) -> bool:
    """Whether a data set is compressed with Zstandard; if so, importing hdf5plugin registers what reads it.

    Raises
    ------
    BankError
        It is, and nothing that reads it is installed; ``path`` is for the message.
    """
    if ZSTANDARD not in filters_of(data):
        return False
    if not h5py.h5z.filter_avail(ZSTANDARD):
        try:
            import hdf5plugin  # noqa: F401
        except ImportError:
            raise BankError(
                f"{path}: is compressed; install the reader with: pip install 'idesketch[compress]'"
            ) from None
    return True


def check_frame(data: h5py.Dataset, number: int) -> None:
    """Check that a compressed image becomes as large as it should: Zstandard's decoder believes what the frame says.

    Raises
    ------
    ValueError
        It claims another size, or none.
    """
    _, stored = data.id.read_direct_chunk((number,) + (0,) * (data.ndim - 1))
    expected = math.prod(data.chunks)
    if claimed_size(stored[:18]) != expected:
        raise ValueError(f"image {number} claims another size than the bank's")


def claimed_size(frame: bytes) -> int | None:
    """The size that a Zstandard frame's header gives for its content, None where it gives none (RFC 8878, 3.1.1.1)."""
    if frame[:4] != _FRAME or len(frame) < 6:
        return None
    descriptor = frame[4]
    single = bool(descriptor & 0x20)
    width = (int(single), 2, 4, 8)[descriptor >> 6]
    start = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    field = frame[start : start + width]
    if not width or len(field) < width:
        return None
    return int.from_bytes(field, "little") + (256 if width == 2 else 0)
