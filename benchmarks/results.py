"""``make results``: the CUHK student pairs through bank, coarse and evaluate; the table in docs/RESULTS.md.

    python -m benchmarks.results [--data DIR] [--out DIR] [--write docs/RESULTS.md]

Needs ``train`` and ``test`` pairs folders in DATA; says so and ends with 0 where they are absent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import describe, one_line
from benchmarks.script import DATA, has_pairs, parser, publish
from idecli.main import run
from idemodel import metrics
from idemodel.files.pairs import images_by_stem

METRICS = {name: metric.label for name, metric in metrics.METRICS.items()}
AS_THEY_ARE = ("--normalise", "none", "--overwrite")  # the data set's own photos, as others score them
PLANES = ("intensity=2", "dog=2", "gradient=2", "lbp=1")


Summary = dict[str, dict[str, float]]  # metric -> its mean and so on


@dataclass(frozen=True)
class Row:
    """One way to make coarse sketches: its name, its bank, what follows ``idesketch coarse``."""

    name: str
    bank: str
    options: tuple[str, ...]


ROWS = (
    Row("top1", "intensity", ("--method", "top1")),
    Row("mean", "intensity", ("--method", "mean")),
    Row("lle", "intensity", ("--method", "lle")),
    Row("mwf", "intensity", ("--method", "mwf")),
    Row("mrf", "intensity", ("--method", "mrf")),
    Row("mwf-k20", "intensity", ("--method", "mwf", "--k", "20")),
    Row("mwf-4-planes", "planes", ("--method", "mwf")),
    Row("multi-4-planes", "planes", ("--method", "multi")),
)


def main() -> None:
    """Run every row, score it, and write the table."""
    arguments = parser(__doc__, data=DATA, out="results-output").parse_args()
    if not has_pairs(arguments.data, "train"):
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    seconds = _synthesise(arguments.data, arguments.out)
    test = arguments.data / "test"
    scores = paired_scores([row.name for row in ROWS], arguments.out, test / "sketch", "--photos", str(test / "photo"))
    publish({"measured": _table(scores, seconds, count_photos(arguments.data))}, arguments.write)


def _synthesise(data: Path, out: Path) -> dict[str, float]:
    """Build the banks and make the sketches of every row; seconds a photo, kernels compiled before."""
    do("bank", "build", str(data / "train"), str(out / "intensity.h5"))
    planes = [part for plane in PLANES for part in ("--plane", plane)]
    do("bank", "build", str(data / "train"), str(out / "planes.h5"), *planes)
    photos, seconds = data / "test" / "photo", {}
    one = next(iter(sorted(photos.iterdir())))
    for row in ROWS:
        bank = str(out / f"{row.bank}.h5")
        do("coarse", bank, str(one), "-o", str(out / "warm"), *row.options, *AS_THEY_ARE)
        start = time.perf_counter()
        do("coarse", bank, str(photos), "-o", str(out / row.name), *row.options, *AS_THEY_ARE)
        seconds[row.name] = (time.perf_counter() - start) / count_photos(data)
    return seconds


def paired_scores(names: Sequence[str], out: Path, truth: Path, *options: str) -> dict[str, Summary]:
    """Mean scores of the folders ``out / name`` against the true images, from one paired evaluation."""
    first, *others = names
    against = [part for name in others for part in ("--against", f"{name}={out / name}")]
    do("evaluate", str(out / first), str(truth), "-o", str(out / "report"), *against, *options)
    report = json.loads((out / "report" / "scores.json").read_text())
    scores: dict[str, Summary] = {first: report["summary"]}
    scores.update({name: report["methods"][name]["summary"] for name in others})
    return scores


def _table(scores: dict[str, Summary], seconds: dict[str, float], count: int) -> str:
    lines = [
        f"{one_line(describe(('idesketch', 'numpy', 'numba')))} {count} test photos; means.",
        "",
        f"| method | {' | '.join(METRICS.values())} | ms a photo |",
        f"|---|{'---|' * (len(METRICS) + 1)}",
    ]
    for name, summary in scores.items():
        figures = " | ".join(f"{summary[metric]['mean']:.4f}" for metric in METRICS)
        lines.append(f"| `{name}` | {figures} | {1e3 * seconds[name]:.0f} |")
    return "\n".join(lines)


def do(*arguments: str) -> None:
    code = run(list(arguments))
    if code:
        raise SystemExit(f"idesketch {' '.join(arguments)} ended with {code}")


def count_photos(data: Path) -> int:
    return len(images_by_stem(data / "test" / "photo"))


if __name__ == "__main__":
    main()
