"""MemoryBank: a bank whose planes are arrays in memory; made of images or of planes, pickled with all its pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from idekernels.bank.base import BankHead, PatchBank
from idekernels.bank.settings import BankSettings
from idekernels.representations import as_planes, planes_of

InMemory = TypeVar("InMemory", bound="MemoryBank")


class MemoryBank(PatchBank):
    """A bank in memory.

    Parameters
    ----------
    source : (n, L, H, W) uint8
        Planes of the photos, in the order of ``settings.representations``; of the sketches for sketch-to-photo.
    target : (n, C, H, W) uint8
        The sketches, or the photos; C is 1 (grey) or 3 (RGB).
    names : sequence of str
        One name a pair, each once.
    settings : BankSettings, optional

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
        height, width = source.shape[2:]
        super().__init__(BankHead(height, width, target.shape[1], tuple(names), settings))
        self._source, self._target = source, target

    @classmethod
    def from_images(
        cls: type[InMemory],
        photos: Iterable[NDArray[np.uint8]],
        sketches: Iterable[NDArray[np.uint8]],
        names: Sequence[str] | None = None,
        settings: BankSettings | None = None,
    ) -> InMemory:
        """Make a bank of photos and sketches, each (H, W) or (H, W, 3) uint8, all of one size.

        The settings' direction says which of them are source and which target.
        """
        settings = settings or BankSettings()
        sources, targets = settings.ordered(photos, sketches)
        source = np.stack([planes_of(image, settings.representations) for image in sources])
        target = np.stack([as_planes(image) for image in targets])
        return cls(source, target, names or [f"{i:04d}" for i in range(len(source))], settings)

    def source(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Source planes of the pairs start .. stop, (n, L, H, W) uint8, C-contiguous."""
        return np.ascontiguousarray(self._source[start:stop])

    def target(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Target planes of the pairs start .. stop, (n, C, H, W) uint8, C-contiguous."""
        return np.ascontiguousarray(self._target[start:stop])


PatchBank.in_memory = MemoryBank
