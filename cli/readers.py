"""How many threads or processes read and write a batch's images, and how many are made together: the rules for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from idekernels.files.processes import usable_cores

# Threads; of more each waits longer for Python's lock: with 12 + 8 writers 1,000 photos took 17.5 s, with 4 + 4 13.1
# (`coarse` by cuda, H100 and 16 cores, 2026-11-26, docs/RESULTS.md, "From disk to disk"; so all figures here).
_MOST_READERS = 4
_MOST_WRITERS = 4  # and as many that write what is made wait for that lock, or for the disk
_MOST_PROCESSES = 12  # that read; as many deliver photos as fast as the writers write sketches
_MANY = 256  # photos from which on these are worth the second that each of them takes to start
_MANY_CORES = 8  # on fewer, four threads have most of the cores already

Read = TypeVar("Read")


@dataclass(frozen=True)
class Portions:
    """How many images are made into pictures together, and how many such portions at the same time."""

    most: int
    calls: int = 1

    def size(self, left: int) -> int:
        """Of the next portion, where so many images are left: smaller at the end, so that all calls end together."""
        return self.most if self.calls == 1 else max(1, min(self.most, left // (2 * self.calls)))


@dataclass(frozen=True)
class Readers(Generic[Read]):
    """Threads that read images ahead and others that write pictures behind.

    ``tell`` is called for every image that was read, in order, by the thread of the caller; ``meanwhile`` by the same
    once, while the first are read. ``threads`` and ``writers`` are how many there are of each. With ``processes``, see
    :func:`processes_for`, so many read in place of threads; the function that reads is pickled for them.
    """

    tell: Callable[[Path, Read], None]
    meanwhile: Callable[[], None] = lambda: None
    threads: int = field(default_factory=lambda: readers_for(usable_cores()))
    writers: int = field(default_factory=lambda: writers_for(usable_cores()))
    processes: int = 0

    @property
    def count(self) -> int:
        """How many images are read at the same time."""
        return self.processes or self.threads


def readers_for(cores: int) -> int:
    """How many threads read on so many cores: one each, at most four."""
    return min(_MOST_READERS, cores)


def writers_for(cores: int) -> int:
    """How many threads write on so many cores: one for two cores, two at least, so that the last are soon written."""
    return min(_MOST_WRITERS, max(2, cores // 2))


def processes_for(photos: int, cores: int, as_they_are: bool, spared: Callable[[], bool]) -> int:
    """How many processes read so many photos on so many cores, in place of threads; 0 where threads read.

    Reading a photo is many small calls of NumPy, each of which lets go of Python's lock and takes it again: with four
    threads a photo by the defaults takes 13 ms however many cores there are (and with twelve 17), while one process
    takes 18 ms for it and n of them 18 / n. So three processes for four cores read many photos on many cores; the rest
    is for the threads that write. Photos that are taken ``as_they_are``, neither aligned nor normalised, are read
    sooner by threads: 1,000 took 3.4 s, and 3.9 by processes. ``spared``, asked last, is whether the kernels leave the
    cores alone: those that run on them take all, and are not to share them with more readers than before.
    """
    if as_they_are or photos < _MANY or cores < _MANY_CORES or not spared():
        return 0
    return min(_MOST_PROCESSES, 3 * cores // 4)
