"""The metrics that were asked for, ready to score images, and the images that they refuse; knows no metric by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from idekernels.errors import InputError
from idemodel.evaluation.pairing import Check, Row
from idemodel.files.images import read_grey
from idemodel.files.shapes import shape_text
from idemodel.metrics import DESCRIPTIONS, METRICS, WITH_WEIGHTS, Description, PairMetric, SetMetric
from idemodel.metrics.arguments import Grey
from idemodel.metrics.kinds import Features, PairScore


@dataclass(frozen=True)
class Scored:
    """A row's scores by method, and its features for set metrics, by method and, under ``""``, of the truth."""

    name: str
    scores: Mapping[str, tuple[float, ...]]
    features: Mapping[str, tuple[Features, ...]]


@dataclass(frozen=True)
class Scorers:
    """The chosen metrics of pairs and of sets, each with its function; networks are loaded from ``weights``."""

    metrics: tuple[PairMetric, ...]
    functions: tuple[PairScore, ...]
    set_metrics: tuple[SetMetric, ...]
    features: tuple[Callable[[Grey], Features], ...]
    weights: Mapping[str, Path]

    @classmethod
    def load(cls, metrics: Sequence[str], weights: Mapping[str, Path]) -> Scorers:
        """Take metrics by name, networks from the files of ``weights`` (key -> file).

        No names mean all that need no weights, and those whose weights are given.

        Raises
        ------
        InputError
            A metric or a key of ``weights`` is unknown, or a metric's weights are missing or not the right ones.
        """
        _refuse_unknown_weights(weights)
        names = metrics or (*METRICS, *(name for name, each in WITH_WEIGHTS.items() if each.weights in weights))
        for name in names:
            _refuse_unready(name, weights)
        chosen: list[Description] = [each for each in DESCRIPTIONS.values() if each.name in names]
        pairs = tuple(each for each in chosen if isinstance(each, PairMetric))
        sets = tuple(each for each in chosen if isinstance(each, SetMetric))
        return cls(
            metrics=pairs,
            functions=tuple(each.ready(weights) for each in pairs),
            set_metrics=sets,
            features=tuple(each.ready(weights) for each in sets),
            weights=dict(weights),
        )

    def refuse(self, checks: Sequence[Check]) -> None:
        """InputError where an image is too small for a metric, or a set for a metric of sets."""
        for check in checks:
            for metric in self.metrics:
                if min(check.size) < metric.minimum:
                    raise InputError(self._too_small(check, metric))
        for set_metric in self.set_metrics:
            if len(checks) < 2:
                raise InputError(f"{set_metric.label}: compares sets and needs at least two pairs, not {len(checks)}")

    def score(self, row: Row) -> Scored:
        """Score a row's images in grey, each scaled to its truth's size where it differs."""
        truth = read_grey(row.truth)
        images = {method: _fit(read_grey(file), truth) for method, file in row.files.items()}
        scores = {
            method: tuple(
                _finite(function(image, truth), metric.label, row.files[method])
                for metric, function in zip(self.metrics, self.functions, strict=True)
            )
            for method, image in images.items()
        }
        features = {
            method: tuple(features(image) for features in self.features)
            for method, image in {**images, "": truth}.items()
        }
        return Scored(row.name, scores, features)

    def score_sets(self, method: str, scored: Sequence[Scored]) -> dict[str, float]:
        """Set metric -> score of all of a method's images against all truths."""
        return {
            metric.name: metric.compare(
                np.stack([row.features[method][index] for row in scored]),
                np.stack([row.features[""][index] for row in scored]),
            )
            for index, metric in enumerate(self.set_metrics)
        }

    def _too_small(self, check: Check, metric: Description) -> str:
        left = [known.name for known in self.metrics if known.minimum <= min(check.size)]
        remedy = f"leave it out: --metrics {','.join(left)}" if left else "it cannot be scored"
        return (
            f"{check.truth}: {shape_text(check.size)} is too small for {metric.label}, which needs "
            f"{metric.minimum} x {metric.minimum}; {remedy}"
        )


def _refuse_unknown_weights(weights: Mapping[str, Path]) -> None:
    known = dict.fromkeys(metric.weights for metric in WITH_WEIGHTS.values())  # two metrics may share a network
    for key in weights:
        if key not in known:
            raise InputError(f"--weights {key}=FILE: no metric has such weights; known are {', '.join(known)}")


def _refuse_unready(name: str, weights: Mapping[str, Path]) -> None:
    if name not in DESCRIPTIONS:
        raise InputError(f"{name}: no such metric; choose from {', '.join(DESCRIPTIONS)}")
    if name in WITH_WEIGHTS and WITH_WEIGHTS[name].weights not in weights:
        metric = WITH_WEIGHTS[name]
        raise InputError(f"{name}: needs --weights {metric.weights}=FILE; wanted is {metric.wanted}")


def _fit(image: Grey, truth: Grey) -> Grey:
    if image.shape == truth.shape:
        return image
    size = (truth.shape[1], truth.shape[0])
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _finite(score: float, label: str, file: Path) -> float:
    if not math.isfinite(score):
        raise InputError(f"{file}: {label} is not a finite number; is its weights file the right one?")
    return score
