"""``idesketch coarse``: photos and a bank in, coarse sketches out; a bad photo is reported and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from idecli.console import complain, err, note, progress, say
from idecli.options import PATH, Bytes, kernel_options
from idekernels.errors import InputError
from idemodel.faces.images import read_colour, write_image
from idemodel.faces.pairs import images_by_stem

BANK_SUFFIXES = (".h5", ".hdf5")


@click.command()
@click.argument("inputs", metavar="BANK.h5... PHOTO_OR_DIR...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--out", type=PATH, required=True, help="Folder for STEM.png, made if missing.")
@kernel_options
@click.option("--leave-one-out", is_flag=True, help="Photos of the bank's own pairs: leave out the pair of that name.")
@click.option("--backend", default="auto", show_default=True, help="auto, cpu or reference; never replaced by another.")
@click.option("--memory", type=Bytes(), help="Stream a bank that takes more than this (256MiB), same result.")
@click.option("--overwrite", is_flag=True, help="Make sketches anew that are there already.")
def coarse(
    inputs: tuple[Path, ...],
    out: Path,
    leave_one_out: bool,
    backend: str,
    memory: int | None,
    overwrite: bool,
    **settings: Any,
) -> int:
    """Make coarse sketches of photos (files or folders) from a bank, or from several banks as one.

    Leading arguments that end in .h5 are banks. Photos have the bank's size, eyes where the bank's are. Sketches
    that are there already are skipped; a photo that cannot be used is reported, the rest goes on, and the exit code
    is 1.
    """
    from idekernels import CoarseSettings, open_bank, prepare

    banks, given = _split(inputs)
    chosen = CoarseSettings(**settings)
    with open_bank(*banks) as bank:
        photos = _Photos.find(given, out, overwrite)
        prepared = prepare(bank, backend, memory)
        grid = bank.grid(chosen.patch, chosen.overlap)
        note(f"backend {prepared.backend}, {bank.images} pairs, {grid.shape[0]} x {grid.shape[1]} patches")
        if photos.todo:
            out.mkdir(parents=True, exist_ok=True)
            _compile(chosen, prepared.backend)
            _synthesise(photos, prepared, chosen, leave_one_out)
    say(f"{out}: {photos.made} made, {photos.skipped} there already, {photos.failed} failed")
    return 1 if photos.failed else 0


@dataclass
class _Photos:
    """The photos of one call: what is to be done (target path -> photo path) and how it went."""

    todo: dict[Path, Path]
    skipped: int = 0
    made: int = 0
    failed: int = 0

    @classmethod
    def find(cls, given: Iterable[Path], out: Path, overwrite: bool) -> _Photos:
        """Expand folders, drop what is done, report names that clash or are missing."""
        photos = cls({})
        seen: dict[Path, Path] = {}
        for photo in _expand(given, photos):
            target = out / f"{photo.stem}.png"
            if target in seen:
                photos.fail(InputError(f"{photo}: would be written to the same {target.name} as {seen[target]}"))
                continue
            seen[target] = photo
            if target.exists() and not overwrite:
                photos.skipped += 1
            else:
                photos.todo[target] = photo
        return photos

    def fail(self, error: BaseException) -> None:
        """Report one photo that cannot be used."""
        self.failed += 1
        complain(error)


def _split(inputs: tuple[Path, ...]) -> tuple[list[Path], list[Path]]:
    """The first argument, and those after it that end in .h5, are banks."""
    last = 1
    while last < len(inputs) and inputs[last].suffix.lower() in BANK_SUFFIXES:
        last += 1
    if last == len(inputs):
        raise click.UsageError("give a bank first, then at least one photo or folder of photos")
    return list(inputs[:last]), list(inputs[last:])


def _expand(given: Iterable[Path], photos: _Photos) -> Iterator[Path]:
    for path in given:
        if path.is_dir():
            found = images_by_stem(path)
            if not found:
                photos.fail(InputError(f"{path}: holds no images"))
            yield from found.values()
        elif path.exists():
            yield path
        else:
            photos.fail(InputError(f"{path}: no such file or folder"))


def _compile(settings: Any, backend: str) -> None:
    from idekernels.warm import warm_up

    with err.status("Loading the kernels (the first run compiles them, about a minute)"):
        warm_up(settings, backend)


def _synthesise(photos: _Photos, prepared: Any, settings: Any, leave_one_out: bool) -> None:
    from idekernels.coarse import coarse_sketch, photos_at_once

    at_once = photos_at_once(prepared.bank, settings)
    with progress() as bar:
        task = bar.add_task("Coarse sketches", total=len(photos.todo))
        waiting: list[tuple[Path, NDArray[np.uint8], int]] = []
        for number, (target, photo) in enumerate(photos.todo.items(), 1):
            try:
                waiting.append((target, *_read(photo, prepared.bank, leave_one_out)))
            except (InputError, OSError) as error:
                photos.fail(error)
                bar.advance(task)
            if waiting and (len(waiting) == at_once or number == len(photos.todo)):
                targets, batch, left_out = zip(*waiting, strict=True)
                sketches = coarse_sketch(batch, prepared, settings, exclude=np.array(left_out)).images()
                for path, sketch in zip(targets, sketches, strict=True):
                    write_image(path, sketch)
                    photos.made += 1
                    bar.advance(task)
                waiting.clear()


def _read(photo: Path, bank: Any, leave_one_out: bool) -> tuple[NDArray[np.uint8], int]:
    """The photo, and the bank's pair that it must not use (-1 for none)."""
    image = read_colour(photo)
    if image.shape[:2] != (bank.height, bank.width):
        raise InputError(
            f"{photo}: is {image.shape[0]} x {image.shape[1]} (rows x columns), the bank {bank.height} x {bank.width}; "
            "align or scale the photo to the bank's size"
        )
    if not leave_one_out:
        return image, -1
    if photo.stem not in bank.names:
        raise InputError(f"{photo}: no pair {photo.stem!r} in the bank to leave out; drop --leave-one-out for it")
    return image, bank.names.index(photo.stem)
