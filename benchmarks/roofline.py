"""How long the GPU kernels should take, from what they were compiled to: the tables in docs/GPU.md. Times nothing.

    python -m benchmarks.roofline [--toolchain .venv-cuda12/bin/python] [--write docs/GPU.md]

Registers, shared memory and instructions are the compiler's (benchmarks.toolchain, run by the toolchain's Python); how
often a loop is passed and what is read is worked out from the launch (benchmarks.launches); cards are benchmarks.cards.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.cards import CARDS, SCHEDULERS, Card, blocks_of, occupancy, pipes_of
from benchmarks.launches import (
    BESIDE,
    DRAINED,
    LOOKED,
    STEPS,
    VISITS,
    Launch,
    Passes,
    Setting,
    direct,
    launches,
    limits,
    modelled,
    problem,
)
from benchmarks.machine import replace_section
from benchmarks.toolchain import TRIED, Compiled, Region, tried_entry
from idekernels.backends.cuda.launch import WARP
from idekernels.backends.cuda.variants import direct_shape

DEPENDENT = 4  # cycles from an instruction to one that needs it (Jia et al., arXiv:1804.06826, Volta and later)
IN_FLIGHT = 4  # loads of a warp on their way at once: assumed
LATENCY = 600e-9  # seconds of a read from memory: assumed
QUEUED = 5e-6  # seconds that queueing a kernel takes the host: assumed
BATCH, LARGE = 64, 10_000
NAMES = " / ".join(card.name for card in CARDS)

MATCH = frozenset(variant.kernel for variant in modelled())
_IN_BOTH = MATCH | {"merge", "gather", "evidence", "compatibility", "compose", "blend"}
METHODS = {
    "mwf": _IN_BOTH | {"centre", "join", "sweep", "certify", "total"},
    "mrf": _IN_BOTH | {"lay_out", "propagate", "energies", "choose"},
}


@dataclass(frozen=True)
class Predicted:
    """All launches of one kernel: its threads' instructions, share of an SM's warps, seconds, what bounds them."""

    launch: Launch
    compiled: Compiled
    operations: float
    occupancy: float
    seconds: float
    bound: str


def predict(launch: Launch, compiled: Compiled, card: Card) -> Predicted:
    """The longest of: instructions on the busiest SM, bytes over bandwidth, queueing the launch; waits are added.

    Raises
    ------
    ValueError
        No block of the kernel fits onto an SM.
    """
    opcodes = instructions(launch, compiled)
    held = blocks_of(card, launch.threads, compiled.registers, compiled.shared)
    if not held:
        raise ValueError(f"{compiled.name} does not fit onto {card.name}")
    busiest = -(-launch.blocks // card.multiprocessors)
    warps = min(held, busiest) * -(-launch.threads // WARP)
    hidden = min(1.0, warps / (SCHEDULERS * DEPENDENT))
    cycles = {pipe: busiest * n * WARP / card.lanes[pipe] / hidden for pipe, n in pipes_of(opcodes).items()}
    slowest = max(cycles, key=lambda pipe: cycles[pipe])
    resident = min(held * card.multiprocessors, launch.blocks) * -(-launch.threads // WARP)
    reached = min(1.0, resident * WARP * 4 * IN_FLIGHT / (card.bandwidth * LATENCY))
    seconds = {
        slowest: cycles[slowest] / card.clock + launch.waits * LATENCY,
        "memory": launch.bytes / (card.bandwidth * reached) + launch.waits * LATENCY,
        "launch": QUEUED,
    }
    bound = max(seconds, key=lambda what: seconds[what])
    operations = launch.times * launch.blocks * sum(opcodes.values()) * WARP
    share = occupancy(card, launch.threads, compiled.registers, compiled.shared)
    return Predicted(launch, compiled, operations, share, launch.times * seconds[bound], bound)


def instructions(launch: Launch, compiled: Compiled) -> dict[str, float]:
    """Warp instructions of a block: code outside of loops once a warp, loops as often as the launch says."""
    total: dict[str, float] = {}

    def add(region: Region, times: float) -> None:
        for opcode, count in region.opcodes.items():
            total[opcode] = total.get(opcode, 0.0) + count * times

    add(compiled.regions[0], -(-launch.threads // WARP))
    for passes in launch.passes:
        region = loop_of(compiled, passes)
        unrolled = _count(region, passes.markers[0]) / passes.each if passes.each else 1.0
        add(region, passes.times / unrolled)
        if passes.around and region.around:
            add(compiled.regions[region.around], passes.around)
    return total


def loop_of(compiled: Compiled, passes: Passes) -> Region:
    """The loop that is known by its instructions; of several the one with most of the first, then the last, or the
    shortest where an inner one is asked for.

    Raises
    ------
    LookupError
        There is none: the kernel was changed, and its model in benchmarks.launches was not.
    """
    found = [one for one in compiled.regions[1:] if all(_count(one, marker) for marker in passes.markers)]
    if not found:
        raise LookupError(f"{compiled.name} for sm_{compiled.architecture} has no loop with {passes.markers}")
    if passes.inner:
        return min(found, key=lambda one: sum(one.opcodes.values()))
    return max(reversed(found), key=lambda one: _count(one, passes.markers[0]))


def _count(region: Region, marker: str) -> int:
    return sum(count for opcode, count in region.opcodes.items() if opcode.startswith(marker))


def predictions(compiled: Iterable[Compiled], setting: Setting, card: Card) -> dict[str, Predicted]:
    """Every kernel of a setting, by name."""
    compiled = list(compiled)
    first: dict[str, Compiled] = {}
    for one in compiled:
        if one.architecture == card.architecture:
            first.setdefault(one.name.split()[0].rstrip(":"), one)
    exact = {one.name: one for one in compiled if one.architecture == card.architecture}
    return {
        one.kernel: predict(one, exact[one.compiled] if one.compiled else first[one.kernel], card)
        for one in launches(setting, card)
    }


def read(toolchain: Path) -> list[Compiled]:
    """Have everything compiled by the toolchain's Python."""
    command = [str(toolchain), "-m", "benchmarks.toolchain"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [from_json(one) for one in json.loads(done.stdout)]


def from_json(one: Mapping[str, Any]) -> Compiled:
    """A kernel as the toolchain's process wrote it down."""
    return Compiled(**{**one, "regions": tuple(Region(**region) for region in one["regions"])})


def resources(compiled: list[Compiled]) -> str:
    """What every kernel takes, and what one photo asks of it."""
    found = [predictions(compiled, Setting(1), card) for card in CARDS]
    head = f"| {NAMES} | launches | bytes | operations | ops / byte | registers | shared bytes | occupancy |"
    return "\n".join([head, "|---" * 8 + "|", *map(_taken, _rows(found).values())])


def times(compiled: list[Compiled]) -> str:
    """Every kernel's time and what bounds it, and whole sketches."""
    heads = " | ".join(f"{card.name}, {photos}" for card in CARDS for photos in (1, BATCH))
    small = [predictions(compiled, Setting(photos), card) for card in CARDS for photos in (1, BATCH)]
    rows = (_row(kernel, (_time(one.get(kernel)) for one in small)) for kernel in _rows(small))
    return "\n".join([f"| ms for card, photos | {heads} |", "|---" * 7 + "|", *rows, *_totals(compiled)])


def _rows(found: list[dict[str, Predicted]]) -> dict[str, list[Predicted]]:
    """By kernel what is predicted in some columns: a card may match by another variant than the others."""
    kernels = dict.fromkeys(kernel for one in found for kernel in one)
    return {kernel: [one[kernel] for one in found if kernel in one] for kernel in kernels}


def _row(name: str, cells: Iterable[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _taken(found: list[Predicted]) -> str:
    """A row: counts as compiled for the A100, the second of the cards; registers and occupancy of all."""
    counted = found[len(found) // 2]
    launch, operations, compiled = counted.launch, counted.operations, counted.compiled
    moved = launch.times * launch.bytes
    registers = " / ".join(str(one.compiled.registers) for one in found)
    cells = (
        str(launch.times), f"{moved / 1e6:.1f} MB", f"{operations / 1e6:,.0f} M", f"{operations / moved:,.0f}",
        registers, f"{compiled.shared:,}", _shares(found),
    )  # fmt: skip
    return _row(launch.kernel, cells)


def _shares(found: list[Predicted]) -> str:
    return " / ".join(f"{one.occupancy:.0%}" for one in found)


def _time(found: Predicted | None) -> str:
    return f"{_milliseconds(found.seconds)} {found.bound}" if found else "-"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f}" if seconds > 0.1 else f"{seconds * 1e3:.2g}"


def _totals(compiled: list[Compiled]) -> Iterator[str]:
    for pairs in (88, LARGE):
        found = [predictions(compiled, Setting(photos, pairs), card) for card in CARDS for photos in (1, BATCH)]
        if pairs == LARGE:
            for kernel in filter(MATCH.__contains__, _rows(found)):
                yield _row(f"{kernel}, {pairs:,} pairs", (_time(one.get(kernel)) for one in found))
        for method, kernels in METHODS.items():
            totals = (sum(launch.seconds for kernel, launch in one.items() if kernel in kernels) for one in found)
            cells = (f"**{_milliseconds(total)}**" for total in totals)
            yield _row(f"**all of {method}, {pairs:,} pairs**", cells)


def tried(compiled: list[Compiled]) -> str:
    """Direct matching with other numbers of patches a warp."""
    head = f"| patches a warp | registers | bytes spilled | shared bytes | occupancy | ms, {BATCH} photos ({NAMES}) |"
    return "\n".join([head, "|---" * 6 + "|", *_tried(compiled)])


def _tried(compiled: list[Compiled]) -> Iterator[str]:
    setting = Setting(BATCH)
    for rows in TRIED:
        found = []
        for card in CARDS:
            shape = replace(direct_shape(problem(setting), limits(card)), rows=rows)
            entry = tried_entry(rows)
            made = next(one for one in compiled if (one.name, one.architecture) == (entry.name, card.architecture))
            found.append(predict(direct(entry.kernel, setting, card, shape)[0], made, card))
        cells = (
            " / ".join(str(one.compiled.registers) for one in found),
            " / ".join(str(one.compiled.spilled) for one in found),
            f"{found[0].compiled.shared:,}",
            _shares(found),
            " / ".join(_milliseconds(one.seconds) for one in found),
        )
        yield _row(str(rows), cells)


def sources() -> str:
    """The cards, and where their figures are from."""
    return ";\n".join(
        f"{card.name}: {card.multiprocessors} SMs, {card.clock / 1e9:.2f} GHz, {card.bandwidth / 1e9:,.0f} GB/s "
        f"({card.source})"
        for card in CARDS
    )


def main(arguments: list[str] | None = None) -> None:
    """Print the tables, or put them into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--toolchain", type=Path, default=Path(".venv-cuda12/bin/python"), help="a Python with CUDA wheels"
    )
    parser.add_argument("--write", type=Path, help="the page whose section 'roofline' is replaced")
    options = parser.parse_args(arguments)
    if not options.toolchain.exists():
        parser.error(f"no toolchain at {options.toolchain}: run make test-cuda first, or give --toolchain")
    compiled = read(options.toolchain)
    sections = {
        "resources": resources(compiled),
        "times": f"{times(compiled)}\n\n{model()}",
        "tried": tried(compiled),
    }
    for name, text in sections.items():
        if options.write:
            replace_section(options.write, name, text)
        else:
            print(text, end="\n\n")


def model() -> str:
    """The model's formulas and constants, as they were used."""
    return f"""\
A launch takes the longest of: (a) the warp instructions of a pipe in the blocks of the busiest SM x {WARP} / lanes /
clock, divided by min(1, resident warps / {SCHEDULERS * DEPENDENT}); (b) bytes / bandwidth, divided by
min(1, resident warps x {WARP * 4} B x {IN_FLIGHT} loads / (bandwidth x {LATENCY * 1e9:.0f} ns));
(c) queueing it, {QUEUED * 1e6:.0f} us. To (a) and (b) a kernel that makes its rounds by itself adds
{LATENCY * 1e9:.0f} ns for everything that a round must wait for. The word beside a time is what bounds it: a pipe
(ALU, FMA, FP32, XU, LSU, TENSOR), the issue of instructions, memory, or launch.

Instructions are counted in the machine code, loop by loop (how often a loop is passed: `benchmarks/launches.py`),
every branch as taken; operations are those of all threads, as compiled for the A100. Bytes are every input read once
and every output written once, the bank once a photo. `sweep` runs {Setting.sweeps} times over both colours (a node has
work in {VISITS}), `propagate` makes {Setting.iterations} iterations and the last beliefs; `cut` is in no total.
Assumed: queueing, loads in flight, latency, sweeps and visits, {STEPS} moves of weight a visit, that packed differences
(VABSDIFF4) go at the ALU's rate, that mma.sync reaches two thirds of an H100's products of bytes, and that a list of K
takes K (1 + ln(places / K)) insertions; of `match_tensor` a list and run of images takes, counted by a simulation,
{LOOKED:.0f} passes of the loop that lets places wait, {DRAINED} of the one that empties the queue and
{BESIDE:.0f} over places of the same list.
Not counted: the upload of the bank.

{sources()}.
An SM's sizes and lanes are those of the CUDA C++ Programming Guide. All of these figures were written down from memory
of the documents named, which could not be opened here: check them before relying on a time. A cloud card's clock is
not its boost clock."""


if __name__ == "__main__":
    main()
