"""``idesketch enhance``: coarse sketches as files to fine ones; a bad file is reported and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from idekernels.bank import PLURALS, kinds
from idekernels.errors import InputError
from idemodel.files.images import read_colour, read_grey
from idemodel.files.pairs import images_by_stem

from .batch import Batch, Image, check_size
from .console import err, note, say
from .options import PATH


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
@click.option("--overwrite", is_flag=True, help="Make sketches anew that are there already.")
def enhance(
    model: Path, coarse: tuple[Path, ...], out: Path, photos: Path | None, size: str, device: str, overwrite: bool
) -> int:
    """Make fine sketches of coarse ones (files or folders) with a trained MODEL.

    The fine sketch has the coarse one's size, or with --size double twice the rows and columns.
    """
    with err.status("Loading the model"):
        from idemodel.files.tensors import as_images, as_planes
        from idemodel.generator.enhance import Enhancer

        enhancer = Enhancer.open(model, device)
    if enhancer.needs_photo and photos is None:
        source, target = kinds(enhancer.direction)
        raise InputError(
            f"{model}: was trained on coarse {target} and {source}; give the {PLURALS[source]} with --photos FOLDER"
        )
    faces = images_by_stem(photos) if enhancer.needs_photo and photos else {}
    read_coarse = read_grey if enhancer.network.config.channels == 1 else read_colour
    batch = Batch.find(coarse, out, overwrite)

    def read(file: Path) -> tuple[Image, Image | None]:
        image = read_coarse(file)
        try:
            enhancer.check_size(image.shape[0], image.shape[1], size)
        except ValueError as error:
            raise InputError(f"{file}: {error}") from None
        if not enhancer.needs_photo:
            return image, None
        if file.stem not in faces:
            raise InputError(f"{file}: no image of that name in {photos}")
        photo = read_grey(faces[file.stem])
        check_size(photo, faces[file.stem], image.shape[0], image.shape[1], whose="its coarse sketch")
        return image, photo

    def make(_: Sequence[Path], images: Sequence[tuple[Image, Image | None]]) -> Iterable[Image]:
        for image, photo in images:
            seen = None if photo is None else as_planes(photo)[None]
            yield as_images(enhancer.enhance(as_planes(image)[None], seen, size))[0]

    note(f"device {enhancer.device}")
    if batch.todo:
        out.mkdir(parents=True, exist_ok=True)
        batch.run("Fine sketches", 1, read, make)
    say(batch.summary(out))
    return batch.exit_code
