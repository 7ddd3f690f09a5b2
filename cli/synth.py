"""``idesketch synth``: photos, bank and model in, fine sketches out; the coarse sketch never leaves memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from idekernels.bank import PLURALS
from idekernels.errors import InputError
from idemodel.files.journal import Making, file_digest
from idemodel.files.outputs import make_folder
from idemodel.preparation import PreparationSettings, PreparedPhoto

from .batch import Batch, Image, Results, split_banks
from .console import err, note, say
from .kernels import load_kernels
from .options import (
    PATH,
    Bytes,
    PhotoOptions,
    direction_check,
    hand_options,
    kernel_changes,
    leave_one_out_option,
    normalise_option,
    photo_options,
    recursive_option,
)
from .photos import PhotoIntake, bank_digest

if TYPE_CHECKING:
    from idemodel.sketcher import Sketcher

_BESIDE = ("coarse", "quilt")  # folders of stage 1's sketches
_USAGE = "give a bank, then a model (.safetensors or the authors' .pth), then at least one image or folder of images"


@click.command()
@click.argument("inputs", metavar="BANK.h5... MODEL PHOTO_OR_DIR...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--out", type=PATH, required=True, help="Folder for STEM.png, made if missing.")
@click.option("--size", type=click.Choice(["source", "double"]), default="source", show_default=True)
@click.option("--save-coarse", is_flag=True, help="Write stage 1's sketches to OUT/coarse (and OUT/quilt) as well.")
@direction_check
@photo_options(paste_back=True)
@hand_options
@kernel_changes
@normalise_option
@leave_one_out_option
@click.option("--backend", default="auto", show_default=True, help="Of stage 1, see coarse.")
@click.option("--device", default="auto", show_default=True, help="Of stage 2: auto, cpu or cuda.")
@click.option("--memory", type=Bytes(), help="Stream a bank that takes more than this (256MiB), same result.")
@recursive_option
@click.option("--overwrite", is_flag=True, help="Make sketches anew that are there already.")
def synth(
    inputs: tuple[Path, ...],
    out: Path,
    size: str,
    save_coarse: bool,
    direction: str | None,
    photo: PhotoOptions,
    hand: dict[str, float],
    normalise: str,
    leave_one_out: bool,
    backend: str,
    device: str,
    memory: int | None,
    recursive: bool,
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
        from idemodel.sketcher import Sketcher
    changes = {name: value for name, value in settings.items() if value is not None}
    with open_bank(*banks, direction=direction) as bank:
        sketcher = Sketcher(bank, model, changes, size=size, backend=backend, memory=memory, device=device, hand=hand)
        made_by = Making.of(
            "synth", bank=bank_digest(bank), model=file_digest(model), settings=sketcher.settings, size=size,
            hand=sketcher.enhancer.hand, photo=photo, normalise=normalise, leave_one_out=leave_one_out,
        )  # fmt: skip
        batch = Batch.find(given, Results(out, made_by, overwrite, beside=_BESIDE), recursive)
        intake = PhotoIntake(bank, PreparationSettings(photo.align, normalise), leave_one_out)
        note(f"backend {sketcher.prepared.backend}, device {sketcher.enhancer.device}, {bank.images} pairs")
        if save_coarse and batch.skipped:
            note(f"{batch.skipped} are there already, theirs is not written to coarse; --overwrite makes them anew")
        if batch.todo:
            load_kernels(sketcher.settings, sketcher.prepared)
            _synthesise(batch, intake, sketcher, _folders(out, sketcher) if save_coarse else [], photo.paste_back)
            intake.sum_up()
    say(batch.summary(out))
    return batch.exit_code


def _folders(out: Path, sketcher: Sketcher) -> list[Path]:
    """Where the coarse sketches go, and the quilts where there are such; made."""
    return [make_folder(out / name) for name in _BESIDE[: 2 if sketcher.enhancer.needs_quilt else 1]]


def _synthesise(
    batch: Batch, intake: PhotoIntake, sketcher: Sketcher, beside: Sequence[Path], paste_back: bool
) -> None:
    """Sketch the photos; ``beside`` are the folders for the coarse sketches and the quilts, where they are wanted."""
    from idekernels.coarse import photos_at_once

    def make(targets: Sequence[Path], taken: Sequence[tuple[PreparedPhoto, int]]) -> Iterable[Image | InputError]:
        photos, left_out = [photo for photo, _ in taken], np.array([number for _, number in taken])
        made = sketcher.sketch(photos, exclude=left_out)
        rough = [sketches.images() for sketches in (made.coarse, made.quilt) if sketches is not None]
        several = zip(targets, photos, made.images(), *rough, strict=True)
        return (one(*each) for each in several)

    def one(target: Path, photo: PreparedPhoto, fine: Image, *rough: Image) -> Image | InputError:
        try:
            for folder, picture in zip(beside, rough, strict=False):
                batch.write_beside(folder / target.relative_to(batch.results.out), picture, target)
            return photo.paste_back(fine) if paste_back else fine
        except InputError as error:  # its file is gone, or its coarse sketch would be written over an input
            return error

    title = PLURALS[sketcher.prepared.bank.settings.target_kind].capitalize()
    batch.run(title, photos_at_once(sketcher.prepared, sketcher.settings), intake.read, make)
