"""Work finished behind by threads: what follows from it, and what is said meanwhile, happens in order, in one thread.

The counterpart of ``ahead``: bounded, and as if everything had been done at once where no thread is given.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from idekernels.files.notices import Notice, put_off, tell_once

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class _Turn:
    """One thing in the line: the work it waits for, what a person is to be told of that, and what then happens."""

    then: Callable[[Any], None]
    ready: Future[Any] | None = None
    told: list[Notice] = field(default_factory=list)


class Behind:
    """A line of things that happen one after the other, some of them once a thread has done its work for them.

    Used as a context. At its end the line is emptied, also where an error leaves it: what was handed over is finished.
    An error of the work itself is raised when its turn comes: then what follows in the line is dropped, work that was
    begun is finished, and work that was not never is.

    Parameters
    ----------
    threads : int
        At least 0; with 0 all work is done at once, by the thread that hands it over.
    most : int
        At least 1: how many things may wait in the line. One more waits until the first of them has happened.
    """

    def __init__(self, threads: int, most: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="behind") if threads else None
        self._most = most
        self._line: deque[_Turn] = deque()
        self._given = 0  # pieces of work that were handed over
        self._last = math.inf  # the number of the last that is done: that of the first that failed
        self._lock = threading.Lock()

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            while self._line:
                self._next()
        finally:
            if self._pool:
                self._pool.shutdown(wait=True, cancel_futures=True)

    def hand_over(self, work: Callable[[], Result], then: Callable[[Result], None]) -> None:
        """Have ``work`` done, by a thread if there is one; ``then`` gets its result when its turn in the line comes."""
        if self._pool is None:
            then(work())
            return
        told: list[Notice] = []
        self._given += 1
        self._append(_Turn(then, self._pool.submit(self._done, self._given, work, told), told))

    def say(self, what: Callable[[], None]) -> None:
        """Have something said, or done, as soon as everything before it in the line has happened."""
        self._append(_Turn(lambda _: what()))

    def _append(self, turn: _Turn) -> None:
        self._line.append(turn)
        while self._line and (
            len(self._line) > self._most or self._line[0].ready is None or self._line[0].ready.done()
        ):
            self._next()

    def _next(self) -> None:
        """Wait for the first in the line, and have it happen."""
        turn = self._line[0]
        try:
            result = turn.ready.result() if turn.ready else None
        except Exception:
            self._line.clear()
            raise
        finally:
            for notice in turn.told:
                tell_once(*notice)
        self._line.popleft()
        turn.then(result)

    def _done(self, number: int, work: Callable[[], Result], told: list[Notice]) -> Result:
        """Do a piece of work in a thread, unless one before it has failed."""
        with self._lock:
            if number > self._last:
                raise CancelledError
        try:
            with put_off(told):
                return work()
        except BaseException:
            with self._lock:
                self._last = min(self._last, number)
            raise
