"""How fast stage 1 is here: whole coarse sketches of the stated workloads, timed; prints nothing, writes nothing.

The same calls as ``benchmarks/test_coarse.py`` makes under pytest-benchmark in a checkout, without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels import arguments
from idekernels.backends.protocol import Backend
from idekernels.coarse import CoarseSettings, coarse_sketch
from idekernels.machine import describe
from idekernels.methods import METHODS
from idekernels.operations import prepare
from idekernels.results import PreparedBank
from idekernels.workloads import WORKLOADS, Workload

PACKAGES = ("idesketch", "numpy", "numba", "llvmlite", "cupy-cuda12x", "cupy-cuda13x")

METHODS_OF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"tiny": tuple(METHODS), "standard": tuple(METHODS), "batch": ("mwf", "mrf"), "planes": ("mwf", "multi")}
)
USUAL = ("standard", "batch", "planes")  # workloads; the other is for a quick look whether all works


@dataclass(frozen=True)
class Case:
    """One thing that is timed: coarse sketches of a workload's photos by a method."""

    workload: str
    method: str

    @property
    def work(self) -> Workload:
        """The workload itself."""
        return WORKLOADS[self.workload]


@dataclass(frozen=True)
class Timing:
    """How long a case took: ``seconds`` of every round, each of all the workload's photos."""

    case: Case
    seconds: tuple[float, ...]

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """First quartile, median and third quartile of a round, in seconds."""
        first, median, third = np.percentile(self.seconds, (25, 50, 75))
        return float(first), float(median), float(third)

    @property
    def photos_a_second(self) -> float:
        """At the median."""
        return self.case.work.photos / self.quartiles[1]

    def as_dict(self) -> dict[str, Any]:
        """All of it under plain names, for JSON; times in seconds."""
        work, (first, median, third) = self.case.work, self.quartiles
        return {
            "workload": self.case.workload, "method": self.case.method, "photos": work.photos, "pairs": work.pairs,
            "height": work.height, "width": work.width, "k": work.k, "planes": list(work.settings.representations),
            "rounds": len(self.seconds), "first_quartile": first, "median": median, "third_quartile": third,
            "photos_a_second": self.photos_a_second,
        }  # fmt: skip


@dataclass(frozen=True)
class Rounds:
    """How often a case is timed: ``fewest`` times, and on until ``least`` seconds are over."""

    fewest: int = 5
    least: float = 0.7


def cases_of(workloads: Sequence[str]) -> list[Case]:
    """What is timed of some workloads, in their order.

    Raises
    ------
    ValueError
        An unknown name.
    """
    for name in workloads:
        arguments.choice("workload", name, METHODS_OF)
    return [Case(name, method) for name in dict.fromkeys(workloads) for method in METHODS_OF[name]]


def timed(cases: Sequence[Case], backend: str | Backend = "auto", rounds: Rounds | None = None) -> Iterator[Timing]:
    """Time cases one after the other; the bank is prepared before, and a first call, which may compile, is not timed.

    Parameters
    ----------
    cases : sequence of Case
    backend : str or Backend
        See :func:`idekernels.prepare`.
    rounds : Rounds, optional

    Yields
    ------
    Timing

    Raises
    ------
    InputError
        The backend cannot run here.
    """
    banks: dict[str, PreparedBank] = {}
    for case in cases:
        if case.workload not in banks:
            banks = {case.workload: prepare(case.work.bank(), backend)}  # one at a time in memory
        run = _call(case, banks[case.workload], case.work.queries())
        run()
        yield Timing(case, tuple(_rounds(run, rounds or Rounds())))


def facts(backend: Backend) -> dict[str, Any]:
    """What stands beside the figures: backend, machine, versions and date, ready for JSON."""
    return {"backend": backend.name, "device": _device(backend), **describe(PACKAGES)}


def _call(case: Case, bank: PreparedBank, photos: list[NDArray[np.uint8]]) -> Callable[[], Any]:
    """The sketches, brought to the host: a device's are made when they are there."""
    settings = CoarseSettings(case.method, case.work.k)
    return lambda: coarse_sketch(photos, bank, settings).host()


def _rounds(run: Callable[[], Any], rounds: Rounds) -> Iterator[float]:
    total, number = 0.0, 0
    while number < rounds.fewest or total < rounds.least:
        start = time.perf_counter()
        run()
        took = time.perf_counter() - start
        total, number = total + took, number + 1
        yield took


def _device(backend: Backend) -> str | None:
    """The name of the GPU that a backend computes on, None for the processor."""
    if backend.free_memory() is None:
        return None
    from idekernels.backends.cuda import device

    return device.current().limits.name
