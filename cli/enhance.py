"""``idesketch enhance``: coarse sketches as files to fine ones; a bad file is reported and the rest goes on.

One sketch after the other goes through the network, while threads read the next ones and write those before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idekernels.bank import PLURALS, kinds
from idekernels.errors import InputError
from idemodel.files.images import read_colour, read_grey, require_size
from idemodel.files.journal import Making, file_digest
from idemodel.files.listing import stem_of
from idemodel.files.pairs import images_by_stem
from idemodel.preparation import number_in_bank

from .batch import Batch, Image, Results
from .console import err, note, say
from .options import (
    PATH,
    hand_options,
    leave_one_out_option,
    precision_option,
    precision_told,
    recursive_option,
    shown_device,
)
from .quiet import Heard, quietly, tell_in_turn
from .readers import Readers

if TYPE_CHECKING:
    from idemodel.generator.enhance import Enhancer

_Rough = tuple[Image, Image | None, Image | None]  # a coarse sketch, its photo and its quilt


@click.command()
@click.argument("model", type=PATH)
@click.argument("coarse", metavar="COARSE_OR_DIR...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--out", type=PATH, required=True, help="Folder for STEM.png, made if missing.")
@click.option(
    "--photos",
    type=PATH,
    help="Folder of the photos, same names, for a model that sees them (sketch-to-photo: of the sketches).",
)
@click.option(
    "--quilts", type=PATH, help="Folder of the quilts, same names, for a model that takes them: synth --save-coarse."
)
@hand_options
@click.option("--size", type=click.Choice(["source", "double"]), default="source", show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@precision_option
@leave_one_out_option
@recursive_option
@click.option("--overwrite", is_flag=True, help="Make sketches anew that are there already.")
def enhance(
    model: Path,
    coarse: tuple[Path, ...],
    out: Path,
    photos: Path | None,
    quilts: Path | None,
    hand: dict[str, float],
    size: str,
    device: str,
    precision: str,
    leave_one_out: bool,
    recursive: bool,
    overwrite: bool,
) -> int:
    """Make fine sketches of coarse ones (files or folders) with a trained MODEL.

    The fine sketch has the coarse one's size, or with --size double twice the rows and columns.
    """
    with err.status("Loading the model"):
        from idemodel.generator.enhance import Enhancer

        enhancer = Enhancer.open(model, device, hand, precision=precision)
    source, target = kinds(enhancer.direction)
    if enhancer.needs_photo and photos is None:
        raise InputError(
            f"{model}: was trained on coarse {target} and {source}; give the {PLURALS[source]} with --photos FOLDER"
        )
    if enhancer.needs_quilt and quilts is None:
        raise InputError(
            f"{model}: was trained on quilts as well; idesketch synth makes them (--save-coarse), give them with "
            "--quilts FOLDER"
        )
    seen = _Beside.of(photos if enhancer.needs_photo else None)
    pieced = _Beside.of(quilts if enhancer.needs_quilt else None)
    work = _Work(enhancer, size, seen, pieced, leave_one_out)
    made_by = Making.of(
        "enhance", model=file_digest(model), size=size, hand=enhancer.hand, photos=seen.folder, quilts=pieced.folder,
        leave_one_out=leave_one_out, **precision_told(precision),
    )  # fmt: skip
    others = [model, *seen.files.values(), *pieced.files.values()]
    batch = Batch.find(coarse, Results(out, made_by, overwrite), recursive, others)
    note(f"device {shown_device(enhancer)}")
    if batch.todo:
        batch.run("Fine sketches", 1, quietly(work.read), work.make, Readers(tell_in_turn))
    say(batch.summary(out))
    return batch.exit_code


@dataclass(frozen=True)
class _Beside:
    """A folder of images that go with coarse sketches, by stem; nothing where there is no folder."""

    folder: Path | None
    files: Mapping[str, Path]

    @classmethod
    def of(cls, folder: Path | None) -> _Beside:
        return cls(folder, images_by_stem(folder, note) if folder else {})

    def partner(self, file: Path, image: Image, read: Callable[[Path], Image]) -> Image | None:
        """The image of a coarse sketch's name and size; InputError where there is none."""
        if self.folder is None:
            return None
        partner = self.files.get(stem_of(file))
        if partner is None:
            raise InputError(f"{file}: no image of that name in {self.folder}")
        found = read(partner)
        require_size(found, partner, image.shape[:2], whose="its coarse sketch")
        return found


@dataclass(frozen=True)
class _Work:
    """What is done to every coarse sketch; the generator takes ``photos`` and ``quilts`` where they have a folder."""

    enhancer: Enhancer
    size: str
    photos: _Beside
    quilts: _Beside
    leave_one_out: bool = False

    def read(self, file: Path) -> _Rough:
        """A coarse sketch, and the photo and the quilt of its name where the generator takes them; by any thread."""
        read = read_grey if self.enhancer.network.config.channels == 1 else read_colour
        image = read(file)
        try:
            self.enhancer.check_size(image.shape[0], image.shape[1], self.size)
        except ValueError as error:
            raise InputError(f"{file}: {error}") from None
        if self.leave_one_out and self.enhancer.domain:
            number_in_bank(file, self.enhancer.domain.prepared.bank.names)
        return image, self.photos.partner(file, image, read_grey), self.quilts.partner(file, image, read)

    def make(self, targets: Sequence[Path], images: Sequence[Heard[_Rough]]) -> Iterable[Image]:
        """Fine sketches, one by one."""
        from idemodel.files.tensors import as_images, as_planes

        for target, heard in zip(targets, images, strict=True):
            coarse, photo, quilt = heard.content
            seen, pieced = (None if one is None else as_planes(one)[None] for one in (photo, quilt))
            left_out = [[stem_of(target)]] if self.leave_one_out else None
            image = as_planes(coarse)[None]
            yield as_images(self.enhancer.enhance(image, seen, self.size, quilt=pieced, leave_out=left_out))[0]
