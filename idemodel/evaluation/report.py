"""Self-contained HTML reports of evaluations and recognition experiments; no figure is computed here."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from idekernels.errors import InputError
from idemodel.evaluation.charts import MAX_DOTS, Distribution, curve, distribution
from idemodel.evaluation.pages import render, write_page
from idemodel.evaluation.protocol import Recognition
from idemodel.evaluation.scoring import Evaluation
from idemodel.evaluation.statistics import RESAMPLES, SEED, Comparison
from idemodel.evaluation.tables import tool_version
from idemodel.files.images import read_colour
from idemodel.files.pairs import images_by_stem
from idemodel.metrics import Description

IMAGES = 40  # rows of images in a report unless told otherwise: about 60 kB a row of four
LARGEST = 1024  # longer sides are scaled down to this
QUALITY = 90  # of the JPEG copies; scores are of the files


@dataclass(frozen=True)
class Picture:
    """An image of a row: label, labelled scores, data URI and size; ``index`` is its method's, or none."""

    label: str
    scores: tuple[tuple[str, float], ...]
    uri: str
    width: int
    height: int
    index: int | None


def write_evaluation(
    path: str | os.PathLike[str], evaluation: Evaluation, photos: Path | None = None, images: int = IMAGES
) -> None:
    """Write the report of an evaluation as one HTML file that needs no network.

    Parameters
    ----------
    path
        The file; it appears whole or not at all.
    evaluation
        What to report.
    photos
        Folder of the photos, shown beside the images of the same name; any size.
    images
        How many rows of images to embed. If there are more, an even choice by the first metric, the best and
        the worst among them.

    Raises
    ------
    InputError
        The photo folder is missing.
    OSError
        The folder of ``path`` is missing or read-only, or the disk is full.
    """
    photo_files = images_by_stem(photos) if photos is not None else {}
    chosen = choose_rows(evaluation, images)
    faces = [_face(evaluation, row, photo_files) for row in chosen]
    html = render(
        "report.html.jinja",
        **_heading(evaluation),
        summary=_summary(evaluation),
        comparisons=_comparisons(evaluation),
        charts=_charts(evaluation),
        dots_limited=MAX_DOTS if len(evaluation.names) > MAX_DOTS else 0,
        rows=_rows(evaluation, {row: f"face-{row}" for row in chosen}),
        faces=faces,
        faces_note=_faces_note(len(faces), len(evaluation.names), evaluation.metrics),
    )
    write_page(path, html)


def write_recognition(path: str | os.PathLike[str], recognition: Recognition) -> None:
    """Write the report of a recognition experiment as one HTML file that needs no network.

    Raises
    ------
    OSError
        The folder of ``path`` is missing or read-only, or the disk is full.
    """
    mean, std = recognition.mean, recognition.std

    def figures(dimension: int) -> dict[str, Any]:
        rate, deviation = mean[dimension - 1], std[dimension - 1]
        return {"dimension": dimension, "rate": f"{100 * rate:.2f}%", "std": f"{100 * deviation:.2f}"}

    html = render(
        "recognition.html.jinja",
        title=f"Recognition of {recognition.identified} people",
        tool=f"idesketch {tool_version()}",
        best=figures(recognition.best),
        last=figures(mean.size),
        table=[figures(dimension) for dimension in range(1, mean.size + 1)],
        curve=curve(range(1, mean.size + 1), mean, std),
        splits=recognition.rates.shape[0],
        seed=recognition.seed,
        learned=recognition.learned,
        identified=recognition.identified,
        train=str(recognition.train[0]),
        pairs=str(recognition.pairs[0]),
        probes=str(recognition.pairs[1]),
        same_people=recognition.same_people,
    )
    write_page(path, html)


def choose_rows(evaluation: Evaluation, images: int) -> list[int]:
    """Which images to show: all if they are few, else evenly by rank in the first metric; in names' order."""
    count = len(evaluation.names)
    if images >= count:
        return list(range(count))
    if images <= 0:
        return []
    if not evaluation.metrics:
        return list(range(images))
    scores = evaluation.scores[evaluation.methods[0]][:, 0]
    ranked = np.argsort(scores, kind="stable")
    return sorted({int(ranked[round(at)]) for at in np.linspace(0, count - 1, images)})


def _heading(evaluation: Evaluation) -> dict[str, Any]:
    """What was scored, by which tool, and how: everything of the page but the figures and the images."""
    return {
        "title": f"Scores of {', '.join(evaluation.methods[:4])}",
        "tool": f"idesketch {tool_version()}",
        "count": len(evaluation.names),
        "truth": str(evaluation.truth),
        "notes": _notes(evaluation),
        "interval": f"percentile bootstrap, {RESAMPLES:,} resamples, seed {SEED}",
        "methods": evaluation.methods,
        "metrics": evaluation.metrics,
        "columns": (*evaluation.metrics, *evaluation.set_metrics),
    }


