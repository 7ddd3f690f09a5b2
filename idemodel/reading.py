"""Photos read for a bank as a batch of them needs it, by any thread or by another process; says nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from idekernels.bank import PatchBank
from idemodel.files.journal import Photo
from idemodel.files.large import held_meanwhile
from idemodel.preparation import Measured, PhotoPreparer, PreparationSettings, PreparedPhoto, number_in_bank

Planes = NDArray[np.uint8]  # (L, H, W), of one photo
Read = TypeVar("Read")


@dataclass(frozen=True, eq=False)
class Taken:
    """What is kept of a photo that was read: its planes, the pair that it must not use, and what is to be said."""

    planes: Planes
    barred: int
    notes: tuple[str, ...]
    aligned: bool


class PhotoReader:
    """Reads photos for a bank.

    Where it is pickled, its arguments are, and what it has measured of the bank: another process opens the bank's files
    itself, and need not measure what was measured before.

    Parameters
    ----------
    bank : PatchBank
    settings : PreparationSettings
    leave_one_out : bool
        Whether every photo has a pair of its name in the bank, which it must not use.
    """

    def __init__(self, bank: PatchBank, settings: PreparationSettings, leave_one_out: bool) -> None:
        self._arguments = (bank, settings, leave_one_out)
        self._bank, self._leave_one_out = bank, leave_one_out
        self._preparer = PhotoPreparer(bank, settings)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reader, (self._arguments, self._preparer.measures())  # of a class that does more, what reads

    def get_ready(self) -> None:
        """Load what the first photo would have loaded, without measuring the bank."""
        import scipy.ndimage  # noqa: F401 - of the planes, and of normalising

        self._preparer.load_detector()

    @property
    def as_they_are(self) -> bool:
        """Whether photos are neither aligned nor normalised."""
        return self._arguments[1].as_they_are

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before the first photo."""
        return self._preparer.notes

    def read(self, file: Path) -> tuple[PreparedPhoto, int]:
        """A photo, and the number of the pair that it must not use, -1 for none.

        Raises
        ------
        InputError
            It cannot be used.
        """
        return self._preparer.prepare(file), self.barred(file)

    def taken(self, file: Path) -> Taken:
        """What stage 1 needs of a photo; InputError as by :meth:`read`."""
        photo, barred = self.read(file)
        return Taken(self._bank.query(photo.image), barred, photo.notes, photo.move is not None)

    def barred(self, file: Path) -> int:
        """The number of the pair that a photo must not use, -1 for none; InputError where there should be one."""
        return number_in_bank(file, self._bank.names) if self._leave_one_out else -1


def _reader(arguments: tuple[Any, ...], measures: Measured) -> PhotoReader:
    made = PhotoReader(*arguments)
    made._preparer.take_over(measures)
    made.get_ready()
    return made


@dataclass(frozen=True)
class Reading(Generic[Read]):
    """A function that reads an image's file, and what the file is; a large picture is held until it has been read."""

    read: Callable[[Path], Read]

    def __call__(self, image: Path) -> tuple[Photo, Read]:
        """The file as it was read, and what was read of it; InputError or OSError where it cannot be used."""
        with held_meanwhile():
            content = self.read(image)
        return Photo.of(image), content
