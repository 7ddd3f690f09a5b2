"""``idesketch synth``: photos, bank and model in, fine sketches out; the coarse sketch never leaves memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from .batch import split_banks
from .cluster import ClusterOptions, cluster_options
from .options import PATH, direction_check, hand_options, kernel_changes, leave_one_out_option
from .photos import pairs_told
from .synthesis import Synthesis, SynthesisOptions, synthesis_options

_USAGE = "give a bank, then a model (.safetensors or the authors' .pth), then at least one image or folder of images"


@click.command()
@click.argument("inputs", metavar="BANK.h5... MODEL PHOTO_OR_DIR...", type=PATH, nargs=-1, required=True)
@synthesis_options
@click.option("--save-coarse", is_flag=True, help="Write stage 1's sketches to OUT/coarse (and OUT/quilt) as well.")
@direction_check
@cluster_options
@hand_options
@kernel_changes
@leave_one_out_option
def synth(
    inputs: tuple[Path, ...],
    options: SynthesisOptions,
    save_coarse: bool,
    direction: str | None,
    cluster: ClusterOptions,
    hand: dict[str, float],
    leave_one_out: bool,
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
    cluster.refuse_with(options.preselect)
    banks, (model, *given) = split_banks(inputs, 2, _USAGE)
    from idekernels import open_bank

    changes = {name: value for name, value in settings.items() if value is not None}
    with open_bank(*banks, direction=direction) as bank:
        here = replace(options, **cluster.spared())
        sketcher = here.sketcher(bank, model, settings=changes, hand=hand)
        call = Synthesis("synth", options, model, save_coarse, leave_one_out, cluster)
        return call.run(given, bank, sketcher, pairs_told(bank, options.preselect))
