"""The eyes in the point files that come with data sets; knows formats of text, no pictures."""

from __future__ import annotations

import math
import re

from idekernels.errors import InputError
from idemodel.datasets.sources import Member
from idemodel.faces.alignment import Eyes

MAX_POINT_BYTES = 64 * 2**10
LEAST_DISTANCE = 2.0  # pixels between two eyes
CUFS_POINTS, CUFS_EYES = 35, (16, 18)  # of the points of a CUFS .dat file, counted from 0

_FERET = re.compile(r"(left|right)_eye_coordinates=\s*(\S+)\s+(\S+)")


def read_points(member: Member) -> Eyes:
    """Read the eyes from a point file.

    Understood are lines ``x y`` (x the column, y the row, pixels; commas, tabs or spaces between): 35 of them as in
    CUFS, where the 17th and 19th are the eyes, or 2 to 5 of them, where the first two are (CUFSF's ``.3pts``: eyes and
    mouth); one line of four numbers (``.pos``: both eyes); and FERET's ``left_eye_coordinates=x y`` lines. Which eye
    is named first does not matter: the left one is the one further left in the picture. Points are taken as they
    stand: whether an author counts pixels from 0 or 1 is not recorded, and is less than a pixel once a frame is scaled
    down.

    Raises
    ------
    InputError
        Another number of points, not numbers, or eyes at one place.
    """
    if member.path.stat().st_size > MAX_POINT_BYTES:
        raise InputError(f"{member.name}: is over {MAX_POINT_BYTES // 2**10} KiB, too long for a point file")
    text = member.text()
    named = {side: (x, y) for side, x, y in _FERET.findall(text)}
    if len(named) == 2:
        return _eyes(member, [_point(member, *named["left"]), _point(member, *named["right"])])
    lines = [line.replace(",", " ").split() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0]) == 4:
        lines = [lines[0][:2], lines[0][2:]]
    if any(len(line) != 2 for line in lines):
        raise InputError(f"{member.name}: is not a point file (lines of two numbers, x and y)")
    points = [_point(member, *line) for line in lines]
    if len(points) == CUFS_POINTS:
        return _eyes(member, [points[number] for number in CUFS_EYES])
    if not 2 <= len(points) <= 5:
        raise InputError(f"{member.name}: has {len(points)} points; files of 2 to 5 or {CUFS_POINTS} are understood")
    return _eyes(member, points[:2])


def _point(member: Member, x: str, y: str) -> complex:
    try:
        point = complex(float(x), float(y))
    except ValueError:
        point = complex(math.nan, 0)
    if not abs(point) < 1e6:
        raise InputError(f"{member.name}: {f'{x} {y}'[:40]!r} is not a position in pixels")
    return point


def _eyes(member: Member, points: list[complex]) -> Eyes:
    left, right = sorted(points, key=lambda point: point.real)
    if abs(right - left) < LEAST_DISTANCE or right.real == left.real:
        raise InputError(f"{member.name}: the eyes are {abs(right - left):.1f} pixels apart, side by side on no face")
    return Eyes(left, right)
