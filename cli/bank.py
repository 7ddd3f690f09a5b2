"""``idesketch bank``: build a patch bank from a pairs folder, show it, verify it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from idecli.console import progress, say
from idecli.options import PATH, Plane
from idekernels.errors import InputError
from idemodel.faces.images import read_colour, read_grey
from idemodel.faces.pairs import PairFiles, list_pairs


@click.group()
def bank() -> None:
    """Patch banks: the photo-sketch pairs that a sketch is made from."""


@bank.command()
@click.argument("pairs", type=PATH)
@click.argument("bank_file", metavar="BANK.h5", type=PATH)
@click.option("--patch", default=10, show_default=True, help="Patch side in pixels (the bank's default).")
@click.option("--overlap", default=5, show_default=True, help="Pixels that neighbouring patches share.")
@click.option("--radius", default=5, show_default=True, help="Search radius in pixels.")
@click.option(
    "--plane",
    "planes",
    type=Plane(),
    multiple=True,
    help="A source plane with its integer weight: intensity, dog, csdn, gradient, lbp; repeat for several.  "
    "[default: intensity=1]",
)
@click.option("--target", type=click.Choice(["grey", "colour"]), default="grey", show_default=True, help="Sketches as.")
@click.option("--compress", is_flag=True, help="Zstandard (extra `compress`): smaller, slower.")
def build(
    pairs: Path,
    bank_file: Path,
    patch: int,
    overlap: int,
    radius: int,
    planes: tuple[tuple[str, int], ...],
    target: str,
    compress: bool,
) -> None:
    """Build BANK.h5 from PAIRS (photo/NAME.png and sketch/NAME.png, all of one size).

    An old bank at that path stays whole until the new one is complete.
    """
    from idekernels import BankSettings, write_bank

    names, weights = zip(*(planes or (("intensity", 1),)), strict=True)
    settings = BankSettings(patch, overlap, radius, names, weights)
    files = list_pairs(pairs)
    with progress() as bar:
        task = bar.add_task("Reading pairs", total=len(files))

        def images() -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
            for pair in files:
                yield _read(pair, settings.patch, target == "colour")
                bar.advance(task)

        write_bank(bank_file, images(), settings, compress=compress)
    say(f"{bank_file}: {len(files)} pairs, {bank_file.stat().st_size / 2**20:.1f} MiB")


@bank.command()
@click.argument("bank_file", metavar="BANK.h5", type=PATH)
def info(bank_file: Path) -> None:
    """Show what BANK.h5 holds and how it was made."""
    from idekernels.bank_file import FileBank

    with FileBank(bank_file) as found:
        settings, grid = found.settings, found.grid()
        planes = ", ".join(f"{n}={w}" for n, w in zip(settings.representations, settings.weights, strict=True))
        rows = {
            "pairs": found.images,
            "size": f"{found.height} x {found.width} pixels (rows x columns)",
            "planes": planes,
            "target": "grey" if found.channels == 1 else "colour",
            "patch": f"{settings.patch}, overlap {settings.overlap}, search radius {settings.radius}",
            "grid": f"{grid.shape[0]} x {grid.shape[1]} patches",
            "created": f"{found.created} by {found.tool}",
            "file": f"{bank_file.stat().st_size / 2**20:.1f} MiB",
        }
    for name, value in rows.items():
        say(f"{name + ':':9}{value}")


@bank.command()
@click.argument("bank_files", metavar="BANK.h5...", type=PATH, nargs=-1, required=True)
def verify(bank_files: tuple[Path, ...]) -> None:
    """Check every image, name and setting of banks against the checksums written with them."""
    from idekernels import verify as verify_bank

    for path in bank_files:
        verify_bank(path)
        say(f"{path}: sound")


def _read(pair: PairFiles, patch: int, colour: bool) -> tuple[str, NDArray[np.uint8], NDArray[np.uint8]]:
    photo = read_colour(pair.photo)
    sketch = (read_colour if colour else read_grey)(pair.sketch)
    if photo.shape[:2] != sketch.shape[:2]:
        raise InputError(
            f"{pair.sketch}: is {sketch.shape[0]} x {sketch.shape[1]}, its photo {photo.shape[0]} x {photo.shape[1]}; "
            "bring the pair to one size"
        )
    if min(photo.shape[:2]) < patch:
        raise InputError(f"{pair.photo}: is smaller than one {patch}-pixel patch; take larger images or --patch")
    return pair.name, photo, sketch
