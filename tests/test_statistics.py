"""Intervals and paired comparisons against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from idemodel.evaluation.statistics import bootstrap_interval, compare, summarise


def test_interval_approaches_the_normal_one():
    values = np.random.default_rng(1).normal(3.0, 2.0, size=400)
    half = 1.96 * values.std() / np.sqrt(values.size)

    low, high = bootstrap_interval(values)

    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_interval_of_zeros_and_ones_equals_the_binomial_quantiles():
    """The resampled mean of n values, k of them 1, is Binomial(n, k / n) / n."""
    from scipy.stats import binom

    values = np.r_[np.ones(30), np.zeros(70)]

    low, high = bootstrap_interval(values)

    assert low == pytest.approx(binom.ppf(0.025, 100, 0.3) / 100, abs=0.011)
    assert high == pytest.approx(binom.ppf(0.975, 100, 0.3) / 100, abs=0.011)


def test_interval_is_the_same_every_time_and_a_single_value_has_none():
    values = np.random.default_rng(2).random(1000)

    assert bootstrap_interval(values) == bootstrap_interval(values.copy())
    assert bootstrap_interval(np.array([0.25])) == (0.25, 0.25)
    assert summarise(np.array([0.25])).std == 0.0


def test_many_values_are_drawn_in_parts():
    low, high = bootstrap_interval(np.random.default_rng(3).random(3_000))

    assert 0.47 < low < high < 0.53


def test_summary_is_mean_and_sample_deviation():
    summary = summarise(np.array([1.0, 2.0, 6.0]))

    assert (summary.mean, summary.std) == (3.0, pytest.approx(np.sqrt(7.0)))
    assert 1.0 <= summary.ci95[0] <= 3.0 <= summary.ci95[1] <= 6.0


def test_comparison_counts_in_the_better_direction():
    mine, other = np.array([0.5, 0.7, 0.2, 0.9]), np.array([0.4, 0.7, 0.3, 0.1])

    high, low = (compare(mine, other, higher_is_better=flag) for flag in (True, False))

    assert (high.wins, high.ties, high.losses) == (2, 1, 1)
    assert (low.wins, low.ties, low.losses) == (1, 1, 2)
    assert high.difference == low.difference == pytest.approx(0.2)
    assert high.ci95 == low.ci95 and high.ci95[0] <= 0.2 <= high.ci95[1]


@pytest.mark.parametrize("bad", [np.array([]), np.array([1.0, np.nan]), np.array([np.inf]), np.ones((2, 2))])
def test_what_is_no_list_of_finite_numbers_is_refused(bad):
    with pytest.raises(ValueError, match="scores"):
        summarise(bad)


def test_comparison_wants_partners():
    with pytest.raises(ValueError, match="3 and 2"):
        compare(np.ones(3), np.ones(2), higher_is_better=True)
