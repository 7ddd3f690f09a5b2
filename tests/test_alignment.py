"""Geometry of alignment: eyes land where they should, nothing moved is nothing changed, and the way back returns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idemodel.faces.alignment import PADS, Eyes, Similarity, corners, paste_back, standard_eyes, warp

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (250, 200, 3), dtype=np.uint8)


def spots(height: int, width: int, eyes: Eyes, radius: float) -> np.ndarray:
    """A black picture with a soft white spot at each eye."""
    rows, columns = np.mgrid[:height, :width]
    away = [np.hypot(columns - eye.real, rows - eye.imag) for eye in (eyes.left, eyes.right)]
    return np.round(255 * np.exp(-(np.minimum(*away) ** 2) / (2 * radius**2))).astype(np.uint8)


def centre(image: np.ndarray) -> complex:
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    weights = image.astype(float) / image.sum(dtype=float)
    return complex((columns * weights).sum(), (rows * weights).sum())


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without detail finer than some ten pixels."""
    rows, columns = np.mgrid[:height, :width] / 15.0
    waves = [np.sin(rows), np.cos(columns), np.sin(rows + columns)]
    return np.round(127 + 100 * np.stack(waves, axis=2)).astype(np.uint8)


def test_standard_eyes_are_those_of_the_literature() -> None:
    assert standard_eyes() == Eyes(75 + 125j, 125 + 125j)
    assert standard_eyes(500, 400) == Eyes(150 + 250j, 250 + 250j)


def test_a_similarity_and_its_inverse_are_one_motion_and_back() -> None:
    source, target = Eyes(30.5 + 41j, 80 + 20.25j), Eyes(75 + 125j, 125 + 125j)
    move = Similarity.between(source, target)
    assert move.eyes(source).left == pytest.approx(target.left) and move.eyes(source).right == pytest.approx(
        target.right
    )
    both = move.inverse.after(move)
    assert both.turn == pytest.approx(1) and both.shift == pytest.approx(0)
    assert move.scale == pytest.approx(50 / source.distance)
    with pytest.raises(ValueError, match="one place"):
        Similarity.between(Eyes(1j, 1j), target)


@pytest.mark.parametrize("degrees", [0, 7, -20, 90, 180])
@pytest.mark.parametrize("distance", [10.0, 50.0, 137.3, 400.0])
@pytest.mark.parametrize("size", [(250, 200), (125, 100), (300, 200)])
def test_eyes_land_within_half_a_pixel(degrees: int, distance: float, size: tuple[int, int]) -> None:
    half = distance / 2 * np.exp(1j * np.radians(degrees))
    eyes = Eyes(310.3 + 290.8j - half, 310.3 + 290.8j + half)
    picture = spots(600, 640, eyes, radius=min(distance / 8, 20))
    target = standard_eyes(*size)
    made = warp(picture, Similarity.between(eyes, target), *size, "edge")
    middle = size[1] // 2
    assert abs(centre(made[:, :middle]) - target.left) < 0.5
    assert abs(centre(made[:, middle:]) + middle - target.right) < 0.5


@pytest.mark.parametrize("pad", PADS)
def test_nothing_moved_is_nothing_changed(pad: str) -> None:
    np.testing.assert_array_equal(warp(NOISE, Similarity(1, 0), 250, 200, pad), NOISE)
    shifted = warp(NOISE, Similarity(1, 7 - 9j), 250, 200, pad)
    np.testing.assert_array_equal(shifted[:241, 7:], NOISE[9:, :193])


def test_what_lies_beyond_the_border() -> None:
    move = Similarity(1, 10)
    np.testing.assert_array_equal(warp(NOISE, move, 250, 200, "white")[:, :10], 255)
    np.testing.assert_array_equal(warp(NOISE, move, 250, 200, "edge")[:, :10], np.repeat(NOISE[:, :1], 10, axis=1))
    np.testing.assert_array_equal(warp(NOISE, move, 250, 200, "reflect")[:, :10], NOISE[:, 10:0:-1])
    with pytest.raises(ValueError, match="pad is one of auto, reflect"):
        warp(NOISE, move, 250, 200, "mirror")
    with pytest.raises(ValueError, match="nothing of the picture"):
        warp(NOISE, Similarity(1, 1000), 250, 200)


