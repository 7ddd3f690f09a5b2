"""Coarse sketches of training pairs, each made without its own pair, and the files that keep them; draws no crops.

A run's cache is ``coarse/KEY/``, one ``.npy`` file for every 32 pairs, named by the number of its first pair.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idekernels.coarse import CoarseSettings, coarse_sketch, photos_at_once
from idekernels.files.atomic import replace_when_done
from idekernels.results import PreparedBank
from idemodel.files.digests import digest_of
from idemodel.training.data import Faces

Advance = Callable[[int, int], None]

_CHUNK = 32  # coarse sketches a cache file
_CACHE = "coarse sketches 2"  # raise the number when equal settings give other pixels


def coarse_cache_key(faces: Faces, bank_hash: str, settings: CoarseSettings) -> str:
    """Name of a set of cached coarse sketches, 64 hexadecimal digits.

    Any change of the bank (its :func:`idemodel.files.digests.bank_digest`), of the sources, names or settings
    changes it.
    """
    head = json.dumps([_CACHE, bank_hash, settings.as_dict(), faces.names], sort_keys=True)
    return digest_of(head.encode(), faces.source)


def cached_coarse_sketches(
    faces: Faces, prepared: PreparedBank, settings: CoarseSettings, folder: Path, advance: Advance | None = None
) -> list[Tensor]:
    """Coarse sketches of training pairs, each without its own pair (by name); made once, then read from ``folder``.

    Parameters
    ----------
    faces : Faces
        N pairs of the bank's size.
    prepared : PreparedBank
    settings : CoarseSettings
    folder : Path
        Of this cache alone, see :func:`coarse_cache_key`; made where it is missing.
    advance : callable, optional
        Is told (done, N) after every file.

    Returns
    -------
    list of N (C, H, W) float32 Tensors in [0, 1]
        Mapped from the cache files, which appear one by one: an interrupted call goes on where it was.

    Raises
    ------
    OSError
        The folder is read-only or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sketches: list[Tensor] = []
    for first in range(0, len(faces.names), _CHUNK):
        numbers = range(first, min(first + _CHUNK, len(faces.names)))
        sketches += torch.from_dlpack(_cached(faces, prepared, settings, numbers, folder / f"{first:06d}.npy"))
        if advance:
            advance(len(sketches), len(faces.names))
    return sketches


def read_cached(file: Path, shape: tuple[int, ...]) -> Any:
    """A cache file's float32 array of this shape, in [0, 1]; None where there is no such file, or it is not whole.

    It is mapped copy-on-write: DLPack takes no read-only memory, and nothing is written back.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    head = header.getvalue()
    if not file.is_file():
        return None
    try:
        with file.open("rb") as stream:
            if stream.read(len(head)) != head:  # compared, not parsed: a cache is only ever what np.save writes here
                return None
        cached = np.memmap(file, "<f4", "c", len(head), shape)
    except (OSError, ValueError):
        return None
    return cached if cached.min() >= 0.0 and cached.max() <= 1.0 else None


def _cached(faces: Faces, prepared: PreparedBank, settings: CoarseSettings, numbers: Sequence[int], file: Path) -> Any:
    """Coarse sketches (B, C, H, W) of the faces of these numbers, from the file, which is made where it is missing."""
    shape = (len(numbers), prepared.bank.channels, prepared.bank.height, prepared.bank.width)
    found = read_cached(file, shape)
    if found is not None:
        return found
    _write(file, np.concatenate(list(_made(faces, prepared, settings, numbers))))
    return read_cached(file, shape)


def _write(file: Path, pixels: NDArray[np.float32]) -> None:
    """A cache file that appears whole or not at all; not by np.save itself, which hides a full disk's error."""
    content = io.BytesIO()
    np.save(content, pixels)
    with replace_when_done(file) as partial:
        partial.write_bytes(content.getbuffer())


def _made(
    faces: Faces, prepared: PreparedBank, settings: CoarseSettings, numbers: Sequence[int]
) -> Iterator[NDArray[np.float32]]:
    """Coarse sketches of the faces of these numbers, (B, C, H, W) at a time, B as many as fit into memory."""
    places = {name: number for number, name in enumerate(prepared.bank.names)}
    at_once = photos_at_once(prepared, settings)
    for start in range(0, len(numbers), at_once):
        some = list(numbers[start : start + at_once])
        left_out = np.array([places.get(faces.names[number], -1) for number in some])
        made = coarse_sketch(list(faces.source[some]), prepared, settings, exclude=left_out)
        yield made.host().pixels
