"""The built-in bank: drawn of phantom faces when it is first used, kept in the cache folder, checked at every use."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from idekernels import BankSettings, FileBank, arguments, verify, write_bank
from idekernels.errors import BankError
from idekernels.files.atomic import remove_partials, replace_when_done
from idekernels.files.cache import Tell, usual_folder, writable_folder
from idekernels.files.notices import tell_once
from idemodel.files.journal import file_digest
from idemodel.phantom.pairs import DRAWING, MIN_HEIGHT, MIN_WIDTH, PhantomPair
from idemodel.phantom.workers import Series, drawn_pairs

Progress = Callable[[int, int], None]  # done, of all

_FOLDER = "banks"  # within the cache folder
_SETTINGS = BankSettings(representations=("intensity", "dog", "gradient", "lbp"), weights=(2, 2, 2, 1))
_NO_DAY = datetime.datetime.fromtimestamp(0, datetime.timezone.utc)  # so that two drawings give one file


@dataclass(frozen=True)
class DrawnBank:
    """What a bank of drawn faces is drawn by; whatever is the same here gives the same bank.

    Parameters
    ----------
    pairs : int
        How many faces, at least 1.
    seed : int
        Of :func:`idemodel.phantom_pairs`, whose first ``pairs`` pairs they are.
    height, width : int
        Rows and columns, at least 64 and 48.
    settings : BankSettings
    drawing : int
        The version of the drawing, ``idemodel.phantom.pairs.DRAWING``; no other can be drawn.

    Raises
    ------
    TypeError, ValueError
        A number out of its range.
    """

    pairs: int = 400
    seed: int = 11
    height: int = 250
    width: int = 200
    settings: BankSettings = _SETTINGS
    drawing: int = DRAWING

    def __post_init__(self) -> None:
        arguments.whole("pairs", self.pairs, 1)
        arguments.whole("seed", self.seed, 0)
        arguments.whole("height", self.height, MIN_HEIGHT)
        arguments.whole("width", self.width, MIN_WIDTH)
        arguments.whole("drawing", self.drawing, 1)

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, as 64 hexadecimal digits."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """What its file is called."""
        return f"drawn-{self.digest[:16]}.h5"

    @property
    def series(self) -> Series:
        """The pairs to be drawn."""
        return Series(self.pairs, self.height, self.width, self.seed)

    def is_that_of(self, bank: FileBank) -> bool:
        """Whether a bank looks as if it had been drawn by this; its pixels are not looked at."""
        told = (bank.images, bank.height, bank.width, bank.settings)
        return told == (self.pairs, self.height, self.width, self.settings)


BUILTIN = DrawnBank()


def builtin_bank(
    recipe: DrawnBank | None = None,
    folder: str | os.PathLike[str] | None = None,
    *,
    advance: Progress | None = None,
    tell: Tell | None = None,
    workers: int | None = None,
) -> FileBank:
    """Open the built-in bank; draw it first where it is not there yet, or is damaged.

    Several processes may ask at the same time: one draws, the others wait for it. One that is ended while it draws
    leaves nothing that is taken for a bank.

    Parameters
    ----------
    recipe : DrawnBank, optional
        ``BUILTIN`` if not given.
    folder : path, optional
        Where the bank is kept, made if missing; if not given, the folder ``banks`` of the user's cache folder
        (``IDESKETCH_CACHE`` names another), or of a private temporary one where that cannot be written.
    advance : function of (int, int), optional
        Told of every pair that is drawn: how many are, of how many.
    tell : function of str, optional
        Told in one line that the bank is being drawn, or drawn anew, or waited for, or kept elsewhere; by default
        such a line is logged as a warning, once.
    workers : int, optional
        How many processes draw; one a usable core if not given. The file is the same, byte for byte.

    Returns
    -------
    FileBank
        To be closed by the caller.

    Raises
    ------
    InputError
        No folder can be used.
    OSError
        The disk is full, or the ``folder`` that is given cannot be written.
    ValueError
        The recipe is of another version of the drawing.
    """
    wanted, told = recipe or BUILTIN, tell or _logged
    if wanted.drawing != DRAWING:
        raise ValueError(f"drawing must be {DRAWING}, which is what this version draws, not {wanted.drawing}")
    usual = builtin_file(wanted, folder)
    found = _opened(usual, wanted) if usual else None
    if found is not None:  # also from a folder that cannot be written
        return found
    file = usual if usual and folder is not None else writable_folder(told, _FOLDER) / wanted.file_name
    file.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(file, told):
        found = _opened(file, wanted)  # another process may have drawn it meanwhile
        return found or _drawn(file, wanted, _Watch(advance or (lambda done, total: None), told), workers)


def builtin_file(recipe: DrawnBank | None = None, folder: str | os.PathLike[str] | None = None) -> Path | None:
    """Where the bank is kept, whether it is there or not; None where nobody's home is known."""
    usual = usual_folder()
    banks = Path(folder) if folder is not None else usual and usual / _FOLDER
    return banks / (recipe or BUILTIN).file_name if banks else None


@dataclass(frozen=True)
class _Watch:
    """Who is told how the drawing goes."""

    advance: Progress
    tell: Tell


def _opened(file: Path, recipe: DrawnBank) -> FileBank | None:
    """The bank of a file; None where it is not there, not whole, or another."""
    try:
        if not file.is_file():
            return None
        _check(file)
        bank = FileBank(file)
    except (BankError, OSError):
        return None
    if recipe.is_that_of(bank):
        return bank
    bank.close()
    return None


def _check(file: Path) -> None:
    """BankError unless a file has the digest that was noted beside it; a bank without a note is verified, and gets one.

    The digest of the whole file is read faster than every checksum in it, and libhdf5, which may crash on a damaged
    file, never sees one.
    """
    digest = file_digest(file).encode()
    note = _note_of(file)
    if not note.is_file():
        verify(file)
        with contextlib.suppress(OSError):  # a folder that cannot be written: verified at the next use again
            _write_note(file, digest)
    elif note.read_bytes() != digest:
        raise BankError(f"{file}: damaged")


def _drawn(file: Path, recipe: DrawnBank, watch: _Watch, workers: int | None) -> FileBank:
    """Draw the bank into its file, in place of what stands there; for the one process that holds the lock."""
    why = "is damaged, drawing it anew" if file.exists() else "first use, drawing it"
    watch.tell(f"built-in bank of {recipe.pairs} faces: {why} ({file})")
    remove_partials(file)
    _note_of(file).unlink(missing_ok=True)
    with contextlib.closing(drawn_pairs(recipe.series, workers)) as pairs:
        write_bank(file, _counted(pairs, recipe.pairs, watch.advance), recipe.settings, created=_NO_DAY)
    _write_note(file, file_digest(file).encode())
    return FileBank(file)


def _counted(
    pairs: Iterable[PhantomPair], total: int, advance: Progress
) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
    advance(0, total)
    for number, pair in enumerate(pairs, 1):
        yield pair.name, pair.photo, pair.sketch
        advance(number, total)


@contextlib.contextmanager
def _one_at_a_time(file: Path, tell: Tell) -> Iterator[None]:
    """Let one process draw a bank while others wait; the lock of a process that ends is free."""
    lock = FileLock(file.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tell("built-in bank: waiting for another process that draws it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _note_of(file: Path) -> Path:
    return file.with_suffix(".sha256")


def _write_note(file: Path, digest: bytes) -> None:
    with replace_when_done(_note_of(file)) as partial:
        partial.write_bytes(digest)


def _logged(line: str) -> None:
    tell_once(line, line)
