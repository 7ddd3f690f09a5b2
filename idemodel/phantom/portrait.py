"""Owns the order in which a person is put together, back to front; knows no detail of any part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import anatomy, beard, features, glasses, hair
from .canvas import Surface
from .curves import Line, Outline
from .person import Person
from .raster import Frame, smooth_noise


@dataclass(frozen=True)
class Portrait:
    """A built surface and what the artist needs beside it."""

    surface: Surface
    head: Outline
    lines: list[Line]


def build_portrait(person: Person, frame: Frame, rng: np.random.Generator) -> Portrait:
    """Lay every part of the person on a surface, and collect the lines that an artist would draw."""
    tile = hair.strand_tile(rng)
    ripple = smooth_noise(rng, frame, 0.22)
    head = anatomy.head_outline(person.head)
    cap = hair.hair_outline(person.hair, person.head)
    surface = Surface(frame, person.light.background)
    surface.mark("backdrop")
    hair.paint_back_hair(surface, person, cap, tile, ripple)
    anatomy.paint_body(surface, person, ripple)
    anatomy.paint_ears(surface, person)
    surface.mark("ears")
    anatomy.paint_head(surface, person, head, rng)
    features.paint_folds(surface, person)
    beard.paint_beard(surface, person, head, tile)
    features.paint_nose(surface, person)
    features.paint_mouth(surface, person)
    features.paint_eyes(surface, person)
    features.paint_brows(surface, person, tile)
    glasses.paint_glasses(surface, person)
    hair.paint_front_hair(surface, person, cap, tile, ripple)
    surface.mark("top")
    return Portrait(surface, head, _lines(person, head, cap, rng))


def _lines(person: Person, head: Outline, cap: Outline, rng: np.random.Generator) -> list[Line]:
    return [
        *anatomy.body_lines(person),
        *anatomy.ear_lines(person),
        *anatomy.head_lines(person, head),
        *features.fold_lines(person),
        *features.nose_lines(person),
        *features.mouth_lines(person),
        *features.eye_lines(person),
        *features.brow_lines(person, rng),
        *glasses.glasses_lines(person),
        *hair.hair_lines(person, cap),
    ]
