"""The kernels and whole sketches on a CUDA device, each timed until the device is done: ``make bench``; else skipped.

The bank is resident, arrays are on the device, the first call (which compiles) is not timed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.stages import KERNELS, Field
from benchmarks.test_coarse import sketch
from idekernels import backends
from idekernels.methods import METHODS
from idekernels.workloads import STANDARD

_MISSING = backends.why_missing("cuda")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING))]

_BATCHES = {"one photo": 1, "64 photos": 64}


@pytest.fixture(scope="module", params=_BATCHES.values(), ids=_BATCHES.keys())
def field(request: pytest.FixtureRequest) -> Field:
    return Field(replace(STANDARD, photos=request.param), "cuda")


def _until_done(function: Callable[..., Any], *arguments: Any) -> None:
    import cupy

    function(*arguments)
    cupy.cuda.get_current_stream().synchronize()


@pytest.mark.benchmark(group="kernels on a GPU", min_rounds=20, max_time=1.0)
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS.keys())
def test_kernel(benchmark: Any, field: Field, kernel: Callable[[Field], Any]) -> None:
    _until_done(kernel, field)
    benchmark(_until_done, kernel, field)


@pytest.mark.benchmark(group="coarse sketches on a GPU", min_rounds=10, max_time=1.0)
@pytest.mark.parametrize("method", METHODS)
def test_sketch(benchmark: Any, field: Field, method: str) -> None:
    _until_done(sketch, field, method)
    benchmark(_until_done, sketch, field, method)
