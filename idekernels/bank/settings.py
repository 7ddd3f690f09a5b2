"""BankSettings and directions: what a bank was made with, and which of photo and sketch is made of the other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from idekernels.grid import PatchGrid
from idekernels.representations import check_names

PHOTO_TO_SKETCH, SKETCH_TO_PHOTO = DIRECTIONS = ("photo-to-sketch", "sketch-to-photo")
PLURALS = {"photo": "photos", "sketch": "sketches"}

_LONGEST_SIDE = 2**15  # pixels; patch and radius of every bank are below it

Side = TypeVar("Side")


@dataclass(frozen=True)
class BankSettings:
    """What a bank was made with; a query is transformed the same way, the grid and radius are its defaults.

    Parameters
    ----------
    patch, overlap, radius : int
        Defaults of the grid and of the search window, in pixels.
    representations : tuple of str
        Names of the source planes, of :data:`idekernels.representations.REPRESENTATIONS`.
    weights : tuple of int
        One positive integer a plane: its share of the distance.
    direction : str
        One of :data:`DIRECTIONS`: sketches are made of photos, or photos of sketches.

    Raises
    ------
    TypeError, ValueError
        A value of another type or out of its range, an unknown representation, or not one weight for each.
    """

    patch: int = 10
    overlap: int = 5
    radius: int = 5
    representations: tuple[str, ...] = ("intensity",)
    weights: tuple[int, ...] = (1,)
    direction: str = PHOTO_TO_SKETCH

    def __post_init__(self) -> None:
        PatchGrid(_LONGEST_SIDE, _LONGEST_SIDE, self.patch, self.overlap)  # checks patch and overlap
        check_names(self.representations)
        for name, value in (("radius", self.radius), *(("weights", weight) for weight in self.weights)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise TypeError(f"{name} must be integers, not {value!r}")
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, not {self.direction!r}")
        if not 0 <= self.radius < _LONGEST_SIDE:
            raise ValueError(f"radius must be at least 0 and below {_LONGEST_SIDE}, not {self.radius}")
        if len(self.weights) != len(self.representations) or len(set(self.representations)) != len(self.weights):
            raise ValueError(f"give one weight a representation, each once: {self.representations}, {self.weights}")
        if min(self.weights) < 1:
            raise ValueError(f"weights must be positive integers, not {self.weights}")

    @property
    def source_kind(self) -> str:
        """What a query is: ``photo`` or ``sketch``."""
        return kinds(self.direction)[0]

    @property
    def target_kind(self) -> str:
        """What is made of it: ``sketch`` or ``photo``."""
        return kinds(self.direction)[1]

    def ordered(self, photo: Side, sketch: Side) -> tuple[Side, Side]:
        """Order what belongs to photo and sketch as (source, target): swapped for sketch-to-photo; its own inverse."""
        return (photo, sketch) if self.direction == PHOTO_TO_SKETCH else (sketch, photo)

    def as_dict(self) -> dict[str, Any]:
        """The settings under their names."""
        return asdict(self)


def kinds(direction: str) -> tuple[str, str]:
    """What goes in and what comes out in a direction: ``photo`` and ``sketch``, or the reverse."""
    source, target = direction.split("-to-")
    return source, target
