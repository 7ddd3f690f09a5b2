"""The training pairs as the generator sees them: leave-one-out coarse sketches, cached, and crops drawn by step."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from idekernels.bank import PatchBank
from idekernels.coarse import CoarseSettings, coarse_sketch, photos_at_once
from idekernels.errors import InputError
from idekernels.files.atomic import replace_when_done
from idekernels.representations import intensity
from idekernels.results import PreparedBank
from idemodel.files.images import read_colour, read_grey
from idemodel.files.pairs import list_pairs
from idemodel.files.tensors import as_planes
from idemodel.generator.inputs import generator_input
from idemodel.generator.network import MLAConfig
from idemodel.training.recipe import Recipe

Advance = Callable[[int, int], None]

_CHUNK = 32  # coarse sketches a cache file
_CACHE = "coarse sketches 1"  # changes when equal settings give other pixels


@dataclass(frozen=True)
class Faces:
    """Pairs of the bank's size, uint8, and their names: photos and sketches, or sketches and photos.

    source : (N, H, W, 3), what the bank is asked with. target : (N, H, W) or (N, H, W, 3), what is to come out.
    """

    names: tuple[str, ...]
    source: NDArray[np.uint8]
    target: NDArray[np.uint8]

    @property
    def digest(self) -> str:
        """SHA-256 of names and pixels."""
        return _digest(json.dumps(self.names).encode(), self.source, self.target)


def read_faces(folder: Path, bank: PatchBank) -> Faces:
    """Read a pairs folder in the bank's direction; images have its size, and are grey where its targets are.

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
    """Numbers of the pairs kept aside for validation, drawn by the seed, and of the others; InputError for too many."""
    if aside >= count:
        raise InputError(f"the recipe keeps {aside} pairs aside for validation, of {count} in all; none would be left")
    order = np.random.default_rng([seed, 2**31]).permutation(count)
    return sorted(order[:aside].tolist()), sorted(order[aside:].tolist())


def bank_digest(bank: PatchBank) -> str:
    """SHA-256 of everything in a bank that a coarse sketch depends on; of the direction that is its planes alone."""
    settings = {name: value for name, value in bank.settings.as_dict().items() if name != "direction"}
    head = json.dumps([settings, list(bank.names), bank.height, bank.width], sort_keys=True)
    planes = (side(i, i + 1) for i in range(bank.images) for side in (bank.source, bank.target))
    return _digest(head.encode(), *planes)


def coarse_cache_key(faces: Faces, bank_hash: str, settings: CoarseSettings) -> str:
    """What the cached coarse sketches are known by: any change of bank, sources, names or settings changes it."""
    head = json.dumps([_CACHE, bank_hash, settings.as_dict(), faces.names], sort_keys=True)
    return _digest(head.encode(), faces.source)


