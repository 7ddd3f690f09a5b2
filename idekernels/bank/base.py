"""PatchBank: what every bank has, whether its planes are in memory, in a file or in several banks; holds no planes."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from idekernels.bank.description import describe, shape_of
from idekernels.bank.settings import BankSettings
from idekernels.grid import PatchGrid
from idekernels.representations import planes_of

Bank = TypeVar("Bank", bound="PatchBank")

_AT_ONCE = 32  # images that are described at once


@dataclass(frozen=True)
class BankHead:
    """All that a bank says of its planes without reading them.

    Parameters
    ----------
    height, width : int
        Size of every image, in pixels.
    channels : int
        Target planes of a pair: 1 (grey) or 3 (RGB).
    names : tuple of str
        One name a pair, each once.
    settings : BankSettings
    """

    height: int
    width: int
    channels: int
    names: tuple[str, ...]
    settings: BankSettings


class PatchBank(ABC):
    """Pairs of one size: source planes (what a query is compared with) and target planes (what is copied).

    Patches are cut when they are needed, never stored. The class is abstract: a bank in memory is made by
    :class:`idekernels.MemoryBank` or :meth:`from_images`, a file's by :func:`idekernels.open_bank`. A new kind of bank
    calls this constructor and implements :meth:`source` and :meth:`target`.

    Parameters
    ----------
    head : BankHead

    Raises
    ------
    TypeError
        ``PatchBank`` itself is called.
    """

    in_memory: ClassVar[type[PatchBank]]  # what from_images makes; named by memory.py, which builds on this file

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """Say what to call instead of the abstract class: ABC's own message would not."""
        if cls is PatchBank:
            raise TypeError(
                "PatchBank is abstract: make a bank in memory with MemoryBank(source, target, names, settings) or "
                "PatchBank.from_images, open a file with open_bank"
            )
        return super().__new__(cls)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _, *own = inspect.signature(cls.__init__).parameters.values()
        cls.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]  # help() would show __new__'s

    def __init__(self, head: BankHead) -> None:
        self._head = head

    @classmethod
    def from_images(
        cls,
        photos: Iterable[NDArray[np.uint8]],
        sketches: Iterable[NDArray[np.uint8]],
        names: Sequence[str] | None = None,
        settings: BankSettings | None = None,
    ) -> PatchBank:
        """Make a bank in memory; see :meth:`idekernels.MemoryBank.from_images`."""
        return cls.in_memory.from_images(photos, sketches, names, settings)

    @abstractmethod
    def source(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Source planes of the pairs start .. stop, (n, L, H, W) uint8, C-contiguous."""

    @abstractmethod
    def target(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Target planes of the pairs start .. stop, (n, C, H, W) uint8, C-contiguous."""

    def descriptions(self) -> NDArray[np.uint8]:
        """Descriptions of all source images, (n, L, R, S) uint8, see :func:`idekernels.bank.description.describe`.

        Computed of the images at every call, unless the bank's file holds them.
        """
        found = np.empty((self.images, *shape_of(self.planes, self.height, self.width)), np.uint8)
        for first in range(0, self.images, _AT_ONCE):
            stop = min(first + _AT_ONCE, self.images)
            found[first:stop] = describe(self.source(first, stop))
        return found

    def close(self) -> None:  # noqa: B027 - not abstract: most banks have nothing to close
        """Close the files that the bank reads, if there are any."""

    def __enter__(self: Bank) -> Bank:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def height(self) -> int:
        """Rows of every image, in pixels."""
        return self._head.height

    @property
    def width(self) -> int:
        """Columns of every image, in pixels."""
        return self._head.width

    @property
    def channels(self) -> int:
        """Number of target planes, C: 1 (grey) or 3 (RGB)."""
        return self._head.channels

    @property
    def names(self) -> tuple[str, ...]:
        """The pairs' names, each once."""
        return self._head.names

    @property
    def settings(self) -> BankSettings:
        """What the bank was made with."""
        return self._head.settings

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
        """Which of photo and sketch is made of the other, of :data:`idekernels.bank.DIRECTIONS`."""
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
