"""Eyes given as a file: a CSV table with a row a face, read with every mistake named by its line."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from idekernels.errors import InputError
from idekernels.files.regular import regular_file
from idemodel.faces.alignment import Eyes
from idemodel.files.listing import one_form, stem_of
from idemodel.files.tables import read_rows

HEADER = ("file", "left_x", "left_y", "right_x", "right_y")
MAX_BYTES = 16_000_000  # some 300,000 faces
LEAST_DISTANCE = 2.0  # pixels between two eyes


@dataclass
class EyeTable:
    """The faces of a table by the name of their picture, and which names have been asked for.

    A row's ``file`` is a picture's name with or without folder and suffix.
    """

    path: Path
    rows: Mapping[str, list[Eyes]]
    used: set[str] = field(default_factory=set)

    def of(self, picture: Path) -> list[Eyes]:
        """The eyes of a picture's faces, in the order of the rows; empty where there are none."""
        for name in (one_form(picture.name), stem_of(picture)):
            if name in self.rows:
                self.used.add(name)
                return self.rows[name]
        return []

    @property
    def unused(self) -> list[str]:
        """Names that no picture asked for."""
        return sorted(set(self.rows) - self.used)


def read_eyes(path: str | os.PathLike[str]) -> EyeTable:
    """Read a CSV file of eyes.

    The first line names the columns; ``file``, ``left_x``, ``left_y``, ``right_x`` and ``right_y`` are needed, others
    are ignored; see :func:`idemodel.files.tables.read_rows` for delimiters and encodings. x is the column and y the row
    in pixels of the upright picture (turned as its EXIF data say), from 0 at the centre of the first pixel; left is the
    eye at the left of the picture. Several rows of a file are several faces; a row with all four cells empty is none.

    Raises
    ------
    InputError
        Missing, neither UTF-8 nor UTF-16, too large, no such columns, or a row that is not a pair of eyes.
    """
    file = Path(path)
    regular_file(file, "a CSV table of eyes", MAX_BYTES)
    rows: dict[str, list[Eyes]] = {}
    for row in read_rows(file.read_bytes(), str(file), HEADER):
        name = one_form(Path(row.cells["file"]).name)
        if not name:
            raise InputError(f"{file}: line {row.line}: no file name")
        eyes = _eyes(file, row.line, row.cells)
        rows.setdefault(name, []).extend([eyes] if eyes else [])
    return EyeTable(file, rows)


def _eyes(file: Path, line: int, row: Mapping[str, str]) -> Eyes | None:
    cells = [row[name] for name in HEADER[1:]]
    if not any(cells):
        return None
    numbers = [_number(file, line, name, cell) for name, cell in zip(HEADER[1:], cells, strict=True)]
    eyes = Eyes(complex(*numbers[:2]), complex(*numbers[2:]))
    if eyes.left.real >= eyes.right.real:
        raise InputError(
            f"{file}: line {line}: left_x {numbers[0]:g} is not left of right_x {numbers[2]:g}; "
            "left is the eye at the left of the upright picture"
        )
    if eyes.distance < LEAST_DISTANCE:
        raise InputError(f"{file}: line {line}: the eyes are {eyes.distance:.1f} pixels apart, too near for a face")
    return eyes


def _number(file: Path, line: int, name: str, cell: str) -> float:
    try:
        number = float(cell if "." in cell else cell.replace(",", ".", 1))  # a decimal comma, where that is the custom
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 1e6:
        raise InputError(f"{file}: line {line}: {name} is {cell[:40]!r}, not a position in pixels")
    return number
