"""``idesketch synth``: photos, bank and model in, fine sketches out; the coarse sketch never leaves memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from idekernels.bank import PLURALS
from idemodel.faces.photos import Photo, PhotoReader, put_back
from idemodel.files.images import write_image

from .batch import Batch, Image, number_in_bank, split_banks
from .coarse import load_kernels
from .console import err, note, say
from .normalise import normalise_option, normaliser
from .options import PATH, Bytes, PhotoOptions, direction_check, kernel_changes, photo_options

_USAGE = "give a bank, then a model (.safetensors or the authors' .pth), then at least one image or folder of images"


@click.command()
@click.argument("inputs", metavar="BANK.h5... MODEL PHOTO_OR_DIR...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--out", type=PATH, required=True, help="Folder for STEM.png, made if missing.")
@click.option("--size", type=click.Choice(["source", "double"]), default="source", show_default=True)
@click.option("--save-coarse", is_flag=True, help="Write the coarse sketches to OUT/coarse as well.")
@direction_check
@photo_options(paste_back=True)
@kernel_changes
@normalise_option
@click.option("--leave-one-out", is_flag=True, help="Photos of the bank's own pairs: leave out the pair of that name.")
@click.option("--backend", default="auto", show_default=True, help="Of stage 1, see coarse.")
@click.option("--device", default="auto", show_default=True, help="Of stage 2: auto, cpu or cuda.")
@click.option("--memory", type=Bytes(), help="Stream a bank that takes more than this (256MiB), same result.")
@click.option("--overwrite", is_flag=True, help="Make sketches anew that are there already.")
def synth(
    inputs: tuple[Path, ...],
    out: Path,
    size: str,
    save_coarse: bool,
    direction: str | None,
    photo: PhotoOptions,
    normalise: str,
    leave_one_out: bool,
    backend: str,
    device: str,
    memory: int | None,
    overwrite: bool,
    **settings: Any,
) -> int:
    """Sketch photos (files or folders) the whole way, from a bank, or several as one, and a trained model.

    Stage 1 runs as it did when the model was trained, unless options change that. Photos are aligned to the bank's
    size where they are not (--align); those whose light or background is unlike the bank's are normalised, and named.
    The fine sketch has the bank's size, or with --size double twice the rows and columns; with --paste-back it lies
    over the photo it was made of. Sketches that are there already are skipped; a photo that cannot be used is
    reported, the rest goes on, and the exit code is 1. With bank and model of sketch-to-photo: the same with sketches
    in and photos out.
    """
    banks, (model, *given) = split_banks(inputs, 2, _USAGE)
    with err.status("Loading the model"):
        from idekernels import open_bank
        from idekernels.coarse import photos_at_once
        from idemodel.sketcher import Sketcher
    changes = {name: value for name, value in settings.items() if value is not None}
    with open_bank(*banks, direction=direction) as bank:
        sketcher = Sketcher(bank, model, changes, size=size, backend=backend, memory=memory, device=device)
        batch = Batch.find(given, out, overwrite)
        normalised = normaliser(bank, normalise)
        reader = PhotoReader(bank.height, bank.width, photo.align, note)
        note(f"backend {sketcher.prepared.backend}, device {sketcher.enhancer.device}, {bank.images} pairs")

        def read(file: Path) -> tuple[Photo, int]:
            taken = reader.read(file)
            left_out = number_in_bank(file, bank.names) if leave_one_out else -1
            return replace(taken, image=normalised(file, taken.image)), left_out

        def make(targets: Sequence[Path], contents: Sequence[tuple[Photo, int]]) -> Iterable[Image]:
            photos, left_out = zip(*contents, strict=True)
            made = sketcher.sketch([each.image for each in photos], exclude=np.array(left_out))
            if save_coarse:
                for target, coarse in zip(targets, made.coarse.images(), strict=True):
                    write_image(out / "coarse" / target.name, coarse)
            sketches = made.images()
            return map(put_back, photos, sketches) if photo.paste_back else sketches

        if batch.todo:
            (out / "coarse" if save_coarse else out).mkdir(parents=True, exist_ok=True)
            load_kernels(sketcher.settings, sketcher.prepared)
            at_once = photos_at_once(sketcher.prepared, sketcher.settings)
            batch.run(PLURALS[bank.settings.target_kind].capitalize(), at_once, read, make)
            if reader.aligned:
                note(f"{reader.aligned} photos were aligned first")
    say(batch.summary(out))
    return batch.exit_code
