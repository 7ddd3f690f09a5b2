"""Tightly cropped photos: beyond their border is what the bank has there; what they show is sketched as before."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from spots import no_detector  # noqa: F401 - a fixture

from idekernels import BankSettings, InputError, PatchBank, coarse_sketch
from idekernels.representations import intensity
from idemodel.faces.alignment import Eyes, Similarity, depths, standard_eyes, warp
from idemodel.faces.padding import Surroundings
from idemodel.phantom import phantom_pairs
from idemodel.preparation import PhotoPreparer, PreparationSettings, PreparedPhoto

ROWS, COLUMNS = 125, 100
LARGE = (500, 400)
PHOTOS = [pair.photo for pair in phantom_pairs(3, height=500, width=400, seed=77)]  # short, curly and long hair
CROPS = {  # first and last row, first and last column
    "top": (110, 500, 0, 400),
    "bottom": (0, 400, 0, 400),
    "left": (0, 500, 100, 400),
    "right": (0, 500, 0, 300),
    "all": (100, 420, 90, 310),
}

pytestmark = pytest.mark.usefixtures("no_detector")


@cache
def bank(planes: tuple[str, ...] = ("intensity",)) -> PatchBank:
    pairs = list(phantom_pairs(40, height=ROWS, width=COLUMNS, seed=5))
    settings = BankSettings(8, 4, 2, planes, (1,) * len(planes))
    return PatchBank.from_images([p.photo for p in pairs], [p.sketch for p in pairs], settings=settings)


def preparer(**settings: Any) -> PhotoPreparer:
    return PhotoPreparer(bank(), PreparationSettings(**settings))


def mirroring(monkeypatch: pytest.MonkeyPatch) -> PhotoPreparer:
    """What photos were made ready by before: the photo's reflection, or its border repeated."""
    monkeypatch.setattr("idemodel.preparation.Surroundings.opacity", lambda *_: None)
    return preparer()


def cropped(photo: np.ndarray, crop: str) -> tuple[np.ndarray, Eyes]:
    """A part of a photo whose eyes are at the standard places, and where its eyes are then."""
    top, bottom, left, right = CROPS[crop]
    whole = standard_eyes(*photo.shape[:2])
    return photo[top:bottom, left:right], Eyes(whole.left - complex(left, top), whole.right - complex(left, top))


def inside(made: PreparedPhoto, photo: np.ndarray) -> np.ndarray:
    """Pixels from each place of the frame to the photo's nearest border, negative beyond it."""
    assert made.move is not None
    return depths(made.move, photo.shape, ROWS, COLUMNS).min(axis=0)


def sketched(photo: np.ndarray) -> np.ndarray:
    return np.asarray(coarse_sketch(photo, bank()).images()[0]).astype(float)


@pytest.mark.parametrize("crop", CROPS)
def test_what_a_cropped_photo_shows_is_sketched_as_in_the_whole_photo(crop: str) -> None:
    for photo in PHOTOS:
        part, eyes = cropped(photo, crop)
        ready = preparer()
        made = ready.prepare(part, eyes=eyes)
        deep = inside(made, part) > 0.04 * COLUMNS
        whole = sketched(ready.prepare(photo, eyes=standard_eyes(*LARGE)).image)
        assert np.abs(sketched(made.image) - whole)[deep].mean() < 4.0  # measured: 0.1 to 3.1


def test_a_photo_cropped_on_all_sides_is_sketched_better_than_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long hair above all: the photo's levels are no longer measured in reflections, nor does it go with a backdrop."""
    errors = []
    for photo in PHOTOS:
        part, eyes = cropped(photo, "all")
        whole = sketched(preparer().prepare(photo, eyes=standard_eyes(*LARGE)).image)
        made = preparer().prepare(part, eyes=eyes)
        with monkeypatch.context() as patched:
            old = mirroring(patched).prepare(part, eyes=eyes)
        visible = inside(made, part) >= 0
        errors.append([np.abs(sketched(one.image) - whole)[visible].mean() for one in (made, old)])
    new, mirrored = np.mean(errors, axis=0)
    assert new < 0.5 * mirrored and np.max(errors, axis=0)[0] < 13.0, errors


