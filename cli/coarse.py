"""``idesketch coarse``: photos and a bank in, coarse sketches out; a bad photo is reported and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from idekernels.bank import PLURALS
from idemodel.faces.photos import PhotoReader

from .batch import Batch, Image, number_in_bank, split_banks
from .console import err, note, say
from .normalise import normalise_option, normaliser
from .options import PATH, Bytes, PhotoOptions, direction_check, kernel_options, photo_options


@click.command()
@click.argument("inputs", metavar="BANK.h5... PHOTO_OR_DIR...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--out", type=PATH, required=True, help="Folder for STEM.png, made if missing.")
@direction_check
@kernel_options
@photo_options()
@normalise_option
@click.option("--leave-one-out", is_flag=True, help="Photos of the bank's own pairs: leave out the pair of that name.")
@click.option(
    "--backend", default="auto", show_default=True, help="auto, cuda, cpu or reference; never replaced by another."
)
@click.option("--memory", type=Bytes(), help="Stream a bank that takes more than this (256MiB), same result.")
@click.option("--overwrite", is_flag=True, help="Make sketches anew that are there already.")
def coarse(
    inputs: tuple[Path, ...],
    out: Path,
    direction: str | None,
    photo: PhotoOptions,
    normalise: str,
    leave_one_out: bool,
    backend: str,
    memory: int | None,
    overwrite: bool,
    **settings: Any,
) -> int:
    """Make coarse sketches of photos (files or folders) from a bank, or from several banks as one.

    Leading arguments that end in .h5 are banks. Photos are aligned to the bank's size where they are not (--align);
    those whose light or background is unlike the bank's are normalised, and named. Sketches that are there already
    are skipped; a photo that cannot be used is reported, the rest goes on, and the exit code is 1. From a
    sketch-to-photo bank: the same with sketches in and photos out.
    """
    from idekernels import CoarseSettings, open_bank, prepare

    banks, given = split_banks(inputs, 1, "give a bank first, then at least one image or folder of images")
    chosen = CoarseSettings(**settings)
    with open_bank(*banks, direction=direction) as bank:
        photos = Batch.find(given, out, overwrite)
        prepared = prepare(bank, backend, memory)
        grid = bank.grid(chosen.patch, chosen.overlap)
        note(f"backend {prepared.backend}, {bank.images} pairs, {grid.shape[0]} x {grid.shape[1]} patches")
        if photos.todo:
            out.mkdir(parents=True, exist_ok=True)
            load_kernels(chosen, prepared)
            reader = PhotoReader(bank.height, bank.width, photo.align, note)
            _synthesise(photos, prepared, chosen, leave_one_out, reader, normaliser(bank, normalise))
            if reader.aligned:
                note(f"{reader.aligned} photos were aligned first")
    say(photos.summary(out))
    return photos.exit_code


def load_kernels(settings: Any, prepared: Any) -> None:
    """Compile what the settings and the bank need, or load it, and say so."""
    from idekernels.warm import warm_up

    with err.status("Loading the kernels (the first run compiles them, about a minute)"):
        warm_up(settings, prepared.backend, prepared.bank)


def _synthesise(
    photos: Batch,
    prepared: Any,
    settings: Any,
    leave_one_out: bool,
    reader: PhotoReader,
    normalised: Callable[[Path, Image], Image],
) -> None:
    from idekernels.coarse import coarse_sketch, photos_at_once

    bank = prepared.bank

    def read(file: Path) -> tuple[Image, int]:
        image = normalised(file, reader.read(file).image)
        return image, number_in_bank(file, bank.names) if leave_one_out else -1

    def make(_: Sequence[Path], batch: Sequence[tuple[Image, int]]) -> Iterable[Image]:
        images, left_out = zip(*batch, strict=True)
        return coarse_sketch(images, prepared, settings, exclude=np.array(left_out)).images()

    photos.run(f"Coarse {PLURALS[bank.settings.target_kind]}", photos_at_once(prepared, settings), read, make)
