"""The look of the first phantoms in a few numbers, to see when they are drawn otherwise.

``python -m tests.phantom_means`` writes the table anew, after DRAWING in idemodel/phantom/pairs.py was raised.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from idemodel.phantom import PhantomPair, phantom_pairs
from idemodel.phantom.pairs import DRAWING

TABLE = Path(__file__).with_suffix(".json")
PAIRS, SEED = 3, 7
ROWS, COLUMNS = 10, 8


def block_means(pair: PhantomPair) -> dict[str, list[list[float]]]:
    """Mean grey levels of photo and sketch in ROWS x COLUMNS blocks."""
    return {"photo": _means(pair.photo.mean(axis=2)), "sketch": _means(pair.sketch)}


def of_the_first_pairs() -> list[dict[str, list[list[float]]]]:
    return [block_means(pair) for pair in phantom_pairs(PAIRS, seed=SEED)]


def _means(picture: np.ndarray) -> list[list[float]]:
    height, width = picture.shape
    blocks = picture.reshape(ROWS, height // ROWS, COLUMNS, width // COLUMNS).mean(axis=(1, 3))
    return [[round(float(mean), 2) for mean in row] for row in blocks]


if __name__ == "__main__":
    rows = ",\n".join(json.dumps(each) for each in of_the_first_pairs())
    TABLE.write_text(f'{{"drawing": {DRAWING}, "pairs": [\n{rows}\n]}}\n', encoding="utf-8")
    print(TABLE)
