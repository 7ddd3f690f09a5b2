"""The layout of CUFSF (Zhang, Wang and Tang, CVPR 2011): sketches of 1194 FERET photos, original frames with points.

Known of the official archive: ``original_sketch/00043.jpg`` and ``cropped_sketch/00043.jpg`` (the subject's number),
``sketch_points/00043.3pts`` and ``photo_points/00043fb001d_931230.3pts`` (lines ``x y``: both eyes, mouth), and
``names_of_photos_used_for_drawing_sketches.txt`` with a photo's name a line, ``00043fb001d_931230.tif``. The photos
come with FERET: grey ``00043fb001d_931230.tif`` or ``.ppm``, often packed (``.gz``, ``.bz2``), or colour
``00043_931230_fb.ppm.bz2`` (``_fb_a`` in later releases), whose frames are others than the grey ones' and whose eyes
are in ``ground_truths/name_value/00043/00043_931230_fb.txt``. CUFSF's photo points count only for a photo of the same
name.

Which photo a sketch was drawn from is told by the list; without one by there being a single photo of the subject.
Aligned releases keep both as ``00043.jpg`` or numbered in folders ``photo`` and ``sketch``. The split 250 / 944 is in
no official archive: it is taken from folders or lists named train and test where there are any.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace

from idemodel.datasets.layout import LayoutWithFolders
from idemodel.datasets.listing import NO_PHOTO, Listing, Pair
from idemodel.datasets.matching import Key, listed_splits, match, side_of, split_of
from idemodel.datasets.sources import PICTURES, TABLES, Member, Source

SIZE = (250, 200)
EXPECTED = {"": (250, 944)}

_GREY = re.compile(r"(\d{5})([a-z]{2})[a-z0-9]*_(\d{6})", re.IGNORECASE)
_COLOUR = re.compile(r"(\d{5})_(\d{6})_([a-z]{2})(?:_[a-z])?$", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,5}$")

Shot = tuple[str, str, str]  # subject, pose, date


def shot(stem: str) -> Shot | None:
    """(subject, pose, date) of a FERET name, grey or colour, or None."""
    grey, colour = _GREY.match(stem), _COLOUR.match(stem)
    if grey:
        return grey[1], grey[2].lower(), grey[3]
    return (colour[1], colour[3].lower(), colour[2]) if colour else None


@dataclass(frozen=True)
class Cufsf(LayoutWithFolders):
    """CUFSF's sketches and the FERET photos that they were drawn from."""

    name = "cufsf"
    about = "FERET photos and their sketches, with point files"

    def find(self, source: Source) -> Listing:
        """List the pairs of CUFSF."""
        wanted = _photo_list(source.members)
        used, unused = _photos_used(source.members, wanted)
        truths = {member.stem.lower(): member for member in used if member.suffix in TABLES}
        pairs, more = match([member for member in used if member.suffix not in TABLES], _key, _side)
        listed = listed_splits(source.members, _list_key)
        doubtful = _several(used, wanted)
        pairs = [_with_points(_told(pair, wanted, doubtful), truths) for pair in pairs]
        pairs = [pair if pair.split else replace(pair, split=listed.get(pair.name, "")) for pair in pairs]
        return Listing(pairs, EXPECTED, SIZE, unused + more)


def _photo_list(members: list[Member]) -> dict[str, tuple[str, Shot]]:
    """Subject -> (stem, shot) of the photo that was drawn, from every list of which each line is a FERET name."""
    found: dict[str, tuple[str, Shot]] = {}
    for member in members:
        if member.suffix not in (".txt", ".lst") or "ground_truths" in member.folders:
            continue
        stems = [Member(line.strip().strip("'\"").replace("\\", "/"), member.path).stem
                 for line in member.text().splitlines() if line.strip()]  # fmt: skip
        shots = [shot(stem) for stem in stems]
        for stem, taken in zip(stems, shots, strict=True):
            if taken and all(shots):
                found.setdefault(taken[0], (stem.lower(), taken))
    return found


def _photos_used(
    members: list[Member], wanted: dict[str, tuple[str, Shot]]
) -> tuple[list[Member], list[tuple[str, str]]]:
    """Everything but the FERET photos, points and truths that the list does not name."""
    used: list[Member] = []
    unused: list[tuple[str, str]] = []
    for member in members:
        taken = shot(member.stem)
        other = taken and taken[0] in wanted and wanted[taken[0]][1] != taken
        if other:
            unused.append((member.name, "not the photo that was drawn"))
        elif member.suffix in TABLES and not taken:
            continue
        else:
            used.append(member)
    return used, unused


def _key(member: Member) -> Key | None:
    taken = shot(member.stem)
    if taken:
        return Key(taken[0], "", split_of(member))
    return Key(member.stem, "", split_of(member)) if _NUMBER.match(member.stem) else None


def _side(member: Member) -> str:
    return side_of(member) or ("photo" if shot(member.stem) else "")


def _list_key(stem: str) -> Hashable | None:
    taken = shot(stem)
    return taken[0] if taken else stem if _NUMBER.match(stem) else None


def _several(members: list[Member], wanted: dict[str, tuple[str, Shot]]) -> dict[str, int]:
    """Subject -> number of photos, where there are several and no list says which was drawn."""
    shots = {shot(member.stem) for member in members if member.suffix in PICTURES}
    counts = Counter(taken[0] for taken in shots if taken and taken[0] not in wanted)
    return {subject: count for subject, count in counts.items() if count > 1}


def _told(pair: Pair, wanted: dict[str, tuple[str, Shot]], doubtful: dict[str, int]) -> Pair:
    if pair.name in doubtful and pair.sketch:
        return replace(pair, photo=None, problem=NO_PHOTO, detail=f"{doubtful[pair.name]} photos and no list")
    if pair.photo is None and pair.name in wanted:
        return replace(pair, problem=NO_PHOTO, detail=f"FERET's {wanted[pair.name][0]}")
    return pair


def _with_points(pair: Pair, truths: dict[str, Member]) -> Pair:
    """Points belong to the frame of the photo of their own name."""
    photo = pair.photo
    if photo is None or shot(photo.stem) is None:
        return pair
    own = pair.photo_points
    if own is not None and own.stem.lower() != photo.stem.lower():
        own = None
    return replace(pair, photo_points=own or truths.get(photo.stem.lower()))
