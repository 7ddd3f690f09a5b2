"""SelectedBank: some images of a bank read as a bank of their own, without copying any; chooses none itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels.bank.base import PatchBank


class SelectedBank(PatchBank):
    """Some pairs of a bank: pair i is pair ``numbers[i]`` of the bank.

    Parameters
    ----------
    bank : PatchBank
    numbers : (n,) int64
        Of the bank's pairs, ascending, each once, at least one.

    Raises
    ------
    ValueError
        Numbers that are not so.
    """

    def __init__(self, bank: PatchBank, numbers: NDArray[np.int64]) -> None:
        chosen = np.asarray(numbers, np.int64)
        if chosen.ndim != 1 or not chosen.size or chosen[0] < 0 or chosen[-1] >= bank.images:
            raise ValueError(f"choose at least one of the bank's {bank.images} pairs, by numbers from 0 on")
        if (np.diff(chosen) < 1).any():
            raise ValueError("the numbers of the chosen pairs must ascend, each once")
        names = bank.names
        super().__init__(replace(bank._head, names=tuple(names[number] for number in chosen)))
        self.bank, self.numbers = bank, chosen

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.bank, self.numbers)

    def source(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Source planes of the chosen pairs start .. stop."""
        return self._read("source", start, stop)

    def target(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Target planes of the chosen pairs start .. stop."""
        return self._read("target", start, stop)

    def descriptions(self) -> NDArray[np.uint8]:
        """Descriptions of the chosen source images, (n, L, R, S) uint8, as the bank has them."""
        found: NDArray[np.uint8] = self.bank.descriptions()[self.numbers]
        return found

    def _read(self, side: str, start: int, stop: int) -> NDArray[np.uint8]:
        """Read pairs that follow each other in the bank at once."""
        wanted = self.numbers[start:stop]
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1)
        parts = [getattr(self.bank, side)(int(run[0]), int(run[-1]) + 1) for run in runs if run.size]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
