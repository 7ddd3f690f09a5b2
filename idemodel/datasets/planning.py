"""From what the user gave to a plan of an import: source, layout, splits and eyes joined; writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from idekernels.errors import InputError
from idemodel.datasets.layout import Layout
from idemodel.datasets.listing import BROKEN, NOT_ASKED, SPLITS, Listing, Pair, Settings
from idemodel.datasets.matching import below
from idemodel.datasets.pairs import read_table
from idemodel.datasets.sources import PICTURES, Member, Source, open_source
from idemodel.faces.eye_table import EyeTable, read_eyes


@dataclass(frozen=True)
class Plan:
    """All that an import will do.

    size : (rows, columns) of the pairs, or None where pictures keep theirs
    eyes : the table of eyes that the user gave
    split_from : where the split comes from, in words
    """

    source: Source
    listing: Listing
    size: tuple[int, int] | None
    eyes: EyeTable | None
    split_from: str

    @property
    def todo(self) -> list[Pair]:
        """The pairs that have no problem: those that are to be written."""
        return [pair for pair in self.listing.pairs if not pair.problem]


@contextmanager
def plan_import(layout: Layout, given: Path, settings: Settings) -> Iterator[Plan]:
    """Open a source and find its pairs; what is unpacked is there until this ends.

    Raises
    ------
    InputError
        The source, a folder that the layout was told of, or a table cannot be used, or there is no pair.
    """
    eyes = read_eyes(settings.eyes) if settings.eyes else None
    if eyes and not settings.size:
        settings = replace(settings, size=(250, 200))
    with open_source(given) as source:
        for side, folder in layout.folders:
            _name_side(source, side, folder)
        listing = layout.find(source)
        if settings.split:
            listing = replace(listing, pairs=_split_by_table(listing.pairs, settings.split))
        listing = replace(listing, pairs=_distinct(listing.pairs), unused=listing.unused + source.left_out)
        _complain_if_empty(source, listing)
        words = f"from {settings.split}" if settings.split else "from the names of folders, archives and lists"
        yield Plan(source, listing, settings.size or listing.size, eyes, words)


def _name_side(source: Source, side: str, folder: str) -> None:
    """Say that a folder, of the source or elsewhere, holds the photos or the sketches."""
    inside = {member.name for member in below(source.members, folder)}
    if inside:
        source.members[:] = [replace(m, side=side) if m.name in inside else m for m in source.members]
    elif Path(folder).exists():
        source.add(Path(folder), side)
    else:
        raise InputError(f"{folder}: neither a folder within {source.given} nor a folder or archive elsewhere")


def _split_by_table(pairs: list[Pair], file: Path) -> list[Pair]:
    """The split that a CSV table with the columns name and split says; pairs that it does not name are left."""
    rows = read_table(file, ("name", "split"))
    wrong = [row for row in rows if row.get("split") not in SPLITS]
    if wrong:
        raise InputError(f"{file}: split is {wrong[0].get('split', '')[:20]!r}, not train or test")
    said = {row.get("name", ""): row["split"] for row in rows}
    detail = f"not named in {file.name}"
    return [
        pair
        if pair.problem
        else replace(pair, split=said[pair.name])
        if pair.name in said
        else replace(pair, problem=NOT_ASKED, detail=detail)
        for pair in pairs
    ]


def _distinct(pairs: list[Pair]) -> list[Pair]:
    """No two pairs go to one file, also where a disk does not tell capitals from small letters."""
    seen: set[tuple[str, str]] = set()
    distinct = []
    for pair in pairs:
        place = (pair.split, pair.name.lower())
        if place in seen and not pair.problem:
            pair = replace(pair, problem=BROKEN, detail=f"another pair is called {pair.name} (capitals aside)")
        seen.add(place)
        distinct.append(pair)
    return distinct


def _complain_if_empty(source: Source, listing: Listing) -> None:
    if any(not pair.problem for pair in listing.pairs):
        return
    pictures = [member for member in source.members if member.suffix in PICTURES]
    first: Member | None = pictures[0] if pictures else None
    reasons: dict[str, int] = {}
    for pair in listing.pairs:
        reasons[pair.problem] = reasons.get(pair.problem, 0) + 1
    why = ", ".join(f"{count} {problem}" for problem, count in reasons.items()) or "no names of this layout"
    shown = f"{len(pictures)} pictures, the first {first.name}" if first else "no pictures"
    raise InputError(f"{source.given}: no whole pair found ({why}; {shown}); docs/DATA.md shows the layouts")
