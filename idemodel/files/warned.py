"""Warnings that nobody needs, ignored while any thread is at a place that gives them; no thread waits for another.

The filters of warnings belong to the whole process: the first thread to come puts them aside, the last to leave puts
them back.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator


class _Quiet:
    """How many threads are at such a place, and the filters that were put aside for them."""

    def __init__(self) -> None:
        self.threads = 0
        self.lock = threading.Lock()
        self._filters = contextlib.ExitStack()

    def begin(self) -> None:
        with self.lock:
            if not self.threads:
                _ignore(self._filters)
            self.threads += 1

    def end(self) -> None:
        with self.lock:
            self.threads -= 1
            if not self.threads:
                self._filters.close()

    def restart(self) -> None:
        """In the child of a fork none of the threads is there but the one that forked, which is at no such place."""
        self.lock = threading.Lock()
        self.threads = 0
        self._filters.close()


_quiet = _Quiet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _quiet.lock.acquire(),
        after_in_parent=lambda: _quiet.lock.release(),
        after_in_child=_quiet.restart,
    )


@contextlib.contextmanager
def warnings_ignored() -> Iterator[None]:
    """Within the block no warning is shown or raised; any number of threads may be within."""
    if getattr(sys.flags, "context_aware_warnings", 0):  # each thread has filters of its own
        with contextlib.ExitStack() as filters:
            _ignore(filters)
            yield
        return
    _quiet.begin()
    try:
        yield
    finally:
        _quiet.end()


def _ignore(filters: contextlib.ExitStack) -> None:
    filters.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
