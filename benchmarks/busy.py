"""Every kernel on a quiet machine and beside as many busy processes as cores: a table in docs/KERNELS.md.

    python -m benchmarks.busy [--rounds N] [--kernel NAME ...] [--against CHECKOUT] [--write docs/KERNELS.md]

``--against`` times the kernels of an older checkout too, in turns with these. Nothing else may keep the machine busy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.machine import describe, one_line
from benchmarks.script import parser, publish

BATCHES = (1, 16)
HERE = Path(__file__).resolve().parent
SPIN = """
import os, sys
while os.getppid() == int(sys.argv[1]):  # ends with the benchmark, however that ends
    for _ in range(1000000): pass
"""


@dataclass(frozen=True)
class Times:
    """Seconds of one kernel's calls, on a quiet and on a busy machine."""

    quiet: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """How much longer the median call takes beside busy processes."""
        return median(self.busy) / median(self.quiet)

    @property
    def worst(self) -> float:
        """The longest call beside busy processes, in quiet medians."""
        return max(self.busy) / median(self.quiet)


class Runner:
    """A process that runs the kernels of one checkout; see benchmarks/busy_runner.py."""

    def __init__(self, checkout: Path, batches: Sequence[int] = BATCHES) -> None:
        source = (HERE / "busy_runner.py").read_text(encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-c", source, *map(str, batches)],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.kernels = [str(name) for name in self._answer()]

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        _end([self._process])

    def run(self, kernel: str, photos: int, enough: float) -> list[float]:
        """Seconds of the calls made within ``enough`` seconds, at least one."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([kernel, photos, enough]) + "\n")
        self._process.stdin.flush()
        return [float(taken) for taken in self._answer()]

    def _answer(self) -> list[object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the process that runs the kernels ended; its message stands above")
        answer: list[object] = json.loads(line)
        return answer


@contextmanager
def busy_processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many processes that do nothing but keep a core busy, ended when the block ends."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes.extend(subprocess.Popen([sys.executable, "-c", SPIN, str(os.getpid())]) for _ in range(count))
        time.sleep(0.5)  # they have started
        yield processes
    finally:
        _end(processes)


def _end(processes: Sequence[subprocess.Popen[bytes]] | Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


Measured = dict[tuple[str, int], Times]


def measure(runners: Sequence[Runner], kernels: Sequence[str], rounds: int, enough: float) -> list[Measured]:
    """Times of every kernel and batch, of every runner; quiet and busy rounds in turns, runners in turns."""
    works = [(kernel, photos) for kernel in kernels for photos in BATCHES]
    measured = [{work: Times() for work in works} for _ in runners]
    for _ in range(rounds):
        _round(runners, works, enough, [{work: times.quiet for work, times in found.items()} for found in measured])
        with busy_processes(os.cpu_count() or 1):
            _round(runners, works, enough, [{work: times.busy for work, times in found.items()} for found in measured])
    return measured


def _round(
    runners: Sequence[Runner],
    works: Sequence[tuple[str, int]],
    enough: float,
    kept: Sequence[dict[tuple[str, int], list[float]]],
) -> None:
    for work in works:
        for runner, lists in zip(runners, kept, strict=True):
            lists[work] += runner.run(*work, enough)


def table(measured: Sequence[Measured]) -> str:
    """One line a kernel and batch; of an older checkout its medians and ratio."""
    ours, *older = measured
    heads = ["kernel", "photos", "quiet, ms", "busy, ms", "busy / quiet", "longest / quiet"]
    heads += ["before: quiet, ms", "before: busy, ms", "before: busy / quiet"] if older else []
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (kernel, photos), times in ours.items():
        cells = [kernel, str(photos), *_cells(times), f"{times.worst:.1f}"]
        for before in older:
            cells += _cells(before[kernel, photos])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(times: Times) -> list[str]:
    return [f"{1e3 * median(times.quiet):.2f}", f"{1e3 * median(times.busy):.2f}", f"{times.ratio:.1f}"]


def main() -> None:
    """Time the kernels and print, or write, the table."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5, help="quiet and busy rounds")
    options.add_argument("--seconds", type=float, default=0.1, help="calls of a kernel a round go on for so long")
    options.add_argument("--kernel", action="append", metavar="NAME", help="only this kernel; may be given again")
    options.add_argument("--against", type=Path, metavar="CHECKOUT", help="an older checkout to time in turns")
    arguments = options.parse_args()
    facts = describe(("idesketch", "numpy", "numba"))
    checkouts = [HERE.parent] + ([arguments.against.resolve()] if arguments.against else [])
    with ExitStack() as stack:
        runners = [stack.enter_context(Runner(checkout)) for checkout in checkouts]
        shared = [name for name in runners[0].kernels if all(name in runner.kernels for runner in runners)]
        kernels = [name for name in shared if not arguments.kernel or name in arguments.kernel]
        measured = measure(runners, kernels, arguments.rounds, arguments.seconds)
    cores = os.cpu_count() or 1
    told = (
        f"Medians of {arguments.rounds} rounds, calls for {arguments.seconds} s each; busy: beside {cores} processes."
    )
    publish({"busy": f"{one_line(facts)} {told}\n\n{table(measured)}"}, arguments.write)


if __name__ == "__main__":
    main()
