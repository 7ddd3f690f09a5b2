"""JoinedBank: several banks read as one, without copying any; pickled as the banks it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels.bank.base import PatchBank
from idekernels.errors import BankError


class JoinedBank(PatchBank):
    """Several banks (shards) read as one, in the order given; pair i is pair i of the concatenation.

    ``banks`` are the shards and ``starts`` the number of each one's first pair: what :func:`idekernels.merge` takes.

    Parameters
    ----------
    banks : sequence of PatchBank
        At least one. Closing the joined bank closes them.

    Raises
    ------
    ValueError
        No banks.
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
        names = tuple(name for bank in banks for name in bank.names)
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise BankError(f"the banks share pair {twice!r}; leave one of them out")
        super().__init__(replace(first._head, names=names))
        self.banks = tuple(banks)
        self.starts = tuple(accumulate((bank.images for bank in banks[:-1]), initial=0))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.banks,)  # joined anew where it is unpickled: shards that do not fit are refused there

    def source(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Source planes of the pairs start .. stop, across the shards' borders."""
        return self._read("source", start, stop)

    def target(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Target planes of the pairs start .. stop, across the shards' borders."""
        return self._read("target", start, stop)

    def descriptions(self) -> NDArray[np.uint8]:
        """Descriptions of all source images, (n, L, R, S) uint8, as every shard has them."""
        return np.concatenate([bank.descriptions() for bank in self.banks])

    def close(self) -> None:
        """Close every shard."""
        for bank in self.banks:
            bank.close()

    def _read(self, side: str, start: int, stop: int) -> NDArray[np.uint8]:
        parts = []
        for bank, begin in zip(self.banks, self.starts, strict=True):
            low, high = max(start - begin, 0), min(stop - begin, bank.images)
            if low < high:
                parts.append(getattr(bank, side)(int(low), int(high)))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
