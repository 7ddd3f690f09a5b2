"""``idesketch enhance``: coarse sketches as files to fine ones; a bad file is reported and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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

from .batch import Batch, Image, Results
from .console import err, note, say
from .options import PATH, recursive_option

if TYPE_CHECKING:
    from idemodel.generator.enhance import Enhancer


@click.command()
@click.argument("model", type=PATH)
@click.argument("coarse", metavar="COARSE_OR_DIR...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--out", type=PATH, required=True, help="Folder for STEM.png, made if missing.")
@click.option(
    "--photos",
    type=PATH,
    help="Folder of the photos, same names, for a model that sees them (sketch-to-photo: of the sketches).",
)
@click.option("--size", type=click.Choice(["source", "double"]), default="source", show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@recursive_option
@click.option("--overwrite", is_flag=True, help="Make sketches anew that are there already.")
def enhance(
    model: Path,
    coarse: tuple[Path, ...],
    out: Path,
    photos: Path | None,
    size: str,
    device: str,
    recursive: bool,
    overwrite: bool,
) -> int:
    """Make fine sketches of coarse ones (files or folders) with a trained MODEL.

    The fine sketch has the coarse one's size, or with --size double twice the rows and columns.
    """
    with err.status("Loading the model"):
        from idemodel.generator.enhance import Enhancer

        enhancer = Enhancer.open(model, device)
    if enhancer.needs_photo and photos is None:
        source, target = kinds(enhancer.direction)
        raise InputError(
            f"{model}: was trained on coarse {target} and {source}; give the {PLURALS[source]} with --photos FOLDER"
        )
    seen = images_by_stem(photos, note) if enhancer.needs_photo and photos else {}
    work = _Work(enhancer, size, photos, seen)
    made_by = Making.of("enhance", model=file_digest(model), size=size, photos=photos if seen else None)
    batch = Batch.find(coarse, Results(out, made_by, overwrite), recursive, [model, *seen.values()])
    note(f"device {enhancer.device}")
    if batch.todo:
        batch.run("Fine sketches", 1, work.read, work.make)
    say(batch.summary(out))
    return batch.exit_code


@dataclass(frozen=True)
class _Work:
    """What is done to every coarse sketch; ``seen`` are the files in ``folder`` that the generator sees, by stem."""

    enhancer: Enhancer
    size: str
    folder: Path | None
    seen: Mapping[str, Path]

    def read(self, file: Path) -> tuple[Image, Image | None]:
        """A coarse sketch, and the photo of its name where the generator sees it."""
        image = (read_grey if self.enhancer.network.config.channels == 1 else read_colour)(file)
        try:
            self.enhancer.check_size(image.shape[0], image.shape[1], self.size)
        except ValueError as error:
            raise InputError(f"{file}: {error}") from None
        if not self.enhancer.needs_photo:
            return image, None
        partner = self.seen.get(stem_of(file))
        if partner is None:
            raise InputError(f"{file}: no image of that name in {self.folder}")
        photo = read_grey(partner)
        require_size(photo, partner, image.shape[:2], whose="its coarse sketch")
        return image, photo

    def make(self, _: Sequence[Path], images: Sequence[tuple[Image, Image | None]]) -> Iterable[Image]:
        """Fine sketches, one by one."""
        from idemodel.files.tensors import as_images, as_planes

        for image, photo in images:
            seen = None if photo is None else as_planes(photo)[None]
            yield as_images(self.enhancer.enhance(as_planes(image)[None], seen, self.size))[0]
