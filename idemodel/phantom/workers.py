"""Phantom pairs drawn by several processes at once: the same pairs whatever their number; writes no file."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Generator
from dataclasses import astuple, dataclass
from typing import IO

import numpy as np

from idekernels.files.processes import usable_cores

from .pairs import PhantomPair, phantom_pairs

_MARK = b"phantom1"
_HEAD = struct.Struct("<8sQI")  # mark, the pair's number, CRC-32 of its pixels; photo and sketch follow
_MOST = 16  # processes: more would wait for the one that collects the pairs
_ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Series:
    """Which pairs: the first ``count`` of a seed, at a size; see :func:`idemodel.phantom_pairs`."""

    count: int
    height: int
    width: int
    seed: int

    def pair(self, number: int) -> PhantomPair:
        """One of them, drawn here and now."""
        return next(phantom_pairs(1, height=self.height, width=self.width, seed=self.seed, start=number))


def drawn_pairs(series: Series, workers: int | None = None) -> Generator[PhantomPair, None, None]:
    """Draw the pairs of a series in order, by ``workers`` processes, one a usable core if not given.

    The processes are started by name, not forked, so that a script needs no guard against being imported again. What
    a process that dies has not drawn is drawn in this one. All end with the iterator: close it where it may be left
    early.

    Yields
    ------
    PhantomPair
        Bit for bit those of :func:`idemodel.phantom_pairs`.
    """
    wanted = usable_cores() if workers is None else workers
    helpers = min(wanted, series.count, _MOST)
    crew: list[_Worker] = []
    try:
        if helpers > 1 and sys.executable and not getattr(sys, "frozen", False):  # else it is no Python to be called
            for first in range(helpers):
                crew.append(_Worker(series, first, helpers))  # noqa: PERF401 - those that run are ended, come what may
        for number in range(series.count):
            pair = crew[number % helpers].pair(number) if crew else None
            yield series.pair(number) if pair is None else pair
    finally:
        for worker in crew:
            worker.end()


def work(first: int, step: int, count: int, height: int, width: int, seed: int) -> None:
    """Draw every ``step``-th pair from ``first`` on and write it to stdout; what a worker's process runs."""
    series = Series(count, height, width, seed)
    for number in range(first, count, step):
        pair = series.pair(number)
        pixels = pair.photo.tobytes() + pair.sketch.tobytes()
        sys.stdout.buffer.write(_HEAD.pack(_MARK, number, zlib.crc32(pixels)) + pixels)
        sys.stdout.buffer.flush()


class _Worker:
    """A process that draws every ``step``-th pair of a series from ``first`` on."""

    def __init__(self, series: Series, first: int, step: int) -> None:
        self._series = series
        code = (
            f"import sys; sys.path[:] = {sys.path!r}\n"  # the same packages, whatever the working folder holds
            f"from {__name__} import work; work(*map(int, sys.argv[1:]))"
        )
        numbers = map(str, (first, step, *astuple(series)))
        try:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                [sys.executable, "-c", code, *numbers],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env={**os.environ, **_ALONE}, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )  # fmt: skip
        except OSError:  # no memory or no process left: the pairs are drawn without it
            self._process = None

    def pair(self, number: int) -> PhantomPair | None:
        """The pair of this number, the next one; None from the first on that does not come whole."""
        if self._process is None or self._process.stdout is None:
            return None
        found = _received(self._process.stdout, self._series, number)
        if found is None:
            self.end()
        return found

    def end(self) -> None:
        """End the process, if it runs still."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _received(stream: IO[bytes], series: Series, number: int) -> PhantomPair | None:
    """Read one pair; None where the stream ends or holds something else."""
    pixels = series.height * series.width
    head, body = stream.read(_HEAD.size), stream.read(4 * pixels)
    if len(body) != 4 * pixels or head != _HEAD.pack(_MARK, number, zlib.crc32(body)):
        return None
    planes = np.frombuffer(body, np.uint8)
    photo = planes[: 3 * pixels].reshape(series.height, series.width, 3)
    return PhantomPair(f"{number:04d}", photo, planes[3 * pixels :].reshape(series.height, series.width))
