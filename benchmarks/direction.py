"""``make results-direction``: the CUHK pairs the other way round, sketches into photos; the section "direction".

    python -m benchmarks.direction [--data DIR] [--out DIR] [--steps N] [--write docs/RESULTS.md]

Builds sketch-to-photo banks of ``train``, trains compact (stopped and started again it goes on), makes photos of the
sketches of ``test`` and scores them against the true photos. Says so and ends with 0 without data.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.fine import PACKAGES, row
from benchmarks.machine import describe, one_line
from benchmarks.results import METRICS, PLANES, Row, count_photos, do, paired_scores
from benchmarks.script import DATA, has_pairs, parser, publish
from idemodel.training.recipe import COMPACT
from idemodel.training.run_folder import RunFolder

ROWS = (
    Row("mean", "intensity", ("--method", "mean")),
    Row("mrf", "intensity", ("--method", "mrf")),
    Row("mwf", "intensity", ("--method", "mwf")),
)
SAME = ("--direction", "sketch-to-photo")


def main() -> None:
    """Make photos by every row and by a generator, score them, and write the table."""
    options = parser(__doc__, data=DATA, out="results-output/direction")
    options.add_argument("--steps", type=int, default=COMPACT.steps, help="of training, in all")
    arguments = options.parse_args()
    if not has_pairs(arguments.data, "train"):
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    _build(arguments.data, arguments.out)
    names = [_coarse(one, arguments.data, arguments.out) for one in ROWS]
    names += _fine(arguments.data, arguments.out, arguments.steps)
    publish({"direction": _table(names, arguments.data, arguments.out)}, arguments.write)


def _build(data: Path, out: Path) -> None:
    for name, planes in (("intensity", ()), ("planes", PLANES)):
        given = [part for plane in planes for part in ("--plane", plane)]
        do("bank", "build", str(data / "train"), str(out / f"{name}.h5"), *SAME, *given)


def _coarse(one: Row, data: Path, out: Path) -> str:
    bank, sketches = str(out / f"{one.bank}.h5"), str(data / "test" / "sketch")
    do("coarse", bank, sketches, "-o", str(out / one.name), *SAME, *one.options, "--overwrite")
    return one.name


def _fine(data: Path, out: Path, steps: int) -> tuple[str, str]:
    """Train, and make the photos of both stages; the names of their folders."""
    bank, run, sketches = str(out / "planes.h5"), out / "compact-run", str(data / "test" / "sketch")
    which = ["--resume"] if (run / "state.safetensors").exists() else ["--recipe", COMPACT.name]
    do("train", str(data / "train"), bank, "-o", str(run), *SAME, "--steps", str(steps), "--device", "cpu", *which)
    model, fine = str(run / "best.safetensors"), str(out / "compact")
    do("synth", bank, model, sketches, "-o", fine, *SAME, "--save-coarse", "--overwrite", "--device", "cpu")
    return "compact/coarse", "compact"


def _table(names: list[str], data: Path, out: Path) -> str:
    sketches, photos = data / "test" / "sketch", data / "test" / "photo"
    scores = paired_scores(names, out, photos)
    standing = RunFolder(out / "compact-run").read_state()
    titles = {
        "compact/coarse": "coarse, `mwf`, four planes",
        "compact": f"fine (`compact`, {standing.step} steps, the best at {standing.best_step})",
    }
    lines = [
        f"{one_line(describe(PACKAGES))} {count_photos(data)} test sketches; means, rank-1 with its "
        f"deviation. The sketches themselves, looked for among the photos: rank-1 {_rank1(photos, sketches, out)}.",
        "",
        f"| photo | {' | '.join(METRICS.values())} | rank-1 |",
        f"|---|{'---|' * (len(METRICS) + 1)}",
    ]
    for name in names:
        figures = row(titles.get(name, f"coarse, `{name}`"), scores[name])
        lines.append(f"{figures} {_rank1(photos, out / name, out)} |")
    return "\n".join(lines)


def _rank1(photos: Path, probes: Path, out: Path) -> str:
    people = f"{photos}:{probes}"
    do("recognise", people, people, "-o", str(out / "recognition"))
    rate = json.loads((out / "recognition" / "recognition.json").read_text())["rank1"][-1]  # in all dimensions
    return f"{100 * rate['mean']:.0f} ± {100 * rate['std']:.0f} %"


if __name__ == "__main__":
    main()
