"""Readers with every fault that the harness is there to see, so that a test can show that it sees them."""

from __future__ import annotations

import ctypes
import sys
import time
from pathlib import Path
from typing import Any

from idekernels.errors import InputError
from tests.fuzz.reader import Reader


def _crash(path: Path) -> Any:
    return ctypes.string_at(0)


def _hang(path: Path) -> Any:
    time.sleep(3600)


def _exit(path: Path) -> Any:
    sys.exit(3)


def _raise(path: Path) -> Any:
    raise KeyError("of ours")


def _fill(path: Path) -> Any:
    return len(bytearray(100 * 2**20))


def _fill_and_hide(path: Path) -> Any:
    """Takes all memory, and says that it is the file's fault."""
    try:
        return len(bytearray(2**40))
    except MemoryError:
        return len(bytearray(150 * 2**20))


def _two_lines(path: Path) -> Any:
    raise InputError(f"{path}: one\ntwo")


def _no_name(path: Path) -> Any:
    raise InputError("something is wrong")


def _escape(path: Path) -> Any:
    raise InputError(f"{path}: \x1b[2J")


def _long(path: Path) -> Any:
    raise InputError(f"{path}: " + "x" * 5000)


def _good(path: Path) -> Any:
    return path.read_bytes()


def _refuses(path: Path) -> Any:
    raise InputError(f"{path}: not good")


FAULTY = tuple(
    Reader(name, "file", lambda: [b"x"], read, warm=False)
    for name, read in {
        "crashed, SIGSEGV": _crash,
        "hung": _hang,
        "traceback": _raise,
        "SystemExit": _exit,
        "100 MiB": _fill,
        "150 MiB": _fill_and_hide,
        "not one line": _two_lines,
        "does not name": _no_name,
        "cannot be printed": _escape,
        "characters": _long,
    }.items()
)
SOUND = (Reader("good", "file", lambda: [b"x"], _good), Reader("refuses", "file", lambda: [b"x"], _refuses))


def find(name: str) -> Reader:
    """The reader of a name."""
    return next(reader for reader in (*FAULTY, *SOUND) if reader.name == name)
