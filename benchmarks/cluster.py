"""One process beside the workers of ``--cluster local:N``, and what an archive would take: tables of docs/SCALE.md.

    python -m benchmarks.cluster [--pairs N] [--photos N] [--workers N] [--out DIR] [--write docs/SCALE.md]

Every row is the command ``idesketch coarse`` on drawn faces of 250 x 200, with a batch a worker and with more: the
difference is what photos take, the rest is the start. Seconds mean something on a machine that does nothing else;
processor seconds, memory and bytes, from which the plan is made, do on any.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from benchmarks.machine import describe, one_line
from benchmarks.script import parser, publish
from idekernels import CoarseSettings, PatchGrid, Workload, match, prepare, write_bank
from idemodel.files.images import write_image
from idemodel.phantom import phantom_pairs

PACKAGES = ("idesketch", "numpy", "numba", "distributed")
BATCH = 16  # photos that a worker makes at once
MATCHED = 256  # pairs that the matching is timed with
A_DAY = 10**6  # photos, of the plan
PAIRS = (88, 2000, 10**4, 10**5)  # of the plan's banks
PHOTO = 0.5e6  # bytes of a photo's file, of the plan

_DAY = 86400.0
_MIB = 2.0**20


@dataclass(frozen=True)
class Run:
    """What one call took: seconds, processor seconds of all processes, and bytes of the largest process's memory."""

    wall: float
    processor: float
    memory: int


@dataclass(frozen=True)
class Cost:
    """What photos take, and what the start takes: seconds and processor seconds a photo, seconds, bytes."""

    photo: float
    processor: float
    start: float
    memory: int


def main() -> None:
    """Make banks and photos, run every row, and print or write both tables."""
    options = parser(__doc__, out="cluster-output")
    options.add_argument("--pairs", type=int, default=88, help="of the bank")
    options.add_argument("--photos", type=int, default=160, help="beyond a batch for each worker")
    options.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of the cluster")
    arguments = options.parse_args()
    out, pairs, photos = arguments.out, arguments.pairs, arguments.photos
    facts = one_line(describe(PACKAGES))
    pair = matching()
    few = BATCH * arguments.workers  # what every process does once comes with them
    banks = material(out, pairs, few, photos)
    local = ["--cluster", f"local:{arguments.workers}"]
    rows = {
        "one process": cost(out, banks, photos),
        "`--cluster local:1`": cost(out, banks, photos, "--cluster", "local:1"),
        f"`{' '.join(local)}`": cost(out, banks, photos, *local),
        f"`{' '.join(local)} --shards`, two files": cost(out, banks, photos, *local, "--shards"),
    }
    written = [file.stat().st_size for file in (out / "made").glob("*.png")]
    planned = plan(rows["one process"].processor - pairs * pair, pair, sum(written) / len(written))
    told = f"{facts} {photos} drawn photos, {pairs} pairs.\n\n{table(rows)}"
    publish({"cluster": told, "plan": f"{facts}\n\n{planned}"}, arguments.write)


def matching() -> float:
    """Processor seconds that one thread matches a photo with a pair: the least of some batches of eight photos."""
    import numba

    work = Workload(pairs=MATCHED, photos=8)
    bank = prepare(work.bank(), "cpu")
    query = np.stack([bank.bank.query(photo) for photo in work.queries()])
    threads, took = numba.get_num_threads(), []
    numba.set_num_threads(1)
    for _ in range(6):  # the first compiles
        start = time.process_time()
        match(query, bank, k=work.k)
        took.append(time.process_time() - start)
    numba.set_num_threads(threads)
    return min(took) / (work.photos * work.pairs)


