"""PatchBank: source planes and target images as arrays, in memory or joined from shards; its file is bank_file.py's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from idekernels.errors import BankError
from idekernels.grid import PatchGrid
from idekernels.representations import check_names, planes_of

PHOTO_TO_SKETCH, SKETCH_TO_PHOTO = DIRECTIONS = ("photo-to-sketch", "sketch-to-photo")
PLURALS = {"photo": "photos", "sketch": "sketches"}

Bank = TypeVar("Bank", bound="PatchBank")
Side = TypeVar("Side")


@dataclass(frozen=True)
class BankSettings:
    """What a bank was made with; a query is transformed the same way, the grid and radius are its defaults.

    Parameters
    ----------
    patch, overlap, radius : int
        Defaults of the grid and of the search window, in pixels.
    representations : tuple of str
        Names of the source planes, of :data:`idekernels.representations.REPRESENTATIONS`.
    weights : tuple of int
        One positive integer a plane: its share of the distance.
    direction : str
        One of :data:`DIRECTIONS`: sketches are made of photos, or photos of sketches.
    """

    patch: int = 10
    overlap: int = 5
    radius: int = 5
    representations: tuple[str, ...] = ("intensity",)
    weights: tuple[int, ...] = (1,)
    direction: str = PHOTO_TO_SKETCH

    def __post_init__(self) -> None:
        PatchGrid(2**15, 2**15, self.patch, self.overlap)
        check_names(self.representations)
        for name, value in (("radius", self.radius), *(("weights", weight) for weight in self.weights)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise TypeError(f"{name} must be integers, not {value!r}")
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, not {self.direction!r}")
        if not 0 <= self.radius < 2**15:
            raise ValueError(f"radius must be at least 0 and below {2**15}, not {self.radius}")
        if len(self.weights) != len(self.representations) or len(set(self.representations)) != len(self.weights):
            raise ValueError(f"give one weight a representation, each once: {self.representations}, {self.weights}")
        if min(self.weights) < 1:
            raise ValueError(f"weights must be positive integers, not {self.weights}")

    @property
    def source_kind(self) -> str:
        """What a query is: ``photo`` or ``sketch``."""
        return kinds(self.direction)[0]

    @property
    def target_kind(self) -> str:
        """What is made of it: ``sketch`` or ``photo``."""
        return kinds(self.direction)[1]

    def ordered(self, photo: Side, sketch: Side) -> tuple[Side, Side]:
        """What belongs to photo and sketch as (source, target): swapped for sketch-to-photo; its own inverse."""
        return (photo, sketch) if self.direction == PHOTO_TO_SKETCH else (sketch, photo)

    def as_dict(self) -> dict[str, Any]:
        """The settings under their names."""
        return asdict(self)


class PatchBank:
    """Pairs of one size: source planes (what a query is compared with) and target planes (what is copied).

    Patches are cut on the fly, never stored.

    Parameters
    ----------
    source : (n, L, H, W) uint8
        Planes of the photos, in the order of ``settings.representations``; of the sketches for sketch-to-photo.
    target : (n, C, H, W) uint8
        The sketches, or the photos; C is 1 (grey) or 3 (RGB).
    names : sequence of str
        One name a pair, each once.
    settings : BankSettings

    Raises
    ------
    TypeError, ValueError
        Arrays that do not belong together.
    """

    def __init__(
        self,
        source: NDArray[np.uint8],
        target: NDArray[np.uint8],
        names: Sequence[str],
        settings: BankSettings | None = None,
    ) -> None:
        settings = settings or BankSettings()
        if source.dtype != np.uint8 or target.dtype != np.uint8:
            raise TypeError(f"a bank's planes are uint8, not {source.dtype} and {target.dtype}")
        if source.ndim != 4 or target.ndim != 4 or source.shape[2:] != target.shape[2:] or not len(source):
            raise ValueError(
                f"a bank needs source (n, L, H, W) and target (n, C, H, W), not {source.shape}, {target.shape}"
            )
        if not len(source) == len(target) == len(names) == len(set(names)):
            raise ValueError(f"{len(source)} sources, {len(target)} targets and {len(set(names))} different names")
        if source.shape[1] != len(settings.weights) or target.shape[1] not in (1, 3):
            raise ValueError(f"{source.shape[1]} planes for {settings.representations}, {target.shape[1]} channels")
        self._source, self._target = source, target
        self._describe(source.shape[2:], target.shape[1], names, settings)

    def _describe(self, size: Sequence[int], channels: int, names: Sequence[str], settings: BankSettings) -> None:
        self.height, self.width = (int(side) for side in size)
        self.channels = int(channels)
        self.names = tuple(names)
        self.settings = settings

    @classmethod
    def from_images(
        cls,
        photos: Iterable[NDArray[np.uint8]],
        sketches: Iterable[NDArray[np.uint8]],
        names: Sequence[str] | None = None,
        settings: BankSettings | None = None,
    ) -> PatchBank:
        """Make a bank in memory from photos and sketches, each (H, W) or (H, W, 3) uint8, all of one size.

        The settings' direction says which of them are source and which target.
        """
        settings = settings or BankSettings()
        sources, targets = settings.ordered(photos, sketches)
        source = np.stack([planes_of(image, settings.representations) for image in sources])
        target = np.stack([as_planes(image) for image in targets])
        return cls(source, target, names or [f"{i:04d}" for i in range(len(source))], settings)

    @property
    def images(self) -> int:
        """Number of pairs."""
        return len(self.names)

    @property
    def planes(self) -> int:
        """Number of source planes, L."""
        return len(self.settings.representations)

    @property
    def weights(self) -> tuple[int, ...]:
        """The planes' shares of the distance."""
        return self.settings.weights

    @property
    def direction(self) -> str:
        """Which of photo and sketch is made of the other, of :data:`DIRECTIONS`."""
        return self.settings.direction

    def grid(self, patch: int | None = None, overlap: int | None = None) -> PatchGrid:
        """The grid of this bank's size; its own patch and overlap unless others are given."""
        chosen = self.settings.patch if patch is None else patch
        return PatchGrid(self.height, self.width, chosen, self.settings.overlap if overlap is None else overlap)

    def query(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The planes of a photo (for sketch-to-photo: of a sketch) as this bank makes them, (L, H, W) uint8.

        Raises
        ------
        ValueError
            The image has another size than the bank.
        """
        if image.shape[:2] != (self.height, self.width):
            size = " x ".join(map(str, image.shape[:2]))
            raise ValueError(
                f"the {self.settings.source_kind} is {size} (rows x columns), the bank {self.height} x {self.width}; "
                "align or scale it to the bank's size"
            )
        return planes_of(image, self.settings.representations)

    def source(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Source planes of the pairs start .. stop, (n, L, H, W) uint8, C-contiguous."""
        return np.ascontiguousarray(self._source[start:stop])

    def target(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Target planes of the pairs start .. stop, (n, C, H, W) uint8, C-contiguous."""
        return np.ascontiguousarray(self._target[start:stop])

    def close(self) -> None:
        """Let go of the file, if there is one."""

    def __enter__(self: Bank) -> Bank:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class JoinedBank(PatchBank):
    """Several banks read as one, in the order given; pair i is pair i of the concatenation.

    Raises
    ------
    BankError
        The banks differ in direction, size, settings or channels, or share a name.
    """

    def __init__(self, banks: Sequence[PatchBank]) -> None:
        if not banks:
            raise ValueError("no banks were given")
        first = banks[0]
        for bank in banks[1:]:
            for what in ("direction", "height", "width", "channels", "settings"):
                one, other = getattr(first, what), getattr(bank, what)
                if one != other:
                    raise BankError(f"banks that are used together must agree in {what}: {one} and {other}")
        names = [name for bank in banks for name in bank.names]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise BankError(f"the banks share pair {twice!r}; leave one of them out")
        self._banks = tuple(banks)
        self._starts = np.cumsum([0, *(bank.images for bank in banks)])
        self._describe((first.height, first.width), first.channels, names, first.settings)

    def source(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Source planes of the pairs start .. stop, across the shards' borders."""
        return self._read("source", start, stop)

    def target(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Target planes of the pairs start .. stop, across the shards' borders."""
        return self._read("target", start, stop)

    def close(self) -> None:
        """Close every shard."""
        for bank in self._banks:
            bank.close()

    def _read(self, side: str, start: int, stop: int) -> NDArray[np.uint8]:
        parts = []
        for bank, begin in zip(self._banks, self._starts, strict=False):
            low, high = max(start - begin, 0), min(stop - begin, bank.images)
            if low < high:
                parts.append(getattr(bank, side)(int(low), int(high)))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def kinds(direction: str) -> tuple[str, str]:
    """What goes in and what comes out in a direction: ``photo`` and ``sketch``, or the reverse."""
    source, target = direction.split("-to-")
    return source, target


def as_planes(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) to (C, H, W), C-contiguous."""
    if image.ndim == 2:
        return np.ascontiguousarray(image[None])
    if image.ndim == 3 and image.shape[2] == 3:
        return np.ascontiguousarray(np.moveaxis(image, 2, 0))
    raise ValueError(f"an image must be (H, W) or (H, W, 3), not {image.shape}")
