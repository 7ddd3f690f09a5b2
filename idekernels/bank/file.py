"""FileBank: a bank read from its HDF5 file, with every read checked; knows checksums and filters, no patches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from idekernels.bank.base import PatchBank
from idekernels.bank.compression import check_frame, is_compressed
from idekernels.bank.description import describe
from idekernels.bank.header import pair_hash, read_header
from idekernels.bank.joined import JoinedBank
from idekernels.bank.layout import DESCRIPTIONS, new_enough
from idekernels.errors import BankError, in_short
from idekernels.files.regular import regular_file

_BEING_WRITTEN = 0b101  # in byte 11 of the superblock: open for writing, and that with readers (SWMR)
_DAMAGE = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError)


def open_bank(*paths: str | os.PathLike[str], direction: str | None = None) -> PatchBank:
    """Open a bank for reading, or several as one (see :class:`idekernels.JoinedBank`).

    Parameters
    ----------
    *paths : path
    direction : str, optional
        Refuse a bank of the other direction.

    Raises
    ------
    BankError
        Missing, not a bank, of a newer version, truncated or altered; or of another direction.
    """
    with ExitStack() as until_all_fit:
        banks = [until_all_fit.enter_context(FileBank(path)) for path in paths]
        for bank in banks:
            if direction not in (None, bank.direction):
                raise BankError(
                    f"{bank.path}: is a bank for {bank.direction}, not {direction}; "
                    f"build one with: idesketch bank build --direction {direction}"
                )
        joined = banks[0] if len(banks) == 1 else JoinedBank(banks)
        until_all_fit.pop_all()
    return joined


class FileBank(PatchBank):
    """A bank that reads its images from the file when they are asked for; every read checks the chunks' checksums.

    It can be pickled, for another process: what is pickled is the file's absolute path and its ``digest`` and ``size``,
    no pixels. Unpickling opens the file again and raises BankError where it is gone or has another digest or size.

    Attributes: ``path``; ``created`` and ``tool``, when and by what it was written; ``hashes``, (n, 32) uint8, SHA-256
    of each pair; ``digest``, str, of everything in it; ``size``, bytes of the file.

    Parameters
    ----------
    path : path

    Raises
    ------
    BankError
        Missing, not a bank, of a newer version, truncated or altered.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._absolute = self.path.absolute()  # now: the working folder may be another when the bank is pickled
        self._file = _open(self.path)
        try:
            with _damage(self.path):
                header = read_header(self._file, self.path)
                self._compressed = tuple(is_compressed(self._file[side], self.path) for side in ("source", "target"))
                self.size = self.path.stat().st_size  # not libhdf5's, which another handle of this process may hold
        except BaseException:
            self._file.close()
            raise
        super().__init__(header.head)
        self.created, self.tool = header.created, header.tool
        self.hashes, self.digest, self._described = header.hashes, header.digest, header.described

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (type(self), self._absolute, self.digest, self.size)

    def source(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Source planes of the pairs start .. stop; BankError where the file is damaged."""
        return self._read("source", start, stop)

    def target(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Target planes of the pairs start .. stop; BankError where the file is damaged."""
        return self._read("target", start, stop)

    def descriptions(self) -> NDArray[np.uint8]:
        """Descriptions of all source images: those of the file, computed anew where it has none or older ones."""
        if not self._described:
            return super().descriptions()
        self._check_open()
        with _damage(self.path):
            found: NDArray[np.uint8] = self._file[DESCRIPTIONS][()]
        return found

    def damaged(self, progress: Callable[[], None] = lambda: None, share: slice = slice(None)) -> Iterator[str]:
        """Yield the name of every pair whose bytes, or description, are not those that were written.

        ``progress`` is called after every pair; ``share`` are the pairs to look at, where several share the work.
        """
        described = self.descriptions() if self._described else None
        for i in range(*share.indices(self.images)):
            if not self._is_whole(i, None if described is None else described[i]):
                yield self.names[i]
            progress()

    def _is_whole(self, number: int, description: NDArray[np.uint8] | None) -> bool:
        try:
            source, target = self.source(number, number + 1), self.target(number, number + 1)
        except BankError:
            return False
        if pair_hash(source, target) != bytes(self.hashes[number]):
            return False
        return description is None or np.array_equal(describe(source)[0], description)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self, side: str, start: int, stop: int) -> NDArray[np.uint8]:
        self._check_open()
        with _damage(self.path):
            data = self._file[side]
            if self._compressed[side == "target"]:
                for number in range(*slice(start, stop).indices(self.images)):
                    check_frame(data, number)
            planes: NDArray[np.uint8] = data[start:stop]
        return planes

    def _check_open(self) -> None:
        if not self._file:
            raise BankError(f"{self.path}: the bank is closed; open it again")


def _reopened(kind: type[FileBank], path: Path, digest: str, size: int) -> FileBank:
    """Unpickle a bank: open its file again and make sure that it is the same one."""
    if not path.exists():
        raise BankError(f"{path}: the bank is gone since it was opened; put it back, or open another")
    bank = kind(path)
    if (bank.digest, bank.size) != (digest, size):
        bank.close()
        raise BankError(f"{path}: the bank has changed since it was opened; open it anew")
    return bank


def _open(path: Path) -> h5py.File:
    if path.is_dir():
        raise BankError(f"{path}: is a folder, not a patch bank")
    if not path.exists():
        raise BankError(f"{path}: no such bank; make one with: idesketch bank build PAIRS {path}")
    if not regular_file(path, "a patch bank", error=BankError):
        raise BankError(f"{path}: is empty, not a patch bank; build it anew")
    with path.open("rb") as file:
        head = file.read(12)
    if not new_enough(head[:9]):
        raise BankError(f"{path}: {'an HDF5 file, but ' if b'HDF' in head else ''}not a patch bank; build it anew")
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if any(byte & _BEING_WRITTEN for byte in head[11:]) or "already open for" in str(error):
            raise BankError(
                f"{path}: is being written by another program ({in_short(error)}); try again when that is done, "
                "or build the bank anew if that program was ended"
            ) from error
        raise BankError(
            f"{path}: not a patch bank, or cut short or altered ({in_short(error)}); build it anew"
        ) from error


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Make one line of what libhdf5 and the decoders say of a damaged file."""
    try:
        yield
    except BankError:
        raise
    except _DAMAGE as error:
        raise BankError(f"{path}: damaged ({in_short(error)}); build the bank anew") from error
