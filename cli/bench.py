"""``idesketch bench``: how fast stage 1 is on this machine, and how many photos a second to expect of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from idekernels.workloads import WORKLOADS

from .console import counted, note, say
from .options import PATH, Names

if TYPE_CHECKING:
    from idekernels.bench import Timing

_HEAD = ("workload", "photos", "pairs", "method", "ms a photo", "quartiles", "photos a second")


@click.command()
@click.option(
    "--workload", "workloads", type=Names(WORKLOADS), multiple=True,
    help="tiny, standard (a photo, 88 pairs of 250x200), batch (8 photos) or planes (3 planes); repeat for several.  "
    "[default: all but tiny]",
)  # fmt: skip
@click.option("--backend", default="auto", show_default=True, help="auto, cuda, cpu or reference.")
@click.option("--json", "json_file", metavar="FILE", type=PATH, help="Write the figures, with machine and versions.")
def bench(workloads: tuple[str, ...], backend: str, json_file: Path | None) -> None:
    """Time whole coarse sketches on this machine; nothing but idesketch is needed.

    The bank is in memory and the kernels are compiled before: what is timed is what every further photo takes of stage
    1. Pixels are synthetic, and the same everywhere.
    """
    from idekernels import backends, bench
    from idekernels.files.atomic import replace_when_done
    from idekernels.machine import one_line

    chosen = backends.resolve(backend)
    cases, facts = bench.cases_of(workloads or bench.USUAL), bench.facts(chosen)
    found: list[Timing] = []
    with replace_when_done(json_file) if json_file else nullcontext() as partial:  # a bad path is said before the work
        note(f"backend {chosen}; the first run compiles the kernels, about a minute")
        with counted("Timing", len(cases)) as told:
            for number, timing in enumerate(bench.timed(cases, chosen), 1):
                found.append(timing)
                told(number, len(cases))
        say(f"backend {chosen}{', ' + facts['device'] if facts['device'] else ''}; {one_line(facts)}")
        for line in _table(found):
            say(line)
        say(_expectation(found))
        if partial is not None:
            content: dict[str, Any] = {"machine": facts, "results": [timing.as_dict() for timing in found]}
            partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _table(found: Sequence[Timing]) -> list[str]:
    """Lines of columns, times in milliseconds a photo."""
    rows = [_HEAD, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(timing: Timing) -> tuple[str, ...]:
    work = timing.case.work
    first, median, third = (1e3 * seconds / work.photos for seconds in timing.quartiles)
    return (
        timing.case.workload, str(work.photos), str(work.pairs), timing.case.method, f"{median:.1f}",
        f"{first:.1f} .. {third:.1f}", f"{timing.photos_a_second:.2f}",
    )  # fmt: skip


def _expectation(found: Sequence[Timing]) -> str:
    """What a user may expect, in one line: of the usual method where it was timed, of many photos where they were."""
    usual = [timing for timing in found if timing.case.method == "mwf"] or list(found)
    best = max(usual, key=lambda timing: (timing.case.work.photos, timing.case.workload == "standard"))
    work = best.case.work
    return (
        f"Expect of idesketch coarse with {best.case.method} about {best.photos_a_second:.1f} photos a second against "
        f"{work.pairs} pairs of {work.height} x {work.width}, less what reading, aligning and writing take; the search "
        "takes longer in proportion to the pairs (see --preselect)."
    )
