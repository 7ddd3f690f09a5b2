"""What benchmarks.anyone and benchmarks.likeness count: ranks, paired hits, the dodge filter, distances of levels."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from benchmarks import likeness
from benchmarks.anyone import dodge, paired, table
from benchmarks.persons import Discordance, mcnemar, ranks_of
from benchmarks.results import METRICS
from idekernels import MemoryBank, prepare


def test_ranks_count_who_is_nearer() -> None:
    gallery = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
    probes = np.array([[0.9, 0.0], [1.2, 0.0], [-3.0, 0.0]])
    assert ranks_of(gallery, probes).tolist() == [2, 1, 3]


def test_a_descriptor_that_tells_nobody_apart_puts_everyone_last() -> None:
    assert ranks_of(np.ones((4, 8)), np.ones((4, 8))).tolist() == [4] * 4


def test_mcnemar_is_the_binomial_of_the_discordant_photos() -> None:
    first, second = [True] * 7 + [False] + [True] * 3, [False] * 7 + [True] + [True] * 3
    by_hand = 2 * (comb(8, 0) + comb(8, 1)) / 2**8
    assert mcnemar(first, second) == Discordance(7, 1, pytest.approx(by_hand))
    assert mcnemar(second, first) == Discordance(1, 7, pytest.approx(by_hand))
    assert mcnemar([True, False], [True, False]) == Discordance(0, 0, 1.0)


@pytest.mark.parametrize("level", [1, 90, 255])
def test_the_dodge_filter_makes_a_flat_picture_white(level: int) -> None:
    flat = np.full((30, 20, 3), level, np.uint8)
    assert (dodge(flat) == 255).all()


def test_the_dodge_filter_draws_dark_lines_dark() -> None:
    photo = np.full((31, 31), 200, np.uint8)
    photo[:, 15] = 40
    drawn = dodge(photo)
    assert drawn.shape == (31, 31) and (drawn[:, 15] < 80).all() and (drawn[:, [0, -1]] > 250).all()


def test_tables_have_a_line_for_every_method() -> None:
    ranks = {name: np.array(places) for name, places in _PLACES.items()}
    scores = {name: {metric: {"mean": 0.5} for metric in METRICS} for name in ranks if name != "artist"}
    lines = table(scores, ranks).splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == list(ranks)
    assert lines[0].endswith("| 0.5000 | 50% | 2.0 |") and lines[-1].endswith("|  | 100% | 1.0 |")
    assert paired(ranks).splitlines()[2] == "| `anyone-fine` | `anyone-coarse` | 2 | 0 | 0.5 |"


_PLACES = {
    "anyone-coarse": [1, 3, 1, 3],
    "anyone-fine": [1, 1, 1, 1],
    "real-coarse": [1, 2, 2, 2],
    "artist": [1, 1, 1, 1],
}


def test_levels_move_by_how_far_they_are_shifted() -> None:
    levels = np.arange(10, 200, dtype=np.uint8)
    assert likeness.wasserstein(levels, levels) == 0.0
    assert likeness.wasserstein(levels, levels + np.uint8(7)) == pytest.approx(7.0)


def test_a_wave_has_its_power_in_its_own_band() -> None:
    across = 128.0 + 90.0 * np.cos(2.0 * np.pi * np.arange(96) / 6.0)  # 1/6 cycles a pixel
    power = likeness.band_power(np.broadcast_to(across.astype(np.uint8), (2, 96, 96)))
    assert power.argmax() == 4 and power[4] > 20 * np.delete(power, 4).max()


def test_a_picture_of_the_bank_is_at_no_distance_unless_it_is_left_out() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 30, 30), np.uint8)
    bank = prepare(MemoryBank.from_images(images, images))
    assert (likeness.nearest_map(images, bank) == 0.0).all()
    assert (likeness.nearest_map(images, bank, leave_one_out=True) > 50.0).all()


def test_a_flat_difference_is_the_distance_everywhere() -> None:
    flat = np.full((1, 30, 30), 100, np.uint8)
    bank = prepare(MemoryBank.from_images(flat + np.uint8(9), flat))
    assert likeness.nearest_map(flat, bank) == pytest.approx(9.0)
