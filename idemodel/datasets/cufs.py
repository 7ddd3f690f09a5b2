"""The layout of CUFS (Wang and Tang, TPAMI 2009): CUHK student, AR and XM2VTS, official archives and aligned release.

Known of the official archives (one .zip each, ``sketchdatabase/PART/...``):

* CUHK student, ``CUHK_training_photo.zip``, ``CUHK_testing_sketch.zip``, ``CUHK_training_cropped_photos.zip`` and so
  on, with a folder ``photo``, ``sketch``, ``photos`` or ``sketches`` inside. Photos ``f-005-01``, ``f1-001-01``,
  ``m-008-01``, ``m1-001-01``; sketches ``f2-005-01-sz1`` for the photo ``f-005-01``, ``f1-001-01-sz1`` for
  ``f1-001-01``, ``m-063-01-sz1`` for ``m-063-01``, also in capitals (``F2-``). 88 training, 100 testing: by the names.
* AR, ``AR_sketch.zip``, ``AR_cropped_sketches.zip``: sketches ``Mp-002-1-sz1``, ``Wp-001-1-sz1`` for the photos
  ``m-002-1``, ``w-001-1``, which come with the AR database.
* XM2VTS, ``XM2VTS_sketch.zip``, ``XM2VTS_cropped_sketches.zip``: sketches ``000_1_1_sz1`` for the photos ``000_1_1``,
  which come with XM2VTS.
* Points, ``CUHK_training_faducial_points_sketch.zip`` (spelt so), ``Xm2VTS_faducial_points_sketch.zip``: one ``.dat``
  of 35 lines ``x y`` for an original frame, named like its picture (XM2VTS photos ``000_1_1_f02.dat``).

The cropped archives and the aligned releases that papers pass around are 250 x 200 with the eyes in place; the latter
keep numbered files (``001.png``) in folders such as ``CUHK/train/photos`` or ``AR/photos``. The part is told by the
official name, or by a folder called ``cuhk``, ``student``, ``ar`` or ``xm2vts``. The splits of AR (80 / 43) and XM2VTS
(100 / 195) are in no official archive: they are taken from folders or lists named train and test where there are any.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace

from idemodel.datasets.layout import LayoutWithFolders, setting
from idemodel.datasets.listing import NOT_ASKED, Listing, Pair
from idemodel.datasets.matching import Key, has_word, listed_splits, match, side_of, split_of
from idemodel.datasets.sources import Member, Source

SIZE = (250, 200)
EXPECTED = {"cuhk": (88, 100), "ar": (80, 43), "xm2vts": (100, 195)}

_SKETCH = r"(?:[-_]sz\d)?$"
_NAMES = (  # part, name; the groups that photo and sketch share
    ("cuhk", re.compile(r"([fm])(\d?)(-\d{3}-\d{2})" + _SKETCH)),
    ("ar", re.compile(r"([mw])p?()(-\d{3}-\d)" + _SKETCH)),
    ("xm2vts", re.compile(r"()()(\d{3}_\d_\d)(?:_f\d+)?" + _SKETCH)),
)
_FOLDERS = {"cuhk": "cuhk", "student": "cuhk", "students": "cuhk", "ar": "ar", "arface": "ar", "xm2vts": "xm2vts"}
_NUMBER = re.compile(r"\d{1,5}$")


def official_key(stem: str) -> tuple[str, str] | None:
    """(part, the photo's name) of an official name of a photo or a sketch, or None."""
    for part, pattern in _NAMES:
        found = pattern.match(stem.lower())
        if found:
            series = "" if found[2] == "2" else found[2]  # sketches f2- belong to photos f-
            return part, f"{found[1]}{series}{found[3]}"
    return None


@dataclass(frozen=True)
class Cufs(LayoutWithFolders):
    """The three parts of CUFS, or one of them."""

    name = "cufs"
    about = "CUHK student, AR, XM2VTS: official archives or the aligned release"

    part: str | None = setting("Only this part", values=tuple(EXPECTED))

    def find(self, source: Source) -> Listing:
        """List the pairs of CUFS."""
        pairs, unused = match(source.members, _key, _side)
        listed = listed_splits(source.members, _list_key)
        pairs = [_asked(_with_split(pair, listed), self.part) for pair in pairs]
        expected = {part: counts for part, counts in EXPECTED.items() if self.part in (None, part)}
        return Listing(pairs, expected, SIZE, unused)


def _key(member: Member) -> Key | None:
    official = official_key(member.stem)
    if official:
        part, name = official
        return Key(f"{part}-{name}", part, split_of(member))
    if not _NUMBER.match(member.stem):
        return None
    part = next((part for word, part in _FOLDERS.items() if has_word(member, word)), "")
    name = f"{part}-{member.stem}" if part else member.stem
    return Key(name, part, split_of(member), apart=True)


def _side(member: Member) -> str:
    return side_of(member) or ("photo" if official_key(member.stem) else "")


def _list_key(stem: str) -> Hashable | None:
    official = official_key(stem)
    return f"{official[0]}-{official[1]}" if official else None


def _with_split(pair: Pair, listed: dict[Hashable, str]) -> Pair:
    return pair if pair.split or pair.problem else replace(pair, split=listed.get(pair.name, ""))


def _asked(pair: Pair, part: str | None) -> Pair:
    return replace(pair, problem=NOT_ASKED, detail="") if part not in (None, pair.group) else pair
