"""``idesketch evaluate``: scores of synthesised images as a report, JSON and CSV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from idekernels.errors import InputError
from idemodel.evaluation.report import IMAGES, write_evaluation
from idemodel.evaluation.scoring import Evaluation, EvaluationSettings, evaluate
from idemodel.evaluation.tables import evaluation_json, output_folder, write_evaluation_csv, write_json
from idemodel.files.outputs import Inputs
from idemodel.metrics import DESCRIPTIONS, WITH_WEIGHTS

from .console import counted, note, say
from .options import PATH, at_home

_WEIGHTS = "; ".join(f"{each.weights}=FILE for {each.label}: {each.wanted}" for each in WITH_WEIGHTS.values())


def _named(option: str, values: Sequence[str]) -> dict[str, Path]:
    """NAME=PATH options as a mapping."""
    named: dict[str, Path] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not (name and equals and path):
            raise click.UsageError(f"{option} {value}: write it as NAME=PATH")
        if name in named:
            raise click.UsageError(f"{option} {name}: given twice")
        named[name] = at_home(path)
    return named


def _methods(first: str, synth: Path, against: Sequence[str]) -> dict[str, Path]:
    """Name -> folder of the method that is evaluated and of those that it is compared with."""
    others = _named("--against", against)
    if first in others:
        raise click.UsageError(f"--against {first}: SYNTH has this name; give one of them another")
    return {first: synth, **others}


@click.command("evaluate", short_help="Score synthesised images against the true ones.")
@click.argument("synth", type=PATH)
@click.argument("truth", type=PATH)
@click.option(
    "-o",
    "--out",
    type=PATH,
    required=True,
    metavar="OUT",
    help="Folder for report.html, scores.json and scores.csv; made if it is not there, files are replaced.",
)
@click.option("--photos", type=PATH, metavar="DIR", help="Photos to show beside the images.")
@click.option("--name", metavar="NAME", help="What to call SYNTH in the report.  [default: the folder's name]")
@click.option("--against", multiple=True, metavar="NAME=DIR", help="A further method to compare with; repeatable.")
@click.option("--metrics", metavar="LIST", help=f"Names with commas, of {', '.join(DESCRIPTIONS)}.  [default: all "
              "that need no weights, and those whose weights are given]")  # fmt: skip
@click.option("--weights", multiple=True, metavar="KEY=FILE", help=f"Repeatable. {_WEIGHTS}.")
@click.option(
    "--match",
    metavar="REGEX",
    default="stem",
    show_default=True,
    help="Partners: stem, or a regular expression; what its groups find counts, a name without it counts whole: "
    "'(.+)_fake_B' pairs x_fake_B.png with x.png.",
)
@click.option("--resize", is_flag=True, help="Scale images to their truth's size (Lanczos) instead of refusing.")
@click.option("--json", "json_file", type=PATH, metavar="FILE", help="Instead of OUT/scores.json.")
@click.option("--csv", "csv_file", type=PATH, metavar="FILE", help="Instead of OUT/scores.csv.")
@click.option(
    "--images",
    type=click.IntRange(min=0),
    default=IMAGES,
    show_default=True,
    metavar="N",
    help="Rows of images in the report; of more an even choice from the worst to the best.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    show_default="the number of processors",
    metavar="N",
    help="Threads; no figure depends on them.",
)
def evaluate_command(
    synth: Path,
    truth: Path,
    out: Path,
    photos: Path | None,
    name: str | None,
    against: tuple[str, ...],
    metrics: str | None,
    weights: tuple[str, ...],
    match: str,
    resize: bool,
    json_file: Path | None,
    csv_file: Path | None,
    images: int,
    workers: int,
) -> int:
    """Score the images of folder SYNTH against those of folder TRUTH.

    Partners have the same name up to the suffix, or as --match says; an image without one is named and left out. With
    --against only images that every method has are scored, so that the comparison is paired. Scores are of grey
    levels: colour becomes luma, transparency is laid over white. An image that cannot be read is named, the others are
    scored, and the exit code is 1.
    """
    methods = _methods(name or synth.resolve().name or "synthesised", synth, against)
    if photos is not None and not photos.is_dir():
        raise InputError(f"{photos}: no such folder; --photos wants the folder of the photos")
    chosen = tuple(part.strip().lower().replace("-", "_") for part in (metrics or "").split(",") if part.strip())
    settings = EvaluationSettings(chosen, _named("--weights", weights), resize, match, workers)
    folder = output_folder(out)
    with counted("Scoring") as told:
        evaluation = evaluate(methods, truth, settings, told)
    inputs = Inputs(
        (*(path for files in evaluation.files.values() for path in files.values()), *settings.weights.values())
    )
    for file in (json_file, csv_file):
        if file is not None and file in inputs:
            raise InputError(f"{file}: is an input and would be written over; choose another name")
    write_evaluation(folder / "report.html", evaluation, photos, images)
    write_json(json_file or folder / "scores.json", evaluation_json(evaluation))
    write_evaluation_csv(csv_file or folder / "scores.csv", evaluation)
    _show(evaluation)
    say(f"Report: {folder / 'report.html'}")
    return 1 if evaluation.unreadable else 0


def _show(evaluation: Evaluation) -> None:
    for line in evaluation.passed:
        note(line)
    for name, folders in evaluation.alone:
        note(f"{name}: not scored, no partner in {', '.join(map(str, folders))}")
    for line in evaluation.unreadable:
        note(f"{line}; not scored")
    if evaluation.resized:
        note(f"Scaled to the truth's size: {', '.join(evaluation.resized)}")
    labels = [metric.label for metric in (*evaluation.metrics, *evaluation.set_metrics)]
    width = max(len(method) for method in (*evaluation.methods, "mean of"))
    say(" ".join([f"{'':{width}}", *(f"{label:>8}" for label in labels)]))
    for method in evaluation.methods:
        summary = evaluation.summary(method)
        means = [f"{summary[metric.name].mean:8.4f}" for metric in evaluation.metrics]
        means += [f"{evaluation.set_scores[method][metric.name]:8.3f}" for metric in evaluation.set_metrics]
        say(" ".join([f"{method:{width}}", *means]))
    say(f"Mean of {len(evaluation.names)} image{'' if len(evaluation.names) == 1 else 's'}.")
