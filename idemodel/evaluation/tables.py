"""Evaluations and recognition experiments as files: JSON for programs, CSV for spreadsheets; computes no figure."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from idekernels.files.atomic import replace_when_done
from idemodel.evaluation.protocol import Recognition
from idemodel.evaluation.scoring import Evaluation
from idemodel.evaluation.statistics import LEVEL, RESAMPLES, SEED
from idemodel.files.outputs import make_folder


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as plain dictionaries and lists, all numbers finite.

    ``summary``: metric -> mean, std, ci95 (metrics of the whole set: value). ``images``: one entry an image,
    name and scores. ``settings``: what was compared and how. With further methods also ``methods``: name ->
    summary and images, the first included; and ``comparison``: other -> metric -> difference (first - other),
    ci95, wins, ties, losses.
    """
    first, *others = evaluation.methods
    content: dict[str, Any] = {
        "summary": _summary(evaluation, first),
        "images": _images(evaluation, first),
        "settings": _settings(evaluation),
    }
    if others:
        content["methods"] = {
            method: {"summary": _summary(evaluation, method), "images": _images(evaluation, method)}
            for method in evaluation.methods
        }
        content["comparison"] = {
            other: {metric: asdict(compared) for metric, compared in evaluation.comparison(other).items()}
            for other in others
        }
    return content


def recognition_json(recognition: Recognition) -> dict[str, Any]:
    """The experiment as plain dictionaries and lists: rates by dimension, each split's, and the settings."""
    mean, std = recognition.mean, recognition.std

    def figures(dimension: int) -> dict[str, float]:
        return {"dimensions": dimension, "mean": float(mean[dimension - 1]), "std": float(std[dimension - 1])}

    return {
        "best": figures(recognition.best),
        "rank1": [figures(dimension) for dimension in range(1, mean.size + 1)],
        "splits": recognition.rates.tolist(),
        "settings": {
            "method": "null-space LDA, Euclidean nearest neighbour",
            "learned": recognition.learned,
            "identified": recognition.identified,
            "seed": recognition.seed,
            "train": [str(folder) for folder in recognition.train],
            "pairs": [str(folder) for folder in recognition.pairs],
            "same_people": recognition.same_people,
        },
    }


def write_json(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Write JSON that any reader takes: ASCII, no NaN, whole or not at all.

    Raises
    ------
    ValueError
        A number is not finite.
    OSError
        The folder is missing or read-only, or the disk is full.
    """
    text = json.dumps(content, indent=1, allow_nan=False)
    with replace_when_done(path) as partial:
        partial.write_text(text + "\n", encoding="ascii")


def write_evaluation_csv(path: str | os.PathLike[str], evaluation: Evaluation) -> None:
    """Write one line for each method and image: method, name, a column for each metric."""
    header = ["method", "name", *(metric.name for metric in evaluation.metrics)]
    lines = [
        [method, name, *map(float, row)]
        for method in evaluation.methods
        for name, row in zip(evaluation.names, evaluation.scores[method], strict=True)
    ]
    write_table(path, header, lines)


def write_recognition_csv(path: str | os.PathLike[str], recognition: Recognition) -> None:
    """Write one line for each number of dimensions: mean, deviation, and every split's rate."""
    header = ["dimensions", "mean", "std", *(f"split_{split + 1}" for split in range(len(recognition.rates)))]
    figures = np.column_stack([recognition.mean, recognition.std, recognition.rates.T])
    write_table(path, header, [[row + 1, *map(float, line)] for row, line in enumerate(figures)])


def write_table(path: str | os.PathLike[str], header: list[str], lines: list[list[Any]]) -> None:
    """Write a CSV file (UTF-8; what UTF-8 cannot hold is escaped), whole or not at all."""
    with (
        replace_when_done(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(lines)


def tool_version() -> str:
    """The installed version of idesketch, or ``unknown`` where it runs from a folder."""
    try:
        return metadata.version("idesketch")
    except metadata.PackageNotFoundError:
        return "unknown"


def _summary(evaluation: Evaluation, method: str) -> dict[str, Any]:
    summary: dict[str, Any] = {name: asdict(value) for name, value in evaluation.summary(method).items()}
    return summary | {name: {"value": value} for name, value in evaluation.set_scores[method].items()}


def _images(evaluation: Evaluation, method: str) -> list[dict[str, Any]]:
    names = [metric.name for metric in evaluation.metrics]
    return [
        {"name": name, **dict(zip(names, map(float, row), strict=True))}
        for name, row in zip(evaluation.names, evaluation.scores[method], strict=True)
    ]


def _settings(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "tool": f"idesketch {tool_version()}",
        "methods": {name: str(folder) for name, folder in evaluation.folders.items()},
        "truth": str(evaluation.truth),
        "images": len(evaluation.names),
        "metrics": {
            metric.name: {"higher_is_better": metric.higher_is_better, "source": metric.source}
            for metric in (*evaluation.metrics, *evaluation.set_metrics)
        },
        "weights": {key: str(path) for key, path in evaluation.weights.items()},
        "grey": "ITU-R 601 luma, transparency over white",
        "resized": list(evaluation.resized),
        "without_partner": [
            {"name": name, "missing_in": [str(folder) for folder in folders]} for name, folders in evaluation.alone
        ],
        "unreadable": list(evaluation.unreadable),
        "interval": {"kind": "percentile bootstrap", "level": LEVEL, "resamples": RESAMPLES, "seed": SEED},
    }


def output_folder(path: str | os.PathLike[str]) -> Path:
    """Make the folder for a report's files; it may exist.

    Raises
    ------
    InputError
        A file stands there.
    OSError
        The folder cannot be made.
    """
    return make_folder(Path(path))
