"""What the GPU kernels should take on cards that nobody here has: bytes, operations, occupancy, and a predicted time.

    python -m benchmarks.roofline --write docs/GPU.md        (after ``make test-cuda``, whose toolchain compiles)

Registers, shared memory and the instructions of the matching's inner loop are read off the compiled code
(:mod:`benchmarks.toolchain`); everything else is counted here, by formulas that the page repeats. A prediction is no
measurement: it is there to say which resource binds a kernel, and to be proved wrong by a card.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from idekernels.cuda import launch
from idekernels.cuda.launch import Limits, MatchShape, match_shape
from idekernels.grid import PatchGrid

WARP = launch.WARP
LAUNCH = 20e-6  # seconds the host needs for a launch of Numba's with a dozen arguments (assumed)
LATENCY = 600  # cycles until a load from the device's memory is there (assumed)
READY = 4  # warps of a scheduler that keep it busy: an instruction's result is there after four cycles
PER_OPERATION = 4  # instructions a multiply-add costs beside matching: two loads, itself, a share of the loop
OFFER = 20  # instructions to find that none of 32 patches is nearer than a query's worst
INSERT = 70  # instructions to take one patch into a list: the loop of ``offer`` and ``insert``
SWEEPS, ITERATIONS = 40, 50  # of the weight field (what 1e-5 takes on photos), and of belief propagation
K, GRID, RADIUS = 10, PatchGrid(250, 200), 5
EDGES, AREA = len(GRID.edges), GRID.patch**2


@dataclass(frozen=True)
class Card:
    """A device as its maker's datasheet and the CUDA Programming Guide's table of compute capabilities describe it.

    clock : Hz, boost. bandwidth : bytes a second. shared : bytes an SM. lanes : integer instructions an SM a cycle.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    clock: float
    bandwidth: float
    shared: int
    warps: int
    blocks: int
    registers: int = 65_536
    lanes: int = 64

    @property
    def architecture(self) -> int:
        """75 for sm_75."""
        return 10 * self.capability[0] + self.capability[1]


CARDS = (
    Card("T4", (7, 5), 40, 1.59e9, 320e9, 64 * 1024, 32, 16),
    Card("A100", (8, 0), 108, 1.41e9, 1555e9, 164 * 1024, 64, 32),
    Card("H100", (9, 0), 132, 1.98e9, 3350e9, 228 * 1024, 64, 32),
)


@dataclass(frozen=True)
class Work:
    """Photos in a batch, and pairs in the bank; 250 x 200, one plane and one channel, the default settings."""

    photos: int
    pairs: int

    def __str__(self) -> str:
        return f"{self.photos} photo{'s' * (self.photos > 1)}, {self.pairs:,} pairs"


WORKS = (Work(1, 88), Work(64, 88), Work(1, 10_000), Work(64, 10_000))


@dataclass(frozen=True)
class Demand:
    """What a kernel asks of a card for a piece of work: in all launches together, but ``blocks`` of one launch."""

    bytes: float
    instructions: float  # of warps
    blocks: float
    launches: float = 1.0


@dataclass(frozen=True)
class Compiled:
    """What the compiled kernel takes: registers a thread, shared bytes and threads a block."""

    registers: int
    shared: int
    threads: int
    row_instructions: int = 0  # of the matching's loop over pixel rows


