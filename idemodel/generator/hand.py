"""The hand that finishes a sketch: how hard the pencil is pressed, and what stays blank paper; loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from idekernels import arguments
from idekernels.bank import PHOTO_TO_SKETCH
from idekernels.errors import InputError, in_short

if TYPE_CHECKING:
    from torch import Tensor

_SOFTEST, _HARDEST = 0.25, 4.0  # press


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
        arguments.real("press", self.press, _SOFTEST, _HARDEST)
        arguments.real("paper", self.paper, 0.5, 1.0)

    def drawn(self, fine: Tensor) -> Tensor:
        """Fine sketches of any shape in [0, 1], in this tone, clipped to [0, 1]; as they are for ``Hand()``."""
        if self == Hand():
            return fine
        return (fine / self.paper).clamp(0.0, 1.0) ** self.press

    def in_style(self, style: Hand) -> Hand:
        """This hand in a style: pressed that much harder or less, within the range of ``press``; as much paper blank.

        Raises
        ------
        ValueError
            A style that leaves more paper blank: it has no meaning for a hand that does so itself.
        """
        if style.paper != 1.0:
            raise ValueError(f"a style changes the press alone, not paper={style.paper}")
        return replace(self, press=min(max(self.press * style.press, _SOFTEST), _HARDEST))


STYLES: Mapping[str, Hand] = {"soft": Hand(0.7), "pencil": Hand(), "bold": Hand(1.5)}  # pencil: the model's own


def chosen_hand(own: Hand, given: Hand | Mapping[str, float] | str | None) -> Hand:
    """The hand that was asked for: one as it is, single values instead of the model's ``own``, or it in a style.

    Raises
    ------
    TypeError, ValueError
        A value out of its range, or no style of that name in ``STYLES``.
    """
    if isinstance(given, Hand):
        return given
    if isinstance(given, str):
        return own.in_style(STYLES[arguments.choice("style", given, tuple(STYLES))])
    return replace(own, **(given or {}))


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
