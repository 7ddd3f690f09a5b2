"""Owns the shade by which a portraitist models a face whatever its light; knows no pencil and no photo.

Where it lies: the sides of the nose, the sockets, under brows, nose and lip, the lips, the turn of cheeks and jaw, the
neck. Amounts are densities of graphite, as of :class:`idemodel.phantom.pencil.Paper`.
"""

from __future__ import annotations

import numpy as np

from . import features
from .anatomy import midline
from .curves import Outline
from .person import Person
from .raster import Floats, Frame, bell, bump, smoothstep


def modelling(frame: Frame, person: Person, head: Outline) -> Floats:
    """The shade (H, W) of face and neck, as if nothing covered them."""
    shade = _nose(frame, person) + _eyes(frame, person) + _mouth(frame, person) + _turn(frame, person, head)
    return shade.astype(np.float32)


def left_to_lines(frame: Frame, person: Person) -> Floats:
    """How much (H, W), in [0, 1], of a place's own darkness is left to lines: at the lips and around the eyes."""
    mouth = person.mouth
    x0 = midline(person, mouth.y)
    lips = bump(frame, x0, mouth.y, 0.55 * mouth.half_width, 0.8 * (mouth.upper + mouth.lower))
    eyes = bump(frame, -0.5, -0.02, 0.24, 0.13) + bump(frame, 0.5, -0.02, 0.24, 0.13)
    return np.clip(1.3 * (lips + eyes), 0, 1)


def _nose(frame: Frame, person: Person) -> Floats:
    """Both sides of the nose, from the inner brow to the wing, and the shadow under it."""
    nose = person.nose
    x0 = midline(person, nose.tip_y)
    rise = np.clip((frame.y + 0.30) / (nose.tip_y + 0.30), 0, 1)
    middle = 0.13 + (nose.wing - 0.03 - 0.13) * rise**2
    length = smoothstep(-0.42, -0.10, frame.y) * smoothstep(nose.tip_y + 0.14, nose.tip_y - 0.02, frame.y)
    sides = sum(bell(side * (frame.x - x0 * rise) - middle, 0.040 + 0.015 * rise) for side in (-1.0, 1.0))
    under = bump(frame, x0, nose.tip_y + 0.17, 0.17, 0.045)
    return 0.26 * sides * length + 0.14 * under


def _eyes(frame: Frame, person: Person) -> Floats:
    """The sockets: deepest between nose and inner corner, lighter under the brow and under the eye."""
    brow = person.brows.y
    shade = np.zeros(frame.shape, dtype=np.float32)
    for side in (-1.0, 1.0):
        shade += 0.15 * bump(frame, side * 0.26, -0.12, 0.075, 0.11)
        shade += 0.10 * bump(frame, side * 0.50, 0.5 * brow, 0.24, 0.06)
        shade += 0.05 * bump(frame, side * 0.74, 0.6 * brow, 0.08, 0.10)
        shade += (0.06 + 0.06 * person.eyes.bag) * bump(frame, side * 0.48, 0.17, 0.19, 0.045)
    return shade


def _mouth(frame: Frame, person: Person) -> Floats:
    """The upper lip darker than the lower one, the hollow under it, the corners."""
    mouth = person.mouth
    x0 = midline(person, mouth.y)
    t = (frame.x - x0) / mouth.half_width
    upper, line, parted, lower = features.lips(person, t)
    ends = smoothstep(1.05, 0.85, np.abs(t))
    soft = 0.02
    over = smoothstep(-soft, soft, frame.y - upper) * smoothstep(soft, -soft, frame.y - line) * ends
    below = smoothstep(-soft, soft, frame.y - parted) * smoothstep(soft, -soft, frame.y - lower) * ends
    hollow = bump(frame, x0, mouth.y + mouth.opening + mouth.lower + 0.10, 0.24, 0.055)
    return (0.10 + 0.07 * mouth.redness) * over + (0.04 + 0.04 * mouth.redness) * below + 0.07 * hollow


def _turn(frame: Frame, person: Person, head: Outline) -> Floats:
    """Where cheeks and jaw turn away, and the neck below the chin."""
    _, distance, _ = head.polar(frame)
    edge = bell(distance, 0.13) * smoothstep(-0.5, 0.4, frame.y) * smoothstep(-0.02, 0.03, distance)
    outside = smoothstep(0.03, -0.02, distance) * smoothstep(1.1, 1.4, frame.y)
    chin = bell(frame.y - person.head.chin_y, 0.20)
    return 0.10 * edge + outside * (0.02 + 0.03 * chin)
