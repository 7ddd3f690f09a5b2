"""``make results-levers``: what each part of the recipe ``drawn`` is worth, by short runs; the section "levers".

    python -m benchmarks.levers [--data DIR] [--out DIR] [--jobs N] [--write docs/RESULTS.md]

Every row is the recipe with one part changed, trained for 1,200 steps on 70 of the training pairs and scored on the
other 18 (chosen by the seed), whose coarse sketches leave out their own pair. A row takes four minutes on one core;
``--jobs`` trains several at a time, a thread each. Stopped and started again, it goes on. The test pairs are not seen.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.fine import PACKAGES, build_planes, row, scores, trained
from benchmarks.machine import describe, one_line
from benchmarks.results import METRICS, do
from benchmarks.script import DATA, has_pairs, parser, publish
from idemodel.files.pairs import list_pairs
from idemodel.training.data import split_pairs
from idemodel.training.recipe import COMPACT, DRAWN, Recipe

ASIDE = 18
STEPS = 1_200
SEED = 0
_SHORT = {"steps": STEPS, "structure_first": 600, "halvings": (900, 1_050, 1_150), "validation": ASIDE}


@dataclass(frozen=True)
class Lever:
    """A row of the table: what is changed of the short recipe."""

    name: str
    changes: dict[str, Any]
    base: Recipe = DRAWN

    @property
    def recipe(self) -> Recipe:
        """The recipe of the row, short."""
        short = {**_SHORT, "validate_every": STEPS, "hand": type(DRAWN.hand)()}
        losses = replace(self.base.losses, **self.changes.get("losses", {}))
        others = {name: value for name, value in self.changes.items() if name != "losses"}
        return replace(self.base, **{**short, "losses": losses, **others})


LEVERS = (
    Lever("`drawn`, all of it", {}),
    Lever("no texture loss", {"losses": {"texture": 0.0}}),
    Lever("no discriminator", {"losses": {"adversarial": 0.0, "features": 0.0}}),
    Lever("not structure first", {"structure_first": 0}),
    Lever("the paper's tail", {"tail": "shuffle"}),
    Lever("no intra-domain sketch", {"inputs": "coarse+photo+quilt"}),
    Lever("nor a quilt", {"inputs": "coarse+photo"}),
    Lever("`compact`", {"structure_first": 0}, COMPACT),
)


def main() -> None:
    """Train every row, score it, and write the table."""
    making = parser(__doc__, data=DATA, out="results-output")
    making.add_argument("--jobs", type=int, default=1, help="rows trained at a time, one thread each")
    arguments = making.parse_args()
    if not has_pairs(arguments.data, "train"):
        return
    out = arguments.out / "levers"
    out.mkdir(parents=True, exist_ok=True)
    bank = build_planes(arguments.data, arguments.out)
    pairs = _pairs_aside(arguments.data / "train", out / "aside")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        runs = list(pool.map(lambda lever: _trained(lever, arguments.data / "train", bank, out), LEVERS))
    publish({"levers": _table(runs, bank, pairs, out)}, arguments.write)


def _pairs_aside(train: Path, folder: Path) -> Path:
    """A pairs folder of those kept aside."""
    files = list_pairs(train)
    aside, _ = split_pairs(len(files), ASIDE, SEED)
    for side in ("photo", "sketch"):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for number in aside:
            file = getattr(files[number], side)
            shutil.copyfile(file, folder / side / file.name)
    return folder


def _trained(lever: Lever, train: Path, bank: Path, out: Path) -> Path:
    """The folder of the row's run."""
    name = "".join(letter if letter.isalnum() else "-" for letter in lever.name).strip("-")
    return trained(train, bank, out / name, SEED, "--recipe", str(_toml(lever.recipe, out / f"{name}.toml")))


def _toml(recipe: Recipe, file: Path) -> Path:
    """The recipe as TOML."""
    lines: list[str] = []
    tables: list[str] = []
    for name, value in recipe.as_dict().items():
        if isinstance(value, dict):
            inner = (f"{key} = {json.dumps(each)}" for key, each in value.items() if each is not None)
            tables += [f"[{name}]", *inner]
        elif name != "name":
            lines.append(f"{name} = {json.dumps(value)}")
    file.write_text("\n".join([*lines, *tables]) + "\n")
    return file


def _table(runs: list[Path], bank: Path, pairs: Path, out: Path) -> str:
    rows = []
    for lever, run in zip(LEVERS, runs, strict=True):
        made = out / "sketches" / run.name
        photos = ("--leave-one-out", str(pairs / "photo"), "-o", str(made), "--save-coarse")
        do("synth", str(bank), str(run / "last.safetensors"), *photos, "--overwrite", "--device", "cpu")
        rows.append((lever.name, scores(made, pairs / "sketch", out / "report")))
    coarse = scores(made / "coarse", pairs / "sketch", out / "report")
    return "\n".join(
        [
            f"{one_line(describe(PACKAGES))} {ASIDE} training pairs kept aside, {STEPS} steps, seed {SEED}; means.",
            "",
            f"| recipe | {' | '.join(METRICS.values())} |",
            f"|---|{'---|' * len(METRICS)}",
            row("(coarse)", coarse),
            *(row(name, found) for name, found in rows),
        ]
    )


if __name__ == "__main__":
    main()
