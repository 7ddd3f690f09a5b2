"""Ctrl-C held back while a library is at work that cannot bear an exception in its callbacks; no other signal."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType


class HeldInterrupts:
    """A context in which an interrupt (SIGINT) waits: its handler is called at the end, or where it is let through.

    libhdf5 calls back into Python to write; a KeyboardInterrupt raised there is lost, damages the file, or crashes the
    process. Outside the main thread, which alone is interrupted, and where interrupts are ignored or handled outside
    Python, it does nothing.
    """

    def __init__(self) -> None:
        self._handler: Callable[[int, FrameType | None], object] | None = None
        self._waiting = False

    def __enter__(self) -> HeldInterrupts:
        handler = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(handler):
            self._handler = handler
            self._hold()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._release()

    @contextlib.contextmanager
    def let_through(self) -> Iterator[None]:
        """Within it interrupts come as ever, one that waits at once."""
        self._release()
        try:
            yield
        finally:
            self._hold()

    def _hold(self) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._waiting = True

    def _release(self) -> None:
        if self._handler is None:
            return
        signal.signal(signal.SIGINT, self._handler)
        if self._waiting:
            self._waiting = False
            self._handler(signal.SIGINT, None)
