"""Photos towards a bank's: the bank's own left alone, altered ones brought back, nothing that breaks it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.alterations import ALTERATIONS, altered
from idekernels import BankSettings, PatchBank, coarse_sketch, prepare
from idekernels.errors import InputError
from idekernels.representations import intensity
from idemodel.faces.background import background_mask
from idemodel.faces.normalise import METHODS, Measures, Normaliser
from idemodel.files.images import read_colour, read_grey
from idemodel.files.pairs import images_by_stem
from idemodel.metrics import ssim
from idemodel.phantom import PhantomPair, phantom_pairs

HEIGHT, WIDTH = 125, 100
LEVELS = 4.0  # grey levels that a restored face may be off, median over its quantiles


@lru_cache(maxsize=1)
def pairs() -> tuple[PhantomPair, ...]:
    return tuple(phantom_pairs(12, height=HEIGHT, width=WIDTH, seed=5))


@lru_cache(maxsize=1)
def normaliser() -> Normaliser:
    return Normaliser.of(bank_of(pairs()))


def bank_of(given: tuple[PhantomPair, ...], planes: tuple[str, ...] = ("intensity",)) -> PatchBank:
    kept = BankSettings(patch=8, overlap=4, radius=2, representations=planes, weights=(1,) * len(planes))
    return PatchBank.from_images([p.photo for p in given], [p.sketch for p in given], settings=kept)


def levels_of(photo: np.ndarray) -> np.ndarray:
    return np.array(Measures(intensity(photo)).levels)


@pytest.mark.parametrize("method", ["auto", "none"])
def test_the_banks_own_photos_pass_through(method: str) -> None:
    for pair in pairs():
        made = normaliser().normalise(pair.photo, method)
        assert made.photo is pair.photo and made.steps == ()


def test_a_streamed_bank_of_several_planes_measures_the_same() -> None:
    several = Normaliser.of(bank_of(pairs(), ("gradient", "intensity")))
    photo = altered(pairs()[0].photo, "brightness x 0.5")
    np.testing.assert_array_equal(several.normalise(photo).photo, normaliser().normalise(photo).photo)


@pytest.mark.parametrize("name", ["gamma 2.2", "brightness x 0.5", "contrast x 0.5"])
def test_altered_levels_come_back(name: str) -> None:
    usual = np.median([levels_of(pair.photo) for pair in pairs()], axis=0)
    for pair in pairs()[:4]:
        photo = altered(pair.photo, name)
        off, left = (
            np.median(np.abs(levels_of(p) - usual)) for p in (photo, normaliser().normalise(photo, "levels").photo)
        )
        assert left < LEVELS and off > 3 * left


def test_side_light_is_levelled() -> None:
    usual = np.median([Measures(intensity(pair.photo)).side for pair in pairs()])
    lit = [altered(pair.photo, "side light, 0.4 to 1.3") for pair in pairs()]
    made = [normaliser().normalise(photo, "light").photo for photo in lit]
    off, left = (np.abs([Measures(intensity(p)).side - usual for p in photos]) for photos in (lit, made))
    assert left.mean() < 0.1 and off.mean() > 0.4


def test_noise_is_taken_out() -> None:
    photo = altered(pairs()[0].photo, "dim x 0.25, noise 6")
    made = normaliser().normalise(photo)
    assert made.steps[:2] == ("noise", "levels")
    assert Measures(intensity(made.photo)).noise < Measures(photo[..., 1]).noise


def test_another_background_is_replaced_and_the_face_is_not() -> None:
    usual = np.median([Measures(intensity(pair.photo)).ground[0] for pair in pairs()])
    for pair in pairs()[:4]:
        grey = intensity(pair.photo)
        outside = background_mask(pair.photo, normaliser()._prior) > 0.9
        busy = pair.photo.copy()
        busy[outside] = np.random.default_rng(1).integers(0, 80, (outside.sum(), 3))
        made = normaliser().normalise(busy, "background").photo[..., 0]
        assert np.abs(made[10:30, :10] - usual).max() < 12
        face = np.s_[int(0.45 * HEIGHT) : int(0.65 * HEIGHT), int(0.4 * WIDTH) : int(0.6 * WIDTH)]
        np.testing.assert_array_equal(made[face], grey[face])


@pytest.mark.parametrize("name", [name for name in ALTERATIONS if "clipped" not in name])  # white stays white
def test_auto_finds_nothing_more_to_do_the_second_time(name: str) -> None:
    for pair in pairs()[:3]:
        once = normaliser().normalise(altered(pair.photo, name)).photo
        again = normaliser().normalise(once)
        assert again.photo is once, again.steps


def hostile() -> st.SearchStrategy[np.ndarray]:
    shapes = st.sampled_from([(HEIGHT, WIDTH), (HEIGHT, WIDTH, 3)])
    plain = st.builds(lambda shape, value: np.full(shape, value, np.uint8), shapes, st.integers(0, 255))
    wild = shapes.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 255)))
    return st.one_of(plain, wild)


@settings(max_examples=25, deadline=None)
@given(hostile(), st.sampled_from(sorted(METHODS)))
def test_any_image_gives_an_image(photo: np.ndarray, method: str) -> None:
    with np.errstate(all="raise", under="ignore"):
        made = normaliser().normalise(photo, method)
    assert made.photo.shape == photo.shape and made.photo.dtype == np.uint8
    assert made.photo is photo or made.steps


@pytest.mark.parametrize("value", [0, 128, 255, (200, 30, 30)])
def test_a_photo_without_contrast_is_left_alone(value: object) -> None:
    photo = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    photo[:] = value
    assert normaliser().normalise(photo, "all").photo is photo


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_bank_of_plain_photos_can_be_measured(value: int) -> None:
    plain = Normaliser(np.full((3, 64, 48), value, np.uint8))
    photo = next(phantom_pairs(1, height=64, width=48, seed=1)).photo
    for method in METHODS:
        assert plain.normalise(photo, method).photo.shape == photo.shape


@pytest.mark.parametrize("size", [(16, 16), (16, 90), (301, 17)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    chance = np.random.default_rng(0)
    found = Normaliser(chance.integers(0, 256, (2, *size), dtype=np.uint8))
    photo = chance.integers(0, 256, size, dtype=np.uint8)
    assert found.normalise(photo, "all").photo.shape == size


def test_grey_and_colour_photos_agree() -> None:
    photo = altered(pairs()[1].photo, "gamma 2.2")
    colour, grey = (normaliser().normalise(p, "light").photo for p in (photo, intensity(photo)))
    for channel in range(3):
        np.testing.assert_array_equal(colour[..., channel], grey)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="method must be one of none, levels"):
        normaliser().normalise(pairs()[0].photo, "magic")
    with pytest.raises(ValueError, match="the bank's are"):
        normaliser().normalise(pairs()[0].photo[:-1])
    with pytest.raises(InputError, match="build it with --plane intensity, or use --normalise none"):
        Normaliser.of(bank_of(pairs()[:2], ("gradient",)))


@pytest.mark.data
@pytest.mark.parametrize("name", ["brightness x 0.5", "gamma 2.2", "half in shadow, 0.4", "busy background"])
def test_altered_photos_gain(shared_data: Path, name: str) -> None:
    """SSIM of three test photos from thirty pairs: most of what the alteration took comes back."""
    train = list(images_by_stem(shared_data / "train" / "photo"))[::3]
    read = [
        (read_colour(shared_data / f"train/photo/{n}.png"), read_grey(shared_data / f"train/sketch/{n}.png"))
        for n in train
    ]
    bank = PatchBank.from_images(*zip(*read, strict=True))
    stems = list(images_by_stem(shared_data / "test" / "photo"))[::24]
    clean = [read_colour(shared_data / f"test/photo/{stem}.png") for stem in stems]
    truths = [read_grey(shared_data / f"test/sketch/{stem}.png") for stem in stems]
    spoilt = [altered(photo, name, seed) for seed, photo in enumerate(clean)]
    found = Normaliser.of(bank)
    mended = [found.normalise(photo).photo for photo in spoilt]
    sketches = coarse_sketch([*clean, *spoilt, *mended], prepare(bank)).images()
    scores = [ssim(sketch, truth) for sketch, truth in zip(sketches, truths * 3, strict=True)]
    before, without, after = np.array(scores).reshape(3, -1).mean(axis=1)
    assert after - without > 0.6 * (before - without) > 0.02


@pytest.mark.data
def test_laboratory_photos_are_left_alone(shared_data: Path) -> None:
    """All of the bank's, and all but nine strangers of the same laboratory, who were taken darker or lighter."""
    train, test = (
        [read_colour(f) for f in images_by_stem(shared_data / p / "photo").values()] for p in ("train", "test")
    )
    found = Normaliser(np.stack([intensity(photo) for photo in train]))
    assert all(found.normalise(photo).photo is photo for photo in train)
    assert sum(found.normalise(photo).photo is photo for photo in test) >= 61


def test_long_dark_hair_before_a_light_wall_stays() -> None:
    long_haired = 0
    for pair in pairs():
        grey = intensity(pair.photo).astype(float)
        found = Measures(intensity(pair.photo))
        hanging = np.zeros(grey.shape, bool)
        hanging[int(0.7 * HEIGHT) : int(0.95 * HEIGHT), int(0.1 * WIDTH) : int(0.25 * WIDTH)] = True
        hanging &= grey < found.levels[0] + 20
        if hanging.sum() < 150 or found.levels[0] > 60:
            continue
        long_haired += 1
        wall = pair.photo.copy()
        wall[np.abs(grey - found.ground[0]) < 15] = 245
        made = normaliser().normalise(wall, "background").photo[..., 0]
        assert made[hanging].mean() < grey[hanging].mean() + 10
        assert np.abs(made[5:20, :8].astype(float) - normaliser()._ground[5:20, :8]).mean() < 12
    assert long_haired
