"""The faces that a run learns from: a pairs folder read in the direction of the bank, and its split in two."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idekernels.bank import PatchBank
from idekernels.errors import InputError
from idemodel.faces.bars import mended
from idemodel.files.digests import digest_of
from idemodel.files.images import read_colour, read_grey, require_size
from idemodel.files.pairs import list_pairs


@dataclass(frozen=True)
class Faces:
    """N pairs of the bank's size: photos and sketches, or sketches and photos where the bank's direction says so.

    Parameters
    ----------
    names : tuple of N str
    source : (N, H, W, 3) uint8
        What coarse sketches are made of.
    target : (N, H, W) or (N, H, W, 3) uint8
        What the generator is to make of them.
    """

    names: tuple[str, ...]
    source: NDArray[np.uint8]
    target: NDArray[np.uint8]

    @property
    def digest(self) -> str:
        """SHA-256 of names and pixels, as 64 hexadecimal digits."""
        return digest_of(json.dumps(self.names).encode(), self.source, self.target)

    def some(self, numbers: Sequence[int]) -> Faces:
        """The pairs of these numbers, copied."""
        return Faces(tuple(self.names[i] for i in numbers), self.source[numbers], self.target[numbers])


def read_faces(folder: Path, bank: PatchBank) -> Faces:
    """Read a pairs folder in the bank's direction: the source in colour, the target grey where the bank's targets are.

    Black bars at the edges are mended, as in a bank.

    Raises
    ------
    InputError
        A missing folder or twin, an image that cannot be read or is of another size; the file is named.
    """
    files = list_pairs(folder)
    sources, targets = zip(*(bank.settings.ordered(pair.photo, pair.sketch) for pair in files), strict=True)
    read_target = read_grey if bank.channels == 1 else read_colour
    names = tuple(pair.name for pair in files)
    return Faces(names, _read(sources, read_colour, bank), _read(targets, read_target, bank))


def split_pairs(count: int, aside: int, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the ``aside`` pairs, of ``count``, that are kept for validation, and of the others; both ascending.

    The seed alone draws them. InputError where none would be left to learn from.
    """
    if aside >= count:
        raise InputError(f"the recipe keeps {aside} pairs aside for validation, of {count} in all; none would be left")
    order = np.random.default_rng([seed, 2**31]).permutation(count)
    return sorted(order[:aside].tolist()), sorted(order[aside:].tolist())


def _read(files: Iterable[Path], read: Callable[[Path], NDArray[np.uint8]], bank: PatchBank) -> NDArray[np.uint8]:
    return np.stack([mended(_sized(read(file), file, bank)) for file in files])


def _sized(image: NDArray[np.uint8], file: Path, bank: PatchBank) -> NDArray[np.uint8]:
    require_size(image, file, (bank.height, bank.width), remedy="align or scale the pair to the bank's size")
    return image
