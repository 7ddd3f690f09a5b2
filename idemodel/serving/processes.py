"""Several processes that serve one socket: begun, replaced where they die, and ended; serves nothing itself."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from idekernels.errors import InputError

Work = Callable[[socket.socket, Callable[[], None]], None]  # serves a socket, and says when it is ready

TO_END = 10.0  # seconds that a process has for what is under way when it ends

_LOOK = 0.5  # seconds between two looks at the processes
_PAUSE = 5.0  # seconds that lie between two beginnings of one that dies
_SPARE = 10.0  # seconds beyond TO_END, after which a process is killed
_ENDINGS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]

_SPAWN = multiprocessing.get_context("spawn")


def serve_in_processes(work: Work, listening: socket.socket, count: int, ready: Callable[[], None]) -> None:
    """Serve a socket in several processes until interrupted.

    Parameters
    ----------
    work : function
        Picklable; what each does. It serves until its process is told to end.
    listening : socket
    count : int
        Processes.
    ready : function
        Called once all of them are ready.

    Raises
    ------
    InputError
        The first that could not begin says why; the others are ended.
    """
    with _interrupted() as stop:
        members: list[_Member] = []
        try:
            members += [_Member(work, listening) for _ in range(count)]
            if not _all_begin(members, stop):
                return
            ready()
            while not stop.wait(_LOOK):
                _replace_the_dead(members, work, listening)
        finally:
            _end(members)


class _Member:
    """One process: begun when it is made."""

    def __init__(self, work: Work, listening: socket.socket) -> None:
        self.hears, says = _SPAWN.Pipe(duplex=False)
        self.process = _SPAWN.Process(target=_member, args=(work, listening, says))
        self.began, self.ready = time.monotonic(), False
        with _ctrl_c_ignored():  # it is the parent that is told, and ends its processes
            self.process.start()
        says.close()

    def hear(self) -> None:
        """Note that it is ready; InputError where it is not and says why, or is gone."""
        try:
            told = self.hears.recv()
        except (EOFError, OSError):
            told = "a process of the server could not begin; why stands above"
        if told is not None:
            raise InputError(told)
        self.ready = True

    def last_words(self) -> str | None:
        """Why it could not begin, where it said so before it ended."""
        told = None
        with suppress(EOFError, OSError):
            while self.hears.poll():
                told = self.hears.recv()
        return told


def _all_begin(members: list[_Member], stop: threading.Event) -> bool:
    """Wait until all are ready; False where the end comes first."""
    while not stop.is_set():
        waiting = {member.hears: member for member in members if not member.ready}
        if not waiting:
            return True
        for connection in wait(list(waiting), _LOOK):
            waiting[connection].hear()  # type: ignore[index]
    return False


def _replace_the_dead(members: list[_Member], work: Work, listening: socket.socket) -> None:
    for number, member in enumerate(members):
        if not member.process.is_alive() and time.monotonic() - member.began >= _PAUSE:
            why = member.last_words()
            died = f"died: {why}" if why else "died"
            print(f"a process of the server {died}; another one begins", file=sys.stderr, flush=True)
            member.hears.close()
            members[number] = _Member(work, listening)


def _end(members: list[_Member]) -> None:
    for member in members:
        member.process.terminate()
    until = time.monotonic() + TO_END + _SPARE
    for member in members:
        member.process.join(max(0.0, until - time.monotonic()))
        if member.process.is_alive():
            member.process.kill()
            member.process.join()
        member.hears.close()


def _member(work: Work, listening: socket.socket, says: Connection) -> None:
    """What a process does: the work, while its parent lives; a mistake is told to the parent."""
    threading.Thread(target=_end_with_the_parent, name="watch the parent", daemon=True).start()
    try:
        work(listening, lambda: says.send(None))
    except (InputError, OSError) as error:
        says.send(" ".join(str(error).split()))
        sys.exit(1)


def _end_with_the_parent() -> None:
    """A parent that was killed tells nobody: its end of a pipe that nobody writes to is closed, on every system."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(TO_END + _SPARE)
        os._exit(1)


@contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """An event that is set by Ctrl+C or a wish to end, instead of an exception anywhere."""
    stop = threading.Event()
    before: dict[int, Any] = {number: signal.signal(number, lambda *_: stop.set()) for number in _ENDINGS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