def cached_coarse_sketches(
    faces: Faces, prepared: PreparedBank, settings: CoarseSettings, folder: Path, advance: Advance | None = None
) -> list[Tensor]:
    """Coarse sketches of training pairs, each without its own pair (by name); made once, then read from ``folder``.

    Returns
    -------
    list of N (C, H, W) float32 Tensors in [0, 1]
        Backed by the cache files, which are mapped, not read; they appear one by one, so an interrupted call goes on
        where it was.

    Raises
    ------
    OSError
        The folder is read-only or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sketches: list[Tensor] = []
    for first in range(0, len(faces.names), _CHUNK):
        numbers = range(first, min(first + _CHUNK, len(faces.names)))
        file = folder / f"{first:06d}.npy"
        shape = (len(numbers), prepared.bank.channels, prepared.bank.height, prepared.bank.width)
        made = read_cached(file, shape)
        if made is None:
            pixels = np.concatenate(list(_made(faces, prepared, settings, numbers)))
            content = io.BytesIO()
            np.save(content, pixels)  # not to the file itself, which hides a full disk behind an error of its own
            with replace_when_done(file) as partial:
                partial.write_bytes(content.getbuffer())
            made = read_cached(file, shape)
        sketches += torch.from_dlpack(made)
        if advance:
            advance(len(sketches), len(faces.names))
    return sketches


@dataclass(frozen=True)
class Batch:
    """What one step sees: inputs (B, channels + guide, crop / 2, crop / 2), truth (B, channels, crop, crop)."""

    inputs: Tensor
    truth: Tensor


class TrainingPairs:
    """Coarse sketches, sources and targets of the same faces, cropped at places that seed and step alone decide."""

    def __init__(self, faces: Faces, coarse: Sequence[Tensor], recipe: Recipe, network: MLAConfig) -> None:
        self.recipe, self.network = recipe, network
        self._coarse = list(coarse)
        self._guides = np.stack([intensity(image) for image in faces.source]) if network.guide else None
        self._targets = faces.target
        self._size = height, width = faces.source.shape[1:3]
        if recipe.crop > min(height, width):
            raise InputError(f"crops of {recipe.crop} do not fit into {height} x {width}; choose a smaller crop")

    def batch(self, seed: int, step: int, size: int, part: slice = slice(None)) -> Batch:
        """The batch of a step: ``size`` crops with replacement, or the ``part`` of them that is this process's."""
        numbers = np.random.default_rng([seed, step])
        draws = [self._draw(numbers) for _ in range(size)][part]
        crops = [self._crop(draw) for draw in draws]
        return Batch(torch.stack([one for one, _ in crops]), torch.stack([other for _, other in crops]))

    def _draw(self, numbers: np.random.Generator) -> _Draw:
        image = int(numbers.integers(len(self._coarse)))
        flip = bool(numbers.integers(2)) and self.recipe.flips
        transpose = bool(numbers.integers(2)) and self.recipe.transposes
        upend = self.recipe.flips and self.recipe.transposes and bool(numbers.integers(2))
        places = [self._places(side, turned) for side, turned in zip(self._size, (upend, flip), strict=True)]
        row, column = (int(numbers.choice(some)) for some in (reversed(places) if transpose else places))
        return _Draw(image, flip, upend, transpose, row, column)

    def _places(self, side: int, turned: bool) -> NDArray[np.int64]:
        """Where a crop may begin: every ``stride`` pixels and, the last one, at the (even) end.

        In a mirrored image these are the mirrored places: the crops are those of the image as it is, turned.
        """
        last = side + side % 2 - self.recipe.crop
        places = np.unique(np.append(np.arange(0, last, self.recipe.stride), last))
        return last - places[::-1] if turned else places

    def _crop(self, draw: _Draw) -> tuple[Tensor, Tensor]:
        planes = [self._coarse[draw.image], as_planes(self._targets[draw.image])]
        if self._guides is not None:
            planes.append(as_planes(self._guides[draw.image]))
        coarse, truth, *guide = (draw.turned(plane)[None] for plane in planes)
        inputs = generator_input(coarse, *guide, channels=self.network.channels, guide=self.network.guide)
        truth = functional.pad(truth, (0, truth.shape[3] % 2, 0, truth.shape[2] % 2), mode="replicate")
        truth = truth.expand(-1, self.network.channels, -1, -1)
        crop, row, column = self.recipe.crop, draw.row, draw.column
        half = inputs[0, :, row // 2 : (row + crop) // 2, column // 2 : (column + crop) // 2]
        return half, truth[0, :, row : row + crop, column : column + crop]


@dataclass(frozen=True)
class _Draw:
    """One crop: of which image, turned how (flip left to right, upend, transpose), beginning where in what results."""

    image: int
    flip: bool
    upend: bool
    transpose: bool
    row: int
    column: int

    def turned(self, plane: Tensor) -> Tensor:
        mirrored = plane.flip([axis for axis, turned in ((-1, self.flip), (-2, self.upend)) if turned])
        return mirrored.transpose(-1, -2) if self.transpose else mirrored


def _made(
    faces: Faces, prepared: PreparedBank, settings: CoarseSettings, numbers: Sequence[int]
) -> Iterator[NDArray[np.float32]]:
    places = {name: number for number, name in enumerate(prepared.bank.names)}
    at_once = photos_at_once(prepared, settings)
    for start in range(0, len(numbers), at_once):
        some = list(numbers[start : start + at_once])
        left_out = np.array([places.get(faces.names[number], -1) for number in some])
        made = coarse_sketch(list(faces.source[some]), prepared, settings, exclude=left_out)
        yield made.host().pixels


def read_cached(file: Path, shape: tuple[int, ...]) -> Any:
    """The cached array, mapped copy-on-write as DLPack takes no read-only memory; None where there is no whole one."""
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


def _read(files: Iterable[Path], read: Callable[[Path], NDArray[np.uint8]], bank: PatchBank) -> NDArray[np.uint8]:
    return np.stack([_sized(read(file), file, bank) for file in files])


def _sized(image: NDArray[np.uint8], file: Path, bank: PatchBank) -> NDArray[np.uint8]:
    if image.shape[:2] != (bank.height, bank.width):
        raise InputError(
            f"{file}: is {image.shape[0]} x {image.shape[1]} (rows x columns), the bank {bank.height} x {bank.width}; "
            "align or scale the pair to the bank's size"
        )
    return image


def _digest(head: bytes, *arrays: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(head)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
