"""Black bars at edges are found, whatever edge and tilt, and mended; dark clothes, hair and borders are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import theilslopes

from idecli.main import run
from idekernels import open_bank
from idekernels.representations import intensity
from idemodel.faces.bars import _median_line, bars, mended
from idemodel.files.images import write_image
from idemodel.phantom import phantom_pairs
from idemodel.preparation import PhotoPreparer, PreparationSettings

RNG = np.random.default_rng(3)
PAPER = RNG.integers(150, 250, (100, 80), dtype=np.uint8)


def barred(depth: float, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """An image with a bar along its last row, and where that is."""
    inner = 100 - np.maximum(depth + slope * np.arange(80), 0)
    bar = np.arange(100)[:, None] >= inner
    return np.where(bar, 0, PAPER).astype(np.uint8), bar


@given(st.integers(0, 3), st.floats(2, 12), st.floats(-0.12, 0.12))
def test_a_bar_is_found_at_every_edge(turns: int, depth: float, slope: float) -> None:
    image, bar = (np.rot90(plane, turns) for plane in barred(depth, slope))
    if bar.sum() < 100:
        return
    found = bars(image)
    assert found[bar].all()
    assert found.sum() <= bar.sum() + 4 * max(image.shape)  # a rim that may be blurred goes along
    filled = mended(image)
    assert filled.min() >= 150
    assert np.array_equal(filled[~found], image[~found])


def test_two_bars_of_one_turned_image() -> None:
    image, first = barred(8, -0.1)
    second = np.arange(80) < 5
    image[:, second] = 0
    found = bars(image)
    assert found[first].all() and found[:, second].all()
    assert mended(image).min() >= 150


def test_an_image_without_bars_is_the_very_array() -> None:
    assert mended(PAPER) is PAPER
    for pair in phantom_pairs(6, seed=5):
        assert mended(pair.photo) is pair.photo
        assert mended(pair.sketch) is pair.sketch


@pytest.mark.parametrize("dark", ["shirt", "hair", "all", "half", "specks", "streak"])
def test_what_is_black_but_no_bar(dark: str) -> None:
    rows, columns = np.indices((100, 80))
    shapes = {
        "shirt": rows > 75 + 0.02 * (columns - 40) ** 2,  # a collar is round
        "hair": (abs(columns - 40) > 25) & (abs(columns - 40) < 35) & (rows > 20),
        "all": rows >= 0,
        "half": rows > 50,
        "specks": (rows > 98) & (columns % 4 == 0),
        "streak": (rows > 97) & (columns > 20) & (columns < 45),
    }
    image = np.where(shapes[dark], 3, PAPER).astype(np.uint8)
    assert mended(image) is image


def test_colour_is_mended_as_grey_is() -> None:
    image, bar = barred(6, 0.05)
    colour = np.dstack([image, image, image])
    assert np.array_equal(mended(colour), np.dstack([mended(image)] * 3))
    blue = colour.copy()
    blue[bar] = (0, 0, 200)  # a deep blue backdrop is none
    assert mended(blue) is blue


def test_photos_are_mended_where_they_are_normalised_and_pairs_where_a_bank_is_built(tmp_path: Path) -> None:
    pairs = list(phantom_pairs(4, height=80, width=64, seed=8))
    for pair in pairs:
        for side in ("photo", "sketch"):
            (tmp_path / "pairs" / side).mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / "pairs" / side / f"{pair.name}.png", with_bar(getattr(pair, side)))
    assert run(["bank", "build", str(tmp_path / "pairs"), str(tmp_path / "bank.h5"), "--patch", "8"]) == 0
    with open_bank(tmp_path / "bank.h5") as bank:
        for number, pair in enumerate(pairs):
            for side, plane in (("photo", bank.source), ("sketch", bank.target)):
                expected = intensity(mended(with_bar(getattr(pair, side))))
                assert np.array_equal(plane(number, number + 1)[0, 0], expected)
        for normalise, steps in (("auto", ("bars",)), ("none", ())):
            preparer = PhotoPreparer(bank, PreparationSettings(align="never", normalise=normalise))
            made = preparer.prepare(with_bar(pairs[0].photo))
            assert made.steps[:1] == steps
            assert np.array_equal(made.image[-1], with_bar(pairs[0].photo)[-1]) == (normalise == "none")


def with_bar(image: np.ndarray) -> np.ndarray:
    """With a tilted bar along the last rows."""
    barred = image.copy()
    barred[np.arange(80)[:, None] >= 74 + 0.05 * np.arange(64)] = 0
    return barred


@given(st.integers(0, 2**32 - 1), st.integers(2, 80), st.integers(1, 50))
def test_the_line_through_a_bars_edge_is_theil_and_sens(seed: int, count: int, deepest: int) -> None:
    numbers = np.random.default_rng(seed)
    places = np.sort(numbers.choice(200, count, replace=False))
    depths = numbers.integers(0, deepest, count)
    assert _median_line(places, depths) == tuple(float(value) for value in theilslopes(depths, places)[:2])
