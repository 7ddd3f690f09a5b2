"""Sketches a second over HTTP, a closed loop of 1, 8 and 32 clients, beside the library called directly.

    python -m benchmarks.serving [--photos N] [--seconds S] [--rounds N] [--workers N] [--write docs/SERVE.md]

The server is a process of its own with the built-in bank and model; every client posts a photo, waits for its sketch,
and posts the next. Directly: preparation, ``Sketcher`` and PNG encoding in batches of eight. Both take turns, so that
they meet the same machine; nothing else may keep it busy. A measurement begins no further photo after ``--photos`` of
them, or after ``--seconds``, and ends with the last answer: with the defaults all of it takes under four minutes on two
cores. Processor seconds a photo are those of the server's processes, on Linux; they tell apart a server that computes
more than the library from one that waits.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx

from benchmarks.machine import describe, one_line
from benchmarks.script import parser, publish
from idemodel import Sketcher, phantom_pairs
from idemodel.faces.alignment import Similarity, warp
from idemodel.files.images import encode_image

CLIENTS = (1, 8, 32)
BATCH = 8
PACKAGES = ("numpy", "numba", "torch", "dlib-bin", "fastapi", "uvicorn")
DIRECTLY = "directly, batches of eight"

_SCALE = 3  # of the drawn photos: 750 x 600 pixels, so that the face is looked for


@dataclass(frozen=True)
class Bounds:
    """What a measurement begins: so many photos, within so many seconds."""

    photos: int
    seconds: float

    def numbers(self) -> Iterator[int]:
        """0, 1, 2, ... until either bound."""
        until = time.perf_counter() + self.seconds
        return itertools.takewhile(lambda _: time.perf_counter() < until, range(self.photos))


@dataclass
class Measured:
    """Rates and processor seconds a photo, one of each a round."""

    rates: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def note(self, work: Callable[[], int], processor: Callable[[], float]) -> None:
        """Do the work, which says how many photos were sketched, and note how long each took."""
        before, start = processor(), time.perf_counter()
        done = work()
        self.rates.append(done / (time.perf_counter() - start))
        self.processor.append((processor() - before) / done)


def main() -> None:
    """Measure, and print or write the table."""
    options = parser(__doc__)
    options.add_argument("--photos", type=int, default=64, help="of each measurement, at most")
    options.add_argument("--seconds", type=float, default=10.0, help="in which a measurement begins photos")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--workers", type=int, default=1, help="processes of the server")
    arguments = options.parse_args()
    facts, photos, bounds = describe(PACKAGES), photos_of(32), Bounds(arguments.photos, arguments.seconds)
    measured: dict[str, Measured] = {DIRECTLY: Measured(), **{_named(clients): Measured() for clients in CLIENTS}}
    with Sketcher() as sketcher, server(arguments.workers) as (url, pid):
        directly(sketcher, photos, Bounds(BATCH, 60.0))  # kernels are loaded, and the bank measured
        loop(url, photos, BATCH, Bounds(2 * BATCH, 60.0))
        for _ in range(arguments.rounds):
            measured[DIRECTLY].note(lambda: directly(sketcher, photos, bounds), time.process_time)
            for clients in CLIENTS:
                measured[_named(clients)].note(
                    lambda clients=clients: loop(url, photos, clients, bounds), lambda: processor_seconds(pid)
                )
    publish({"serving": table(measured, one_line(facts), arguments.workers)}, arguments.write)


def photos_of(count: int) -> list[bytes]:
    """Drawn faces as PNG files."""
    rows, columns = 250 * _SCALE, 200 * _SCALE
    pairs = phantom_pairs(count, seed=77)
    return [encode_image(warp(pair.photo, Similarity(_SCALE, 0), rows, columns, "edge")) for pair in pairs]


@contextmanager
def server(workers: int) -> Iterator[tuple[str, int]]:
    """The address of a server in a process of its own, and that process."""
    command = [sys.executable, "-m", "idecli", "serve", "--port", "0", "--workers", str(workers), "--places", "64"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = re.search(r"http://\S+", process.stdout.readline() if process.stdout else "")
            if not found:
                raise SystemExit("the server did not start")
            yield found[0], process.pid
        finally:
            process.send_signal(signal.SIGINT)


def directly(sketcher: Sketcher, photos: Sequence[bytes], bounds: Bounds) -> int:
    """Sketch without a server; how many were."""
    done = 0
    for number in bounds.numbers():
        if number % BATCH == 0:
            some = [photos[(number + more) % len(photos)] for more in range(BATCH)]
            for image in sketcher.sketch([sketcher.prepare(photo) for photo in some]).images():
                encode_image(image)
            done += BATCH
    return done


def loop(url: str, photos: Sequence[bytes], clients: int, bounds: Bounds) -> int:
    """Have so many clients ask, each for the next when it has one; how many sketches they got."""
    numbers, taking, failed = bounds.numbers(), threading.Lock(), []
    done = [0] * clients

    def next_number() -> int | None:
        with taking:
            return next(numbers, None)

    def client(own: int) -> None:
        with httpx.Client(base_url=url, timeout=120) as asking:
            while (number := next_number()) is not None:
                answer = asking.post("/api/sketch", files={"photo": ("me.png", photos[number % len(photos)])})
                if answer.is_error:
                    failed.append(answer.text)
                    return
                done[own] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"the server refused a photo: {failed[0]}")
    return sum(done)


def processor_seconds(pid: int) -> float:
    """Processor time of a process and its children by now; nan where /proc does not tell."""
    ticks = float("nan")
    with suppress(OSError):
        ticks = sum(int(each) for each in _stat(pid)[11:13])
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            ticks += sum(int(each) for each in _stat(int(child))[11:13])
    return ticks / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else ticks


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _named(clients: int) -> str:
    return f"{clients} client{'s' if clients > 1 else ''}"


def table(measured: dict[str, Measured], facts: str, workers: int) -> str:
    """Medians of the rounds, and each as a share of the first row."""
    first = median(measured[DIRECTLY].rates)
    lines = [
        f"{facts} Photos of {250 * _SCALE} x {200 * _SCALE} pixels, {workers} worker{'s' if workers > 1 else ''}; "
        f"median of {len(measured[DIRECTLY].rates)} rounds, least and most beside it.",
        "",
        "| | sketches a second | of directly | processor seconds a photo |",
        "|---|---|---|---|",
    ]
    for name, each in measured.items():
        spread = f"{median(each.rates):.2f} ({min(each.rates):.2f} to {max(each.rates):.2f})"
        lines.append(f"| {name} | {spread} | {median(each.rates) / first:.0%} | {median(each.processor):.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
