"""How many threads a kernel's parallel region takes: as few as its work is worth, since it waits for every one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba

from idekernels.backends.cpu import jit

MOST_CALLS = 4  # of Python's threads that run kernels side by side; see calls()

# ns of work for every thread. A quiet machine wakes one in 0.1 ms, but beside busy processes it can wait milliseconds
# for its turn, and all wait for the last: work of less than this for each is done sooner by fewer.
_ALONE, _BATCH = 0.7e6, 0.6e6


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """Kernels called inside use so many threads at most, at least one; a region of one thread waits for nobody."""
    allowed = jit.threads()
    if allowed == 1:  # also in the child of a fork, where Numba's threads must not be asked for
        yield
        return
    numba.set_num_threads(max(1, min(allowed, threads)))
    try:
        yield
    finally:
        numba.set_num_threads(allowed)


def calls() -> int:
    """How many threads of Python may run kernels side by side to good purpose.

    A kernel that runs on one thread waits for no other. Where threads share the cores with those that read and write
    files, regions of several threads wait for whichever was put off. So a call a core on few cores, and one at a time
    on many: with eight calls on sixteen cores 1,000 photos took 13.0 s in place of 10.8 (`coarse --backend cpu`,
    2026-11-26; docs/RESULTS.md, "From disk to disk").
    """
    allowed = jit.threads()
    return allowed if allowed <= MOST_CALLS and jit.safe() else 1


def take_share(calls: int) -> None:
    """Have the kernels that this thread of Python calls run on its share of the threads; at least one."""
    numba.set_num_threads(max(1, jit.threads() // calls))


def worth(photos: int, steps: int, nanoseconds: float) -> int:
    """How many threads so many steps are worth, each of them so long on one thread; at least one."""
    return max(1, int(steps * nanoseconds / (_ALONE if photos == 1 else _BATCH)))
