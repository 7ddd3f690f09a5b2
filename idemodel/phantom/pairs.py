"""Owns the stream of phantom pairs: numbers, seeds, argument checks; knows nothing of how a face is drawn."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .artist import draw_sketch
from .casting import draw_person
from .photo import develop, light_up
from .portrait import build_portrait
from .raster import Frame

MIN_HEIGHT, MIN_WIDTH = 64, 48
DRAWING = 2  # the version of the drawing: raise it when the same numbers give other pictures


@dataclass(frozen=True, eq=False)
class PhantomPair:
    """A drawn photo and its sketch.

    Attributes
    ----------
    name : str
        The pair's number, zero-padded to at least four digits.
    photo : (H, W, 3) uint8
        RGB, the eyes at row H/2 and columns 0.375 W and 0.625 W.
    sketch : (H, W) uint8
        Pencil on white paper, aligned with the photo up to the artist's liberties of a pixel or two.
    """

    name: str
    photo: NDArray[np.uint8]
    sketch: NDArray[np.uint8]


def phantom_pairs(
    count: int, *, height: int = 250, width: int = 200, seed: int = 7, start: int = 0
) -> Iterator[PhantomPair]:
    """Draw `count` pairs lazily, numbers `start` to `start + count - 1`.

    Parameters
    ----------
    count : int
        How many pairs, at least 0.
    height, width : int
        Rows and columns, at least 64 and 48. Faces scale with the width; the eyes sit at row H/2 and
        columns 0.375 W and 0.625 W (rows 125, columns 75 and 125 at the default 250 x 200).
    seed : int
        At least 0. A pair depends on (seed, number, height, width) alone, so any pair can be made by itself;
        the person of a number is the same at every size.
    start : int
        The first pair's number, at least 0.

    Returns
    -------
    iterator of PhantomPair
        Nothing is drawn before the first `next`; the arguments are checked at once.

    Raises
    ------
    TypeError
        An argument is not an integer.
    ValueError
        An argument is out of range.
    """
    count, start, seed = (
        _at_least(name, value, 0) for name, value in (("count", count), ("start", start), ("seed", seed))
    )
    height, width = _at_least("height", height, MIN_HEIGHT), _at_least("width", width, MIN_WIDTH)
    return (_phantom_pair(number, height, width, seed) for number in range(start, start + count))


def _at_least(name: str, value: int, low: int) -> int:
    try:
        whole = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if whole < low:
        raise ValueError(f"{name} must be at least {low}, got {whole}")
    return whole


def _phantom_pair(number: int, height: int, width: int, seed: int) -> PhantomPair:
    # One generator a step, so that a change in one step leaves the others' draws alone.
    who, build, sensor, hand = (np.random.default_rng([seed, number, step]) for step in range(4))
    person = draw_person(who)
    frame = Frame.portrait(height, width)
    portrait = build_portrait(person, frame, build)
    radiance = light_up(portrait.surface, person.light)
    photo = develop(radiance, person.light, frame.scale, sensor)
    sketch = draw_sketch(portrait, radiance, person, hand)
    return PhantomPair(f"{number:04d}", photo, sketch)
