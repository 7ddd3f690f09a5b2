"""The photos of a call of coarse or synth: made ready for the bank, what was done said, their own pairs looked up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idekernels.bank import PatchBank
from idekernels.bank.joined import JoinedBank
from idemodel.preparation import PreparationSettings, PreparedPhoto
from idemodel.reading import PhotoReader

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


class PhotoIntake(PhotoReader):
    """Reads photos for a bank, and says on stderr what was done to them; reading says nothing, any thread may read."""

    def __init__(self, bank: PatchBank, settings: PreparationSettings, leave_one_out: bool) -> None:
        super().__init__(bank, settings, leave_one_out)
        self._aligned = 0

    def introduce(self) -> None:
        """Say what a person should know before the first photo."""
        for line in self.notes:
            note(line)

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
