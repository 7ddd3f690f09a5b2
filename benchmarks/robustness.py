"""``make robustness``: altered CUHK test photos through ``coarse`` with and without ``--normalise auto``, scored.

    python -m benchmarks.robustness [--data DIR] [--out DIR] [--write docs/RESULTS.md]

The altered photos and their sketches stay in OUT/robustness, to be looked at. Says so and ends with 0 without data.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from benchmarks.alterations import ALTERATIONS, altered
from benchmarks.machine import describe, one_line
from benchmarks.results import count_photos, do
from benchmarks.script import DATA, has_pairs, parser, publish
from idekernels import open_bank
from idemodel.faces.normalise import Normaliser
from idemodel.files.images import read_colour, read_grey, write_image
from idemodel.files.pairs import images_by_stem
from idemodel.metrics import METRICS

SCORES = ("ssim", "fsim", "scoot")
WAYS = ("none", "auto")


def main() -> None:
    """Alter, sketch both ways, score, and write the table."""
    arguments = parser(__doc__, data=DATA, out="results-output").parse_args()
    if not has_pairs(arguments.data, "train"):
        return
    publish({"robustness": _table(arguments.data, arguments.out / "robustness")}, arguments.write)


def _table(data: Path, out: Path) -> str:
    out.mkdir(parents=True, exist_ok=True)
    do("bank", "build", str(data / "train"), str(out / "bank.h5"))
    with open_bank(out / "bank.h5") as bank:
        normaliser = Normaliser.of(bank)
    heads = " | ".join(f"{METRICS[score].label} {way}" for score in SCORES for way in WAYS)
    lines = [
        f"{one_line(describe(('idesketch', 'numpy', 'scipy', 'numba')))} {count_photos(data)} test photos; means.",
        "",
        f"| photos | changed by `auto` | {heads} |",
        f"|---|---|{'---|' * len(SCORES) * len(WAYS)}",
    ]
    for name in ALTERATIONS:
        folder = out / re.sub(r"\W+", "-", name)
        changed = _alter(data, folder / "photo", name, normaliser)
        scores = {way: _scores(data, folder, out / "bank.h5", way) for way in WAYS}
        figures = " | ".join(f"{scores[way][score]:.3f}" for score in SCORES for way in WAYS)
        lines.append(f"| {name} | {changed} | {figures} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def _alter(data: Path, folder: Path, name: str, normaliser: Normaliser) -> int:
    """Write the altered photos; how many of them ``auto`` changes."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = 0
    for seed, (stem, file) in enumerate(images_by_stem(data / "test" / "photo").items()):
        photo = altered(read_colour(file), name, seed)
        write_image(folder / f"{stem}.png", photo)
        changed += bool(normaliser.normalise(photo).steps)
    return changed


def _scores(data: Path, folder: Path, bank: Path, way: str) -> dict[str, float]:
    """Mean scores of the coarse sketches of one folder."""
    do("coarse", str(bank), str(folder / "photo"), "-o", str(folder / way), "--normalise", way, "--overwrite")
    pairs = [
        (read_grey(folder / way / f"{stem}.png"), read_grey(truth))
        for stem, truth in images_by_stem(data / "test" / "sketch").items()
    ]
    return {score: float(np.mean([METRICS[score].function(*pair) for pair in pairs])) for score in SCORES}


if __name__ == "__main__":
    main()
