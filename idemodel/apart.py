"""A function called in processes of its own, by threads that wait for them: for work that Python's lock holds up.

A process is this Python started anew: nothing is forked, so no state of a GPU's driver is inherited, and the main
module of the program is not imported. It ends as soon as nobody is there to ask it, however its parent ended, and the
Ctrl+C of a terminal goes to the parent alone.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, BinaryIO, Generic, TypeVar

from idekernels.errors import InputError, in_short
from idekernels.files.notices import Notice, put_off, tell_once
from idemodel.files import large

Item = TypeVar("Item")
Result = TypeVar("Result")

_TO_END = 2.0  # seconds that a process has to end by itself
_LIBRARIES = ("OMP", "OPENBLAS", "MKL", "BLIS")
_ONE_THREAD = {  # of each library in a process: there are as many processes as cores are to be used
    **{f"{library}_NUM_THREADS": "1" for library in _LIBRARIES},
    "VECLIB_MAXIMUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
}
_ON_ITS_OWN: dict[str, Any] = (  # no terminal sends it an interrupt
    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    if os.name == "nt"
    else {"start_new_session": True}
)


class Apart(Generic[Item, Result]):
    """A function whose calls other processes make; any thread may call it. Used as a context: they end with it.

    What is raised there is raised here, and what a person is to be told once is told here. Where a process is lost
    (killed for its memory, say), that is told, and its calls are made here from then on. Of large pictures no more are
    held and decoded by all processes together than by the threads of one, see :mod:`idemodel.files.large`.

    Parameters
    ----------
    function : callable of one argument
        It is pickled, and unpickled by each process as soon as that has begun; so are the arguments, the results and
        the errors. After the first call, which the others wait for, that process gives it back, pickled anew: what
        takes long the first time is spared the others, where it is pickled as well.
    count : int
        Processes, begun at once; a further call at the same time waits.
    """

    def __init__(self, function: Callable[[Item], Result], count: int) -> None:
        self._function, self._packed = function, pickle.dumps(function)
        self._called, self._lock = False, threading.Lock()
        self._all = [_Process(self._packed) for _ in range(count)]
        self._free: SimpleQueue[_Process] = SimpleQueue()
        for process in self._all:
            self._free.put(process)

    def __enter__(self) -> Apart[Item, Result]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._all:
            process.let_end()
        latest = time.monotonic() + _TO_END  # for all of them together
        for process in self._all:
            process.end(max(0.0, latest - time.monotonic()))

    def __call__(self, item: Item) -> Result:
        """What the function gives for an item, or raises."""
        process = self._free.get()
        try:
            answer = self._ask(process, item)
        except _LostError as lost:
            tell_once("apart", f"a process that read ahead was lost ({lost}); its share is read here, more slowly")
            return self._function(item)
        finally:
            self._free.put(process)
        for notice in answer.notices:
            tell_once(*notice)
        if answer.error is not None:
            raise answer.error
        result: Result = answer.result
        return result

    def _ask(self, process: _Process, item: Item) -> _Answer:
        with self._lock:
            if not self._called:
                self._called = True  # also where it fails
                answer = process.ask(self._packed, item)
                self._packed = process.give_back()
                return answer
        return process.ask(self._packed, item)


class _LostError(Exception):
    """A process cannot be asked, and why."""


@dataclass(frozen=True)
class _Answer:
    """What came of a call: its result or its error, and what a person is to be told; ``unable``: why none can come."""

    result: Any = None
    error: Exception | None = None
    notices: tuple[Notice, ...] = ()
    unable: str = ""


@dataclass(frozen=True)
class _Function:
    """In place of an item: the function that is to be called from then on."""

    packed: bytes


@dataclass(frozen=True)
class _Again:
    """In place of an item: the function is wanted, pickled as it is by now."""


@dataclass(frozen=True)
class _Unable:
    """In place of a function: why it cannot be unpickled."""

    why: str


@dataclass(frozen=True)
class _Large:
    """A process wants to decode a large picture; or, not ``wanted``, it has."""

    wanted: bool


class _Process:
    """One process as its parent knows it; one thread at a time asks it."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed  # the function that it has
        self._process: subprocess.Popen[bytes] | None = None
        self._questions: Any = None  # pipes, once it has begun
        self._answers: Any = None
        self._why = ""  # it is lost
        paths = [path for path in sys.path if isinstance(path, str)]
        code = f"import sys; sys.path[:] = {paths!r}; from {__name__} import serve; serve()"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env={**os.environ, **_ONE_THREAD}, **_ON_ITS_OWN,
            )  # fmt: skip
        except OSError as error:
            self._why = in_short(error)
            return
        self._questions, self._answers = self._process.stdin, self._process.stdout
        with suppress(OSError):  # it ended: that is noticed where it is asked
            _send(self._questions, _Function(packed))

    def ask(self, packed: bytes, item: object) -> _Answer:
        """Have it call the function, which it is sent where it has another; _LostError where it is lost."""
        if self._process is None:
            raise _LostError(self._why)
        try:
            with large.held_meanwhile():
                answer = self._asked(packed, item)
        except (EOFError, OSError):
            self.end()
            raise _LostError(self._why) from None
        except BaseException:  # nobody knows what it says next
            self.end()
            raise
        if answer.unable:
            self._why = answer.unable
            self.end()
            raise _LostError(self._why)
        return answer

    def give_back(self) -> bytes:
        """The function as it has it by now, pickled; _LostError where the process is lost."""
        self._packed = self.ask(self._packed, _Again()).result or self._packed
        return self._packed

    def let_end(self) -> None:
        """Have it end: nobody will ask it any more."""
        if self._process is not None:
            with suppress(OSError):  # it may be gone with something still to be sent
                self._questions.close()

    def end(self, seconds: float = _TO_END) -> None:
        """Wait until it has ended, no longer than that, and note why."""
        if self._process is None:
            return
        self.let_end()
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._answers.close()
        self._process = None
        self._why = self._why or (f"signal {-code} ended it" if code < 0 else f"it ended with {code}")

    def _asked(self, packed: bytes, item: object) -> _Answer:
        if packed is not self._packed:
            _send(self._questions, _Function(packed))
            self._packed = packed
        _send(self._questions, item)
        with ExitStack() as decoding:
            while True:
                told = _received(self._answers)
                if isinstance(told, _Answer):
                    return told
                if told.wanted:
                    decoding.enter_context(large.decoding(large.LARGE + 1))
                    _send(self._questions, None)
                else:
                    decoding.close()


