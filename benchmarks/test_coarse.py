"""Whole coarse sketches by every method, bank prepared: ``make bench``. The first call may compile and is not timed."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.stages import ALPHA, ITERATIONS, Field
from idekernels import CoarseSettings, coarse_sketch
from idekernels.methods import METHODS


def sketch(field: Field, method: str) -> Any:
    """Coarse sketches of the workload's photos; the first call draws them, which is not to be timed."""
    settings = CoarseSettings(method=method, k=field.work.k, alpha=ALPHA, iterations=ITERATIONS)
    return coarse_sketch(field.photos, field.bank, settings)


@pytest.mark.benchmark(group="coarse sketch, one photo", min_rounds=5, max_time=0.7)
@pytest.mark.parametrize("method", METHODS)
def test_one_photo(benchmark: Any, standard: Field, method: str) -> None:
    sketch(standard, method)
    benchmark(sketch, standard, method)


@pytest.mark.benchmark(group="coarse sketch, eight photos", min_rounds=3, max_time=0.7)
@pytest.mark.parametrize("method", ["mwf", "mrf"])
def test_batch(benchmark: Any, batch: Field, method: str) -> None:
    sketch(batch, method)
    benchmark(sketch, batch, method)


@pytest.mark.benchmark(group="coarse sketch, three planes", min_rounds=3, max_time=0.7)
@pytest.mark.parametrize("method", ["mwf", "multi"])
def test_planes(benchmark: Any, planes: Field, method: str) -> None:
    sketch(planes, method)
    benchmark(sketch, planes, method)
