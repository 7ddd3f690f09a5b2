"""What the harness must know of a reader: how its good files look, how they are read, what that may cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

Seeds = Callable[[], Sequence[bytes]]


@dataclass(frozen=True)
class Reader:
    """One kind of input.

    Parameters
    ----------
    name : str
        For people, and to find it in the table from the worker's side.
    file : str
        The file's name, as the reader expects it (``run.json``).
    make_seeds : callable
        Good files, as bytes; asked once, in the parent.
    read : callable
        Read the file at a path; runs in the worker. A value or an InputError is right, all else is a failure.
    memory : int
        MiB that reading may add to the worker at its peak, whatever the file.
    wrap : callable
        Applied to altered bytes: repairs checksums, or packs them, so that the alteration reaches what lies behind.
    may_be_absent : bool
        Whether a file that is missing or unusable is no mistake (it is made anew).
    warm : bool
        Whether a good file is read first, unmeasured, in a new worker.
    """

    name: str
    file: str
    make_seeds: Seeds
    read: Callable[[Path], Any]
    memory: int = 64
    wrap: Callable[[bytes], bytes] = bytes
    may_be_absent: bool = False
    warm: bool = True

    @cached_property
    def seeds(self) -> tuple[bytes, ...]:
        """The good files, before ``wrap``."""
        return tuple(self.make_seeds())
