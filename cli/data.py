"""``idesketch data``: pairs folders made or brought into shape."""

from __future__ import annotations

from pathlib import Path

import click

from idecli.console import progress, say
from idecli.options import PATH, Size
from idekernels.errors import InputError


@click.group()
def data() -> None:
    """Pairs folders: photo/NAME.png and sketch/NAME.png."""


@data.command()
@click.argument("out", type=PATH)
@click.option("--pairs", default=60, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--size", type=Size(), default="250x200", show_default=True, help="Rows x columns.")
@click.option("--seed", default=7, show_default=True, type=click.IntRange(0), help="Same seed, same pixels.")
@click.option("--start", default=0, show_default=True, type=click.IntRange(0), help="Number of the first face.")
@click.option("--overwrite", is_flag=True, help="Write over pairs that are there already.")
def phantom(out: Path, pairs: int, size: tuple[int, int], seed: int, start: int, overwrite: bool) -> None:
    """Draw faces that never were, as photos and an artist's sketches, into the pairs folder OUT."""
    from idemodel.faces.images import write_image
    from idemodel.faces.phantom import phantom_pairs

    drawn = phantom_pairs(pairs, height=size[0], width=size[1], seed=seed, start=start)
    if not overwrite and any(next((out / side).glob("*"), None) for side in ("photo", "sketch")):
        raise InputError(f"{out}: holds pairs already; choose another folder, or --overwrite")
    for side in ("photo", "sketch"):
        (out / side).mkdir(parents=True, exist_ok=True)
    with progress() as bar:
        task = bar.add_task("Drawing faces", total=pairs)
        for pair in drawn:
            write_image(out / "photo" / f"{pair.name}.png", pair.photo)
            write_image(out / "sketch" / f"{pair.name}.png", pair.sketch)
            bar.advance(task)
    say(f"{out}: {pairs} pairs of {size[0]} x {size[1]} pixels, seed {seed}")
