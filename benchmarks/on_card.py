"""What a CUDA device makes of real photos: its sketches beside the processor's, and its kernels' times by events.

python -m benchmarks.on_card [--data FOLDER] [--write docs/GPU.md]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import idekernels as ide
from benchmarks.machine import describe, one_line
from benchmarks.script import DATA, has_pairs, parser, publish
from idekernels.results import PreparedBank
from idemodel.files.images import read_colour, read_grey
from idemodel.files.pairs import list_pairs

CASES: tuple[tuple[str, str, Mapping[str, Any], int], ...] = (  # name, bank, settings, photos
    ("`mwf`", "grey levels", {}, 70),
    ("`lle`", "grey levels", {"method": "lle"}, 70),
    ("`mwf`, K 20", "grey levels", {"k": 20}, 20),
    ("`mwf`", "four planes", {}, 20),
    ("`multi`", "four planes", {"method": "multi"}, 12),
    ("`mrf`", "grey levels", {"method": "mrf"}, 20),
)
BANKS = {
    "grey levels": ide.BankSettings(),
    "four planes": ide.BankSettings(representations=("intensity", "dog", "csdn", "gradient"), weights=(2, 2, 2, 1)),
}
AT_ONCE, ALONE = 16, 6  # photos of a batch; photos that are sketched once more, by themselves
BATCHES = (1, 64)

Images = Sequence[NDArray[np.uint8]]


def main() -> None:
    """Compare and time, and print or write both tables."""
    arguments = parser(__doc__, data=DATA).parse_args()
    if not (has_pairs(arguments.data, "train") and has_pairs(arguments.data, "test")):
        return
    banks = {name: _bank(arguments.data / "train", settings) for name, settings in BANKS.items()}
    photos = [read_colour(pair.photo) for pair in list_pairs(arguments.data / "test")]
    head = f"{one_line(describe(('idesketch', 'numpy', 'numba-cuda', 'cupy-cuda13x')))} {_device()}.\n\n"
    rows = [_compared(name, bank, banks[bank], changes, photos[:count]) for name, bank, changes, count in CASES]
    equal = "| method | bank | photos | pixels apart, most | share of pixels apart | alone as in a batch |\n"
    times = _times(ide.prepare(banks["grey levels"], "cuda"), photos)
    publish(
        {
            "on-card-equal": "\n".join([head + equal + "|---|---|---|---|---|---|", *rows]),
            "on-card-times": head + times,
        },
        arguments.write,
    )


def _bank(folder: Path, settings: ide.BankSettings) -> ide.MemoryBank:
    pairs = list_pairs(folder)
    photos, sketches = [read_colour(pair.photo) for pair in pairs], [read_grey(pair.sketch) for pair in pairs]
    return ide.MemoryBank.from_images(photos, sketches, settings=settings)


def _device() -> str:
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())


def _compared(name: str, planes: str, bank: ide.MemoryBank, changes: Mapping[str, Any], photos: Images) -> str:
    made = {backend: _sketched(photos, ide.prepare(bank, backend), changes, AT_ONCE) for backend in ("cpu", "cuda")}
    alone = _sketched(photos[:ALONE], ide.prepare(bank, "cuda"), changes, 1)
    apart = np.abs(made["cpu"].astype(int) - made["cuda"])
    same = "yes" if np.array_equal(alone, made["cuda"][:ALONE]) else "NO"
    return f"| {name} | {planes} | {len(photos)} | {apart.max()} | {np.mean(apart > 0):.1e} | {same} |"


def _sketched(photos: Images, bank: PreparedBank, changes: Mapping[str, Any], at_once: int) -> NDArray[np.uint8]:
    starts = range(0, len(photos), at_once)
    return np.concatenate([ide.coarse_sketch(photos[i : i + at_once], bank, **changes).images() for i in starts])


def _times(bank: PreparedBank, photos: Images) -> str:
    columns = [_kernel_times(bank, (list(photos) * 2)[:count]) for count in BATCHES]
    rows = [f"| {name} | " + " | ".join(f"{column[name]:.2f}" for column in columns) + " |" for name in columns[0]]
    head = "| kernel, ms | " + " | ".join(f"{count} photo{'s' * (count > 1)}" for count in BATCHES) + " |"
    return "\n".join([head, "|---" * (len(BATCHES) + 1) + "|", *rows])


def _kernel_times(bank: PreparedBank, photos: Images) -> dict[str, float]:
    import cupy

    grid = bank.bank.grid()
    query = cupy.asarray(np.stack([bank.bank.query(photo) for photo in photos]))
    found = ide.match(query, bank)
    cut = ide.gather(found, bank)
    evidence, links = ide.evidence(query, cut, grid), ide.compatibility(cut, grid)
    weights = ide.weigh(evidence, links, grid)
    mixed = ide.compose(cut, weights)
    calls: dict[str, Callable[[], Any]] = {
        "match, merge": lambda: ide.match(query, bank),
        "gather": lambda: ide.gather(found, bank),
        "evidence": lambda: ide.evidence(query, cut, grid),
        "compatibility": lambda: ide.compatibility(cut, grid),
        "weigh, `mwf`": lambda: ide.weigh(evidence, links, grid),
        "propagate, 50 iterations": lambda: ide.propagate(found, links, grid),
        "compose": lambda: ide.compose(cut, weights),
        "blend `feather`": lambda: ide.blend(mixed, grid),
    }
    return {name: _median_ms(call) for name, call in calls.items()}


def _median_ms(call: Callable[[], Any], rounds: int = 20) -> float:
    """By events of the device, after two calls that compile and fill the memory pool."""
    import cupy

    taken = []
    for number in range(rounds + 2):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        call()
        end.record()
        end.synchronize()
        if number >= 2:
            taken.append(cupy.cuda.get_elapsed_time(start, end))
    return float(np.median(taken))


if __name__ == "__main__":
    main()
