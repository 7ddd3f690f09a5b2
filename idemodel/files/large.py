"""Large pictures: one is decoded at a time, and few are held by threads that say how long they hold theirs.

A process that was begun to read for another one asks that for leave: the bounds are those of all of them together.

A picture of 64 million pixels takes up to a gigabyte while it is decoded, and a fifth of that afterwards.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from idekernels.files.processes import keep_over_forks

LARGE = 2**24  # pixels from which on a picture is large
MOST_HELD = 4  # large pictures that threads hold at the same time

_one_at_a_time = threading.Lock()
keep_over_forks(_one_at_a_time)
_here = threading.local()  # .held, within held_meanwhile: whether this thread holds a large picture


class _Places:
    """Places for large pictures; all are free in the child of a fork, whose only thread holds none."""

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        """Free all places."""
        self.free = threading.BoundedSemaphore(MOST_HELD)


_places = _Places()


@contextmanager
def held_meanwhile() -> Iterator[None]:
    """A large picture that this thread decodes within the block is held until its end; one more than few waits."""
    _here.held = False
    try:
        yield
    finally:
        if _here.held:
            _places.free.release()
        del _here.held


@contextmanager
def decoding(pixels: int) -> Iterator[None]:
    """Decode a picture of so many pixels within the block, a large one while no other is decoded."""
    if pixels <= LARGE:
        yield
        return
    with _leave():
        yield


def ask_for_leave(leave: Callable[[], AbstractContextManager[None]]) -> None:
    """From now on this process decodes large pictures within what ``leave`` gives, and counts none itself."""
    global _leave
    _leave = leave


@contextmanager
def _leave_here() -> Iterator[None]:
    if getattr(_here, "held", None) is False:  # one place a thread: who waits for a second while all do waits for ever
        _places.free.acquire()
        _here.held = True
    with _one_at_a_time:
        yield


_leave: Callable[[], AbstractContextManager[None]] = _leave_here
