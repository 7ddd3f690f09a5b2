"""Varied pairs: another lamp and camera, a bent face, photo and sketch still agreeing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from idemodel.phantom import PhantomPair, phantom_pairs
from idemodel.phantom.camera import varied


@pytest.fixture(scope="module")
def pairs() -> list[PhantomPair]:
    return list(phantom_pairs(6, seed=3))


def test_name_and_seed_decide_everything(pairs: list[PhantomPair]) -> None:
    one, again, other = varied(pairs[0], 1), varied(pairs[0], 1), varied(pairs[0], 2)
    assert one.name == pairs[0].name
    assert one.photo.shape == pairs[0].photo.shape and one.sketch.shape == pairs[0].sketch.shape
    assert np.array_equal(one.photo, again.photo) and np.array_equal(one.sketch, again.sketch)
    assert not np.array_equal(one.photo, other.photo) and not np.array_equal(one.sketch, other.sketch)


def test_photo_and_sketch_are_bent_alike(pairs: list[PhantomPair]) -> None:
    for pair in pairs:
        same = dataclasses.replace(pair, photo=np.repeat(pair.sketch[..., None], 3, axis=2))
        made = varied(same, 5)
        soft = [ndimage.gaussian_filter(plane.astype(float), 2) for plane in (made.photo[..., 0], made.sketch)]
        before = [ndimage.gaussian_filter(plane.astype(float), 2) for plane in (made.photo[..., 0], pair.sketch)]
        assert np.corrcoef(*map(np.ravel, soft))[0, 1] > max(0.95, np.corrcoef(*map(np.ravel, before))[0, 1])


def test_no_place_moves_far(pairs: list[PhantomPair]) -> None:
    rows, columns = np.indices(pairs[0].sketch.shape)
    coded = dataclasses.replace(pairs[0], sketch=columns.astype(np.uint8))
    moved = varied(coded, 4).sketch.astype(int)[:, 10:-10] - columns[:, 10:-10]
    assert 0.5 < np.abs(moved).mean() < 3 and np.abs(moved).max() < 12


def test_grey_levels_vary_from_pair_to_pair(pairs: list[PhantomPair]) -> None:
    shifts = [float(varied(pair, 9).photo.mean()) - float(pair.photo.mean()) for pair in pairs]
    assert np.std(shifts) > 4
