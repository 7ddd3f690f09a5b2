"""``idesketch recognise``: rank-1 recognition of sketches by null-space LDA."""

from __future__ import annotations

from pathlib import Path

import click

from idemodel.evaluation.people import read_people
from idemodel.evaluation.protocol import Protocol, recognise
from idemodel.evaluation.report import write_recognition
from idemodel.evaluation.tables import output_folder, recognition_json, write_json, write_recognition_csv

from .console import counted, say
from .options import PATH


@click.command("recognise", short_help="Recognise artists' sketches among synthesised ones.")
@click.argument("train")
@click.argument("pairs")
@click.option("--splits", type=click.IntRange(min=1), default=20, show_default=True, help="Random splits.")
@click.option(
    "--learn",
    type=click.IntRange(min=2),
    metavar="N",
    help="People of TRAIN to learn from in each split.  [default: half of them]",
)
@click.option(
    "-o",
    "--out",
    type=PATH,
    metavar="OUT",
    help="Folder for report.html, recognition.json and recognition.csv.",
)
def recognise_command(train: str, pairs: str, splits: int, learn: int | None, out: Path | None) -> None:
    """Rank-1 recognition of artists' sketches (probes) among synthesised sketches (gallery).

    TRAIN and PAIRS are each a folder with sketch/ and synth/ (or, without synth/, photo/) of equal names, or two
    folders joined as SYNTH:SKETCH (; on Windows). In every split, people of TRAIN are drawn at random and null-space
    LDA learns to tell them apart by their two images; then each sketch of PAIRS is looked for in the gallery of
    PAIRS, in 1, 2, 3, ... dimensions.

    Give the same folder twice for the protocol of the literature: the people who are not drawn are identified. On
    CUFS (338 people) it learns from 150: --learn 150. With two different folders everyone in PAIRS is identified, and
    nobody in PAIRS should be in TRAIN.
    """
    learning = read_people(train)
    testing = learning if pairs == train else read_people(pairs)
    folder = output_folder(out) if out is not None else None
    with counted("Recognising", splits) as told:
        recognition = recognise(learning, testing, Protocol(splits, learn), told)
    mean, std, best = recognition.mean, recognition.std, recognition.best
    say(
        f"Rank-1 {100 * mean[best - 1]:.2f}% ± {100 * std[best - 1]:.2f} with {best} dimensions, "
        f"{100 * mean[-1]:.2f}% ± {100 * std[-1]:.2f} with all {mean.size}"
    )
    say(
        f"Mean ± standard deviation of {splits} splits; {recognition.learned} people learned from, "
        f"{recognition.identified} identified."
    )
    if folder is not None:
        write_recognition(folder / "report.html", recognition)
        write_json(folder / "recognition.json", recognition_json(recognition))
        write_recognition_csv(folder / "recognition.csv", recognition)
        say(f"Report: {folder / 'report.html'}")
