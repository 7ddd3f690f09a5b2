"""Work done ahead of its turn by threads: results in the order of the items, never more than some of them waiting."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextlib.contextmanager
def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, depth: int
) -> Iterator[Coming[Item, Result]]:
    """Call a function on items in threads, before their turn comes.

    Parameters
    ----------
    function : callable
        Called by any of ``workers`` threads.
    items : iterable
    workers, depth : int
        At least 1. At most ``depth`` items are begun and not yet taken, until :meth:`Coming.deepen` says another.

    Yields
    ------
    Coming : iterator of (item, Future)
        In the order of the items; the first are begun when the context is entered. What is not begun when it is left
        stays so; what is, is waited for.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    try:
        yield Coming(lambda item: pool.submit(function, item), items, depth)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Coming(Generic[Item, Result]):
    """What was begun, in the order of the items; made by :func:`ahead`."""

    def __init__(self, submit: Callable[[Item], Future[Result]], items: Iterable[Item], depth: int) -> None:
        self._submit, self._source = submit, iter(items)
        self._waiting: deque[tuple[Item, Future[Result]]] = deque()
        self.deepen(depth)

    def deepen(self, depth: int) -> None:
        """From now on at most ``depth`` items are begun and not yet taken; those that are added are begun at once."""
        self._depth = depth
        self._begin()

    def __iter__(self) -> Iterator[tuple[Item, Future[Result]]]:
        return self

    def __next__(self) -> tuple[Item, Future[Result]]:
        self._begin()  # not before: what was given out last has been taken now
        if not self._waiting:
            raise StopIteration
        return self._waiting.popleft()

    def _begin(self) -> None:
        for item in islice(self._source, max(0, self._depth - len(self._waiting))):
            self._waiting.append((item, self._submit(item)))
