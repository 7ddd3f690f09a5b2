"""What ``benchmarks.gpu_check`` runs on a card, a function a part, each in a process of its own; writes no page.

    python -m benchmarks.gpu_parts NAME RESULT.json [--data FOLDER] [--yardstick FOLDER]

A part gives a :class:`Table`. Whatever it raises ends its process with one line, and the other parts go on.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import idekernels as ide
from idekernels import backends
from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import variants
from idekernels.results import PreparedBank

BATCHES = (1, 8, 64, 256)
CASES: tuple[tuple[str, str, Mapping[str, Any], int], ...] = (  # method, bank, settings, photos
    ("`mwf`", "grey levels", {}, 32),
    ("`lle`", "grey levels", {"method": "lle"}, 16),
    ("`mwf`, K 20", "grey levels", {"k": 20}, 16),
    ("`mwf`", "four planes", {}, 16),
    ("`multi`", "four planes", {"method": "multi"}, 8),
    ("`mrf`", "grey levels", {"method": "mrf"}, 16),
)
BANKS = {
    "grey levels": ide.BankSettings(),
    "four planes": ide.BankSettings(representations=("intensity", "dog", "csdn", "gradient"), weights=(2, 2, 2, 1)),
}
AT_ONCE, ALONE = 16, 4  # photos of a batch; photos that are sketched once more, by themselves
TRAIN, TEST = 88, 32  # phantom pairs where there are no real ones
MANY = 1000  # photos of the part disk

Images = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Given:
    """Folders that a part may use. data : with the pairs folders train and test. yardstick : with run_tc.py."""

    data: Path | None = None
    yardstick: Path | None = None


@dataclass(frozen=True)
class Table:
    """What a part found: columns' names, rows of as many cells, a sentence on how; ``sound``: no result is wrong."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    sound: bool = True


def need_card() -> Any:
    """CuPy, where kernels run on a device.

    Raises
    ------
    RuntimeError
        None do; the message is the backend's.
    """
    missing = backends.why_missing("cuda")
    if missing:
        raise RuntimeError(missing)
    return importlib.import_module("cupy")


def need_torch() -> None:
    """RuntimeError where torch finds no device."""
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("torch finds no CUDA device here")


def median_ms(call: Callable[[], Any], rounds: int = 20) -> float:
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
    return float(statistics.median(taken))


# ---- results


def tests(given: Given) -> Table:
    """The tests that need a device."""
    need_card()
    return _tested("tests/test_gpu.py")


def _tested(file: str) -> Table:
    """A file of tests, and what failed of it; by several processes where pytest-xdist is there to make them."""
    beside = ("-n", "6", "--dist", "load") if importlib.util.find_spec("xdist") else ()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rf", *beside, file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr.strip()[-200:]]
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    rows = ((file, last[0].strip("= ")), *(("", line) for line in failed))
    return Table(("tests", "result"), rows, sound=done.returncode == 0)


def equality(given: Given) -> Table:
    """Sketches by cpu and cuda, of real photos where there are some; in a batch and alone."""
    need_card()
    train, photos, kind = _pictures(given.data)
    banks = {name: ide.MemoryBank.from_images(*train, settings=how) for name, how in BANKS.items()}
    found = [_compared(banks[bank], changes, photos[:count]) for _, bank, changes, count in CASES]
    rows = [
        (name, bank, str(min(count, len(photos))), str(most), f"{share:.1e}", "yes" if same else "NO")
        for (name, bank, _, count), (most, share, same) in zip(CASES, found, strict=True)
    ]
    head = ("method", "bank", "photos", "pixels apart, most", "share of pixels apart", "alone as in a batch")
    return Table(head, tuple(rows), f"{kind}.", all(most <= 1 and same for most, _, same in found))


def _pictures(data: Path | None) -> tuple[tuple[Images, Images], Images, str]:
    """Photos and sketches of a bank, photos to sketch, and what they are."""
    if data is not None and (data / "train").is_dir() and (data / "test").is_dir():
        from idemodel.files.images import read_colour, read_grey
        from idemodel.files.pairs import list_pairs

        train = list_pairs(data / "train")
        bank = [read_colour(pair.photo) for pair in train], [read_grey(pair.sketch) for pair in train]
        return bank, [read_colour(pair.photo) for pair in list_pairs(data / "test")], f"real photos of {data.name}"
    from idemodel.phantom import phantom_pairs

    pairs = list(phantom_pairs(TRAIN + TEST))
    bank = [pair.photo for pair in pairs[:TRAIN]], [pair.sketch for pair in pairs[:TRAIN]]
    return bank, [pair.photo for pair in pairs[TRAIN:]], "phantom faces"


