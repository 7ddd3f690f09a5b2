"""``idesketch coarse``: photos and a bank in, coarse sketches out; a bad photo is reported and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from idekernels.bank import PLURALS
from idemodel.files.journal import Making
from idemodel.files.outputs import make_folder
from idemodel.preparation import PreparationSettings, PreparedPhoto

from .batch import Batch, Image, Readers, Results, split_banks
from .console import note, say
from .kernels import load_kernels
from .options import (
    PATH,
    Bytes,
    PhotoOptions,
    direction_check,
    kernel_options,
    leave_one_out_option,
    normalise_option,
    photo_options,
    preselect_option,
    recursive_option,
)
from .photos import PhotoIntake, bank_digest, pairs_told, preselected


@click.command()
@click.argument("inputs", metavar="BANK.h5... PHOTO_OR_DIR...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--out", type=PATH, required=True, help="Folder for STEM.png, made if missing.")
@direction_check
@kernel_options
@photo_options()
@normalise_option
@leave_one_out_option
@click.option(
    "--backend", default="auto", show_default=True, help="auto, cuda, cpu or reference; never replaced by another."
)
@click.option("--memory", type=Bytes(), help="Stream a bank that takes more than this (256MiB), same result.")
@preselect_option
@recursive_option
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
    preselect: int | None,
    recursive: bool,
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
        made_by = Making.of(
            "coarse", bank=bank_digest(bank), settings=chosen, align=photo.align, normalise=normalise,
            leave_one_out=leave_one_out, **preselected(preselect),
        )  # fmt: skip
        photos = Batch.find(given, Results(out, made_by, overwrite), recursive)
        prepared = prepare(bank, backend, memory, preselect=preselect)
        grid = bank.grid(chosen.patch, chosen.overlap)
        note(f"backend {prepared.backend}, {pairs_told(bank, preselect)}, {grid.shape[0]} x {grid.shape[1]} patches")
        if photos.todo:
            make_folder(out)
            intake = PhotoIntake(bank, PreparationSettings(photo.align, normalise), leave_one_out)
            _synthesise(photos, intake, prepared, chosen)
            intake.sum_up()
    say(photos.summary(out))
    return photos.exit_code


def _synthesise(photos: Batch, intake: PhotoIntake, prepared: Any, settings: Any) -> None:
    from idekernels.coarse import coarse_sketch, photos_at_once

    def make(_: Sequence[Path], taken: Sequence[tuple[PreparedPhoto, int]]) -> Iterable[Image]:
        images, left_out = [photo.image for photo, _ in taken], np.array([number for _, number in taken])
        return coarse_sketch(images, prepared, settings, exclude=left_out).images()

    readers = Readers(intake.tell, partial(load_kernels, settings, prepared))
    title = f"Coarse {PLURALS[prepared.bank.settings.target_kind]}"
    photos.run(title, photos_at_once(prepared, settings), intake.read, make, readers)
