"""The layout of any other data set: photos in one folder, sketches in another, matched by stem, pattern or CSV table.

Which folder is which is told by the words photo and sketch in its name, or by the user. Pictures keep their size (the
two of a pair must agree) unless point files lie beside them (``NAME.dat``, ``.3pts``, ``.pts``, ``.pos``), or a table
of eyes is given. Folders named train and test are a split; the same name may then stand for different faces in the
two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from idekernels.errors import InputError
from idemodel.datasets.layout import LayoutWithFolders, setting
from idemodel.datasets.listing import BROKEN, SPLITS, TWICE, UNUSED, Listing, Pair
from idemodel.datasets.matching import Key, match, side_of, split_of
from idemodel.datasets.patterns import keys
from idemodel.datasets.sources import PICTURES, TABLES, Member, Source
from idemodel.files.listing import one_form, stem_of
from idemodel.files.tables import read_rows


@dataclass(frozen=True)
class Pairs(LayoutWithFolders):
    """Photos in one folder, sketches in another."""

    name = "pairs"
    about = "two folders, matched by name, pattern or table"

    match: str = setting("stem, a regular expression, or a CSV with photo,sketch[,name,split]", default="stem")

    def find(self, source: Source) -> Listing:
        """List the pairs of two folders.

        Raises
        ------
        InputError
            A bad pattern or table.
        """
        table = Path(self.match)
        if table.suffix.lower() == ".csv":
            return _by_table(source, table)
        if self.match == "stem":
            pairs, unused = match(source.members, lambda member: Key(member.stem, "", split_of(member), apart=True))
            return Listing(_safe(pairs), unused=unused)
        members = [member for member in source.members if member.suffix not in TABLES]
        found = dict(zip(members, keys(self.match, [member.stem for member in members]), strict=True))
        pairs, unused = match(members, lambda member: _pattern_key(member, found[member]))
        return Listing(_safe(pairs), unused=unused)


def _pattern_key(member: Member, key: str | None) -> Key | None:
    return Key(key, "", split_of(member), apart=True) if key else None


def _safe(pairs: list[Pair]) -> list[Pair]:
    """Names come from files, but a pattern or a table may make one that is no file name."""
    return [pair if _is_name(pair.name) else _unnamed(pair) for pair in pairs]


def _is_name(name: str) -> bool:
    return (
        0 < len(name.encode(errors="replace")) <= 200
        and not name.startswith(".")
        and not set(name) & set('/\\\0:*?"<>|\n\r')
    )


def _unnamed(pair: Pair) -> Pair:
    detail = f"{pair.name[:40]!r} cannot be the name of a file"
    return replace(pair, name="unnamed", problem=BROKEN, detail=detail)


def _by_table(source: Source, table: Path) -> Listing:
    """Pairs of a CSV table with the columns photo and sketch, perhaps name and split."""
    rows = read_table(table, ("photo", "sketch"))
    pictures = [member for member in source.members if member.suffix in PICTURES]
    by_file: dict[str, list[Member]] = {}
    for member in pictures:
        by_file.setdefault(one_form(PurePosixPath(member.name).name), []).append(member)
    pairs = [_row_pair(row, by_file) for row in rows]
    used = {member.name for pair in pairs for member in (pair.photo, pair.sketch) if member}
    seen: set[tuple[str, str]] = set()
    for number, pair in enumerate(pairs):
        if (pair.split, pair.name) in seen and not pair.problem:
            pairs[number] = replace(pair, problem=BROKEN, detail=f"the table names {pair.name} before")
        seen.add((pair.split, pair.name))
    unused = [(member.name, UNUSED) for member in pictures if member.name not in used]
    return Listing(_safe(pairs), unused=unused)


def _row_pair(row: dict[str, str], by_file: Mapping[str, list[Member]]) -> Pair:
    found: dict[str, Member | None] = {}
    problems = []
    for side in ("photo", "sketch"):
        called = by_file.get(one_form(PurePosixPath(row[side]).name), [])
        fits = [member for member in called if _fits(member, row[side], side)]
        found[side] = fits[0] if len(fits) == 1 else None
        if len(fits) != 1:
            problems.append(f"{side} {row[side][:60]!r} is not there" if not fits else f"{TWICE}: {row[side][:60]!r}")
    split = row.get("split", "")
    if split not in ("", *SPLITS):
        problems.append(f"split is {split[:20]!r}, not train or test")
    name = row.get("name") or stem_of(row["photo"])
    return Pair(
        name, found["photo"], found["sketch"], "", split if split in SPLITS else "",
        problem=BROKEN if problems else "", detail="; ".join(problems),
    )  # fmt: skip


def _fits(member: Member, wanted: str, side: str) -> bool:
    """Whether a table's cell means a member: its path, or the end of it, on the right side."""
    return (
        bool(wanted) and one_form(f"/{member.name}").endswith(one_form(f"/{wanted}")) and side_of(member) in ("", side)
    )


def read_table(file: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV table with a header line as a dict a row; cells are stripped.

    Raises
    ------
    InputError
        Missing, over 64 MiB, neither UTF-8 nor UTF-16, not CSV, or without one of ``columns``.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    rows = read_rows(Member(str(file), file).content(), str(file), columns)
    return [{name: cell.replace("\\", "/") for name, cell in row.cells.items()} for row in rows]