def _compared(bank: ide.MemoryBank, changes: Mapping[str, Any], photos: Images) -> tuple[int, float, bool]:
    made = {backend: _sketched(photos, ide.prepare(bank, backend), changes, AT_ONCE) for backend in ("cpu", "cuda")}
    alone = _sketched(photos[:ALONE], ide.prepare(bank, "cuda"), changes, 1)
    apart = np.abs(made["cpu"].astype(int) - made["cuda"])
    return int(apart.max()), float(np.mean(apart > 0)), np.array_equal(alone, made["cuda"][:ALONE])


def _sketched(photos: Images, bank: PreparedBank, changes: Mapping[str, Any], at_once: int) -> NDArray[np.uint8]:
    starts = range(0, len(photos), at_once)
    return np.concatenate([ide.coarse_sketch(photos[i : i + at_once], bank, **changes).images() for i in starts])


# ---- times


def _fields() -> dict[int, Any]:
    """The standard workload with so many photos, arrays on the device."""
    from benchmarks.stages import Field
    from idekernels.workloads import STANDARD

    cupy = need_card()
    photos = replace(STANDARD, photos=min(BATCHES[-1], 32)).queries()
    fields = {}
    for count in BATCHES:
        fields[count] = Field(replace(STANDARD, photos=count), "cuda")
        bank = fields[BATCHES[0]].bank
        repeated = [photos[number % len(photos)] for number in range(count)]
        made = np.stack([bank.bank.query(photo) for photo in repeated])
        fields[count].__dict__.update(bank=bank, photos=repeated, query=cupy.asarray(made))
    return fields


def kernels(given: Given) -> Table:
    """Every kernel on its own."""
    from benchmarks.stages import KERNELS

    fields = _fields()
    rows = [
        (name, *(f"{median_ms(partial(kernel, field), 7):.3g}" for field in fields.values()))
        for name, kernel in KERNELS.items()
    ]
    for variant in variants.MATCHING:
        by = partial(_match_by, variant)
        taken = (
            f"{median_ms(partial(by, field), 7):.3g}" if _takes(variant, field) else "" for field in fields.values()
        )
        rows.append((f"match by {variant.name}", *taken))
    return Table(("kernel, ms", *_counted(BATCHES)), tuple(rows), "Device events, median of 7.")


def _takes(variant: variants.Variant, field: Any) -> bool:
    """Whether a variant of matching takes this field on this device."""
    return variant.fits(_problem(field), devices.current().limits)


def _problem(field: Any) -> variants.MatchProblem:
    work = field.work
    settings = work.settings
    return variants.MatchProblem(work.grid, settings.radius, settings.weights, work.k, work.photos, work.pairs)


def _match_by(variant: variants.Variant, field: Any) -> Any:
    """Match by one variant, whichever the rule would take."""
    table = variants.MATCHING
    variants.MATCHING = (variant,)
    try:
        return ide.match(field.query, field.bank, field.work.grid, k=field.work.k)
    finally:
        variants.MATCHING = table


def sketches(given: Given) -> Table:
    """Whole coarse sketches of photos on the host, by a resident bank."""
    rows, fields = [], _fields()
    for method in ("mwf", "mrf", "lle"):
        found = [
            median_ms(partial(ide.coarse_sketch, field.photos, field.bank, method=method), 5)
            for field in fields.values()
        ]
        rows.append((method, *(f"{taken:.3g}" for taken in found)))
    return Table(("sketches, ms", *_counted(BATCHES)), tuple(rows), "Device events, median of 5.")


def _counted(counts: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"{count} photo{'s' * (count > 1)}" for count in counts)


