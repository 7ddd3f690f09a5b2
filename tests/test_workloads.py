"""Workloads: equal pixels for equal settings, the stated sizes, and bank photos that resemble the query."""

from __future__ import annotations

import dataclasses

import numpy as np

from idekernels import match
from idekernels.workloads import STANDARD, WORKLOADS, Workload

TINY = WORKLOADS["tiny"]


def test_the_standard_workload_compares_19_5_million_patch_pairs() -> None:
    assert (STANDARD.pairs, STANDARD.height, STANDARD.width, STANDARD.k) == (88, 250, 200, 10)
    assert STANDARD.grid.shape == (49, 39)
    assert STANDARD.patch_pairs == 19_505_288


def test_equal_workloads_hold_equal_pixels() -> None:
    one, other = TINY.bank(), dataclasses.replace(TINY).bank()
    np.testing.assert_array_equal(one.source(0, 6), other.source(0, 6))
    np.testing.assert_array_equal(one.target(0, 6), other.target(0, 6))
    np.testing.assert_array_equal(TINY.queries(), Workload(6, 1, 64, 48, 4).queries())


def test_another_seed_and_another_number_make_other_pixels() -> None:
    bank, photo = TINY.bank(), TINY.queries()[0]
    assert (dataclasses.replace(TINY, seed=8).queries()[0] != photo).mean() > 0.9
    assert all((image != photo).mean() > 0.5 for image in bank.source(0, 6)[:, 0])


def test_sizes_are_as_asked() -> None:
    bank = TINY.bank()
    assert (bank.images, bank.height, bank.width, bank.channels) == (6, 64, 48, 1)
    assert [photo.shape for photo in dataclasses.replace(TINY, photos=3).queries()] == [(64, 48)] * 3


def test_matches_are_nearer_than_chance() -> None:
    """Candidates of a realistic workload come from many images and are far nearer than a random patch."""
    bank = TINY.bank()
    found = match(bank.query(TINY.queries()[0])[None], bank, k=TINY.k, backend="cpu")
    assert len(np.unique(found.image)) == TINY.pairs
    photos = bank.source(0, 6).astype(float)
    chance = 2 * photos.var() * bank.settings.patch**2
    assert np.median(found.distance[..., 0]) < chance / 4
