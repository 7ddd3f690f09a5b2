"""The layout of FS2K (Fan et al., Machine Intelligence Research 2022): JSON annotation, three styles.

Known of the official archive: a folder ``FS2K`` with ``photo/photo1/image0110.jpg`` (photo1 to photo3: where the
photos come from), ``sketch/sketch1/sketch0110.jpg`` (the same numbers; ``.png`` in sketch2), and ``anno_train.json``
(1058) and ``anno_test.json`` (1046): lists of objects with ``image_name`` ("photo1/image0110", no suffix), ``style``
(0, 1 or 2; shown here as 1, 2 and 3) and attributes. Photo and sketch share a frame; the frames are of many sizes and
come without eye coordinates, so pictures are kept as they are unless a table of eyes is given.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from idekernels.errors import InputError
from idemodel.datasets.layout import Layout, setting
from idemodel.datasets.listing import BROKEN, NOT_ASKED, SPLITS, UNUSED, Listing, Pair
from idemodel.datasets.sources import PICTURES, Member, Source

EXPECTED = {"style1": (357, 619), "style2": (351, 381), "style3": (350, 46)}  # by its authors' table

_NAME = re.compile(r"photo(\d+)/image(\d+)$")


@dataclass(frozen=True)
class Fs2k(Layout):
    """FS2K's pairs, of all styles or of one."""

    name = "fs2k"
    about = "three styles, JSON annotation"

    style: int | None = setting("Only this style", values=range(1, 4))

    def find(self, source: Source) -> Listing:
        """List the pairs of FS2K.

        Raises
        ------
        InputError
            No annotation, or one that is not a JSON list.
        """
        notes = {split: member for split in SPLITS if (member := _annotation(source, split))}
        if not notes:
            raise InputError(
                f"{source.given}: holds neither anno_train.json nor anno_test.json; give the folder with them"
            )
        root = PurePosixPath(next(iter(notes.values())).name).parent
        files = {_bare(member.name, root): member for member in reversed(source.members) if member.suffix in PICTURES}
        pairs = _once(
            [_pair(entry, split, files, self.style) for split, member in notes.items() for entry in _entries(member)]
        )
        used = {member.name for pair in pairs for member in (pair.photo, pair.sketch) if member}
        pictures = (member for member in source.members if member.suffix in PICTURES)
        unused = [(member.name, UNUSED) for member in pictures if member.name not in used]
        expected = {style: counts for style, counts in EXPECTED.items() if self.style in (None, int(style[-1]))}
        return Listing(pairs, expected, None, unused)


def _annotation(source: Source, split: str) -> Member | None:
    name = f"anno_{split}.json"
    found = [member for member in source.members if PurePosixPath(member.name.lower()).name == name]
    return min(found, key=lambda member: (member.name.count("/"), member.name), default=None)


def _entries(member: Member) -> list[Any]:
    try:
        entries = json.loads(member.text())
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{member.name}: is not JSON ({str(error)[:80]}); fetch the data set again") from error
    if not isinstance(entries, list):
        raise InputError(f"{member.name}: is not a list of annotations")
    return entries


def _pair(entry: Any, split: str, files: dict[str, Member], asked: int | None) -> Pair:
    name = entry.get("image_name") if isinstance(entry, dict) else None
    style = entry.get("style") if isinstance(entry, dict) else None
    found = _NAME.match(name.replace("\\", "/").lower()) if isinstance(name, str) else None
    if not found:
        return Pair(str(name)[:60], None, None, "", split, problem=BROKEN, detail="image_name is not photoN/imageNNNN")
    stem = f"photo{found[1]}_image{found[2]}"
    if isinstance(style, bool) or style not in (0, 1, 2):
        return Pair(stem, None, None, "", split, problem=BROKEN, detail=f"style is {str(style)[:20]!r}, not 0, 1 or 2")
    group = f"style{int(style) + 1}"
    photo = files.get(f"photo/photo{found[1]}/image{found[2]}")
    sketch = files.get(f"sketch/sketch{found[1]}/sketch{found[2]}")
    if asked not in (None, int(style) + 1):
        return Pair(stem, photo, sketch, group, split, problem=NOT_ASKED)
    absent = [side for side, member in (("photo", photo), ("sketch", sketch)) if member is None]
    if absent:
        detail = f"annotated, but its {' and '.join(absent)} is not there"
        return Pair(stem, photo, sketch, group, split, problem=BROKEN, detail=detail)
    return Pair(stem, photo, sketch, group, split)


def _once(pairs: list[Pair]) -> list[Pair]:
    """Every name once; one in both annotations, or twice in one, is in doubt."""
    counts = Counter(pair.name for pair in pairs)
    first = {pair.name: pair for pair in reversed(pairs)}
    twice = "annotated {} times; which one counts is not known"
    return [
        pair
        if counts[pair.name] == 1
        else Pair(
            pair.name, pair.photo, pair.sketch, pair.group, "", None, None, BROKEN, twice.format(counts[pair.name])
        )
        for pair in first.values()
    ][::-1]


def _bare(name: str, root: PurePosixPath) -> str:
    """A member's path below the annotation's folder, in lower case and without suffix."""
    return str(PurePosixPath(name.removeprefix(f"{root}/")).with_suffix("")).lower()
