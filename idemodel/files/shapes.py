"""How the shape of an array or tensor is written in messages."""

from __future__ import annotations

from collections.abc import Sequence


def shape_text(shape: Sequence[int]) -> str:
    """``250 x 200`` for a shape, in the order of the array's axes; ``a scalar`` for no axes."""
    return " x ".join(map(str, shape)) or "a scalar"
