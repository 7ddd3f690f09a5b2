"""Peers on the same work as our kernels, in turns in one process, every result compared: the table in docs/KERNELS.md.

    python -m benchmarks.peers [--data DIR] [--json FILE] [--write docs/KERNELS.md] [--repeat N] [--only match]
                               [--yardstick match_block.py]

DATA holds pairs folders ``train`` (the bank) and ``test`` (the photo); without it, the synthetic standard workload.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import machine, peers_field, peers_match, script
from benchmarks.contest import Contest, Outcome, hold
from benchmarks.stages import Field
from idekernels import PatchBank
from idekernels.workloads import STANDARD, Workload

PACKAGES = (
    "idesketch", "numpy", "numba", "scipy", "torch", "faiss-cpu", "scikit-learn", "pgmax", "jax", "clarabel", "osqp",
)  # fmt: skip
HEADS = ("work", "peer", "version", "not timed", "rounds", "ours, ms", "peer, ms", "peer / ours", "result")


@dataclass(frozen=True)
class Pairs(Workload):
    """A workload of real pairs: ``train`` is the bank, the first of ``test`` the photo."""

    data: Path = Path()

    def bank(self) -> PatchBank:
        photos, sketches = zip(*self._read("train"), strict=True)
        return PatchBank.from_images(photos, sketches, settings=self.settings)

    def queries(self) -> list[Any]:
        return [next(self._read("test"))[0]]

    def _read(self, part: str) -> Iterator[tuple[Any, Any]]:
        from idemodel.files.images import read_grey
        from idemodel.files.pairs import list_pairs

        for pair in list_pairs(self.data / part):
            yield read_grey(pair.photo), read_grey(pair.sketch)


@dataclass(frozen=True)
class Work:
    """What all contests are about."""

    work: Workload
    yardstick: Path | None

    @cached_property
    def field(self) -> Field:
        return Field(self.work)

    def matching(self) -> Iterator[Contest]:
        bank, settings = self.field.bank.bank, self.work.settings
        whole = peers_match.Matching(
            bank.source(0, bank.images)[:, 0], self.field.query[0, 0], settings.radius, self.work.k, settings.patch,
            settings.overlap,
        )  # fmt: skip
        return peers_match.contests(whole, self.yardstick)

    def contests(self) -> Iterator[Contest]:
        yield from self.matching()
        yield from peers_field.contests(self.field)


def main(arguments: Sequence[str] | None = None) -> None:
    """Hold the contests, show the table, write it where asked; end with 1 if a result disagrees."""
    options = _parse(arguments)
    work = Pairs(data=options.data) if options.data else STANDARD
    contests = Work(work, options.yardstick).contests()
    facts = machine.describe(PACKAGES)
    console = Console(width=max(160, Console().width))
    outcomes: list[Outcome] = []
    for contest in track(contests, "contests", total=6, console=Console(stderr=True)):
        if options.only in contest.title:
            outcomes += hold(contest, options.repeat)
    _show(console, facts, outcomes)
    where = str(options.data) if options.data else "the synthetic standard workload"
    if options.json:
        content = {"machine": facts, "work": where, "outcomes": [outcome.as_dict() for outcome in outcomes]}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if options.write:
        machine.replace_section(options.write, "peers", _page(facts, where, outcomes))
    if any(outcome.agrees is False for outcome in outcomes):
        raise SystemExit(1)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = script.parser(__doc__)
    parser.add_argument("--data", type=Path, help="folder with the pairs folders train and test, 250 x 200")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--repeat", type=int, default=7, help="rounds; very slow peers sit some out")
    parser.add_argument("--only", default="", help="contests whose title has this in it")
    parser.add_argument("--yardstick", type=Path, help="Python file with block(bank, query, chunks), timed as a peer")
    return parser.parse_args(arguments)


def _cells(outcome: Outcome) -> tuple[str, ...]:
    if outcome.ratio is None or outcome.ours_ms is None or outcome.peer_ms is None:
        return (outcome.contest, outcome.peer, outcome.version, *[""] * 6)
    verdict = "equal" if outcome.apart == 0 else f"{outcome.measure} {outcome.apart:+.1e}"
    return (
        outcome.contest,
        outcome.peer,
        outcome.version,
        outcome.untimed,
        str(outcome.rounds),
        _spread(outcome.ours_ms),
        _spread(outcome.peer_ms),
        _spread(outcome.ratio),
        verdict if outcome.agrees else f"DIFFERS: {verdict}",
    )


def _spread(values: tuple[float, float, float]) -> str:
    """The median with the quartiles, three significant figures or whole numbers."""
    first, median, third = (f"{value:.0f}" if value >= 100 else f"{value:.3g}" for value in values)
    return f"{median} ({first} to {third})"


def _show(console: Console, facts: dict[str, Any], outcomes: list[Outcome]) -> None:
    table = Table(*HEADS, title="median (quartiles); peer / ours above 1: ours is faster")
    for outcome in outcomes:
        table.add_row(*_cells(outcome))
    console.print(table)
    console.print(machine.one_line(facts))


def _page(facts: dict[str, Any], where: str, outcomes: list[Outcome]) -> str:
    rows = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    rows += [f"| {' | '.join(_cells(outcome))} |" for outcome in outcomes]
    return "\n".join([f"{machine.one_line(facts)} Work: {where}.", "", *rows])


if __name__ == "__main__":
    main()
