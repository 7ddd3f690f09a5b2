"""Scores of folders of synthesised images against a folder of truths; owns pairing and checks, no metric."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from idekernels.errors import InputError
from idemodel.evaluation.statistics import Comparison, Summary, compare, summarise
from idemodel.files.images import read_grey
from idemodel.files.pairs import images_by_stem
from idemodel.generator.threads import torch_threads_kept
from idemodel.metrics import (
    DESCRIPTIONS,
    METRICS,
    NETWORK_METRICS,
    SET_METRICS,
    Description,
    NetworkMetric,
    SetMetric,
)
from idemodel.metrics.arguments import Grey, shape_text
from idemodel.metrics.kinds import Features, PairScore

Progress = Callable[[int, int], None]  # done, of all
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Settings:
    """What to score and how.

    ``metrics``: names; none means all that need no weights and those whose weights are given. ``weights``:
    key (``lpips``, ``inception``) -> file. ``resize``: scale a synthesised image to its truth's size
    (Lanczos, antialiased) instead of refusing it. ``workers``: threads; no figure depends on them.
    """

    metrics: tuple[str, ...] = ()
    weights: Mapping[str, Path] = field(default_factory=dict)
    resize: bool = False
    workers: int = os.cpu_count() or 1


@dataclass(frozen=True)
class Evaluation:
    """The scores of one or more methods on the same images.

    The first method is the one that is evaluated, the others are what it is compared with. ``scores[method]``
    is (n images, m metrics) float64, finite, in the order of ``names`` and ``metrics``;
    ``set_scores[method]`` holds the metrics of the whole set. ``files[method][name]`` is where an image is,
    ``files[""]`` has the truths. ``alone`` names each image without a partner
    and the folders that lack it; ``unreadable`` has a line for each image that could not be read and was left
    out.
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
    settings: Settings | None = None,
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
        See :class:`Settings`.
    progress
        Called with (done, all) as images are scored.

    Raises
    ------
    InputError
        A folder is missing, no image has a partner, sizes differ without ``resize``, an image is too small
        for a metric, a metric or its weights file is unknown or missing, or no image could be read.
    """
    chosen = settings or Settings()
    if not methods:
        raise InputError("nothing to evaluate: no folder of synthesised images was given")
    scorers = _load_scorers(chosen)
    files = {name: images_by_stem(folder) for name, folder in methods.items()}
    truths = images_by_stem(truth)
    names = sorted(truths.keys() & set.intersection(*(set(stems) for stems in files.values())))
    if not names:
        first = next(iter(methods.values()))
        raise InputError(f"{first}: no image has a partner in {truth}; partners have the same name up to the suffix")
    rows = [_Row(name, {method: files[method][name] for method in methods}, truths[name]) for name in names]
    checks = _in_order(_check, rows, chosen.workers, None)
    unreadable = tuple(line for check in checks for line in check.unreadable)
    readable = [(row, check) for row, check in zip(rows, checks, strict=True) if not check.unreadable]
    if not readable:
        raise InputError(f"{unreadable[0]}; no pair is left to score")
    _refuse_sizes([check for _, check in readable], chosen, scorers)
    _refuse_small_sets(len(readable), scorers)
    with torch_threads_kept():
        scored = _in_order(scorers.score, [row for row, _ in readable], chosen.workers, progress)
    names = [row.name for row, _ in readable]
    return Evaluation(
        names=tuple(names),
        methods=tuple(methods),
        metrics=scorers.metrics,
        set_metrics=scorers.set_metrics,
        scores={method: np.array([row.scores[method] for row in scored]) for method in methods},
        set_scores={method: scorers.score_sets(method, scored) for method in methods},
        folders=dict(methods),
        truth=truth,
        files={**files, "": truths},
        alone=_alone({**{folder: set(files[name]) for name, folder in methods.items()}, truth: set(truths)}),
        unreadable=unreadable,
        resized=tuple(row.name for row, check in readable if check.mismatches),
        weights=dict(chosen.weights),
    )


@dataclass(frozen=True)
class _Row:
    """One image: its name, each method's file and the truth's."""

    name: str
    files: Mapping[str, Path]
    truth: Path


@dataclass(frozen=True)
class _Check:
    """What is wrong with a row: files that cannot be read, sizes that differ; and its truth's size."""

    unreadable: tuple[str, ...]
    mismatches: tuple[str, ...]
    truth: Path
    size: tuple[int, ...]


@dataclass(frozen=True)
class _Scored:
    scores: Mapping[str, tuple[float, ...]]
    features: Mapping[str, tuple[Features, ...]]  # of the methods and, under "", of the truth


@dataclass(frozen=True)
class _Scorers:
    """The chosen metrics, their networks loaded."""

    metrics: tuple[Description, ...]
    functions: tuple[PairScore, ...]
    set_metrics: tuple[Description, ...]
    features: tuple[Callable[[Grey], Features], ...]

    def score(self, row: _Row) -> _Scored:
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
        return _Scored(scores, features)

    def score_sets(self, method: str, scored: Sequence[_Scored]) -> dict[str, float]:
        return {
            metric.name: SET_METRICS[metric.name].compare(
                np.stack([row.features[method][index] for row in scored]),
                np.stack([row.features[""][index] for row in scored]),
            )
            for index, metric in enumerate(self.set_metrics)
        }


