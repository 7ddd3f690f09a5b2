"""``idesketch bank``: build a patch bank from a pairs folder, show it, verify it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from idekernels.bank import PHOTO_TO_SKETCH, BankSettings
from idekernels.errors import InputError
from idemodel.faces.bars import mended
from idemodel.files.images import read_colour, read_grey
from idemodel.files.journal import file_digest
from idemodel.files.outputs import Inputs
from idemodel.files.pairs import PairFiles, list_pairs

from .console import complain, counted, note, say
from .options import DIRECTION, PATH, Plane

_SHOWN = 5  # names of pairs whose bars were mended


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
@click.option(
    "--direction",
    type=DIRECTION,
    default=PHOTO_TO_SKETCH,
    show_default=True,
    help="What is made of what; every later command takes it from the bank.",
)
@click.option(
    "--target",
    type=click.Choice(["grey", "colour"]),
    help="What is made (sketches; or photos) as.  [default: grey sketches; photos in colour, unless all are grey]",
)
@click.option("--compress", is_flag=True, help="Zstandard (extra `compress`): smaller, slower.")
def build(
    pairs: Path,
    bank_file: Path,
    patch: int,
    overlap: int,
    radius: int,
    planes: tuple[tuple[str, int], ...],
    direction: str,
    target: str | None,
    compress: bool,
) -> None:
    """Build BANK.h5 from PAIRS (photo/NAME.png and sketch/NAME.png, all of one size).

    Black bars along the edges, which the alignment of old data sets left, are filled with what lies beside them. An
    old bank at that path stays whole until the new one is complete. A build of more than 256 pairs that was ended goes
    on where it stopped when the same command is given again; until it is done it takes up to twice the file's room.
    """
    from idekernels.bank.parts import PairSource, build_bank

    names, weights = zip(*(planes or (("intensity", 1),)), strict=True)
    settings = BankSettings(patch, overlap, radius, names, weights, direction)
    files = list_pairs(pairs, note)
    if bank_file in Inputs(path for pair in files for path in (pair.photo, pair.sketch)):
        raise InputError(f"{bank_file}: is one of the pairs and would be written over; choose another name")
    colour = target == "colour" if target else _has_colour(files, settings)
    barred: dict[str, None] = {}  # a set that keeps the order

    def read(pair: PairFiles) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        given = _read(pair, settings, colour)
        photo, sketch = (mended(image) for image in given)
        if photo is not given[0] or sketch is not given[1]:
            barred[pair.name] = None
        return photo, sketch

    sources = [PairSource(pair.name, partial(_key, pair, colour), partial(read, pair)) for pair in files]
    with counted("Reading pairs", len(files)) as told:
        there = build_bank(bank_file, sources, settings, compress=compress, progress=told)
    if there:
        note(f"{there} of {len(files)} pairs were there from a build that was ended")
    if barred:
        more = f" and {len(barred) - _SHOWN} more" if len(barred) > _SHOWN else ""
        note(f"black bars at the edges were mended: {', '.join(list(barred)[:_SHOWN])}{more}")
    say(f"{bank_file}: {len(files)} pairs, {bank_file.stat().st_size / 2**20:.1f} MiB")


@bank.command()
@click.argument("bank_file", metavar="BANK.h5", type=PATH)
def info(bank_file: Path) -> None:
    """Show what BANK.h5 holds and how it was made."""
    from idekernels.bank.file import FileBank

    with FileBank(bank_file) as found:
        settings, grid = found.settings, found.grid()
        planes = ", ".join(f"{n}={w}" for n, w in zip(settings.representations, settings.weights, strict=True))
        rows = {
            "pairs": found.images,
            "direction": found.direction,
            "size": f"{found.height} x {found.width} pixels (rows x columns)",
            "planes": planes,
            "target": "grey" if found.channels == 1 else "colour",
            "patch": f"{settings.patch}, overlap {settings.overlap}, search radius {settings.radius}",
            "grid": f"{grid.shape[0]} x {grid.shape[1]} patches",
            "created": f"{found.created} by {found.tool}",
            "file": f"{bank_file.stat().st_size / 2**20:.1f} MiB",
        }
    for name, value in rows.items():
        say(f"{name + ':':11}{value}")


@bank.command()
@click.argument("bank_files", metavar="BANK.h5...", type=PATH, nargs=-1, required=True)
@click.option(
    "--jobs", type=click.IntRange(1), help="Processes that share a bank.  [default: one a core, for 32 MiB each]"
)
def verify(bank_files: tuple[Path, ...], jobs: int | None) -> int:
    """Check every image, name and setting of banks against the checksums written with them.

    A bank that is not sound is reported, the others are checked, and the exit code is 1.
    """
    from idekernels import verify as verify_bank

    failed = False
    for path in bank_files:
        try:
            verify_bank(path, jobs)
            say(f"{path}: sound")
        except (InputError, OSError) as error:  # noqa: PERF203 - the other banks are checked all the same
            complain(error)
            failed = True
    return 1 if failed else 0


def _has_colour(files: Sequence[PairFiles], settings: BankSettings) -> bool:
    """Whether photos are to be made and some photo has colour."""
    if settings.target_kind != "photo":
        return False
    return any(bool(np.ptp(read_colour(pair.photo), axis=2).any()) for pair in files)


def _key(pair: PairFiles, colour: bool) -> str:
    """What a pair's planes are made of, besides the bank's settings."""
    return f"{file_digest(pair.photo)} {file_digest(pair.sketch)} {colour}"


def _read(pair: PairFiles, settings: BankSettings, colour: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    read_photo, read_sketch = settings.ordered(read_colour, read_colour if colour else read_grey)
    photo, sketch = read_photo(pair.photo), read_sketch(pair.sketch)
    if photo.shape[:2] != sketch.shape[:2]:
        raise InputError(
            f"{pair.sketch}: is {sketch.shape[0]} x {sketch.shape[1]}, its photo {photo.shape[0]} x {photo.shape[1]}; "
            "bring the pair to one size"
        )
    if min(photo.shape[:2]) < settings.patch:
        raise InputError(
            f"{pair.photo}: is smaller than one {settings.patch}-pixel patch; take larger images or --patch"
        )
    return photo, sketch
