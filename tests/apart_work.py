"""What tests have other processes do: small functions in a module that such a process can import."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from idekernels.errors import BankError
from idekernels.files.notices import tell_once
from idemodel.faces.errors import EyesWanted
from idemodel.files import large
from idemodel.files.images import read_colour

WAIT = 20.0  # seconds after which a test that hangs fails


class UnsendableError(Exception):
    """It has no arguments to be made of again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


ERRORS: dict[str, Exception] = {
    "bank": BankError("bank.h5: is damaged; build it anew"),
    "eyes": EyesWanted("a.png: is too small", "give the eyes"),
    "file": FileNotFoundError(2, "No such file or directory", "a.png"),
    "mistake": ZeroDivisionError("by zero"),
    "memory": MemoryError("no memory"),
    "unsendable": UnsendableError("a", "b"),
}


def process_number(_: int) -> int:
    return os.getpid()


def fail(name: str) -> None:
    raise ERRORS[name]


def twice(number: int) -> int:
    return 2 * number


class Slow:
    """What takes long to be made ready: by the process whose number it gives, whatever process calls it later."""

    def __init__(self) -> None:
        self.ready: int | None = None

    def __call__(self, _: int) -> int:
        self.ready = self.ready or os.getpid()
        return self.ready


def where(name: str) -> Any:
    """A variable of the environment, ``pid`` or ``session``."""
    known = {"pid": os.getpid, "session": lambda: os.getsid(0)}
    return known[name]() if name in known else os.environ.get(name)


def modules_after(read: Callable[[Path], object], file: Path) -> list[str]:
    """The modules that are loaded once a file has been read."""
    read(file)
    return sorted(sys.modules)


def say(text: str) -> str:
    print(text)
    os.write(1, b"and more\n")
    tell_once(text, f"told of {text}")
    return text


def die_elsewhere(parent: int, number: int) -> tuple[int, bool]:
    """The number, and whether that was found in the process ``parent``; any other dies of an odd one."""
    if number % 2 and os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return number, os.getpid() == parent


def hold(file: Path) -> None:
    """Read a picture of which 20 pixels are large; note that it is held, and hold it until a file lets it go.

    One called ``first`` is only read.
    """
    large.LARGE = 19
    with large.held_meanwhile():
        read_colour(file)
        read_colour(file)  # a second one takes no second place
        if file.stem == "first":
            return
        (file.parent / f"held-{file.stem}").touch()
        until = time.monotonic() + WAIT
        while not (file.parent / "go").exists() and time.monotonic() < until:
            time.sleep(0.01)


def die_decoding(parent: int, file: Path) -> tuple[int, ...]:
    """The shape of a picture; any process but ``parent`` dies where it decodes a large one."""
    if os.getpid() != parent:
        with large.held_meanwhile(), large.decoding(large.LARGE + 1):
            os.kill(os.getpid(), signal.SIGKILL)
    return read_colour(file).shape
