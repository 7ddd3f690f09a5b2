"""What was found in photos, for a person to check: a picture of each, and a table that can be given back."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from idekernels.errors import InputError
from idekernels.files.atomic import replace_when_done
from idemodel.faces.aligner import Aligned
from idemodel.faces.alignment import corners
from idemodel.faces.eye_table import HEADER
from idemodel.faces.search import Face
from idemodel.files.images import encode_image
from idemodel.files.tables import read_rows

Image = NDArray[np.uint8]

COLUMNS = (*HEADER, "face", "taken", "score", "face_width", "degrees", "aside", "note")
LONGEST = 1000  # pixels of an overlay's longer side

_BOX, _EYE, _CROP = (255, 200, 0), (0, 220, 255), (0, 200, 0)


@dataclass(frozen=True)
class Entry:
    """What a report says of one photo: its picture, (h, w, 3) uint8, and its rows of the table."""

    file: Path
    picture: Image
    rows: list[dict[str, str]]

    @classmethod
    def of(cls, file: Path, image: Image, faces: Sequence[Face], made: Sequence[Aligned], note: str = "") -> Entry:
        """Of a photo (H, W, 3) uint8 and the faces found in it; ``note`` says why none was aligned."""
        taken = {aligned.number: aligned for aligned in made}
        rows = [_row(file, number, face, taken.get(number), note) for number, face in enumerate(faces, 1)]
        return cls(file, overlay(image, faces, made), rows or [{"file": file.name, "note": note}])


@dataclass
class AlignReport:
    """The folder of a report: STEM.png with boxes (yellow), eyes (blue) and crops (green), and ``eyes.csv``."""

    folder: Path
    rows: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    _turns: dict[str | Path, int] = field(default_factory=dict)  # of what is there, by the photo's name or the picture
    _writing: dict[Path, threading.Lock] = field(default_factory=dict)  # one thread at a time writes a picture

    @classmethod
    def open(cls, folder: Path) -> AlignReport:
        """Go on with the table that is there, so that photos done in earlier runs stay in it.

        Raises
        ------
        InputError
            It is no CSV table.
        """
        report = cls(folder)
        if report.table.is_file():
            try:
                for row in read_rows(report.table.read_bytes(), str(report.table), HEADER):
                    report.rows.setdefault(row.cells["file"], []).append(row.cells)
            except InputError as error:
                raise InputError(f"{error}; correct it, or move it away") from None
        folder.mkdir(parents=True, exist_ok=True)
        return report

    @property
    def table(self) -> Path:
        """The CSV file; ``align --eyes`` reads it."""
        return self.folder / "eyes.csv"

    def picture(self, file: Path) -> Path:
        """Where the picture of a photo goes."""
        return self.folder / f"{file.stem}.png"

    def add(self, entry: Entry, turn: int = 0) -> None:
        """Write one photo's picture and keep its rows; any thread may.

        Of photos of one name, in several folders, what was said in the latest turn stays.

        Raises
        ------
        OSError
            The picture cannot be written; then the rows are not kept.
        InputError
            A pipe or a device stands in its place.
        """
        picture, name, content = self.picture(entry.file), entry.file.name, encode_image(entry.picture)
        with self._writing.setdefault(picture, threading.Lock()):
            if turn >= self._turns.get(picture, 0):
                with replace_when_done(picture) as partial:
                    partial.write_bytes(content)
                self._turns[picture] = turn
            if turn >= self._turns.get(name, 0):
                self.rows[name], self._turns[name] = entry.rows, turn

    def write(self) -> None:
        """Write the table, whole or not at all."""
        text = io.StringIO(newline="")
        lines = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore")
        lines.writeheader()
        lines.writerows(row for name in sorted(self.rows) for row in self.rows[name])
        with replace_when_done(self.table) as partial:
            partial.write_text(text.getvalue(), encoding="utf-8", errors="backslashreplace", newline="")


def overlay(image: Image, faces: Sequence[Face], made: Sequence[Aligned]) -> Image:
    """The photo, at most ``LONGEST`` pixels, with what was found and what was cut out of it.

    Returns
    -------
    (h, w, 3) uint8
    """
    picture = Pillow.fromarray(image)
    picture.thumbnail((LONGEST, LONGEST))
    scale = picture.width / image.shape[1]
    pen = ImageDraw.Draw(picture)

    def at(points: Sequence[complex]) -> list[tuple[float, float]]:
        return [(scale * (point.real + 0.5), scale * (point.imag + 0.5)) for point in points]

    radius = max(2, picture.width // 200)
    for number, face in enumerate(faces, 1):
        if face.box:
            pen.polygon(at(face.box), outline=_BOX, width=2)
            pen.text(at(face.box)[0], str(number), fill=_BOX)
        for x, y in at((face.eyes.left, face.eyes.right)):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=_EYE, width=2)
    for aligned in made:
        frame = corners(*aligned.image.shape[:2])
        pen.polygon(at([aligned.move.inverse(corner) for corner in frame]), outline=_CROP, width=2)
    return np.array(picture)


def _row(file: Path, number: int, face: Face, made: Aligned | None, note: str) -> dict[str, str]:
    eyes = face.eyes
    positions = (eyes.left.real, eyes.left.imag, eyes.right.real, eyes.right.imag)
    return {
        "file": file.name,
        **{name: f"{position:.2f}" for name, position in zip(HEADER[1:], positions, strict=True)},
        "face": str(number),
        "taken": "yes" if made else "no",
        "score": "given" if face.score is None else f"{face.score:.3f}",
        "face_width": f"{face.width:.0f}",
        "degrees": f"{eyes.degrees:.1f}",
        "aside": f"{face.aside:.2f}",
        "note": note or "; ".join(made.warnings if made else ()),
    }
