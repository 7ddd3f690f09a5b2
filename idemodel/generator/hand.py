"""The hand that finishes a sketch: how hard the pencil is pressed, and what stays blank paper; loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idekernels import arguments
from idekernels.bank import PHOTO_TO_SKETCH
from idekernels.errors import InputError, in_short

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Hand:
    """The tone of fine sketches: a generator's grey level g becomes ``min(1, g / paper) ** press``.

    A generator learns the mean pressure of its artists, and the mean grey of their paper with all its stains. One value
    makes its sketches calmer or more drawn; strokes and places stay what they are. A power, as what light a layer of
    graphite lets through is multiplied by the next layer's: black is neared, never clipped.

    Parameters
    ----------
    press : float
        Layers of graphite, of the learned ones: below 1 calmer, above 1 more drawn; 1 as learned.
    paper : float
        The grey level, of 1, from which on the paper is left blank.

    Raises
    ------
    TypeError, ValueError
        Not a number, a ``press`` outside [0.25, 4], a ``paper`` outside [0.5, 1].
    """

    press: float = 1.0
    paper: float = 1.0

    def __post_init__(self) -> None:
        arguments.real("press", self.press, 0.25, 4.0)
        arguments.real("paper", self.paper, 0.5, 1.0)

    def drawn(self, fine: Tensor) -> Tensor:
        """Fine sketches of any shape in [0, 1], in this tone, clipped to [0, 1]; as they are for ``Hand()``."""
        if self == Hand():
            return fine
        return (fine / self.paper).clamp(0.0, 1.0) ** self.press


def hand_of(recipe: Mapping[str, Any], direction: str) -> Hand:
    """The hand that a generator's recipe names; ``Hand()`` where it names none, and where photos are made.

    Raises
    ------
    InputError
        The recipe, of a file, names something else.
    """
    told = recipe.get("hand", {}) if direction == PHOTO_TO_SKETCH else {}
    try:
        return Hand(**told)
    except (TypeError, ValueError) as error:
        raise InputError(f"the hand of the model's recipe cannot be read: {in_short(error)}") from None
