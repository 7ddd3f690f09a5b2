"""A large bank's file built in parts, so that a build that was ended goes on where it stopped; reads no images itself.

Each part is a bank of its own beside the file, in the folder ``.NAME.parts``. Its name is a digest of all that it was
made of, so that a part of other images or settings is never taken for it. When all are there they are copied into the
one file, pair by pair, and the folder is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idekernels.bank.description import VERSION as DESCRIPTION
from idekernels.bank.file import FileBank
from idekernels.bank.settings import BankSettings
from idekernels.bank.writer import write_bank, write_planes
from idekernels.errors import BankError, InputError

PART = 256  # pairs

Progress = Callable[[int, int], None]  # done, of all

_Planes = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class PairSource:
    """A pair that can be read.

    Parameters
    ----------
    name : str
    key : function
        Gives what tells the pair's content from any other without reading the images, as a digest of the files.
    read : function
        Gives photo and sketch, each (H, W) or (H, W, 3) uint8.
    """

    name: str
    key: Callable[[], str]
    read: Callable[[], tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def build_bank(
    path: str | os.PathLike[str],
    pairs: Sequence[PairSource],
    settings: BankSettings | None = None,
    *,
    compress: bool = False,
    progress: Progress | None = None,
) -> int:
    """Build a bank of pairs that are read one at a time; the same call goes on where a process was ended.

    A bank of at most 256 pairs is built at once. For a larger one there is to be room for twice its file. Memory for a
    pair or two is all that it takes, and a few hundred bytes a pair and plane for hashes and descriptions.

    Parameters
    ----------
    path : path
        The file; what stood there stays until the new bank is complete.
    pairs : sequence of PairSource
        In the bank's order.
    settings : BankSettings, optional
    compress : bool
        See :func:`idekernels.write_bank`.
    progress : function of (int, int), optional
        Told of every pair that is in a part: how many are, of how many.

    Returns
    -------
    int
        How many pairs were there from before.

    Raises
    ------
    InputError, OSError
        As :func:`idekernels.write_bank`; or another process builds the same file.
    """
    build = _Build(Path(path), settings or BankSettings(), compress, progress or (lambda done, total: None))
    if len(pairs) <= PART:
        build.write(build.path, pairs, 0, len(pairs))
        return 0
    with build.alone():
        return build.in_parts(pairs)


@dataclass(frozen=True)
class _Build:
    path: Path
    settings: BankSettings
    compress: bool
    progress: Progress

    @property
    def folder(self) -> Path:
        return self.path.with_name(f".{self.path.name}.parts")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder; InputError where another process does."""
        from filelock import FileLock, Timeout

        if not self.path.parent.is_dir():
            raise FileNotFoundError(2, os.strerror(2), str(self.path.parent))
        self.folder.mkdir(exist_ok=True)
        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{self.path}: is being built by another process; wait for it, or choose another name"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def in_parts(self, pairs: Sequence[PairSource]) -> int:
        """Write the parts that are not there, join all, and remove them; how many pairs were there."""
        files, there = [], 0
        size = pairs[0].read()[0].shape[:2]  # else a part of other size would only be refused when all are joined
        for first in range(0, len(pairs), PART):
            some = pairs[first : first + PART]
            file = self.folder / f"{self._digest(some)}.h5"
            if _holds(file, some):
                there += len(some)
                self.progress(first + len(some), len(pairs))
            else:
                self.write(file, [_sized(pair, size) for pair in some], first, len(pairs))
            files.append(file)
        write_planes(self.path, _planes_of(files), self.settings, compress=self.compress)
        shutil.rmtree(self.folder, ignore_errors=True)
        return there

    def write(self, file: Path, pairs: Sequence[PairSource], before: int, total: int) -> None:
        """Write pairs to a bank of their own, ``before`` of the ``total`` having been told."""

        def images() -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
            for number, pair in enumerate(pairs, before + 1):
                yield pair.name, *pair.read()
                self.progress(number, total)

        write_bank(file, images(), self.settings, compress=self.compress)

    def _digest(self, pairs: Sequence[PairSource]) -> str:
        """What a part is made of: 64 hexadecimal digits."""
        made = [self.settings.as_dict(), self.compress, DESCRIPTION, [(pair.name, pair.key()) for pair in pairs]]
        return hashlib.sha256(json.dumps(made).encode(errors="surrogateescape")).hexdigest()


def _holds(file: Path, pairs: Sequence[PairSource]) -> bool:
    """Whether a part is there, whole as far as its head says, with these pairs."""
    try:
        with FileBank(file) as part:
            return part.names == tuple(pair.name for pair in pairs)
    except BankError:
        return False


def _planes_of(files: Sequence[Path]) -> Iterator[tuple[str, _Planes]]:
    """The pairs of all parts, one at a time."""
    for file in files:
        try:
            with FileBank(file) as part:
                for number, name in enumerate(part.names):
                    yield name, {side: getattr(part, side)(number, number + 1)[0] for side in ("source", "target")}
        except BankError:  # noqa: PERF203 - it is this part's
            file.unlink(missing_ok=True)
            raise InputError(f"{file}: this part was damaged, and is removed; run the same command again") from None


def _sized(pair: PairSource, size: tuple[int, ...]) -> PairSource:
    """The pair, which is refused when it is read if it has another size."""

    def read() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        photo, sketch = pair.read()
        if photo.shape[:2] != size:
            raise InputError(
                f"pair {pair.name!r}: is {photo.shape[0]} x {photo.shape[1]}, the bank's first {size[0]} x {size[1]}; "
                "bring all pairs to one size"
            )
        return photo, sketch

    return replace(pair, read=read)
