"""Work done ahead of its turn by threads: results in the order of the items, never more than some of them waiting."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextlib.contextmanager
def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, depth: int
) -> Iterator[Iterator[tuple[Item, Future[Result]]]]:
    """Call a function on items in threads, before their turn comes.

    Parameters
    ----------
    function : callable
        Called by any of ``workers`` threads.
    items : iterable
    workers, depth : int
        At least 1. At most ``depth`` items are begun and not yet taken.

    Yields
    ------
    iterator of (item, Future)
        In the order of the items; the first are begun when the context is entered. What is not begun when it is left
        stays so; what is, is waited for.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    try:
        yield _in_order(lambda item: pool.submit(function, item), items, depth)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    submit: Callable[[Item], Future[Result]], items: Iterable[Item], depth: int
) -> Iterator[tuple[Item, Future[Result]]]:
    source = iter(items)
    waiting = deque((item, submit(item)) for item in islice(source, depth))

    def turns() -> Iterator[tuple[Item, Future[Result]]]:
        while waiting:
            yield waiting.popleft()
            waiting.extend((item, submit(item)) for item in islice(source, 1))

    return turns()