def occupancy(card: Card, made: Compiled) -> int:
    """Warps that an SM holds: as many blocks as registers (given out by 256 a warp), shared memory and limits allow."""
    warps = -(-made.threads // WARP)
    of_registers = card.registers // (warps * -(-made.registers * WARP // 256) * 256)
    of_shared = card.shared // (made.shared + 1024 * (card.capability >= (8, 0))) if made.shared else card.blocks
    return warps * min(card.blocks, card.warps // warps, of_registers, of_shared)


@dataclass(frozen=True)
class Prediction:
    """Seconds, and the resource that takes the most of them."""

    seconds: float
    bound: str


def predict(card: Card, made: Compiled, demand: Demand) -> Prediction:
    """The slowest of memory, instructions and launches, given the warps that an SM holds.

    A card with fewer blocks than places is idle in part; with few warps an SM, latencies show.
    """
    warps = occupancy(card, made)
    places = card.multiprocessors * warps // -(-made.threads // WARP)
    waves = demand.blocks / places
    full = min(1.0, waves) if waves < 1 else waves / math.ceil(waves)
    resident = max(1.0, warps * min(1.0, waves))
    in_flight = resident * card.multiprocessors * WARP * 16 / (LATENCY / card.clock)  # four words a thread
    issue = card.multiprocessors * card.clock * card.lanes / WARP * min(1.0, resident / 4 / READY)
    times = {
        "memory": demand.bytes / min(card.bandwidth, in_flight),
        "instructions": demand.instructions / (issue * (full if waves >= 1 else 1.0)),
        "launches": demand.launches * LAUNCH,
    }
    bound = max(times, key=lambda name: times[name])
    return Prediction(times[bound], bound)


def match_demand(work: Work, card: Card, shape: MatchShape, row_instructions: int) -> Demand:
    """Rows of pixels compared by every warp, offers and insertions of what was found, and the tiles' loads."""
    limits = Limits(card.name, card.capability, card.multiprocessors, 0)
    splits = shape.splits(GRID, work.photos, work.pairs, limits)
    blocks = math.prod(shape.grid(GRID, work.photos, splits))
    tiles = math.ceil(work.pairs / splits / shape.images) * math.ceil((2 * shape.radius + 1) / shape.band)
    steps = tiles * math.ceil(shape.images * shape.band * shape.groups / WARP)
    span = (shape.rows - 1) * shape.step + shape.patch
    compared = steps * (span * row_instructions + shape.rows * 4 * OFFER)
    loaded = tiles * shape.shared() / 4 / shape.threads * PER_OPERATION * 4
    positions = work.pairs / splits * (2 * shape.radius + 1) ** 2
    inserted = shape.rows * K * max(1.0, math.log(positions / K)) * INSERT
    warps = blocks * shape.columns
    bank = work.pairs * shape.planes * shape.height * shape.pitch
    return Demand(bank * work.photos, warps * (compared + loaded + inserted), blocks, 2)


def _multiplied(photos: int, blocks: float, byte: float, operations: float, launches: float = 1.0) -> Demand:
    """A kernel that multiplies and adds, the same for every photo."""
    return Demand(photos * byte, photos * operations * PER_OPERATION / WARP, photos * blocks, launches)


DEMANDS: Mapping[str, Callable[[int], Demand]] = {
    "gather": lambda b: _multiplied(b, GRID.nodes * K, 4 * GRID.nodes * K * AREA, 2 * GRID.nodes * K * AREA, 2),
    "evidence": lambda b: _multiplied(
        b, GRID.nodes, GRID.nodes * (K * AREA + 4 * K * K), GRID.nodes * AREA * K * (K + 1) / 2
    ),
    "compatibility": lambda b: _multiplied(
        b, EDGES, EDGES * (2 * K * AREA / 2 + 12 * K * K), EDGES * (2 * K * K + K) * AREA / 2
    ),
    "centre": lambda b: _multiplied(b, EDGES * 3 * K * K / 128 / 3, 24 * EDGES * K * K, 3 * EDGES * K * K),
    "hessian": lambda b: _multiplied(
        b, GRID.nodes * K * K / 128, (8 * GRID.nodes + 8 * EDGES) * K * K, 5 * GRID.nodes * K * K
    ),
    "sweep": lambda b: _multiplied(
        b, GRID.nodes / 2, SWEEPS * (4 * GRID.nodes + 8 * EDGES) * K * K, SWEEPS * 8 * GRID.nodes * K * K, 2 * SWEEPS
    ),
    "certify": lambda b: _multiplied(
        b, GRID.nodes, (SWEEPS / 10 + 1) * (4 * GRID.nodes + 8 * EDGES) * K * K,
        (SWEEPS / 10 + 1) * 5 * GRID.nodes * K * K, 6 * (SWEEPS / 10 + 1),
    ),
    "propagate": lambda b: _multiplied(
        b, GRID.nodes / WARP, ITERATIONS * (8 * K * K + 48 * K) * GRID.nodes, ITERATIONS * 4 * EDGES * K * K, ITERATIONS
    ),
    "compose": lambda b: _multiplied(b, GRID.nodes, GRID.nodes * AREA * (K + 4), GRID.nodes * K * AREA),
    "blend": lambda b: _multiplied(b, 50_000 / 128, 4 * GRID.nodes * AREA + 200_000, 2 * GRID.nodes * AREA),
}  # fmt: skip
STAGES = ("match", *(name for name in DEMANDS if name != "propagate"))  # of a sketch by mwf


def demand_of(name: str, work: Work, card: Card, made: Compiled) -> Demand:
    """What one kernel of the catalogue asks for."""
    if name != "match":
        return DEMANDS[name](work.photos)
    limits = Limits(card.name, card.capability, card.multiprocessors, 0)
    return match_demand(work, card, match_shape(GRID, RADIUS, 1, K, (1,), limits), made.row_instructions)


def read_compiled(shown: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], Compiled]:
    """The toolchain's JSON by kernel and architecture."""
    found = {}
    for one in shown:
        name = one["name"].replace(":", " ").split(" ")[0]
        if "sum-product" in one["name"] or name not in (*DEMANDS, "match"):
            continue
        rows = [sum(loop.values()) for loop in one["loops"] if any(code.startswith("IDP") for code in loop)]
        threads = one["threads"]
        found[name, one["architecture"]] = Compiled(one["registers"], one["shared"], threads, max(rows, default=0))
    return found


def compiled_by(python: Path) -> dict[tuple[str, int], Compiled]:
    """Let a toolchain's environment compile everything."""
    shown = subprocess.run([python, "-m", "benchmarks.toolchain"], check=True, capture_output=True, text=True).stdout
    return read_compiled(json.loads(shown))


def resources_table(made: Mapping[tuple[str, int], Compiled]) -> str:
    """What each kernel takes, and what it asks for one photo."""
    rows = [
        "| kernel | bytes | operations | a byte | threads | shared | registers: T4, A100, H100 | warps an SM |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in ("match", *DEMANDS):
        of = [made[name, card.architecture] for card in CARDS]
        demand = demand_of(name, WORKS[0], CARDS[1], of[1])
        operations = demand.instructions * WARP / (1 if name == "match" else PER_OPERATION)
        warps = ", ".join(f"{occupancy(card, one)}/{card.warps}" for card, one in zip(CARDS, of, strict=True))
        rows.append(
            f"| {name} | {_short(demand.bytes)} | {_short(operations)} | {operations / demand.bytes:.1f} "
            f"| {of[0].threads} | {of[0].shared} | {', '.join(str(one.registers) for one in of)} | {warps} |"
        )
    return "\n".join(rows)


def times_table(made: Mapping[tuple[str, int], Compiled]) -> str:
    """Predicted milliseconds of every kernel and of a whole sketch, and what binds them."""
    rows = [
        "| work | card | " + " | ".join(("match", *DEMANDS)) + " | a sketch by `mwf`, a photo |",
        "|---|---|" + "---|" * (len(DEMANDS) + 2),
    ]
    for work in WORKS:
        for card in CARDS:
            found = {}
            for name in ("match", *DEMANDS):
                one = made[name, card.architecture]
                found[name] = predict(card, one, demand_of(name, work, card, one))
            each = [f"{1e3 * guess.seconds:.2g} {guess.bound[0]}" for guess in found.values()]
            whole = 1e3 * sum(found[name].seconds for name in STAGES) / work.photos
            rows.append(f"| {work} | {card.name} | " + " | ".join(each) + f" | {whole:.2g} |")
    return "\n".join(rows)


def _short(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f}"


def main() -> None:
    """Compile, count, and print or write the page's tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--toolchain", type=Path, default=Path(".venv-cuda12/bin/python"))
    parser.add_argument("--write", type=Path, help="page whose sections are replaced")
    chosen = parser.parse_args()
    if not chosen.toolchain.exists():
        parser.error(f"no {chosen.toolchain}: run make test-cuda, or give --toolchain")
    made = compiled_by(chosen.toolchain)
    facts = machine.describe(("idesketch",))
    stamp = f"{facts['date'][:10]}, compiled by `{chosen.toolchain}`; idesketch {facts['versions']['idesketch']}."
    sections = {"resources": f"{stamp}\n\n{resources_table(made)}", "times": times_table(made)}
    for name, text in sections.items():
        if chosen.write:
            machine.replace_section(chosen.write, name, text)
        else:
            print(text, end="\n\n")


if __name__ == "__main__":
    main()
