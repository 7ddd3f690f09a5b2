"""The photos of a call of coarse or synth: made ready for the bank, what was done said, their own pairs looked up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idekernels.bank import PatchBank
from idekernels.bank.joined import JoinedBank
from idemodel.preparation import PhotoPreparer, PreparationSettings, PreparedPhoto, number_in_bank

from .console import note


def bank_digest(bank: PatchBank) -> str:
    """What tells a bank that was opened from files from every other: the digests of its files."""
    shards = bank.banks if isinstance(bank, JoinedBank) else (bank,)
    return " ".join(getattr(shard, "digest", "") for shard in shards)


def preselected(count: int | None) -> dict[str, int]:
    """What a journal's digest says of a preselection: of none nothing, as in journals from before there was any."""
    return {} if count is None else {"preselect": count}


def pairs_told(bank: PatchBank, preselect: int | None) -> str:
    """What is said of a bank's size: how many pairs it has, and how many of them are searched."""
    nearest = f", the {preselect} nearest searched" if preselect is not None and preselect < bank.images else ""
    return f"{bank.images} pairs{nearest}"


class PhotoIntake:
    """Reads photos for a bank, and says on stderr what was done to them.

    Parameters
    ----------
    bank : PatchBank
    settings : PreparationSettings
    leave_one_out : bool
        Whether every photo has a pair of its name in the bank, which it must not use.
    """

    def __init__(self, bank: PatchBank, settings: PreparationSettings, leave_one_out: bool) -> None:
        self._preparer = PhotoPreparer(bank, settings)
        self._names = bank.names
        self._leave_one_out = leave_one_out
        self._aligned = 0

    def introduce(self) -> None:
        """Say what a person should know before the first photo."""
        for line in self._preparer.notes:
            note(line)

    def read(self, file: Path) -> tuple[PreparedPhoto, int]:
        """A photo, and the number of the pair that it must not use, -1 for none; says nothing, any thread may call it.

        Raises
        ------
        InputError
            It cannot be used.
        """
        return self._preparer.prepare(file), self.barred(file)

    def barred(self, file: Path) -> int:
        """The number of the pair that a photo must not use, -1 for none; InputError where there should be one."""
        return number_in_bank(file, self._names) if self._leave_one_out else -1

    def tell(self, file: Path, taken: tuple[PreparedPhoto, int]) -> None:
        """Say what was done to a photo that was read."""
        photo, _ = taken
        self.told(file, photo.notes, photo.move is not None)

    def told(self, file: Path, notes: Sequence[str], aligned: bool) -> None:
        """Say what was done to a photo, here or elsewhere, and count it where it was aligned."""
        for line in notes:
            note(f"{file}: {line}")
        self._aligned += aligned

    def sum_up(self) -> None:
        """Say how many photos were aligned, if any."""
        if self._aligned:
            note(f"{self._aligned} photos were aligned first")
