"""CSV tables as people and their spreadsheets write them: in any usual encoding, with any usual delimiter."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from idekernels.errors import InputError

DELIMITERS = (",", ";", "\t")

_ENCODINGS = (  # by the first bytes
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A row: the number of its last line, from 1 on, and its stripped cells by column, named in small letters."""

    line: int
    cells: dict[str, str]


def read_rows(content: bytes, name: str, columns: Sequence[str]) -> list[Row]:
    """Read the rows of a CSV table whose first line names the columns.

    The delimiter is the one of comma, semicolon and tab with which the first line names all of ``columns``; a line
    ``sep=;`` before it, which spreadsheets write, is passed over. Capitals in the columns' names do not matter, rows
    without any content are passed over, columns that are not asked for are kept.

    Parameters
    ----------
    content : bytes
        Of the file: UTF-8, or UTF-16 with its mark.
    name : str
        What errors call the file.

    Raises
    ------
    InputError
        In another encoding, no such columns, or no CSV table.
    """
    text = _text(content, name)
    first, _, rest = text.partition("\n")
    passed = 1 if first.strip().lower().startswith("sep=") else 0
    if passed:
        text = rest
    delimiter = next((each for each in DELIMITERS if _names(text, each).issuperset(columns)), DELIMITERS[0])
    lines = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        header = [cell.strip().lower() for cell in next(lines, [])]
        absent = [column for column in columns if column not in header]
        if absent:
            raise InputError(f"{name}: no column {absent[0]!r}; the first line must name {','.join(columns)}")
        rows = [Row(lines.line_num + passed, _cells(header, cells)) for cells in lines]
    except csv.Error as error:
        raise InputError(f"{name}: line {lines.line_num + passed}: not a CSV table ({error})") from None
    return [row for row in rows if any(row.cells.values())]


def _cells(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """By column; cells that are not there are empty, those beyond the last column are dropped."""
    filled = [*cells, *[""] * (len(header) - len(cells))]
    return {column: cell.strip() for column, cell in zip(header, filled, strict=False) if column}


def _names(text: str, delimiter: str) -> set[str]:
    """The columns that the first line names if this is the delimiter."""
    try:
        first = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except csv.Error:
        return set()
    return {cell.strip().lower() for cell in first}


def decoded(content: bytes) -> str:
    """Text in UTF-8, or in UTF-16 where its mark says so; UnicodeDecodeError where it is neither."""
    return content.decode(next((each for mark, each in _ENCODINGS if content.startswith(mark)), "utf-8"))


def _text(content: bytes, name: str) -> str:
    try:
        return decoded(content)
    except UnicodeDecodeError:
        raise InputError(f"{name}: is not a CSV table in UTF-8 or UTF-16; save it as CSV in UTF-8") from None
