"""``idesketch sketch``: anybody's photo to a sketch, with the built-in bank and generator where no others are given."""

from __future__ import annotations

from pathlib import Path

import click

from idekernels.errors import InputError
from idemodel.files.outputs import make_folder
from idemodel.generator.hand import STYLES
from idemodel.generator.weights import PHANTOM

from .builtin import builtin_bank_shown
from .options import PATH, Names
from .photos import pairs_told
from .synthesis import Synthesis, SynthesisOptions, synthesis_options

_USUAL_STYLE = "pencil"  # the model's own


@click.command()
@click.argument("photos", metavar="PHOTO_OR_DIR...", type=PATH, nargs=-1, required=True)
@synthesis_options
@click.option("--style", type=Names(STYLES), default=_USUAL_STYLE, show_default=True, help="How hard it is drawn.")
@click.option(
    "--bank", "banks", metavar="BANK.h5", type=PATH, multiple=True, help="Instead of the built-in; repeat for several."
)
@click.option(
    "--model", metavar="MODEL", type=PATH, help="Instead of the built-in: .safetensors, or the authors' .pth."
)
def sketch(
    photos: tuple[Path, ...], options: SynthesisOptions, style: str, banks: tuple[Path, ...], model: Path | None
) -> int:
    """Sketch photos of faces (files or folders) as they come from a camera; nothing else is needed.

    The face is found, aligned and brought to the light of the bank; the sketch is 250 x 200 pixels (rows x columns),
    or with --size double twice that, or with --paste-back it lies over its photo. The built-in bank is drawn when it
    is first used, in less than a minute, and kept in the cache folder that idesketch doctor shows. Sketches that are
    there already are skipped; a photo that cannot be used is reported, the rest goes on, and the exit code is 1.
    """
    _refuse_if_none_is_there(photos)
    make_folder(options.out)  # before a bank is drawn for nothing
    from idekernels import open_bank

    model = model or PHANTOM
    with open_bank(*banks) if banks else builtin_bank_shown() as bank:
        pairs = pairs_told(bank, options.preselect)
        told = pairs if banks else f"built-in bank of {pairs.replace('pairs', 'drawn faces', 1)}"
        sketcher = options.sketcher(bank, model, hand=style)
        return Synthesis("sketch", options, model).run(photos, bank, sketcher, told)


def _refuse_if_none_is_there(photos: tuple[Path, ...]) -> None:
    """Before a bank is drawn for nothing; where some are there, each that is not costs itself alone."""
    if not any(map(_is_there, photos)):
        raise InputError(f"{', '.join(map(str, photos))}: no such file or folder")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder that may not be entered, or a name too long: told of when it is read
        return True
