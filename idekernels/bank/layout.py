"""Checks of what a bank's file claims before its data are read: links to other files, sizes, filters and types."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np

from idekernels.bank.compression import ZSTANDARD, filters_of

DESCRIPTIONS = "descriptions"  # the data set that older banks do not have
LARGEST_NAMES = 2**24  # bytes of the names' JSON
LARGEST_PAIR = 2**30  # bytes of one pair's source planes

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LARGEST_ATTRIBUTE = 2**16  # bytes
_SIDES = ("source", "target")


def new_enough(head: bytes) -> bool:
    """Whether a file begins as HDF5 whose metadata carry checksums (superblock 2 or later), as every bank does."""
    return head.startswith(_SIGNATURE) and len(head) > 8 and head[8] >= 2


def check_layout(file: h5py.File, size: int) -> None:
    """Check attributes and data sets by what they claim, before they are read.

    Raises
    ------
    ValueError, KeyError, TypeError
        A link to another file, a type that no bank has, a filter that none uses, or more than ``size`` bytes, the
        file's own, can hold.
    """
    for name in file.attrs:
        attribute = file.attrs.get_id(name)
        if len(attribute.shape) > 1 or max(attribute.get_storage_size(), *attribute.shape, 0) > _LARGEST_ATTRIBUTE:
            raise ValueError(f"attribute {name!r} is too large")
        if attribute.dtype.kind not in "iuSO":
            raise TypeError(f"attribute {name!r} is of type {attribute.dtype}")
    for name, filters in (
        ("names", {h5py.h5z.FILTER_FLETCHER32}),
        ("hashes", {h5py.h5z.FILTER_FLETCHER32}),
        *((side, {h5py.h5z.FILTER_FLETCHER32, ZSTANDARD}) for side in _SIDES),
        *([(DESCRIPTIONS, {h5py.h5z.FILTER_FLETCHER32})] if file.id.links.exists(DESCRIPTIONS.encode()) else []),
    ):
        _check_data(_own(file, name), filters, size)
    if file["names"].nbytes > LARGEST_NAMES:
        raise ValueError("the names are too long")


def _own(file: h5py.File, name: str) -> h5py.Dataset:
    """A data set that stands in this very file."""
    if file.get(name, getclass=True, getlink=True) is not h5py.HardLink:
        raise KeyError(f"no {name} in the file itself")
    data = file[name]
    if not isinstance(data, h5py.Dataset) or data.dtype != np.uint8 or data.shape is None:
        raise TypeError(f"{name} is no array of bytes")
    return data


def _check_data(data: h5py.Dataset, filters: set[int], size: int) -> None:
    properties: Any = data.id.get_create_plist()
    if data.is_virtual or properties.get_external_count():
        raise ValueError(f"{data.name} keeps its data in other files")
    used = filters_of(data)
    if not used <= filters:
        raise ValueError(f"{data.name} is packed in a way that no bank is")
    if math.prod(data.chunks or data.shape[1:]) > LARGEST_PAIR or math.prod(data.shape[1:]) > LARGEST_PAIR:
        raise ValueError(f"{data.name} has images that are too large")
    least = len(data) if ZSTANDARD in used and data.ndim else data.nbytes
    if max(least, 0) > min(size, data.id.get_storage_size()):
        raise ValueError(f"{data.name} claims more than it holds")
    if ZSTANDARD in used and data.chunks[0] != 1:
        raise ValueError(f"{data.name} has more than one image a chunk")