def _load_scorers(settings: Settings) -> _Scorers:
    with_weights: dict[str, NetworkMetric | SetMetric] = {**NETWORK_METRICS, **SET_METRICS}
    keys = {metric.weights: name for name, metric in with_weights.items()}
    for key in settings.weights:
        if key not in keys:
            raise InputError(f"--weights {key}=FILE: no metric has such weights; known are {', '.join(keys)}")
    names = settings.metrics or (*METRICS, *(keys[key] for key in keys if key in settings.weights))
    for name in names:
        if name not in DESCRIPTIONS:
            raise InputError(f"{name}: no such metric; choose from {', '.join(DESCRIPTIONS)}")
        if name in with_weights and with_weights[name].weights not in settings.weights:
            metric = with_weights[name]
            raise InputError(f"{name}: needs --weights {metric.weights}=FILE; wanted is {metric.wanted}")
    ordered = [name for name in DESCRIPTIONS if name in names]
    functions: dict[str, PairScore] = {name: METRICS[name].function for name in ordered if name in METRICS}
    for name, network in NETWORK_METRICS.items():
        if name in ordered:
            functions[name] = network.load(settings.weights[network.weights])
    sets = [SET_METRICS[name] for name in ordered if name in SET_METRICS]
    return _Scorers(
        metrics=tuple(DESCRIPTIONS[name] for name in functions),
        functions=tuple(functions.values()),
        set_metrics=tuple(sets),
        features=tuple(metric.load(settings.weights[metric.weights]) for metric in sets),
    )


def _check(row: _Row) -> _Check:
    sizes: dict[Path, tuple[int, ...]] = {}
    unreadable: list[str] = []
    for file in (*row.files.values(), row.truth):
        size_or_error = _size(file)
        if isinstance(size_or_error, str):
            unreadable.append(size_or_error)
        else:
            sizes[file] = size_or_error
    if unreadable:
        return _Check(tuple(unreadable), (), row.truth, ())
    size = sizes[row.truth]
    text = shape_text(size)
    mismatches = [
        f"{file}: is {shape_text(sizes[file])} but its truth is {text}"
        for file in row.files.values()
        if sizes[file] != size
    ]
    return _Check((), tuple(mismatches), row.truth, size)


def _size(file: Path) -> tuple[int, ...] | str:
    """The size of an image, or in words why it cannot be read."""
    try:
        return read_grey(file).shape
    except InputError as error:
        return str(error)


def _refuse_sizes(checks: Sequence[_Check], settings: Settings, scorers: _Scorers) -> None:
    mismatches = [line for check in checks for line in check.mismatches]
    if mismatches and not settings.resize:
        more = f" (and {len(mismatches) - 1} more)" if len(mismatches) > 1 else ""
        raise InputError(f"{mismatches[0]}{more}; --resize scales the synthesised images to their truths")
    for check in checks:
        for metric in scorers.metrics:
            if min(check.size) < metric.minimum:
                left = [known.name for known in scorers.metrics if known.minimum <= min(check.size)]
                remedy = f"leave it out: --metrics {','.join(left)}" if left else "it cannot be scored"
                size = shape_text(check.size)
                raise InputError(
                    f"{check.truth}: {size} is too small for {metric.label}, which needs "
                    f"{metric.minimum} x {metric.minimum}; {remedy}"
                )


def _refuse_small_sets(count: int, scorers: _Scorers) -> None:
    for metric in scorers.set_metrics:
        if count < 2:
            raise InputError(f"{metric.label}: compares sets and needs at least two pairs, not {count}")


def _fit(image: Grey, truth: Grey) -> Grey:
    if image.shape == truth.shape:
        return image
    size = (truth.shape[1], truth.shape[0])
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _finite(score: float, label: str, file: Path) -> float:
    if not math.isfinite(score):
        raise InputError(f"{file}: {label} is not a finite number; is its weights file the right one?")
    return score


def _alone(stems: Mapping[Path, set[str]]) -> tuple[tuple[str, tuple[Path, ...]], ...]:
    """Every name that some folder lacks, with the folders that lack it."""
    everything = sorted(set.union(*stems.values()))
    lacking = ((name, tuple(folder for folder in stems if name not in stems[folder])) for name in everything)
    return tuple((name, folders) for name, folders in lacking if folders)


def _in_order(
    function: Callable[[_Item], _Result], items: Sequence[_Item], workers: int, progress: Progress | None
) -> list[_Result]:
    """Map over threads; results in the items' order; an error or an interruption drops what has not begun."""
    pool = ThreadPoolExecutor(max_workers=max(1, workers), initializer=_single_threaded_torch)
    results: list[_Result] = []
    try:
        for result in pool.map(function, items):
            results.append(result)
            if progress is not None:
                progress(len(results), len(items))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return results


def _single_threaded_torch() -> None:
    """One torch thread in this thread, if torch is loaded: sums are taken in one order, whoever works."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
