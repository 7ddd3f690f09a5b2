"""Many images through one function: what is there is skipped, what fails is reported, the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
from numpy.typing import NDArray

from idekernels.errors import InputError
from idemodel.files.images import write_image
from idemodel.files.pairs import images_by_stem

from .console import complain, progress

BANK_SUFFIXES = (".h5", ".hdf5")

Image = NDArray[np.uint8]
Read = TypeVar("Read")


@dataclass
class Batch:
    """The images of one call: what is to be done (target path -> image path) and how it went."""

    todo: dict[Path, Path]
    skipped: int = 0
    made: int = 0
    failed: int = 0

    @classmethod
    def find(cls, given: Iterable[Path], out: Path, overwrite: bool, name: str = "{stem}.png") -> Batch:
        """Expand folders, drop what is done (there is a file of that ``name``), report clashes and what is missing."""
        batch = cls({})
        seen: dict[Path, Path] = {}
        for image in _expand(given, batch):
            target = out / name.format(stem=image.stem)
            if target in seen:
                batch.fail(InputError(f"{image}: would be written to the same {target.name} as {seen[target]}"))
                continue
            seen[target] = image
            if target.exists() and not overwrite:
                batch.skipped += 1
            else:
                batch.todo[target] = image
        return batch

    def fail(self, error: BaseException) -> None:
        """Report one image that cannot be used."""
        self.failed += 1
        complain(error)

    def run(
        self,
        title: str,
        at_once: int,
        read: Callable[[Path], Read],
        make: Callable[[Sequence[Path], Sequence[Read]], Iterable[Image]],
    ) -> None:
        """Read every image, make ``at_once`` pictures of (targets, what was read) together, write them.

        A bad image (InputError, OSError while reading) is reported; an error of writing ends the batch.
        """
        with progress() as bar:
            task = bar.add_task(title, total=len(self.todo))
            waiting: list[tuple[Path, Read]] = []
            for number, (target, image) in enumerate(self.todo.items(), 1):
                try:
                    waiting.append((target, read(image)))
                except (InputError, OSError) as error:
                    self.fail(error)
                    bar.advance(task)
                if waiting and (len(waiting) == at_once or number == len(self.todo)):
                    targets, contents = zip(*waiting, strict=True)
                    for path, picture in zip(targets, make(targets, contents), strict=True):
                        write_image(path, picture)
                        self.made += 1
                        bar.advance(task)
                    waiting.clear()

    def summary(self, out: Path) -> str:
        """How it went, in one line."""
        return f"{out}: {self.made} made, {self.skipped} there already, {self.failed} failed"

    @property
    def exit_code(self) -> int:
        """1 where something failed."""
        return 1 if self.failed else 0


def split_banks(inputs: Sequence[Path], others: int, usage: str) -> tuple[list[Path], list[Path]]:
    """The first argument, and those after it that end in .h5, are banks; at least ``others`` further ones follow."""
    last = 1
    while last < len(inputs) and inputs[last].suffix.lower() in BANK_SUFFIXES:
        last += 1
    if len(inputs) - last < others:
        raise click.UsageError(usage)
    return list(inputs[:last]), list(inputs[last:])


def _expand(given: Iterable[Path], batch: Batch) -> Iterator[Path]:
    for path in given:
        if path.is_dir():
            found = images_by_stem(path)
            if not found:
                batch.fail(InputError(f"{path}: holds no images"))
            yield from found.values()
        elif path.exists():
            yield path
        else:
            batch.fail(InputError(f"{path}: no such file or folder"))