@pytest.mark.parametrize("crop", CROPS)
def test_no_head_and_no_bars_are_sketched_beyond_the_border(crop: str) -> None:
    for photo in PHOTOS:
        part, eyes = cropped(photo, crop)
        made = preparer().prepare(part, eyes=eyes)
        beyond = inside(made, part) < -0.03 * COLUMNS
        sketch = sketched(made.image)
        above = beyond.copy()
        above[ROWS * 3 // 4 :] = False
        assert not (sketch[above] < 100).any()
        assert (sketch[beyond] < 100).sum() <= 2  # a collar's line may be


def test_mirroring_sketched_bars_beyond_the_border(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above would see without anything filled in."""
    old = mirroring(monkeypatch)
    for crop in ("top", "left", "right", "bottom"):
        part, eyes = cropped(PHOTOS[1], crop)
        made = old.prepare(part, eyes=eyes)
        assert (sketched(made.image)[inside(made, part) < -0.03 * COLUMNS] < 100).sum() > 100


def test_a_photo_that_is_not_cropped_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = warp(PHOTOS[1], Similarity(1, 100 + 80j), 700, 640, "edge")
    eyes = Similarity(1, 100 + 80j).eyes(standard_eyes(*LARGE))
    turned = Eyes(eyes.left + 5j, eyes.right - 4j)
    given = [(wide, eyes), (wide, turned), (PHOTOS[0], standard_eyes(*LARGE))]
    new = [preparer().prepare(photo, eyes=places) for photo, places in given]
    old = [mirroring(monkeypatch).prepare(photo, eyes=places) for photo, places in given]
    for one, other in zip(new, old, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.notes == other.notes
    aligned = next(phantom_pairs(1, height=ROWS, width=COLUMNS)).photo
    assert preparer().prepare(aligned).image is aligned


def test_the_ways_that_are_asked_for_stay_as_they_are() -> None:
    part, eyes = cropped(PHOTOS[1], "all")
    for pad in ("reflect", "edge", "white"):
        made = preparer(pad=pad, normalise="none").prepare(part, eyes=eyes)
        assert made.move is not None
        np.testing.assert_array_equal(made.image, warp(part, made.move, ROWS, COLUMNS, pad))


def test_a_bank_without_grey_levels_says_nothing_of_its_surroundings() -> None:
    part, eyes = cropped(PHOTOS[1], "all")
    made = PhotoPreparer(bank(("gradient",))).prepare(part, eyes=eyes)
    assert made.move is not None
    np.testing.assert_array_equal(made.image, warp(part, made.move, ROWS, COLUMNS, "auto"))
    with pytest.raises(InputError, match="build it with --plane intensity"):
        Surroundings.of(bank(("gradient",)))


def test_background_is_filled_in_beside_the_head_and_shoulders_below_it() -> None:
    part, eyes = cropped(PHOTOS[1], "all")
    around = Surroundings.of(bank())
    made = preparer(normalise="none").prepare(part, eyes=eyes)
    beyond = inside(made, part) < 0
    grey = made.image[..., 0].astype(float)
    assert (np.abs(grey - around.level)[: ROWS // 2][beyond[: ROWS // 2]] <= 0.5).all()
    low = slice(ROWS * 4 // 5, None)
    assert (np.abs(grey - around.median)[low][beyond[low]] <= 0.5).all()
    planes = bank().source(0, 40)[:, 0]
    np.testing.assert_array_equal(around.median, np.median(planes, axis=0))
    corners = planes[:, 8:31, [*range(15), *range(85, 100)]]
    assert abs(around.level - np.median(corners)) < 5


def test_a_border_fades_over_a_few_pixels_inside_the_photo() -> None:
    photo = np.full((ROWS, COLUMNS), 90, np.uint8)
    photo[::2] = 30
    around = Surroundings(np.full((3, 250, 200), 200, np.uint8))
    opacity = around.opacity(photo, Similarity(1, 50 + 50j))
    assert opacity is not None
    assert (opacity[100, :50] == 0).all() and (opacity[100, 54:146] == 1).all() and (opacity[100, 150:] == 0).all()
    assert (np.diff(opacity[100, 49:55]) > 0).all()
    assert around.opacity(np.zeros((250, 200), np.uint8), Similarity(1, 0)) is None


def test_a_backdrop_goes_on_in_its_own_colour() -> None:
    """Beyond a border that shows it alone, and beside hair that is cut."""
    photo = np.empty((ROWS, COLUMNS, 3), np.uint8)
    photo[:] = (60, 120, 70)
    plain, own = preparer(normalise="none"), [60, 120, 70]
    whole = standard_eyes(ROWS, COLUMNS)
    for hair in (False, True):
        if hair:
            photo[45:, :25] = 5
        part = photo[:, 10:]
        made = plain.prepare(part, eyes=Eyes(whole.left - 10, whole.right - 10))
        assert (made.image[5:75, :10] == own).all()
    assert made.image[50:, 12:20].max() == 5


def test_a_border_that_shows_the_backdrop_alone_is_continued() -> None:
    """With what light the backdrop has; not so where it shows hair below."""
    around = Surroundings.of(bank())
    lit = np.repeat(np.linspace(60, 70, ROWS)[:, None], COLUMNS - 10, axis=1).astype(np.uint8)
    move = Similarity(1, 10)
    assert around.opacity(lit, move) is None
    lit[45:, :25] = 5
    opacity = around.opacity(lit, move)
    assert opacity is not None and (opacity[:, :10] == 0).all() and (opacity[:, 14:] == 1).all()


def test_levels_are_brought_to_the_banks_once() -> None:
    part, eyes = cropped(PHOTOS[1], "all")
    dark = (part * 0.4).astype(np.uint8)
    made = preparer(normalise="levels").prepare(dark, eyes=eyes)
    assert made.steps == ("levels",)
    beyond = inside(made, part)[: ROWS // 2] < 0
    grey = intensity(made.image)[: ROWS // 2].astype(float)
    assert (np.abs(grey - Surroundings.of(bank()).level)[beyond] <= 1.0).all()


@pytest.mark.parametrize("degrees", [0, 20, 90, 180])
@pytest.mark.parametrize("place", [20 + 20j, 7 + 7j, 33 + 7j, 20 + 33j])
@pytest.mark.parametrize("colour", [True, False])
def test_any_face_in_any_photo_is_surrounded(degrees: int, place: complex, colour: bool) -> None:
    """Turned, tiny, at the very corner, the frame mostly outside."""
    photo = np.random.default_rng(degrees).choice(np.array([0, 60], np.uint8), (40, 40))  # no plain backdrop
    if colour:
        photo = np.repeat(photo[..., None], 3, axis=2)
    around = Surroundings.of(bank())
    half = 6 * np.exp(1j * np.radians(degrees))
    move = Similarity.between(Eyes(complex(place - half), complex(place + half)), standard_eyes(ROWS, COLUMNS))
    opacity = around.opacity(photo, move)
    assert opacity is not None and opacity.min() == 0 and opacity.max() <= 1
    aligned = warp(photo, move, ROWS, COLUMNS, "edge")
    made = around.fill(aligned, opacity)
    assert made.shape == aligned.shape and made.dtype == np.uint8
    np.testing.assert_array_equal(made[opacity == 1], aligned[opacity == 1])
    outside = depths(move, photo.shape, ROWS, COLUMNS).min(axis=0) < 0
    assert (opacity[outside] == 0).all()
    assert outside[: ROWS // 2].any()
    assert (made[: ROWS // 2][outside[: ROWS // 2]] > 90).all()  # nothing of the photo, which is darker


def test_depths_are_pixels_of_the_frame() -> None:
    left, upper, right, lower = depths(Similarity(2, 10 + 20j), (30, 40), 90, 100)
    assert left[20, 10] == upper[20, 10] == 1.0  # the first pixel's centre, two wide
    assert right[20, 10] == 79.0 and lower[20, 10] == 59.0
    assert left[0, 0] == -9.0 and right[0, 99] == -10.0
    turned = depths(Similarity(1j, 0), (30, 40), 50, 50)
    assert turned[0, 30, 0] == 30.5 and turned[1, 0, 0] == 0.5
