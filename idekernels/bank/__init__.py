"""The patch bank: pairs of images whose patches are matched and copied, in memory, joined, or read from a file.

The file's side is not imported here, because it needs h5py: ``bank.file`` (reading), ``bank.writer``, ``bank.verify``.
"""

from idekernels.bank.base import BankHead, PatchBank
from idekernels.bank.joined import JoinedBank
from idekernels.bank.memory import MemoryBank
from idekernels.bank.selected import SelectedBank
from idekernels.bank.settings import DIRECTIONS, PHOTO_TO_SKETCH, PLURALS, SKETCH_TO_PHOTO, BankSettings, kinds

__all__ = [
    "DIRECTIONS",
    "PHOTO_TO_SKETCH",
    "PLURALS",
    "SKETCH_TO_PHOTO",
    "BankHead",
    "BankSettings",
    "JoinedBank",
    "MemoryBank",
    "PatchBank",
    "SelectedBank",
    "kinds",
]