def yardstick(given: Given) -> Table:
    """The prototype of matching on tensor cores, where its folder is given."""
    need_card()
    if given.yardstick is None or not (given.yardstick / "run_tc.py").is_file():
        raise RuntimeError("no folder with run_tc.py is given (YARDSTICK=)")
    command = [sys.executable, str(given.yardstick / "run_tc.py"), "--skip-checks", "--rounds", "10", "--seconds", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    best = [line.removeprefix("best: ") for line in done.stdout.splitlines() if line.startswith("best: ")]
    if not best:
        raise RuntimeError(f"it ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    rows = tuple(tuple(one.split(": ", 1)) for one in best[0].split("; ") if ": " in one)
    return Table(("yardstick", "ms, best shape"), rows, f"{given.yardstick.name}, device events.")


def command(given: Given) -> Table:
    """The command line as a user has it, whole processes, by cuda with empty caches of kernels, and by both once more.

    By cpu the first run takes the caches that the machine has: compiling for it says nothing of the card.
    """
    ready = ("cpu",) if backends.why_missing("cuda") else ("cpu", "cuda")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        bank, photos = _on_disk(place, _pictures(given.data))
        rows = []
        for backend in ready:
            variables = _empty_caches(place) if backend == "cuda" else {}
            coarse = ("coarse", bank, photos, "--out", place / backend, "--overwrite", "--backend", backend)
            first, second = (f"{_seconds(coarse, variables):.1f}" for _ in range(2))
            rows.append((backend, first if variables else "", second))
    return Table(("`idesketch coarse`, s", "cold", "warm"), tuple(rows), f"{TEST} photos, whole processes.")


def disk(given: Given) -> Table:
    """From disk to disk: one photo and many, whole processes, by both backends and both settings of benchmarks.disk."""
    need_card()
    from benchmarks.disk import SETTINGS

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = _copies(Path(folder), _pictures(given.data))
        for backend in ("cuda", "cpu"):
            for name, options in SETTINGS.items():
                run = partial(replace(place, backend=backend).command, options)
                run(many=False)  # fills the caches
                one, many = run(many=False), run(many=True)
                rate = (place.photos - 1) / (many.wall - one.wall)
                rows.append((backend, name, f"{one.wall:.2f}", f"{many.wall:.2f}", f"{rate:.0f}"))
    head = ("`idesketch coarse`", "options", "one photo, s", f"{place.photos:,} photos, s", "photos a second")
    return Table(head, tuple(rows), "Whole processes, caches filled; the rate is that of the photos after the first.")


def _copies(place: Path, pictures: tuple[tuple[Images, Images], Images, str]) -> Any:
    """Many copies of photos on disk, a bank, and one photo by itself, as benchmarks.disk has them."""
    from benchmarks.disk import Place

    bank, photos = _on_disk(place, pictures)
    files = sorted(photos.iterdir())
    for name, count in (("many", MANY), ("one", 1)):
        (place / name).mkdir()
        for number in range(count):
            shutil.copy(files[number % len(files)], place / name / f"{number:05}.png")
    return Place(place, bank, MANY)


_FIRST = """
import time
start = time.perf_counter()
import numpy as np
from idekernels import MemoryBank, coarse_sketch
imported = time.perf_counter()
levels = np.random.default_rng(0).integers(0, 256, (88, 250, 200), dtype=np.uint8)
bank = MemoryBank.from_images(list(levels), list(levels))
ready = time.perf_counter()
coarse_sketch(levels[0], bank, backend="cuda").images()
print(imported - start, time.perf_counter() - ready)
"""


def start(given: Given) -> Table:
    """From import to the first sketch, in a process with empty caches and in the next two."""
    need_card()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for which in ("first process, caches empty", "second", "third"):
            command = [sys.executable, "-c", _FIRST]
            done = subprocess.run(
                command, env={**os.environ, **_empty_caches(Path(folder))}, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise RuntimeError(f"the {which} process ended with {done.returncode}: {done.stderr.strip()[-300:]}")
            rows.append((which, *(f"{float(word):.2f}" for word in done.stdout.split())))
        kept = sum(file.is_file() for file in (Path(folder) / "cupy").rglob("*"))
    note = f"One photo of 250 x 200, 88 pairs; CuPy kept {kept} compiled files on disk."
    return Table(("first sketch by cuda, s", "import", "then the sketch"), tuple(rows), note, sound=kept > 0)


def _empty_caches(place: Path) -> dict[str, str]:
    """Variables that name caches in a folder of the caller's, empty at first."""
    names = {"CUPY_CACHE_DIR": "cupy", "CUDA_CACHE_PATH": "ptx", "NUMBA_CACHE_DIR": "numba"}  # Numba: on the host
    return {variable: str(place / name) for variable, name in names.items()}


def _on_disk(place: Path, pictures: tuple[tuple[Images, Images], Images, str]) -> tuple[Path, Path]:
    """A bank and a folder of photos."""
    from idekernels import BankSettings, write_bank
    from idemodel.files.images import write_image

    (train, targets), photos, _ = pictures
    photos_folder, bank = place / "photos", place / "bank.h5"
    photos_folder.mkdir()
    for number, photo in enumerate(photos[:TEST]):
        write_image(photos_folder / f"{number:03}.png", photo)
    write_bank(
        bank, ((f"{number:03}", *pair) for number, pair in enumerate(zip(train, targets, strict=True))), BankSettings()
    )
    return bank, photos_folder


def _seconds(arguments: Sequence[object], variables: Mapping[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "idecli", *map(str, arguments)], env={**os.environ, **variables}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"idesketch {arguments[0]} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return time.perf_counter() - start


# ---- stage 2, in benchmarks/gpu_stage2.py


def stage2(given: Given) -> Table:
    """The tests of training and inference that need a device."""
    need_torch()
    return _tested("tests/test_gpu_stage2.py")


def training(given: Given) -> Table:
    """Training steps of the recipes, launched singly and replayed, by every precision."""
    need_torch()
    from benchmarks import gpu_stage2

    return Table(**vars(gpu_stage2.training()))


def inference(given: Given) -> Table:
    """The generators alone, batches of faces, launched singly and replayed, by every precision."""
    need_torch()
    from benchmarks import gpu_stage2

    return Table(**vars(gpu_stage2.inference()))


def _torch_ms(run: Callable[[], Any], rounds: int = 10) -> float:
    import torch

    taken = []
    for number in range(rounds + 3):
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        if number >= 3:
            taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken)


# ---- a peer, and what a tool sees


def peer(given: Given) -> Table:
    """Matching by torch on the same card, by products and by shifts; its distances are those of the CPU's kernel."""
    from benchmarks import gpu_peer
    from benchmarks.peers_match import Matching
    from idekernels.workloads import STANDARD

    need_torch()
    bank = STANDARD.bank()
    photos, query = bank.source(0, bank.images)[:, 0], bank.query(STANDARD.queries()[0])[0]
    work = Matching(np.ascontiguousarray(photos), query, 5, 10, 10, 5)
    truth = ide.match(work.query[None, None], ide.prepare(bank, "cpu"), k=work.k).distance[0]
    rows, sound = [], True
    for name, made in gpu_peer.PEERS.items():
        run = made(work, "cuda")
        wrong = int(np.count_nonzero(run().cpu().numpy() != truth))
        sound &= not wrong
        rows.append((name, f"{_torch_ms(run, 5):.2f}", str(wrong)))
    return Table(("torch, one photo", "ms", "distances that differ"), tuple(rows), "Wall clock, median of 5.", sound)


def sanitizer(given: Given) -> Table:
    """compute-sanitizer on a tiny workload: memory and races."""
    need_card()
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        raise RuntimeError("there is no compute-sanitizer on the path")
    rows, sound = [], True
    for check in ("memcheck", "racecheck"):
        code = "from idekernels.warm import try_out; try_out('cuda')"
        done = subprocess.run(
            [tool, "--tool", check, sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        lines = done.stdout.splitlines()
        bad = [line for line in lines if re.search(r"Invalid __|hazard detected|Race reported", line)]
        summary = [line.strip("= ") for line in lines if "SUMMARY" in line] or [f"ended with {done.returncode}"]
        sound &= not bad and done.returncode == 0
        rows.append((check, f"{len(bad)} in kernels; {summary[-1]}"))
    return Table(("compute-sanitizer", "told"), tuple(rows), "All kernels on a bank of noise.", sound)


PARTS: Mapping[str, Callable[[Given], Table]] = MappingProxyType(
    {
        "tests": tests, "equality": equality, "kernels": kernels, "sketches": sketches, "peer": peer,
        "stage2": stage2, "training": training, "inference": inference, "start": start, "command": command,
        "disk": disk, "yardstick": yardstick, "sanitizer": sanitizer,
    }
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one part and write what it found; 1 and one line where it failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("result", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--yardstick", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        found = PARTS[chosen.part](Given(chosen.data, chosen.yardstick))
    except Exception as error:  # whatever fails on a machine that nobody has seen is told in a line
        print(f"{type(error).__name__}: {error}".splitlines()[0], file=sys.stderr)
        return 1
    chosen.result.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
