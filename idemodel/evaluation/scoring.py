"""Scores of folders of synthesised images against a folder of truths: what is asked, the result, the way between."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idekernels.errors import InputError
from idemodel.evaluation.pairing import STEM, Check, Pairing, Row, check_row, pair_folders, refuse_mismatches
from idemodel.evaluation.scorers import Scored, Scorers
from idemodel.evaluation.statistics import Comparison, Summary, compare, summarise
from idemodel.evaluation.workers import Progress, in_order
from idemodel.metrics import Description


@dataclass(frozen=True)
class EvaluationSettings:
    """What to score and how.

    ``metrics``: names; none means all that need no weights and those whose weights are given. ``weights``:
    key (``lpips``, ``inception``) -> file. ``resize``: scale a synthesised image to its truth's size
    (Lanczos, antialiased) instead of refusing it. ``match``: how partners are found, see
    :func:`idemodel.evaluation.pairing.pair_folders`. ``workers``: threads; no figure depends on them.
    """

    metrics: tuple[str, ...] = ()
    weights: Mapping[str, Path] = field(default_factory=dict)
    resize: bool = False
    match: str = STEM
    workers: int = os.cpu_count() or 1


@dataclass(frozen=True)
class Evaluation:
    """The scores of one or more methods on the same images.

    The first method is the one that is evaluated, the others are what it is compared with. ``scores[method]``
    is (n images, m metrics) float64, finite, in the order of ``names`` and ``metrics``;
    ``set_scores[method]`` holds the metrics of the whole set. ``files[method][name]`` is where an image is,
    ``files[""]`` has the truths. ``alone`` names each image without a partner
    and the folders that lack it; ``unreadable`` has a line for each image that could not be read and was left
    out; ``passed`` has a line for each folder in which files were passed over.
    """

    names: tuple[str, ...]
    methods: tuple[str, ...]
    metrics: tuple[Description, ...]
    set_metrics: tuple[Description, ...]
    scores: Mapping[str, NDArray[np.float64]]
    set_scores: Mapping[str, Mapping[str, float]]
    folders: Mapping[str, Path]
    truth: Path
    files: Mapping[str, Mapping[str, Path]]
    alone: tuple[tuple[str, tuple[Path, ...]], ...]
    unreadable: tuple[str, ...]
    resized: tuple[str, ...]
    weights: Mapping[str, Path]
    passed: tuple[str, ...] = ()

    def column(self, method: str, metric: str) -> NDArray[np.float64]:
        """The scores of one method by one metric, (n,)."""
        return self.scores[method][:, [described.name for described in self.metrics].index(metric)]

    def summary(self, method: str) -> dict[str, Summary]:
        """Metric -> mean, deviation and interval of one method."""
        return {metric.name: summarise(self.column(method, metric.name)) for metric in self.metrics}

    def comparison(self, other: str) -> dict[str, Comparison]:
        """Metric -> the first method against ``other``; a win is the first method's."""
        return {
            metric.name: compare(
                self.column(self.methods[0], metric.name),
                self.column(other, metric.name),
                higher_is_better=metric.higher_is_better,
            )
            for metric in self.metrics
        }


def evaluate(
    methods: Mapping[str, Path],
    truth: Path,
    settings: EvaluationSettings | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Score every image that the truth and all methods have, by name without suffix.

    All scores are of grey levels: colour becomes luma (ITU-R 601), transparency is laid over white; so a
    colour image against a grey one is compared in grey.

    Parameters
    ----------
    methods
        Name -> folder of synthesised images; the first is the one that is evaluated.
    truth
        Folder of the true images.
    settings
        See :class:`EvaluationSettings`.
    progress
        Called with (done, all) as images are scored.

    Raises
    ------
    InputError
        A folder is missing, no image has a partner, sizes differ without ``resize``, an image is too small
        for a metric, a metric or its weights file is unknown or missing, or no image could be read.
    """
    chosen = settings or EvaluationSettings()
    if not methods:
        raise InputError("nothing to evaluate: no folder of synthesised images was given")
    scorers = Scorers.load(chosen.metrics, chosen.weights)
    pairing = pair_folders(methods, truth, chosen.match)
    checks = in_order(check_row, pairing.rows, chosen.workers)
    rows = _readable(pairing, checks, chosen, scorers)
    scored = in_order(scorers.score, rows, chosen.workers, progress)
    return _assembled(pairing, checks, scorers, scored)


def _readable(pairing: Pairing, checks: Sequence[Check], settings: EvaluationSettings, scorers: Scorers) -> list[Row]:
    """The rows whose files can be read; InputError where there is none, or one that must not be scored."""
    rows = [row for row, check in zip(pairing.rows, checks, strict=True) if not check.unreadable]
    if not rows:
        raise InputError(f"{checks[0].unreadable[0]}; no pair is left to score")
    readable = [check for check in checks if not check.unreadable]
    if not settings.resize:
        refuse_mismatches(readable)
    scorers.refuse(readable)
    return rows


def _assembled(pairing: Pairing, checks: Sequence[Check], scorers: Scorers, scored: Sequence[Scored]) -> Evaluation:
    methods = tuple(pairing.methods)
    return Evaluation(
        names=tuple(row.name for row in scored),
        methods=methods,
        metrics=scorers.metrics,
        set_metrics=scorers.set_metrics,
        scores={method: np.array([row.scores[method] for row in scored]) for method in methods},
        set_scores={method: scorers.score_sets(method, scored) for method in methods},
        folders=pairing.methods,
        truth=pairing.truth,
        files=pairing.files,
        alone=pairing.alone,
        unreadable=tuple(line for check in checks for line in check.unreadable),
        resized=tuple(row.name for row, check in zip(pairing.rows, checks, strict=True) if check.mismatches),
        weights=scorers.weights,
        passed=pairing.passed,
    )
