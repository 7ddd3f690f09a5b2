"""How many threads a kernel's parallel region takes: as few as its work is worth, since it waits for every one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba

_WORTH = 1.5e6  # ns of work for every thread: beside busy processes a thread waits for its turn about as long


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """Kernels called inside use so many threads at most, at least one; a region of one thread waits for nobody."""
    allowed = numba.get_num_threads()
    numba.set_num_threads(max(1, min(allowed, threads)))
    try:
        yield
    finally:
        numba.set_num_threads(allowed)


def worth(steps: int, nanoseconds: float) -> int:
    """How many threads so many steps are worth, each of them so long on one thread; at least one."""
    return max(1, int(steps * nanoseconds / _WORTH))
