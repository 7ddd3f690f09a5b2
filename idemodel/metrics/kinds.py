"""What kinds of metrics there are, and what a reader of a score must know of one; no metric itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
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
class PairMetric(Description, ABC):
    """A score of one pair of images (synthesised, truth)."""

    @abstractmethod
    def ready(self, weights: Mapping[str, Path]) -> PairScore:
        """The function that scores a pair; a network is loaded from the file of its key in ``weights``."""


@dataclass(frozen=True)
class Metric(PairMetric):
    """A score of one pair that needs no weights: a function of two grey images."""

    function: PairScore

    def ready(self, weights: Mapping[str, Path]) -> PairScore:
        """The function itself."""
        return self.function


@dataclass(frozen=True)
class NetworkMetric(PairMetric):
    """A score of one pair whose network is loaded from the file of ``--weights KEY=FILE``.

    ``weights`` is the key, ``wanted`` says in words what file is wanted, ``load`` reads it.
    """

    weights: str
    wanted: str
    load: Callable[[Path], PairScore]

    def ready(self, weights: Mapping[str, Path]) -> PairScore:
        """The function with its network loaded."""
        return self.load(weights[self.weights])


@dataclass(frozen=True)
class SetMetric(Description):
    """A score of two whole sets of images: features of every image, then one comparison.

    ``weights`` and ``wanted`` as in :class:`NetworkMetric`; ``load`` gives a function of one image that returns its
    features, (d,) float64; ``compare`` takes (n, d) features of the synthesised images and of the truths.
    """

    weights: str
    wanted: str
    load: Callable[[Path], Callable[[Grey], Features]]
    compare: Callable[[Features, Features], float]

    def ready(self, weights: Mapping[str, Path]) -> Callable[[Grey], Features]:
        """The function that makes an image's features, its network loaded."""
        return self.load(weights[self.weights])
