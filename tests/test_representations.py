"""Representations: fixed scales, formulas by direct convolution, and the changes of light that each one ignores."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from idekernels import planes_of
from idekernels.representations import REPRESENTATIONS

NAMES = tuple(REPRESENTATIONS)


def smooth(rng, height=40, width=33, low=60, high=160):
    """A random image without hard edges, well inside 0 .. 255."""
    coarse = rng.integers(low, high, (height // 4 + 2, width // 4 + 2), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def gauss(image, sigma):
    """Gaussian smoothing straight from its definition: truncated at 4 sigma, borders reflected (d c b a | a b c d)."""
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.pad(image, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], mode="symmetric")
        image = sum(share * np.take(padded, offset + np.arange(image.shape[axis]), axis=axis)
                    for share, offset in zip(kernel, offsets + reach, strict=True))  # fmt: skip
    return image


def assert_levels(plane, exact):
    """The plane is the exact value rounded and clipped; a value within 1e-6 of a half may go either way."""
    assert plane.dtype == np.uint8
    assert (np.abs(plane - np.clip(exact, 0, 255)) <= 0.5 + 1e-6).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (2, 2), (3, 50), (25, 20)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_every_plane_is_bytes_of_the_images_size(name, size, channels):
    image = np.random.default_rng(0).integers(0, 256, (*size, *channels), dtype=np.uint8)
    before = image.copy()
    planes = planes_of(image, [name])

    assert planes.shape == (1, *size) and planes.dtype == np.uint8 and planes.flags.c_contiguous
    np.testing.assert_array_equal(planes, planes_of(image, [name]))
    np.testing.assert_array_equal(image, before)


def test_planes_come_in_the_order_asked_for():
    image = np.random.default_rng(1).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    forward, backward = planes_of(image, NAMES), planes_of(image, NAMES[::-1])

    np.testing.assert_array_equal(forward, backward[::-1])
    assert len({plane.tobytes() for plane in forward}) == len(NAMES)


def test_intensity_is_pillows_luma_exactly():
    rng = np.random.default_rng(2)
    extremes = np.array(np.meshgrid([0, 1, 127, 128, 254, 255], [0, 1, 127, 128, 254, 255], [0, 1, 127, 254, 255]))
    corners = extremes.reshape(3, -1).T.astype(np.uint8)[None]
    for image in (rng.integers(0, 256, (300, 300, 3), dtype=np.uint8), corners):
        np.testing.assert_array_equal(planes_of(image, ["intensity"])[0], np.array(Image.fromarray(image).convert("L")))
    grey = rng.integers(0, 256, (9, 8), dtype=np.uint8)
    np.testing.assert_array_equal(planes_of(grey, ["intensity"])[0], grey)


@pytest.mark.parametrize("name", NAMES)
def test_grey_as_rgb_is_grey(name):
    grey = np.random.default_rng(3).integers(0, 256, (30, 21), dtype=np.uint8)
    np.testing.assert_array_equal(planes_of(np.stack([grey] * 3, axis=2), [name]), planes_of(grey, [name]))


@pytest.mark.parametrize("name", NAMES)
def test_colour_is_seen_through_its_luma(name):
    image = np.random.default_rng(4).integers(0, 256, (30, 21, 3), dtype=np.uint8)
    luma = np.array(Image.fromarray(image).convert("L"))
    np.testing.assert_array_equal(planes_of(image, [name]), planes_of(luma, [name]))


@pytest.mark.parametrize(("name", "level"), [("dog", 128), ("csdn", 128), ("gradient", 0), ("lbp", 0)])
@pytest.mark.parametrize("grey", [0, 77, 255])
def test_a_constant_image_has_nothing_to_say(name, level, grey):
    assert (planes_of(np.full((24, 17), grey, np.uint8), [name]) == level).all()


@pytest.mark.parametrize("seed", range(3))
def test_dog_is_its_formula(seed):
    image = smooth(np.random.default_rng(seed), low=0, high=256)
    grey = image.astype(float)
    assert_levels(planes_of(image, ["dog"])[0], 128 + 3 * (gauss(grey, 1.0) - gauss(grey, 4.0)))


@pytest.mark.parametrize("seed", range(3))
def test_csdn_is_its_formula(seed):
    image = smooth(np.random.default_rng(seed), low=0, high=256)
    grey = image.astype(float)
    mean = gauss(grey, 5.0)
    spread = np.sqrt(np.maximum(gauss(grey**2, 5.0) - mean**2, 0))
    assert_levels(planes_of(image, ["csdn"])[0], 128 + 40 * (grey - mean) / (spread + 8))


def test_gradient_is_four_times_the_slope():
    ramp = np.tile(np.arange(10, 130, 3, dtype=np.uint8), (30, 1))
    inside = planes_of(ramp, ["gradient"])[0][6:-6, 6:-6]
    assert (np.abs(inside - 4 * 3.0) <= 1).all()
    assert (planes_of(ramp.T, ["gradient"])[0][6:-6, 6:-6] == inside.T).all()


@pytest.mark.parametrize("seed", range(2))
def test_lbp_counts_brighter_neighbours(seed):
    image = np.random.default_rng(seed).integers(0, 12, (7, 6), dtype=np.uint8)
    padded = np.pad(image.astype(int), 1, mode="reflect")
    ref = np.array(
        [
            [28 * sum(padded[r + dy, c + dx] > image[r, c] + 3
                      for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1))
             for c in range(6)]
            for r in range(7)
        ]
    )  # fmt: skip
    np.testing.assert_array_equal(planes_of(image, ["lbp"])[0], ref)
    assert planes_of(np.pad(np.zeros((1, 1), np.uint8), 1, constant_values=200), ["lbp"])[0, 1, 1] == 224


@pytest.mark.parametrize("name", ["dog", "csdn", "gradient", "lbp"])
def test_more_light_changes_only_the_intensity(name):
    image = smooth(np.random.default_rng(5))
    lit = image + np.uint8(50)
    before, after = (planes_of(shown, [name])[0].astype(int) for shown in (image, lit))

    assert np.abs(before - after).max() <= (0 if name == "lbp" else 1)
    assert (before != after).mean() < 0.01  # only where rounding stood at a half
    assert before.std() > 1


def test_csdn_evens_out_contrast_and_dog_does_not():
    image = smooth(np.random.default_rng(6))
    faint = (100 + 0.5 * (image.astype(float) - 100)).astype(np.uint8)
    change = {}
    for name in ("csdn", "dog"):
        before, after = (planes_of(shown, [name])[0].astype(float) - 128 for shown in (image, faint))
        change[name] = after.std() / before.std()

    assert 0.65 < change["csdn"] < 1.0
    assert change["dog"] == pytest.approx(0.5, abs=0.05)


def test_strong_edges_are_clipped_not_wrapped():
    edge = np.zeros((40, 40), np.uint8)
    edge[:, 20:] = 255
    dog, gradient = planes_of(edge, ["dog", "gradient"])
    assert (dog[:, 18] == 0).all() and (dog[:, 21] == 255).all()
    assert (gradient[:, 19:21] == 255).all()


@pytest.mark.parametrize(
    ("image", "names", "kind", "says"),
    [
        (np.zeros((4, 4), np.float32), ["intensity"], TypeError, "an image must be uint8, not float32"),
        (np.zeros((4, 4), np.uint16), ["lbp"], TypeError, "uint16"),
        (np.zeros((4, 4, 4), np.uint8), ["dog"], ValueError, r"must be \(H, W\) or \(H, W, 3\), not \(4, 4, 4\)"),
        (np.zeros(4, np.uint8), ["csdn"], ValueError, "must be"),
        (np.zeros((4, 4), np.uint8), ["sift", "dog", "surf"], ValueError, "unknown representation 'sift, surf'"),
        (np.zeros((4, 4), np.uint8), [], ValueError, "unknown representation"),
    ],
)
def test_wrong_arguments_are_named(image, names, kind, says):
    with pytest.raises(kind, match=says):
        planes_of(image, names)
