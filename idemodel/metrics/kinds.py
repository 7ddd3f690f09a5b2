"""What kinds of metrics there are, and what a reader of a score must know of one; no metric itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from idemodel.metrics.arguments import Grey

Features: TypeAlias = NDArray[np.float64]
PairScore: TypeAlias = Callable[[Grey, Grey], float]


@dataclass(frozen=True)
class Description:
    """Names, direction, closed range (``inf`` where unbounded), source and variant, least side in pixels."""

    name: str
    label: str
    higher_is_better: bool
    range: tuple[float, float]
    source: str
    minimum: int


@dataclass(frozen=True)
class Metric(Description):
    """A score of one pair of images (synthesised, truth), ready to be called."""

    function: PairScore


@dataclass(frozen=True)
class NetworkMetric(Description):
    """A score of one pair whose network is loaded from the file of ``--weights KEY=FILE``."""

    weights: str
    wanted: str
    load: Callable[[Path], PairScore]


@dataclass(frozen=True)
class SetMetric(Description):
    """A score of two whole sets of images: features of every image, then one comparison."""

    weights: str
    wanted: str
    load: Callable[[Path], Callable[[Grey], Features]]
    compare: Callable[[Features, Features], float]