def serve() -> None:
    """What a process does: get the function, call it on what is sent and answer, until nothing more can come."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's affair, whoever sends it
    hears, says = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed must not come between the answers
    with suppress(EOFError, BrokenPipeError):
        _serve(hears, says)
    os._exit(0)  # nothing is to be put in order, and what could not be sent is not tried again


def _serve(hears: BinaryIO, says: BinaryIO) -> None:
    large.ask_for_leave(lambda: _leave_to_decode(hears, says))
    function: Callable[[Any], Any] | _Unable = _Unable("it was sent no function")
    while True:
        told = _received(hears)
        if isinstance(told, _Function):
            function = _unpacked(told)
        else:
            _send(says, _answer(function, told))


def _unpacked(sent: _Function) -> Callable[[Any], Any] | _Unable:
    try:
        function: Callable[[Any], Any] = pickle.loads(sent.packed)
    except Exception as error:
        return _Unable(in_short(error))
    return function


@contextmanager
def _leave_to_decode(hears: BinaryIO, says: BinaryIO) -> Iterator[None]:
    """Wait for the parent's leave to decode a large picture, and say when that is done."""
    _send(says, _Large(wanted=True))
    _received(hears)
    try:
        yield
    finally:
        _send(says, _Large(wanted=False))


def _answer(function: Callable[[Any], Any] | _Unable, item: object) -> _Answer:
    if isinstance(function, _Unable):
        return _Answer(unable=function.why)
    notices: list[Notice] = []
    try:
        with put_off(notices):
            if isinstance(item, _Again):
                return _Answer(pickle.dumps(function))
            return _Answer(function(item), notices=tuple(notices))
    except Exception as error:
        return _Answer(error=_sendable(error), notices=tuple(notices))


def _sendable(error: Exception) -> Exception:
    """The error, or one that says the same where it cannot be sent; a mistake of ours says where it was made."""
    if hasattr(error, "add_note") and not isinstance(error, InputError | OSError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _send(stream: Any, thing: object) -> None:
    content = pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)
    stream.write(len(content).to_bytes(8, "little"))
    stream.write(content)
    stream.flush()


def _received(stream: Any) -> Any:
    """What was sent; EOFError where that has no end, or nobody is there to send anything."""
    return pickle.loads(_exactly(stream, int.from_bytes(_exactly(stream, 8), "little")))


def _exactly(stream: Any, size: int) -> bytes:
    content: bytes = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content
