"""Owns the table of data set layouts and the public names of the import; reads and writes nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from idemodel.datasets import cufs, cufsf, fs2k, pairs
from idemodel.datasets.listing import Listing, Options, Settings
from idemodel.datasets.sources import Source

__all__ = ["LAYOUTS", "Layout", "Options", "Settings"]


@dataclass(frozen=True)
class Layout:
    """How the pairs of a data set are found, and which :class:`Options` change that."""

    find: Callable[[Source, Options], Listing]
    takes: tuple[str, ...]


LAYOUTS = {
    "cufs": Layout(cufs.find, cufs.TAKES),
    "cufsf": Layout(cufsf.find, cufsf.TAKES),
    "fs2k": Layout(fs2k.find, fs2k.TAKES),
    "pairs": Layout(pairs.find, pairs.TAKES),
}
