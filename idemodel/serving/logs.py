"""What a server writes of requests: few lines, short ones, and nothing in them that a terminal obeys."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from dataclasses import dataclass
from typing import TextIO

from idekernels.errors import printable

OWN = "idesketch.serving"  # the logger of this package

_LOGGERS = (OWN, "uvicorn.error", "asyncio")
_CHATTERS = ("python_multipart", "multipart")  # they describe every damaged form
_LONGEST = 300  # characters of a line
_MOST_LINES = 60  # of one record; of a longer traceback the end is what tells
_AT_ONCE, _PERIOD = 5, 60.0  # records of one kind that are written in so many seconds


@dataclass
class _Count:
    """Records of one kind since ``began``."""

    began: float
    written: int = 0
    left_out: int = 0


class Bounded(logging.StreamHandler[TextIO]):
    """Writes a few records of each kind a minute, and how many more there were.

    stream : a text file, standard error if not given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._counts: dict[tuple[str, int], _Count] = {}
        self._counting = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written: not that something was cancelled, and none past the bound."""
        cancelled = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError | KeyboardInterrupt)
        return not cancelled and super().filter(record) and self._counted(record)

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record, escaped and shortened."""
        lines = super().format(record).splitlines()
        if len(lines) > _MOST_LINES:
            lines = [lines[0], "...", *lines[2 - _MOST_LINES :]]
        return "\n".join(_short(line) for line in lines)

    def _counted(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        with self._counting:
            kind = (record.name, record.lineno)  # where in the code, not what: a message may hold what a client sent
            count = self._counts.setdefault(kind, _Count(now))
            if now - count.began >= _PERIOD:
                if count.left_out:
                    record.msg = f"{record.getMessage()} ({count.left_out} more like this were not written)"
                    record.args = ()
                count = self._counts[kind] = _Count(now)
            if count.written >= _AT_ONCE:
                count.left_out += 1
                return False
            count.written += 1
            return True


def bound_logs() -> None:
    """Have this process write what goes wrong to standard error, within bounds."""
    handler = Bounded(sys.stderr)
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)
    for name in _CHATTERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _short(line: str) -> str:
    line = printable(line.replace("\t", "    "))
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
