"""Owns the promises of phantom faces: seeds, sizes, eyes, paper, photo and sketch agreeing."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from idemodel.phantom import PhantomPair, phantom_pairs


@pytest.fixture(scope="module")
def pairs() -> list[PhantomPair]:
    return list(phantom_pairs(16, seed=7))


def _same(a: PhantomPair, b: PhantomPair) -> bool:
    return a.name == b.name and np.array_equal(a.photo, b.photo) and np.array_equal(a.sketch, b.sketch)


def _gray(photo: np.ndarray) -> np.ndarray:
    return photo.astype(np.float64) @ (0.299, 0.587, 0.114)


def test_same_seed_gives_the_same_bytes(pairs):
    again = list(phantom_pairs(3, seed=7))
    assert all(_same(a, b) for a, b in zip(pairs[:3], again, strict=True))


def test_another_seed_gives_other_faces(pairs):
    (other,) = phantom_pairs(1, seed=8)
    assert not np.array_equal(other.photo, pairs[0].photo)
    assert not np.array_equal(other.sketch, pairs[0].sketch)


def test_no_two_pairs_are_alike(pairs):
    for a, b in itertools.combinations(pairs, 2):
        assert np.abs(_gray(a.photo) - _gray(b.photo)).mean() > 5
        assert np.abs(a.sketch.astype(float) - b.sketch).mean() > 5


def test_start_resumes_the_same_stream(pairs):
    resumed = list(phantom_pairs(2, seed=7, start=5))
    assert [pair.name for pair in resumed] == ["0005", "0006"]
    assert all(_same(a, b) for a, b in zip(pairs[5:7], resumed, strict=True))


def test_the_stream_is_lazy():
    stream = phantom_pairs(10**9)
    assert iter(stream) is stream
    assert next(stream).name == "0000"


def test_global_generator_is_neither_read_nor_moved(pairs):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    (pair,) = phantom_pairs(1, seed=7)
    assert _same(pair, pairs[0])
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize(("height", "width"), [(250, 200), (64, 48), (200, 200), (300, 160), (311, 251)])
def test_shapes_and_types(height, width):
    (pair,) = phantom_pairs(1, height=height, width=width, seed=3)
    assert pair.photo.shape == (height, width, 3) and pair.photo.dtype == np.uint8
    assert pair.sketch.shape == (height, width) and pair.sketch.dtype == np.uint8
    assert pair.photo.std() > 20 and pair.sketch.std() > 20


def test_a_number_is_the_same_person_at_every_size(pairs):
    larger = list(phantom_pairs(4, height=500, width=400, seed=7))
    smooth = [ndimage.gaussian_filter(_gray(pair.photo), 3) for pair in pairs[:4]]
    for k, pair in enumerate(larger):
        shrunk = ndimage.gaussian_filter(_gray(pair.photo), 6)[::2, ::2]
        gaps = [np.abs(shrunk - other).mean() for other in smooth]
        assert int(np.argmin(gaps)) == k and gaps[k] < 4


@pytest.mark.parametrize(("height", "width"), [(250, 200), (125, 100), (300, 200)])
def test_eyes_are_dark_at_the_standard_coordinates(height, width):
    unit = width / 4
    down, across = np.mgrid[:height, :width]
    for pair in phantom_pairs(12, height=height, width=width, seed=11):
        gray = _gray(pair.photo)
        for column in (0.375 * width, 0.625 * width):
            away = np.hypot(down - height / 2, across - column) / unit
            iris = gray[away < 0.07].mean()
            cheek = gray[np.hypot(down - height / 2 - 0.55 * unit, across - column) / unit < 0.1].mean()
            assert iris < 0.8 * cheek
            # The darkest disc nearby is the iris: drawn at the place, not merely near it.
            disc = ndimage.uniform_filter(gray, round(0.2 * unit))
            near = np.where(away < 0.2, disc, np.inf)
            row, col = np.unravel_index(np.argmin(near), near.shape)
            assert np.hypot(row - height / 2, col - column) < 0.09 * unit


def test_photos_have_a_plain_noisy_background(pairs):
    for pair in pairs:
        corner = pair.photo[4:20, 4:20].astype(float)
        assert 0.3 < corner.std(axis=(0, 1)).mean() < 6


def test_sketch_background_is_paper(pairs):
    for pair in pairs:
        corners = np.concatenate([pair.sketch[:25, :25].ravel(), pair.sketch[:25, -25:].ravel()])
        assert corners.mean() > 245 and corners.std() > 0.3
        assert 0.4 < (pair.sketch > 230).mean() < 0.9


def test_sketch_is_shaded_where_the_photo_is(pairs):
    """Hatching follows the shading: the darker half of the face's lower part is the darker half on paper."""
    agree = 0
    for pair in pairs:
        left, right = slice(62, 84), slice(116, 138)
        photo = _gray(pair.photo)[140:185]
        paper = pair.sketch[140:185].astype(float)
        gap = photo[:, left].mean() - photo[:, right].mean()
        drawn = paper[:, left].mean() - paper[:, right].mean()
        agree += abs(gap) < 6 or gap * drawn > 0
    assert agree >= 14


def test_sketch_belongs_to_its_photo(pairs):
    """Blurred, a sketch correlates with its own photo more than with others' (one slip allowed in 16)."""
    photos = [ndimage.gaussian_filter(_gray(pair.photo), 2) for pair in pairs]
    # The photo's background has its own tone, the paper has not: compare inside the head only.
    inside = np.s_[30:215, 50:150]
    sketches = [ndimage.gaussian_filter(pair.sketch.astype(float), 2) for pair in pairs]
    table = np.corrcoef([photo[inside].ravel() for photo in photos], [sketch[inside].ravel() for sketch in sketches])[
        : len(pairs), len(pairs) :
    ]
    assert np.diag(table).min() > 0.35
    assert (table.argmax(axis=0) == np.arange(len(pairs))).sum() >= len(pairs) - 1


def test_importing_loads_no_torch():
    heavy = "torch", "numba", "click"
    code = f"import sys, idemodel.phantom; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"count": -1}, "count must be at least 0, got -1"),
        ({"count": 1, "start": -2}, "start must be at least 0, got -2"),
        ({"count": 1, "seed": -7}, "seed must be at least 0, got -7"),
        ({"count": 1, "height": 63}, "height must be at least 64, got 63"),
        ({"count": 1, "width": 47}, "width must be at least 48, got 47"),
    ],
)
def test_values_out_of_range_are_refused_at_once(arguments, said):
    with pytest.raises(ValueError, match=said):
        phantom_pairs(**arguments)


@pytest.mark.parametrize("name", ["count", "height", "width", "seed", "start"])
def test_what_is_not_an_integer_is_refused(name):
    with pytest.raises(TypeError, match=f"{name} must be an integer, got 250.5"):
        phantom_pairs(**({"count": 1} | {name: 250.5}))


def test_none_asked_none_drawn():
    assert list(phantom_pairs(0)) == []
