"""Runs kernels on request for benchmarks.busy, from the checkout that it is started in; decides nothing.

Started as source text (``python -c``), so that an older checkout without this file can be timed. Reads a line of JSON a
request, [kernel, photos, seconds], and answers with the seconds of every call made within that time, at least one.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

from benchmarks.stages import KERNELS, Field
from idekernels.workloads import STANDARD


def serve(batches: list[int]) -> None:
    """Compile and make what the kernels need, say their names, and answer requests until there are no more."""
    fields = {photos: Field(replace(STANDARD, photos=photos), "cpu") for photos in batches}
    for field in fields.values():
        for kernel in KERNELS.values():
            kernel(field)
    print(json.dumps(list(KERNELS)), flush=True)
    for line in sys.stdin:
        name, photos, enough = json.loads(line)
        print(json.dumps(calls(name, fields[photos], enough)), flush=True)


def calls(name: str, field: Field, enough: float) -> list[float]:
    """Seconds of one call after the other, as a program makes them that does not rest in between."""
    taken: list[float] = []
    begin = time.perf_counter()
    while not taken or time.perf_counter() - begin < enough:
        start = time.perf_counter()
        KERNELS[name](field)
        taken.append(time.perf_counter() - start)
    return taken


if __name__ == "__main__":
    serve([int(photos) for photos in sys.argv[1:]])
