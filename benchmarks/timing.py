"""How figures are taken: the runs that are compared take turns in one process, so that all meet the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Run = Callable[[], Any]


def seconds(run: Run) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turns(runs: Mapping[str, Run], repeat: int) -> dict[str, list[float]]:
    """Seconds of every run, ``repeat`` rounds of one call each; call every run once before."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return times


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile."""
    first, median, third = np.percentile(values, (25, 50, 75))
    return float(first), float(median), float(third)
