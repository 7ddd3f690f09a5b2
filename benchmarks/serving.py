"""Sketches a second over HTTP, a closed loop of 1, 8 and 32 clients, beside the library called directly.

    python -m benchmarks.serving [--seconds S] [--rounds N] [--workers N] [--write docs/SERVE.md]

The server is a process of its own with the built-in bank and model; every client posts a photo, waits for its sketch,
and posts the next. Directly: preparation, ``Sketcher`` and PNG encoding in batches of eight. Both take turns, so that
they meet the same machine; nothing else may keep it busy.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median

import httpx
import numpy as np

from benchmarks.machine import describe, one_line
from benchmarks.script import parser, publish
from idemodel import Sketcher, phantom_pairs
from idemodel.faces.alignment import Similarity, warp
from idemodel.files.images import encode_image

CLIENTS = (1, 8, 32)
BATCH = 8
PACKAGES = ("numpy", "numba", "torch", "dlib-bin", "fastapi", "uvicorn")

_SCALE = 3  # of the drawn photos: 750 x 600 pixels, so that the face is looked for


def main() -> None:
    """Measure, and print or write the table."""
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--workers", type=int, default=1, help="processes of the server")
    arguments = options.parse_args()
    facts, photos = describe(PACKAGES), photos_of(32)
    rates: dict[str, list[float]] = {}
    with Sketcher() as sketcher, server(arguments.workers) as url:
        directly(sketcher, photos, 2.0)  # kernels are loaded, and the bank measured
        loop(url, photos, 2, 2.0)
        for _ in range(arguments.rounds):
            rates.setdefault("directly, batches of eight", []).append(directly(sketcher, photos, arguments.seconds))
            for clients in CLIENTS:
                name = f"{clients} client{'s' if clients > 1 else ''}"
                rates.setdefault(name, []).append(loop(url, photos, clients, arguments.seconds))
    publish({"serving": table(rates, one_line(facts), arguments.workers)}, arguments.write)


def photos_of(count: int) -> list[bytes]:
    """Drawn faces as PNG files."""
    rows, columns = 250 * _SCALE, 200 * _SCALE
    pairs = phantom_pairs(count, seed=77)
    return [encode_image(warp(pair.photo, Similarity(_SCALE, 0), rows, columns, "edge")) for pair in pairs]


@contextmanager
def server(workers: int) -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, "-m", "idecli", "serve", "--port", "0", "--workers", str(workers), "--places", "64"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = re.search(r"http://\S+", process.stdout.readline() if process.stdout else "")
            if not found:
                raise SystemExit("the server did not start")
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)


def directly(sketcher: Sketcher, photos: Sequence[bytes], seconds: float) -> float:
    """Sketches a second, without a server."""
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        some = [photos[(done + number) % len(photos)] for number in range(BATCH)]
        for image in sketcher.sketch([sketcher.prepare(photo) for photo in some]).images():
            encode_image(image)
        done += BATCH
    return done / (time.perf_counter() - start)


def loop(url: str, photos: Sequence[bytes], clients: int, seconds: float) -> float:
    """Sketches a second that so many clients get, each asking for the next when it has one."""
    until, counts = time.perf_counter() + seconds, np.zeros(clients, int)

    def client(number: int) -> None:
        with httpx.Client(base_url=url, timeout=120) as asking:
            while time.perf_counter() < until:
                photo = photos[(number * 5 + counts[number]) % len(photos)]
                asking.post("/api/sketch", files={"photo": ("me.png", photo)}).raise_for_status()
                counts[number] += 1

    start = time.perf_counter()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return float(counts.sum() / (time.perf_counter() - start))


def table(rates: dict[str, list[float]], facts: str, workers: int) -> str:
    """Medians of the rounds, and each as a share of the first row."""
    first = median(next(iter(rates.values())))
    lines = [
        f"{facts} Photos of {250 * _SCALE} x {200 * _SCALE} pixels, {workers} worker{'s' if workers > 1 else ''}; "
        f"median of {len(next(iter(rates.values())))} rounds, least and most beside it.",
        "",
        "| | sketches a second | of directly |",
        "|---|---|---|",
    ]
    for name, values in rates.items():
        spread = f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
        lines.append(f"| {name} | {spread} | {median(values) / first:.0%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