def material(out: Path, pairs: int, few: int, more: int) -> list[Path]:
    """Two banks of half the pairs each, whose paths are returned, and two folders: ``few`` photos, and ``more``."""
    banks = [out / "0.h5", out / "1.h5"]
    out.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(banks):
        drawn = phantom_pairs(max(1, pairs // 2), seed=1000 + number)
        write_bank(file, ((f"{number}-{pair.name}", pair.photo, pair.sketch) for pair in drawn))
    for folder in ("few", "many"):  # of an earlier run with other numbers
        shutil.rmtree(out / folder, ignore_errors=True)
    for number, pair in enumerate(phantom_pairs(few + more, seed=77)):
        for folder in ("few", "many") if number < few else ("many",):
            (out / folder).mkdir(exist_ok=True)
            write_image(out / folder / f"{number:05}.png", pair.photo)
    return banks


def cost(out: Path, banks: Sequence[Path], photos: int, *more: str) -> Cost:
    """What a photo takes, from a run with few photos and one with as many more; kernels are compiled before."""
    run(out, banks, "few", more)
    few, many = (run(out, banks, folder, more) for folder in ("few", "many"))
    photo = (many.wall - few.wall) / photos
    processor = (many.processor - few.processor) / photos
    if min(photo, processor) <= 0:
        raise SystemExit("more photos took less time than few: the machine is too busy, or give more --photos")
    return Cost(photo, processor, few.wall - len(list((out / "few").iterdir())) * photo, max(few.memory, many.memory))


def run(out: Path, banks: Iterable[Path], photos: str, more: Iterable[str]) -> Run:
    """One call of the command."""
    given = [*map(str, banks), str(out / photos), "-o", str(out / "made"), "--overwrite", "--backend", "cpu", *more]
    before, start = _processor(), time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "idecli", "coarse", *given], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        memory = _watched(process)
    if process.returncode:
        raise SystemExit(f"idesketch coarse {' '.join(given)} ended with {process.returncode}")
    return Run(time.perf_counter() - start, _processor() - before, memory)


def _watched(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process; the most memory that it, or a process of its, was seen to have."""
    most, ended = 0, threading.Event()
    waiting = threading.Thread(target=lambda: (process.wait(), ended.set()))
    waiting.start()
    while not ended.wait(0.2):
        with contextlib.suppress(psutil.Error):  # one has ended just now
            first = psutil.Process(process.pid)
            most = max(most, *(each.memory_info().rss for each in (first, *first.children(recursive=True))))
    waiting.join()
    return most


def _processor() -> float:
    """Seconds that all processes begun here, and theirs, have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(rows: dict[str, Cost]) -> str:
    """A line a row."""
    lines = [
        "| | photos a second | of one process | start, s | processor ms a photo | largest process, MiB |",
        "|---|---|---|---|---|---|",
    ]
    first = next(iter(rows.values()))
    for name, each in rows.items():
        lines.append(
            f"| {name} | {1 / each.photo:.1f} | {first.photo / each.photo:.2f} | {each.start:.1f} "
            f"| {1e3 * each.processor:.1f} | {each.memory / _MIB:.0f} |"
        )
    return "\n".join(lines)


def plan(photo: float, pair: float, written: float) -> str:
    """What ``A_DAY`` photos a day take, from processor seconds a photo and a photo's pair, and a result's bytes."""
    lines = [
        f"A photo takes {1e3 * photo:.1f} ms of a core to be read, prepared, weighed and written, and "
        f"{1e6 * pair:.1f} µs more for every pair that it is compared with; its file is taken to have "
        f"{PHOTO / 1e6:.1f} MB, its sketch has {written / 1e3:.0f} kB.",
        "",
        f"| pairs | core seconds a photo | cores for {A_DAY:,} photos a day | bank, GiB | through the client |",
        "|---|---|---|---|---|",
    ]
    network = A_DAY * (PHOTO + written) / _DAY / 1e6
    for pairs in PAIRS:
        each = photo + pairs * pair
        lines.append(
            f"| {pairs} | {each:.3f} | {A_DAY * each / _DAY:.1f} | {prepared(pairs) / 2**30:.2f} | {network:.1f} MB/s |"
        )
    lines += ["", _shards_text()]
    return "\n".join(lines)


def prepared(pairs: int) -> int:
    """Bytes of a bank of grey photos and sketches in the memory of the backend cpu: its source planes twice."""
    return (-(-pairs // 32) * 32 + 2 * pairs) * 250 * 200


def _shards_text() -> str:
    grid, k = PatchGrid(250, 200), CoarseSettings().k
    listed = grid.nodes * k
    return (
        f"With `--shards`, a photo's planes (50 kB) go to every shard; its lists ({grid.nodes} patches x {k} "
        f"candidates x 16 bytes = {16 * listed / 1e6:.2f} MB) come from every shard; its candidates' patches "
        f"({grid.nodes} x {k} x 2 x {grid.patch}² bytes = {2 * grid.patch**2 * listed / 1e6:.1f} MB) "
        "come once, from all together."
    )


if __name__ == "__main__":
    main()
