"""``idesketch align``: photos as they were taken in, aligned photos out; what cannot be used is reported."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click

from idekernels.errors import InputError
from idemodel.faces.align_report import AlignReport, Entry
from idemodel.faces.aligner import Aligned, Aligner, AlignSettings
from idemodel.faces.detectors import any_detector, open_detector
from idemodel.faces.eye_table import read_eyes
from idemodel.files.images import read_colour
from idemodel.files.journal import Making, file_digest
from idemodel.files.outputs import make_folder, same_file

from .batch import Batch, Image, Made, Results
from .console import note, one_line, say
from .options import PATH, Size, recursive_option
from .quiet import Heard, quietly, tell_in_turn
from .readers import Readers


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
        work = _Work(aligner, told, batch)
        try:
            batch.run("Aligning", 1, quietly(work.read), work.make, Readers(work.tell))
        finally:
            if told:
                told.write()
    if table and table.unused and not batch.skipped:
        note(f"{table.path}: rows without a photo: {', '.join(table.unused[:8])}{' ...' if table.unused[8:] else ''}")
    say(batch.summary(out))
    return batch.exit_code


@dataclass(frozen=True)
class _Looked:
    """What was found in a photo: aligned faces, or why there are none, and what the report says of it."""

    aligned: Sequence[Aligned]
    refusal: InputError | None
    entry: Entry | None


@dataclass(frozen=True)
class _Work:
    """What is done to every photo, by threads: looked at ahead of its turn, written behind it."""

    aligner: Aligner
    report: AlignReport | None
    batch: Batch
    turns: Iterator[int] = field(default_factory=itertools.count)

    def read(self, file: Path) -> _Looked:
        """Look for the faces of one photo, and align them; writes and says nothing."""
        report = self.report
        if report and report.picture(file) in self.batch.inputs:
            raise InputError(
                f"{file}: {report.picture(file)} is an input and would be written over; choose another folder"
            )
        image = read_colour(file)
        faces = self.aligner.faces(file, image)
        made: list[Aligned] = []
        refusal: InputError | None = None
        try:
            made = self.aligner.align(file, image, faces)
        except InputError as error:
            refusal = error
        reason = str(refusal or "").removeprefix(f"{file}: ")
        return _Looked(made, refusal, Entry.of(file, image, faces, made, reason) if report else None)

    def tell(self, file: Path, heard: Heard[_Looked]) -> None:
        """Say what may spoil a sketch of a photo that was looked at."""
        tell_in_turn(file, heard)
        for warning in {text: None for aligned in heard.content.aligned for text in aligned.warnings}:
            note(f"{file}: {warning}")

    def make(self, targets: Sequence[Path], several: Sequence[Heard[_Looked]]) -> Iterable[Made]:
        """What writes the report of each photo and all its faces but the first, which it gives."""
        for target, heard in zip(targets, several, strict=True):
            yield partial(self._write, target, heard.content, next(self.turns))

    def _write(self, target: Path, looked: _Looked, turn: int) -> Image | InputError:
        """The first face comes last: its file says that all are done."""
        try:
            self._enter(looked.entry, turn)
            if looked.refusal:
                return looked.refusal
            stem = target.stem.removesuffix("-1")
            for number, aligned in enumerate(looked.aligned[1:], 2):
                self.batch.write_beside(target.with_name(f"{stem}-{number}.png"), aligned.image, target)
            return looked.aligned[0].image
        except InputError as error:
            return error

    def _enter(self, entry: Entry | None, turn: int) -> None:
        if entry and self.report:
            try:
                self.report.add(entry, turn)
            except OSError as error:  # costs this photo alone, as one that cannot be read
                raise InputError(one_line(error)) from error
