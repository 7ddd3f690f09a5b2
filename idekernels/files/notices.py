"""What a person should hear once a process, whatever library call it comes from: one line through ``logging``.

Python's own last handler shows it on stderr where the program set up no logging of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from idekernels.errors import printable

Notice = tuple[str, str]  # topic and text

_LOG = logging.getLogger("idesketch")
_told: set[str] = set()
_here = threading.local()  # .lines, where a thread keeps what it is told; .later, where that waits to be told


def tell_once(topic: str, text: str) -> None:
    """Log ``text`` as a warning, unless this process has told of ``topic`` before.

    Within :func:`heard` the line goes there instead, every time; within :func:`put_off` it waits.
    """
    lines: list[str] | None = getattr(_here, "lines", None)
    later: list[Notice] | None = getattr(_here, "later", None)
    if lines is not None:
        lines.append(printable(text))
    elif later is not None:
        later.append((topic, text))
    elif topic not in _told:
        _told.add(topic)
        _LOG.warning("%s", printable(text))


@contextmanager
def heard() -> Iterator[list[str]]:
    """What this thread is told within the block, for the one whose work it is; nothing of it is logged."""
    before = getattr(_here, "lines", None)
    lines: list[str] = []
    _here.lines = lines
    try:
        yield lines
    finally:
        _here.lines = before


@contextmanager
def put_off(later: list[Notice]) -> Iterator[None]:
    """What this thread is told within the block is added to ``later``, for somebody to tell it when its turn comes."""
    before = getattr(_here, "later", None)
    _here.later = later
    try:
        yield
    finally:
        _here.later = before
