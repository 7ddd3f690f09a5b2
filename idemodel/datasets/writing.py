"""Writes the pairs folder of an import and its table ``import.csv``; resumes, and never mixes with other content."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from idekernels.errors import InputError
from idekernels.files.atomic import replace_when_done
from idemodel.datasets.listing import BROKEN, SPLITS, Pair
from idemodel.datasets.matching import SIDES
from idemodel.datasets.planning import Plan
from idemodel.datasets.points import read_points
from idemodel.datasets.sources import Member
from idemodel.faces.alignment import HEIGHT, WIDTH, Eyes, Similarity, standard_eyes, warp
from idemodel.files.images import read_colour, write_image
from idemodel.files.outputs import is_whole

TABLE = "import.csv"
COLUMNS = ("name", "group", "split", "photo", "sketch", "size", "status", "reason")
_PLANNED = COLUMNS[:6]  # what must be equal where an import is taken up again

Image = NDArray[np.uint8]


@dataclass
class Done:
    """How an import went: every pair with its problem if it had one, and how many pairs were there before."""

    plan: Plan
    pairs: list[Pair] = field(default_factory=list)
    there: int = 0
    sizes: set[tuple[int, int]] = field(default_factory=set)

    @property
    def imported(self) -> list[Pair]:
        """The pairs that are in the folder now."""
        return [pair for pair in self.pairs if not pair.problem]

    @property
    def broken(self) -> list[Pair]:
        """The pairs that could not be used."""
        return [pair for pair in self.pairs if pair.problem == BROKEN]


def write_pairs(plan: Plan, out: Path, progress: Callable[[int, int], None] | None = None) -> Done:
    """Write every pair of a plan that is not there yet; a bad one is kept with its reason and the rest goes on.

    Pictures are ``out[/split]/photo/NAME.png`` and ``out[/split]/sketch/NAME.png``. ``progress`` is called with
    (done, all) after each pair of ``plan.todo``.

    Raises
    ------
    InputError
        ``out`` holds something else, or another import.
    OSError
        ``out`` cannot be written.
    """
    _claim(plan, out)
    done, tried, todo = Done(plan), 0, len(plan.todo)
    for pair in plan.listing.pairs:
        if not pair.problem:
            pair = _import(plan, pair, out, done)
            tried += 1
            if progress is not None:
                progress(tried, todo)
        done.pairs.append(pair)
    _write_table(out, _rows(plan, done.pairs, "imported"))
    return done


def place(out: Path, pair: Pair, side: str) -> Path:
    """Where a picture of a pair goes."""
    return out / pair.split / side / f"{pair.name}.png"


def _import(plan: Plan, pair: Pair, out: Path, done: Done) -> Pair:
    places = [place(out, pair, side) for side in SIDES]
    if all(path.is_file() and is_whole(path) for path in places):
        done.there += 1
        done.sizes.add(_size_of(places[0]))
        return pair
    try:
        pictures = _pictures(plan, pair)
    except InputError as error:
        return replace(pair, problem=BROKEN, detail=" ".join(str(error).split()))
    done.sizes.add((pictures[0].shape[0], pictures[0].shape[1]))
    for path, picture in zip(places, pictures, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, picture)
    return pair


def _pictures(plan: Plan, pair: Pair) -> list[Image]:
    members = [(pair.photo, pair.photo_points), (pair.sketch, pair.sketch_points)]
    images = [(_read(plan, member), member, points) for member, points in members if member]
    named = plan.eyes.of(Path(f"{pair.name}.png")) if plan.eyes else []
    if plan.eyes and len(named) != 1:
        raise InputError(f"{pair.name}: {plan.eyes.path.name} has {len(named)} faces for it; it needs one")
    if named and images[0][0].shape[:2] != images[1][0].shape[:2]:
        raise InputError(f"{pair.name}: one row of eyes for a photo and a sketch of different sizes")
    size = plan.size
    if size is None and any(points for _, _, points in images):
        size = (HEIGHT, WIDTH)
    aligned = [
        _fitted(image, member, named[0] if named else read_points(points) if points else None, size)
        for image, member, points in images
    ]
    if aligned[0].shape[:2] != aligned[1].shape[:2]:
        sizes = " and ".join(f"{image.shape[0]} x {image.shape[1]}" for image in aligned)
        raise InputError(f"{pair.name}: photo and sketch differ in size ({sizes}) and no eyes are given to align them")
    return [_plain(image) for image in aligned]


def _read(plan: Plan, member: Member) -> Image:
    with plan.source.plain_file(member) as path:
        try:
            return read_colour(path, also=("PPM",))
        except InputError as error:
            raise InputError(f"{member.name}: {str(error).removeprefix(f'{path}: ')}") from error


def _fitted(image: Image, member: Member, eyes: Eyes | None, size: tuple[int, int] | None) -> Image:
    """The picture with its eyes in place; one that is of the size, or 250 x 200, is taken for aligned without eyes."""
    height, width = image.shape[:2]
    if eyes is None:
        if size in (None, (height, width)):
            return image
        if (height, width) != (HEIGHT, WIDTH):
            raise InputError(
                f"{member.name}: is {height} x {width}, not {size[0]} x {size[1]}, and has no eye coordinates"
            )
        eyes = standard_eyes()
    for eye in (eyes.left, eyes.right):
        if not (0 <= eye.real < width and 0 <= eye.imag < height):
            raise InputError(
                f"{member.name}: an eye at ({eye.real:.0f}, {eye.imag:.0f}) is outside its {height} x {width} pixels; "
                "the points belong to another frame"
            )
    rows, columns = size or (HEIGHT, WIDTH)
    return warp(image, Similarity.between(eyes, standard_eyes(rows, columns)), rows, columns)


def _plain(image: Image) -> Image:
    """Grey where the three channels are one."""
    grey = (image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all()
    return np.ascontiguousarray(image[..., 0]) if grey else image


def _size_of(path: Path) -> tuple[int, int]:
    with Pillow.open(path, formats=("PNG",)) as image:
        return image.height, image.width


def _claim(plan: Plan, out: Path) -> None:
    """Make the folder with its table, or see that it holds this very import and nothing else."""
    table, rows = out / TABLE, _rows(plan, plan.listing.pairs, "waiting")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        out.mkdir(parents=True, exist_ok=True)
        _write_table(out, rows)
        return
    if not table.is_file():
        raise InputError(f"{out}: holds other files; choose a new folder")
    if _planned(table) != [tuple(row[name] for name in _PLANNED) for row in rows if row["status"] != "unused"]:
        raise InputError(f"{out}: holds an import of other pairs or settings; choose a new folder")
    planned = {place(out, pair, side) for pair in plan.todo for side in SIDES} | {table}
    folders = {out / split / side for split in ("", *SPLITS) for side in SIDES} | {out / split for split in SPLITS}
    for path in out.rglob("*"):
        half = path.name.startswith(".") and path.name.endswith(".partial")
        if not (path in planned or half or (path in folders and path.is_dir())):
            raise InputError(f"{path}: is not of this import; choose a new folder or move the file away")


def _planned(table: Path) -> list[tuple[str, ...]]:
    try:
        rows = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"), newline=""), strict=True)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            return []
        return [tuple(row[name] or "" for name in _PLANNED) for row in rows if row["status"] != "unused"]
    except (csv.Error, UnicodeDecodeError):
        return []


def _rows(plan: Plan, pairs: list[Pair], status: str) -> list[dict[str, str]]:
    size = f"{plan.size[0]}x{plan.size[1]}" if plan.size else "kept"
    rows = [
        {
            "name": pair.name, "group": pair.group, "split": pair.split,
            "photo": pair.photo.name if pair.photo else "", "sketch": pair.sketch.name if pair.sketch else "",
            "size": size, "status": "skipped" if pair.problem else status,
            "reason": ": ".join(part for part in (pair.problem, pair.detail) if part),
        }
        for pair in pairs
    ]  # fmt: skip
    for name, reason in plan.listing.unused:
        rows.append(dict.fromkeys(COLUMNS, "") | {"photo": name, "status": "unused", "reason": reason})
    return rows


def _write_table(out: Path, rows: list[dict[str, str]]) -> None:
    text = io.StringIO(newline="")
    lines = csv.DictWriter(text, COLUMNS)
    lines.writeheader()
    lines.writerows(rows)
    with replace_when_done(out / TABLE) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8", errors="backslashreplace", newline="")
