"""The patch bank: pairs of images whose patches are matched and copied, in memory, joined, or read from a file."""

from idekernels.bank.base import (
    DIRECTIONS,
    PHOTO_TO_SKETCH,
    PLURALS,
    SKETCH_TO_PHOTO,
    BankSettings,
    JoinedBank,
    PatchBank,
    as_planes,
    kinds,
)

__all__ = [
    "DIRECTIONS",
    "PHOTO_TO_SKETCH",
    "PLURALS",
    "SKETCH_TO_PHOTO",
    "BankSettings",
    "JoinedBank",
    "PatchBank",
    "as_planes",
    "kinds",
]
