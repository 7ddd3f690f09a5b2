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
_PAUSE = 5.0  # seconds that lie between two beginnings; twice as many after each that fails
_LONGEST_PAUSE = 60.0
_MOST_FAILED = 3  # beginnings in a row, while none serves; then the server ends
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
        The first that could not begin says why; the others are ended. Or, later, none is left and none can begin.
    """
    crew = _Crew(lambda: _Member(work, listening))
    with _interrupted() as stop:
        try:
            for _ in range(count):
                crew.members.append(crew.begin())
            if not _all_begin(crew.members, stop):
                return
            ready()
            while not stop.wait(_LOOK):
                crew.look()
        finally:
            _end(crew.members)


class _Member:
    """One process: begun when it is made."""

    def __init__(self, work: Work, listening: socket.socket) -> None:
        self.hears, says = _SPAWN.Pipe(duplex=False)
        self.process = _SPAWN.Process(target=_member, args=(work, listening, says))
        self.began, self.ready, self.lost, self.why = time.monotonic(), False, False, ""
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

    def look(self) -> None:
        """Note whether it is ready, and whether it is lost and why, where that is known."""
        self.lost = not self.process.is_alive()  # before it is heard: what it said last is not missed
        with suppress(EOFError, OSError):
            while self.hears.poll():
                told = self.hears.recv()
                self.ready, self.why = self.ready or told is None, told or self.why
        if self.lost and not self.why and not self.ready:
            code = self.process.exitcode or 0
            self.why = f"signal {-code} ended it" if code < 0 else f"it ended with {code}"


class _Crew:
    """The processes of a server. One that dies is replaced, ever more rarely where that fails, and not for ever.

    begin : makes a further one. clock : seconds.
    """

    def __init__(self, begin: Callable[[], _Member], clock: Callable[[], float] = time.monotonic) -> None:
        self.begin, self.members = begin, list[_Member]()
        self._clock, self._not_before = clock, 0.0
        self._failed = 0  # beginnings in a row
        self._told = ""  # why, as it was last written

    def look(self) -> None:
        """Look at each, and replace those that died.

        Raises
        ------
        InputError
            None is left, and several in a row could not begin.
        """
        for member in self.members:
            if not member.lost:
                self._look_at(member)
        for number, member in enumerate(self.members):
            if member.lost and self._may_begin():
                member.hears.close()
                self.members[number] = self.begin()

    def _look_at(self, member: _Member) -> None:
        was_ready = member.ready
        member.look()
        if member.ready and not was_ready:
            self._failed, self._told = 0, ""
        if member.lost and member.ready:
            self._note_death(member)
        elif member.lost:
            self._note_failure(member.why)

    def _note_death(self, member: _Member) -> None:
        again = member.began + _PAUSE
        if not self._some(ready=True):  # nobody answers: it is urgent, whatever failed before
            self._failed, self._not_before = 0, again
        self._not_before = max(self._not_before, again)
        _write(f"a process of the server died{f': {member.why}' if member.why else ''}; another one begins")

    def _note_failure(self, why: str) -> None:
        self._failed += 1
        if self._failed >= _MOST_FAILED and not (self._some(ready=True) or self._some(ready=False)):
            raise InputError(f"no process of the server is left, and {self._failed} in a row could not begin: {why}")
        self._not_before = self._clock() + min(_LONGEST_PAUSE, _PAUSE * 2 ** min(self._failed - 1, 10))
        if why != self._told:
            self._told = why
            _write(f"one that should replace it died: {why}; it is tried again, ever more rarely")

    def _may_begin(self) -> bool:
        """Where one failed or none serves they begin one after another: a row of failures is none at the same time."""
        careful = self._failed > 0 or not self._some(ready=True)
        return self._clock() >= self._not_before and not (careful and self._some(ready=False))

    def _some(self, *, ready: bool) -> bool:
        return any(member.ready == ready and not member.lost for member in self.members)


def _all_begin(members: list[_Member], stop: threading.Event) -> bool:
    """Wait until all are ready; False where the end comes first."""
    while not stop.is_set():
        waiting = {member.hears: member for member in members if not member.ready}
        if not waiting:
            return True
        for connection in wait(list(waiting), _LOOK):
            waiting[connection].hear()  # type: ignore[index]
    return False


def _write(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


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
    except (InputError, OSError, MemoryError) as error:
        says.send(" ".join(str(error).split()) or type(error).__name__)
        sys.exit(1)
    except Exception as error:  # a mistake of ours: its traceback is written, too
        says.send(" ".join(f"{type(error).__name__}: {error}".split()))
        raise


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
