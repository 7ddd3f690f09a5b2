"""Each kernel alone on the standard workload: ``make bench``. The first call, which may compile, is not timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.stages import KERNELS, Field


@pytest.mark.benchmark(group="kernels, one photo", min_rounds=7, max_time=0.7)
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS.keys())
def test_kernel(benchmark: Any, standard: Field, kernel: Callable[[Field], Any]) -> None:
    kernel(standard)
    benchmark(kernel, standard)


@pytest.mark.benchmark(group="match, other work", min_rounds=3, max_time=0.7)
@pytest.mark.parametrize("work", ["batch", "planes"])
def test_match(benchmark: Any, request: pytest.FixtureRequest, work: str) -> None:
    field = request.getfixturevalue(work)
    KERNELS["match"](field)
    benchmark(KERNELS["match"], field)
