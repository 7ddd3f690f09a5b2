"""The option ``--normalise`` and what it does to the photos of one call; the how is idemodel.faces.normalise's."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import click

from idekernels.bank import PHOTO_TO_SKETCH
from idekernels.errors import InputError
from idemodel.faces.normalise import METHODS, Normaliser, can_normalise, require_grey

from .batch import Image
from .console import note
from .options import Command


def normalise_option(command: Command) -> Command:
    """Add ``--normalise``."""
    return click.option(
        "--normalise",
        type=click.Choice(list(METHODS)),
        default="auto",
        show_default=True,
        help="Bring photos to the bank's light and background; auto only where they lie outside the bank's range.",
    )(command)


def normaliser(bank: Any, method: str) -> Callable[[Path, Image], Image]:
    """A function of (file, photo) that normalises the photo and says so; the bank is measured at its first call.

    Raises
    ------
    InputError
        A method other than auto and none, and a bank without grey levels, or one that is asked with sketches.
    """
    if method == "none" or (method == "auto" and bank.direction != PHOTO_TO_SKETCH):
        return lambda _, photo: photo
    if bank.direction != PHOTO_TO_SKETCH:
        raise InputError("--normalise is for photos, and this bank makes photos of sketches; drop the option")
    if method == "auto" and not can_normalise(bank):
        note("photos are taken as they are: the bank has no plane of grey levels to normalise them by")
        return lambda _, photo: photo
    require_grey(bank)
    measured = lru_cache(maxsize=1)(lambda: Normaliser.of(bank))

    def normalise(file: Path, photo: Image) -> Image:
        made = measured().normalise(photo, method)
        if made.steps:
            note(f"{file}: normalised ({', '.join(made.steps)})")
        return made.photo

    return normalise