def _notes(evaluation: Evaluation) -> list[str]:
    notes = []
    if evaluation.alone:
        lines = "; ".join(f"{name} (missing in {', '.join(map(str, folders))})" for name, folders in evaluation.alone)
        notes.append(f"Not scored, without a partner: {lines}.")
    notes += [f"Not scored: {line}." for line in evaluation.unreadable]
    if evaluation.resized:
        notes.append(f"Scaled to the size of the truth before scoring (Lanczos): {', '.join(evaluation.resized)}.")
    return notes


def _summary(evaluation: Evaluation) -> list[dict[str, Any]]:
    summaries = {method: evaluation.summary(method) for method in evaluation.methods}
    rows = []
    for method in evaluation.methods:
        cells: list[dict[str, Any]] = []
        for metric in evaluation.metrics:
            summary = summaries[method][metric.name]
            means = [summaries[other][metric.name].mean for other in evaluation.methods]
            cells.append(
                {
                    "text": f"{summary.mean:.4f}",
                    "interval": _interval(summary.ci95),
                    "std": f"{summary.std:.4f}",
                    "best": _is_best(summary.mean, means, metric),
                }
            )
        for metric in evaluation.set_metrics:
            value = evaluation.set_scores[method][metric.name]
            values = [evaluation.set_scores[other][metric.name] for other in evaluation.methods]
            cells.append({"text": f"{value:.3f}", "interval": "", "best": _is_best(value, values, metric)})
        rows.append({"method": method, "cells": cells})
    return rows


def _is_best(value: float, values: Sequence[float], metric: Description) -> bool:
    return len(values) > 1 and value == (max(values) if metric.higher_is_better else min(values))


def _comparisons(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        _comparison(evaluation, other, metric, compared)
        for other in evaluation.methods[1:]
        for metric, compared in evaluation.comparison(other).items()
    ]


def _comparison(evaluation: Evaluation, other: str, metric: str, compared: Comparison) -> dict[str, Any]:
    described = next(each for each in evaluation.metrics if each.name == metric)
    low, high = compared.ci95 if described.higher_is_better else (-compared.ci95[1], -compared.ci95[0])
    return {
        "index": evaluation.methods.index(other),
        "other": other,
        "metric": described,
        "difference": f"{compared.difference:+.4f}",
        "interval": _interval(compared.ci95, sign="+"),
        "verdict": "good" if low > 0 else "bad" if high < 0 else "",
        "wins": compared.wins,
        "ties": compared.ties,
        "losses": compared.losses,
    }


def _interval(interval: tuple[float, float], sign: str = "-") -> str:
    return f"{interval[0]:{sign}.4f} to {interval[1]:{sign}.4f}"


def _charts(evaluation: Evaluation) -> list[tuple[Description, Distribution]]:
    summaries = {method: evaluation.summary(method) for method in evaluation.methods}
    return [
        (
            metric,
            distribution(
                evaluation.names,
                {method: evaluation.column(method, metric.name) for method in evaluation.methods},
                {method: summaries[method][metric.name].ci95 for method in evaluation.methods},
            ),
        )
        for metric in evaluation.metrics
    ]


def _rows(evaluation: Evaluation, anchors: Mapping[int, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "anchor": anchors.get(row, ""),
            "method": method,
            "index": index,
            "scores": [float(value) for value in evaluation.scores[method][row]],
        }
        for row, name in enumerate(evaluation.names)
        for index, method in enumerate(evaluation.methods)
    ]


def _face(evaluation: Evaluation, row: int, photos: Mapping[str, Path]) -> dict[str, Any]:
    name = evaluation.names[row]
    pictures = [_picture("Photo", (), photos[name], None)] if name in photos else []
    for index, method in enumerate(evaluation.methods):
        scores = tuple(
            (metric.label, float(value))
            for metric, value in zip(evaluation.metrics, evaluation.scores[method][row], strict=True)
        )
        pictures.append(_picture(method, scores, evaluation.files[method][name], index))
    pictures.append(_picture("Truth", (), evaluation.files[""][name], None))
    shown = [picture for picture in pictures if picture is not None]
    return {"name": name, "anchor": f"face-{row}", "pictures": shown}


def _picture(label: str, scores: tuple[tuple[str, float], ...], file: Path, index: int | None) -> Picture | None:
    """A JPEG copy of an image file, grey if it is grey; none if the file cannot be read."""
    try:
        pixels = read_colour(file)
    except InputError:
        return None
    image = Image.fromarray(pixels[:, :, 0] if _is_grey(pixels) else pixels)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=QUALITY, subsampling=0, optimize=True)
    uri = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    return Picture(label, scores, uri, image.width, image.height, index)


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    return bool((pixels == pixels[:, :, :1]).all())


def _faces_note(shown: int, count: int, metrics: Sequence[Description]) -> str:
    copies = "JPEG copies; the scores are of the files."
    if shown == count:
        return copies
    ranking = f"from the worst to the best {metrics[0].label} of the first method" if metrics else "by name"
    return f"{shown} of {count} images, chosen evenly {ranking} (--images changes the number). {copies}"
