"""Writing a bank's file: pair by pair into a temporary file that replaces the old one when it is complete."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from idekernels.bank.compression import zstandard
from idekernels.bank.description import describe
from idekernels.bank.header import PairTable, pair_hash, write_header
from idekernels.bank.settings import BankSettings
from idekernels.errors import InputError
from idekernels.files.atomic import replace_when_done
from idekernels.files.interrupts import HeldInterrupts
from idekernels.files.patient import PatientFile
from idekernels.representations import as_planes, planes_of

_Pair = tuple[str, NDArray[np.uint8], NDArray[np.uint8]]
_Sides = dict[str, NDArray[np.uint8]]  # the planes of one pair, under "source" and "target"
_Entry = tuple[str, _Sides]


def write_bank(
    path: str | os.PathLike[str],
    pairs: Iterable[_Pair],
    settings: BankSettings | None = None,
    *,
    compress: bool = False,
    created: datetime.datetime | None = None,
) -> None:
    """Write ``(name, photo, sketch)`` pairs, one at a time, to a bank that replaces ``path`` when it is complete.

    The settings' direction says which of photo and sketch becomes the source and which the target.

    Parameters
    ----------
    path : path
        The file; what stood there stays until the new bank is complete and flushed to the disk.
    pairs : iterable of (str, (H, W[, 3]) uint8, (H, W[, 3]) uint8)
        All of one size, at least one, no name twice.
    settings : BankSettings, optional
    compress : bool
        Zstandard through hdf5plugin (extra ``compress``): smaller and slower to read.
    created : datetime, optional
        The time that is noted in the bank, now if not given. With the same time, pairs and version of idesketch the
        file is the same, byte for byte.

    Raises
    ------
    InputError
        No pairs, a pair of another size, a name twice or not UTF-8, or hdf5plugin missing.
    OSError
        The folder is missing or read-only, or the disk is full.
    """
    settings = settings or BankSettings()
    write_planes(path, _transformed(pairs, settings), settings, compress=compress, created=created)


def write_planes(
    path: str | os.PathLike[str],
    entries: Iterable[_Entry],
    settings: BankSettings,
    *,
    compress: bool = False,
    created: datetime.datetime | None = None,
) -> None:
    """The same of pairs that are planes already: ``(name, {"source": (L, H, W), "target": (C, H, W)})``, uint8."""
    filters = zstandard() if compress else {}
    with (
        replace_when_done(path) as partial,
        HeldInterrupts() as interrupts,
        closing(PatientFile(partial)) as disk,
        h5py.File(disk, "w", libver="latest") as file,
    ):
        written = _write_all(file, _until_full(entries, disk, interrupts), filters)
        write_header(file, written, settings, created)


def _transformed(pairs: Iterable[_Pair], settings: BankSettings) -> Iterator[_Entry]:
    """The planes of pairs of images."""
    for name, photo, sketch in pairs:
        _check_pair(name, photo, sketch)
        queried, copied = settings.ordered(photo, sketch)
        yield name, {"source": planes_of(queried, settings.representations), "target": as_planes(copied)}


def _write_all(file: h5py.File, entries: Iterable[_Entry], filters: dict[str, Any]) -> PairTable:
    """Write the planes of all pairs; what the header says of them, a few hundred bytes a pair and plane."""
    hashes: dict[str, bytes] = {}
    descriptions: list[NDArray[np.uint8]] = []
    for name, sides in entries:
        if name in hashes:
            raise InputError(f"pair {name!r} comes twice")
        if not hashes:
            _create(file, sides, filters)
        _append(file, name, sides, len(hashes))
        hashes[name] = pair_hash(sides["source"], sides["target"])
        descriptions.append(describe(sides["source"][None]))
    if not hashes:
        raise InputError("no pairs to build a bank from")
    table = np.frombuffer(b"".join(hashes.values()), np.uint8).reshape(-1, 32)
    return PairTable(list(hashes), table, np.concatenate(descriptions))


def _check_pair(name: str, photo: NDArray[np.uint8], sketch: NDArray[np.uint8]) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"pair {name!r}: the name is not UTF-8; rename the files") from None
    if photo.shape[:2] != sketch.shape[:2]:
        raise InputError(
            f"pair {name!r}: the photo is {photo.shape[0]} x {photo.shape[1]} (rows x columns), the sketch "
            f"{sketch.shape[0]} x {sketch.shape[1]}; align or scale them to one size"
        )


def _create(file: h5py.File, sides: _Sides, filters: dict[str, Any]) -> None:
    """Make the data sets for planes of this shape: one image a chunk, growing."""
    for side, planes in sides.items():
        shape = planes.shape
        file.create_dataset(
            side, (0, *shape), np.uint8, chunks=(1, *shape), maxshape=(None, *shape), fletcher32=True, **filters
        )


def _append(file: h5py.File, name: str, sides: _Sides, number: int) -> None:
    """Write one pair's planes as pair ``number``."""
    for side, planes in sides.items():
        data = file[side]
        if data.shape[1:] != planes.shape:
            raise InputError(
                f"pair {name!r}: {side} is {planes.shape[1]} x {planes.shape[2]} with {planes.shape[0]} planes, the"
                f" bank's are {data.shape[2]} x {data.shape[3]} with {data.shape[1]}; bring all pairs to one size"
            )
        data.resize(number + 1, axis=0)
        data[number] = planes


def _until_full(pairs: Iterable[_Entry], disk: PatientFile, interrupts: HeldInterrupts) -> Iterator[_Entry]:
    """Yield the pairs, and raise the error of a failed write before the next is written; a read may be interrupted."""
    coming = iter(pairs)
    while True:
        with interrupts.let_through():
            pair = next(coming, None)
        if pair is None:
            return
        disk.check()
        yield pair
