"""What a person should hear once a process, whatever library call it comes from: one line through ``logging``.

Python's own last handler shows it on stderr where the program set up no logging of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from idekernels.errors import printable

_LOG = logging.getLogger("idesketch")
_told: set[str] = set()
_here = threading.local()  # .lines, where a thread keeps what it is told


def tell_once(topic: str, text: str) -> None:
    """Log ``text`` as a warning, unless this process has told of ``topic`` before.

    Within :func:`heard` the line goes there instead, every time.
    """
    lines: list[str] | None = getattr(_here, "lines", None)
    if lines is not None:
        lines.append(printable(text))
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
