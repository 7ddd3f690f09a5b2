"""Which file is a photo or a sketch, of which split, and which two belong together; knows names only."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from idemodel.datasets.listing import BROKEN, NO_PHOTO, NO_SKETCH, SPLITS, TWICE, UNUSED, Pair
from idemodel.datasets.sources import PICTURES, POINTS, TABLES, Member

SIDES = ("photo", "sketch")


def side_of(member: Member) -> str:
    """``photo`` or ``sketch`` by the innermost folder or archive whose name holds one of the words, else empty."""
    if member.side:
        return member.side
    for folder in reversed(member.folders):
        found = [side for side in SIDES if side in folder]
        if len(found) == 1:
            return found[0]
    return "sketch" if re.search(r"[-_]sz\d$", member.stem.lower()) else ""


def split_of(member: Member) -> str:
    """``train`` or ``test`` by the innermost folder or archive with a word that begins so, else empty."""
    for folder in reversed(member.folders):
        words = re.split(r"[^a-z]+", folder)
        found = [split for split in SPLITS if any(word.startswith(split) for word in words)]
        if len(found) == 1:
            return found[0]
    return ""


def has_word(member: Member, word: str) -> bool:
    """Whether a folder or archive on the way to a file has a word in its name."""
    return any(word in re.split(r"[^a-z0-9]+", folder) for folder in member.folders)


def cropped(member: Member) -> bool:
    """Whether it lies among pictures that their authors have aligned."""
    return any("crop" in folder or "align" in folder for folder in member.folders)


@dataclass(frozen=True)
class Key:
    """Whom a file shows: the same for the photo, the sketch and their points.

    ``split`` is part of the identity only where numbers start again in every split (``apart``).
    """

    name: str
    group: str = ""
    split: str = ""
    apart: bool = False

    @property
    def identity(self) -> Hashable:
        """What must be equal."""
        return self.group, self.name, self.split if self.apart else ""


@dataclass
class _Face:
    key: Key
    pictures: dict[str, list[Member]] = field(default_factory=lambda: {side: [] for side in SIDES})
    points: dict[str, list[Member]] = field(default_factory=lambda: {side: [] for side in SIDES})
    splits: set[str] = field(default_factory=set)


def match(
    members: Iterable[Member], key_of: Callable[[Member], Key | None], side: Callable[[Member], str] = side_of
) -> tuple[list[Pair], list[tuple[str, str]]]:
    """Put photos, sketches and point files of one key together.

    Aligned pictures come before original frames of the same face, then the first name in the alphabet; what stands
    back is told as unused.

    Returns
    -------
    pairs : list of Pair
        Sorted; with a problem where the photo or the sketch is missing, or the two are of different splits.
    unused : list of (name, reason)
    """
    faces: dict[Hashable, _Face] = {}
    unused: list[tuple[str, str]] = []
    for member in members:
        key, where = key_of(member), side(member)
        if member.suffix in TABLES:
            continue
        if key is None or not where:
            unused.append((member.name, UNUSED))
            continue
        face = faces.setdefault(key.identity, _Face(key))
        (face.points if member.suffix in POINTS else face.pictures)[where].append(member)
        if member.suffix in PICTURES and key.split:
            face.splits.add(key.split)
    pairs = [_pair(face, unused) for face in faces.values()]
    return sorted(pairs, key=lambda pair: (pair.group, pair.split, pair.name)), unused


def _pair(face: _Face, unused: list[tuple[str, str]]) -> Pair:
    chosen: dict[str, Member | None] = {}
    points: dict[str, Member | None] = {}
    for side in SIDES:
        ranked = sorted(face.pictures[side], key=lambda member: (not cropped(member), member.name))
        chosen[side] = picture = ranked[0] if ranked else None
        beside = sorted(face.points[side], key=lambda member: member.name)
        points[side] = beside[0] if beside and picture and not cropped(picture) else None
        unused += [(member.name, f"{TWICE}: {ranked[0].name}") for member in ranked[1:]]
        unused += [(member.name, UNUSED) for member in beside if member is not points[side]]
    split = next(iter(face.splits)) if len(face.splits) == 1 else ""
    pair = Pair(
        face.key.name, chosen["photo"], chosen["sketch"], face.key.group, split, points["photo"], points["sketch"]
    )
    if pair.photo is None or pair.sketch is None:
        return replace(pair, problem=NO_PHOTO if pair.photo is None else NO_SKETCH)
    if len(face.splits) > 1:
        return replace(pair, problem=BROKEN, detail="photo and sketch are in different splits")
    return pair


def listed_splits(members: Iterable[Member], key_of: Callable[[str], Hashable | None]) -> dict[Hashable, str]:
    """Read lists of names such as ``train.txt`` or ``list_test.txt``: key -> split.

    A line's fields are paths or names; a key in both lists is in neither.
    """
    found: dict[Hashable, str] = {}
    for member in members:
        words = re.split(r"[^a-z]+", member.stem.lower())
        splits = [split for split in SPLITS if any(word.startswith(split) for word in words)]
        if member.suffix not in (".txt", ".lst") or len(splits) != 1:
            continue
        for part in re.split(r"[\s,;|]+", member.text()):
            key = key_of(Member(part.replace("\\", "/"), member.path).stem) if part else None
            if key is not None:
                found[key] = splits[0] if found.get(key, splits[0]) == splits[0] else ""
    return {key: split for key, split in found.items() if split}


def below(members: Sequence[Member], folder: str) -> list[Member]:
    """The members in a folder of the source (``photo``, ``set/photo``), in any case."""
    parts = PurePosixPath(folder.lower()).parts
    return [member for member in members if member.folders[: len(parts)] == parts]
