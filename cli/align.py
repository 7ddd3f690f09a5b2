"""``idesketch align``: photos as they were taken in, aligned photos out; what cannot be used is reported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from idekernels.errors import InputError
from idemodel.faces.align_report import AlignReport
from idemodel.faces.aligner import Aligned, Aligner, AlignSettings
from idemodel.faces.detectors import any_detector, open_detector
from idemodel.faces.eye_table import read_eyes
from idemodel.files.images import read_colour
from idemodel.files.journal import Making, file_digest
from idemodel.files.outputs import make_folder, same_file

from .batch import Batch, Image, Results
from .console import note, say
from .options import PATH, Size, recursive_option


class FaceChoice(click.ParamType):
    """largest, all, or a number from 1 on."""

    name = "largest|all|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """Text to a name or a number."""
        text = str(value)
        if text in ("largest", "all"):
            return text
        if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
            self.fail(f"{value!r} is neither largest, nor all, nor a number from 1 on", param, ctx)
        return int(text)


@click.command()
@click.argument("photos", metavar="PHOTO_OR_DIR...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--out", type=PATH, required=True, help="Folder for STEM.png, made if missing.")
@click.option("--eyes", type=PATH, help="CSV: file,left_x,left_y,right_x,right_y; other photos are searched.")
@click.option("--size", type=Size(), default="250x200", show_default=True, help="Rows x columns.")
@click.option(
    "--face", type=FaceChoice(), default="largest", show_default=True,
    help="Of several: the largest, the N-th largest, or all (STEM-1.png, STEM-2.png, ...).",
)  # fmt: skip
@click.option(
    "--pad", type=click.Choice(["auto", "reflect", "edge", "white"]), default="auto", show_default=True,
    help="What lies beyond the picture; auto: its border if plain, else its reflection.",
)  # fmt: skip
@click.option(
    "--detector", type=click.Choice(["auto", "dlib", "mtcnn"]), default="auto", show_default=True,
    help="What finds faces; auto: the first that is installed.",
)  # fmt: skip
@click.option("--report", is_flag=True, help="Write OUT/report: what was found as pictures, and eyes.csv.")
@recursive_option
@click.option("--overwrite", is_flag=True, help="Make photos anew that are there already.")
def align(
    photos: tuple[Path, ...],
    out: Path,
    eyes: Path | None,
    size: tuple[int, int],
    face: str | int,
    pad: str,
    detector: str,
    report: bool,
    recursive: bool,
    overwrite: bool,
) -> int:
    """Align photos (files or folders): the eyes to row H/2 and columns 3/8 W and 5/8 W (125, 75, 125 at 250x200).

    A face is found by dlib, which comes along (where it has no wheel, pip install 'idesketch[align]' compiles it), or
    by MTCNN ('idesketch[align-mtcnn]'), or its eyes are given with --eyes. Rotation and scale are those of the eyes;
    colour is kept, and the turn in the EXIF data obeyed. Photos that are there already are skipped; a photo without a
    usable face is reported, the rest goes on, and the exit code is 1.
    """
    if report and eyes and same_file(out / "report" / "eyes.csv", eyes):
        raise InputError(f"{eyes}: would be written over by the report; give a copy of it, or another folder with -o")
    table = read_eyes(eyes) if eyes else None
    finds = any_detector() if table and detector == "auto" else open_detector(detector)
    aligner = Aligner(AlignSettings(*size, face=face, pad=pad), finds, table)
    made_by = Making.of(
        "align", size=size, face=face, pad=pad, detector=finds.name if finds else "",
        eyes=file_digest(eyes) if eyes else "",
    )  # fmt: skip
    name = "{stem}-1.png" if face == "all" else "{stem}.png"
    batch = Batch.find(
        photos, Results(out, made_by, overwrite, name, beside=("report",)), recursive, (eyes,) if eyes else ()
    )
    note(f"detector {finds.name if finds else 'none'}" + (f", eyes of {len(table.rows)} photos given" if table else ""))
    if batch.todo:
        make_folder(out)
        told = AlignReport.open(out / "report") if report else None
        try:
            batch.run("Aligning", 1, lambda file: _read(file, aligner, told, batch), partial(_write_others, batch))
        finally:
            if told:
                told.write()
    if table and table.unused and not batch.skipped:
        note(f"{table.path}: rows without a photo: {', '.join(table.unused[:8])}{' ...' if table.unused[8:] else ''}")
    say(batch.summary(out))
    return batch.exit_code


def _read(file: Path, aligner: Aligner, report: AlignReport | None, batch: Batch) -> list[Aligned]:
    """The aligned faces of one photo, reported whether there are any or not."""
    if report and report.picture(file) in batch.inputs:
        raise InputError(f"{file}: {report.picture(file)} is an input and would be written over; choose another folder")
    image = read_colour(file)
    faces = aligner.faces(file, image)
    made: list[Aligned] = []
    refusal = ""
    try:
        made = aligner.align(file, image, faces)
    except InputError as error:
        refusal = str(error).removeprefix(f"{file}: ")
        raise
    finally:
        if report:
            report.add(file, image, faces, made, refusal)
    for warning in {text: None for aligned in made for text in aligned.warnings}:
        note(f"{file}: {warning}")
    return made


def _write_others(
    batch: Batch, targets: Sequence[Path], several: Sequence[list[Aligned]]
) -> Iterable[Image | InputError]:
    """Write all faces of a photo but the first, which comes last: its file says that all are done."""
    for target, made in zip(targets, several, strict=True):
        stem = target.stem.removesuffix("-1")
        try:
            for number, aligned in enumerate(made[1:], 2):
                batch.write_beside(target.with_name(f"{stem}-{number}.png"), aligned.image, target)
            yield made[0].image
        except InputError as error:
            yield error