def test_auto_repeats_a_plain_border_reflects_another_and_never_reflects_deep() -> None:
    def same(move: Similarity, picture: np.ndarray, pad: str) -> bool:
        return bool((warp(picture, move, 250, 200) == warp(picture, move, 250, 200, pad)).all())

    plain = NOISE.copy()
    plain[:, :20] = 200 + NOISE[:, :20] // 20
    assert same(Similarity(1, 10), plain, "edge") and not same(Similarity(1, 10), plain, "reflect")
    assert same(Similarity(1, 10), NOISE, "reflect") and not same(Similarity(1, 10), NOISE, "edge")
    assert same(Similarity(1, 60), NOISE, "edge")  # a fifth of 200 columns is 40


def test_what_shrinks_is_antialiased() -> None:
    stripes = np.zeros((1000, 800), np.uint8)
    stripes[:, ::2] = 255
    made = warp(stripes, Similarity(0.25, 0), 250, 200, "edge")
    assert np.abs(made.astype(float) - 127.5).max() < 12  # sampled without a filter it would be 0 or 255


@settings(max_examples=60, deadline=None)
@given(
    turn=st.complex_numbers(min_magnitude=0.02, max_magnitude=30),
    point=st.tuples(st.integers(0, 30), st.integers(0, 20)),
    frame=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    pad=st.sampled_from(PADS),
)
def test_any_motion_fills_the_whole_frame(
    turn: complex, point: tuple[int, int], frame: tuple[int, int], pad: str
) -> None:
    picture = np.full((21, 31, 3), 77, np.uint8)
    move = Similarity(turn, complex(frame[1] // 2, frame[0] // 2) - turn * complex(*point))
    made = warp(picture, move, *frame, pad)
    assert made.shape == (*frame, 3) and made.dtype == np.uint8
    if pad != "white":
        assert (made == 77).all()


@pytest.mark.parametrize("degrees", [0, 14])
@pytest.mark.parametrize("distance", [25.0, 60.0, 150.0])
def test_the_way_back_returns(degrees: int, distance: float) -> None:
    picture = smooth(500, 600)
    half = distance / 2 * np.exp(1j * np.radians(degrees))
    move = Similarity.between(Eyes(300 + 250j - half, 300 + 250j + half), standard_eyes())
    aligned = warp(picture, move, 250, 200)
    back = paste_back(aligned, picture, move)
    assert back.shape == picture.shape
    inside = np.abs(back.astype(int) - picture)[10:-10, 10:-10]  # at the border, what was padded comes back as well
    assert inside.max() <= 12


def test_a_sketch_put_back_covers_its_frame_and_nothing_else() -> None:
    picture = smooth(400, 300)
    grey = paste_back(np.zeros((250, 200), np.uint8), picture, Similarity(1, -(50 + 60j)))
    from PIL import Image

    luma = np.array(Image.fromarray(picture).convert("L"))
    assert grey.shape == (400, 300)
    outside = np.ones((400, 300), bool)
    outside[60:310, 50:250] = False
    np.testing.assert_array_equal(grey[outside], luma[outside])
    assert (grey[80:290, 70:230] == 0).all()  # past the 16 pixels that fade
    fading = grey[185, 50:70].astype(float) / luma[185, 50:70]
    assert (np.diff(fading) <= 0.03).all() and fading[0] > 0.9


def test_a_sketch_whose_frame_reaches_out_of_the_picture() -> None:
    picture = smooth(100, 80)
    assert paste_back(np.zeros((250, 200), np.uint8), picture, Similarity(2, 60 + 70j)).shape == (100, 80)
    beside = paste_back(np.zeros((250, 200), np.uint8), picture, Similarity(1, 5000))
    assert beside.min() > 0 and beside.shape == (100, 80)


def test_corners_are_pixel_centres() -> None:
    assert corners(3, 5) == (0, 4, 4 + 2j, 2j)
