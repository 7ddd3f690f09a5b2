"""What a layout finds in a source: pairs with the reasons against them, and counts expected; reads no pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from idemodel.datasets.sources import Member

SPLITS = ("train", "test")

NO_PHOTO, NO_SKETCH = "no photo", "no sketch"
NOT_ASKED = "not asked for"
TWICE = "another file stands for the same picture"
UNUSED = "not part of a pair"
BROKEN = "broken"


@dataclass(frozen=True)
class Pair:
    """A pair that a layout knows of, whether or not both pictures are there.

    name : str
        Its files' stem in the pairs folder.
    group : str
        The part or style it belongs to, empty where there is none.
    split : str
        "train", "test", or empty where the source does not say.
    problem, detail : str
        Why it cannot be imported, as one of this module's words, and what there is to say about it.
    """

    name: str
    photo: Member | None
    sketch: Member | None
    group: str = ""
    split: str = ""
    photo_points: Member | None = None
    sketch_points: Member | None = None
    problem: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Listing:
    """All that a layout found.

    expected : mapping group -> (train, test) of the literature, or (all, 0) where there is no split
    size : (rows, columns) of the pictures where the data set has one, else None
    unused : (member name, reason) of every file that is in no pair
    """

    pairs: list[Pair]
    expected: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    unused: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Settings:
    """What holds for every layout: (rows, columns) of the pairs, a CSV of splits and one of eyes."""

    size: tuple[int, int] | None = None
    split: Path | None = None
    eyes: Path | None = None
