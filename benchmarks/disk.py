"""From disk to disk: what `idesketch coarse` takes for photos of the bank's size, beside what its kernels take alone.

    python -m benchmarks.disk [--data FOLDER] [--photos N] [--rounds N] [--write docs/RESULTS.md]

Whole processes in turn, by cpu: many photos and one, as they are and by the defaults (eyes looked for, normalised).
Their difference is the time a photo takes, start-up apart. The kernels' own time is that of batches in this process;
what every other step takes of a processor is measured one after the other, by one thread. Under five minutes on two
cores.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe, one_line
from benchmarks.script import DATA, has_pairs, parser, publish
from benchmarks.timing import quartiles

SETTINGS: dict[str, tuple[str, ...]] = {
    "`--align never --normalise none`": ("--align", "never", "--normalise", "none"),
    "the defaults": (),
}
PACKAGES = ("idesketch", "numpy", "numba", "pillow", "dlib-bin")


@dataclass(frozen=True)
class Spent:
    """What something took: seconds by the clock, and of all processors together."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Place:
    """A bank, a folder of photos, one of a single photo, how many there are in the first, and what sketches them."""

    folder: Path
    bank: Path
    photos: int
    backend: str = "cpu"

    def command(self, options: Sequence[str], many: bool) -> Spent:
        """Sketch the photos, or the one, in a process of its own."""
        photos = self.folder / ("many" if many else "one")
        where = ("coarse", self.bank, photos, "-o", self.folder / "out")
        given = (*where, "--overwrite", "--backend", self.backend, *options)
        command = [sys.executable, "-m", "idecli", *map(str, given)]
        before, start = _children(), time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"idesketch coarse ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return Spent(time.perf_counter() - start, _children() - before)

    def files(self) -> list[Path]:
        """The many photos, in order."""
        return sorted((self.folder / "many").iterdir())


def main() -> None:
    """Measure, and print or write the section."""
    options = parser(__doc__, data=DATA)
    options.add_argument("--photos", type=int, default=100)
    options.add_argument("--rounds", type=int, default=3, help="of whole processes in turn")
    arguments = options.parse_args()
    if arguments.photos < 2:
        options.error("--photos is 2 at least: one photo tells what starting takes")
    if not has_pairs(arguments.data, "train"):
        return
    facts = describe(PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        place = prepared(Path(folder), arguments.data, arguments.photos)
        whole, kernels = in_turn(place, arguments.rounds)
        steps = dict(spent_a_photo(place))
    text = f"{one_line(facts)} {arguments.photos} photos of the bank's size, median of {arguments.rounds}.\n\n"
    publish({"disk": text + tables(whole, kernels, steps, arguments.photos)}, arguments.write)


def prepared(folder: Path, data: Path, count: int) -> Place:
    """A bank of the part ``train``, and so many copies of photos of the part ``test``."""
    bank = folder / "bank.h5"
    build = [sys.executable, "-m", "idecli", "bank", "build", data / "train", bank]
    subprocess.run([*map(str, build)], check=True, capture_output=True)
    for name, number in (("many", count), ("one", 1)):
        (folder / name).mkdir()
        photos = cycle(sorted((data / "test" / "photo").iterdir()))
        for at, photo in enumerate(islice(photos, number)):
            shutil.copy(photo, folder / name / f"{at:05}{photo.suffix}")
    return Place(folder, bank, count)


def in_turn(place: Place, rounds: int) -> tuple[dict[tuple[str, bool], Spent], Spent]:
    """Medians of whole processes, by setting and whether of many photos; and of the kernels alone, of all photos."""
    kernels = Kernels(place)
    runs: dict[Any, Callable[[], Spent]] = {"kernels": kernels.run}
    for name, options in SETTINGS.items():
        for many in (True, False):
            runs[name, many] = lambda options=options, many=many: place.command(options, many)  # type: ignore[misc]
    for run in runs.values():
        run()  # compiles, and fills the caches
    taken: dict[Any, list[Spent]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            taken[name].append(run())
    medians = {name: _median(several) for name, several in taken.items()}
    return {name: spent for name, spent in medians.items() if name != "kernels"}, medians["kernels"]


class Kernels:
    """Stage 1 of all photos in this process, in the batches that the command makes."""

    def __init__(self, place: Place) -> None:
        from idekernels import CoarseSettings, open_bank, prepare
        from idekernels.coarse import photos_at_once
        from idemodel.files.images import read_colour

        self.settings = CoarseSettings()
        self.bank = prepare(open_bank(place.bank), "cpu")
        self.photos = [read_colour(file) for file in place.files()]
        self.at_once = photos_at_once(self.bank, self.settings)

    def run(self) -> Spent:
        """Sketch all of them."""
        from idekernels import coarse_sketch

        before, start = time.process_time(), time.perf_counter()
        for at in range(0, len(self.photos), self.at_once):
            some = self.photos[at : at + self.at_once]
            coarse_sketch(some, self.bank, self.settings, exclude=np.full(len(some), -1)).images()
        return Spent(time.perf_counter() - start, time.process_time() - before)


def spent_a_photo(place: Place) -> Iterator[tuple[str, float]]:
    """What every step but the kernels takes of a processor, ms a photo, one after the other by one thread."""
    from idekernels import open_bank
    from idemodel.faces.aligner import may_stay
    from idemodel.faces.detectors import any_detector
    from idemodel.faces.normalise import Normaliser
    from idemodel.files.images import encode_image, read_colour, write_image
    from idemodel.files.journal import Journal, Making, Photo
    from idemodel.preparation import PhotoPreparer, PreparationSettings

    files = place.files()
    photos = [read_colour(file) for file in files]
    detector = any_detector()
    with open_bank(place.bank) as bank:
        preparer = PhotoPreparer(bank, PreparationSettings("never", "auto"))
        usual = Normaliser.of(bank)
        preparer.prepare(photos[0])  # measures the bank
        yield "reading and decoding", _each(read_colour, files)
        yield "the photo's digest", _each(Photo.of, files)
        if detector is not None:
            may_stay(photos[0], detector)
            yield "looking for eyes", _each(lambda photo: may_stay(photo, detector), photos)
        yield "normalising, as far as these photos need it", _each(preparer.prepare, photos)
        yield "normalising, every step (`--normalise all`)", _each(lambda one: usual.normalise(one, "all"), photos[:20])
    sketches = [photo[..., 0].copy() for photo in photos]
    yield "encoding", _each(encode_image, sketches)
    numbered, out = list(enumerate(sketches)), place.folder / "written"
    out.mkdir()
    yield "encoding and writing", _each(lambda one: write_image(out / f"{one[0]}.png", one[1]), numbered)
    journal, photo, making = Journal(out), Photo.of(files[0]), Making.of("coarse")
    yield "the journal's line", _each(lambda one: journal.add(out / f"{one[0]}.png", photo, making), numbered)


def tables(whole: dict[tuple[str, bool], Spent], kernels: Spent, steps: dict[str, float], photos: int) -> str:
    """Both tables, in Markdown."""
    alone = 1e3 * kernels.wall / photos
    lines = [
        f"| whole process | {photos} photos, s | one photo, s | a photo more, ms | beside the kernels alone | "
        "photos a second | processors, ms a photo |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in SETTINGS:
        many, one = whole[name, True], whole[name, False]
        more = 1e3 * (many.wall - one.wall) / (photos - 1)
        busy = 1e3 * (many.processor - one.processor) / (photos - 1)
        lines.append(
            f"| {name} | {many.wall:.1f} | {one.wall:.1f} | {more:.1f} | {more / alone:.2f} | {1e3 / more:.0f} | "
            f"{busy:.1f} |"
        )
    busy = 1e3 * kernels.processor / photos
    lines.append(
        f"| the kernels alone, no file | {kernels.wall:.1f} | | {alone:.1f} | 1 | {1e3 / alone:.0f} | {busy:.1f} |"
    )
    lines += ["", "| step | one processor, ms a photo |", "|---|---|"]
    lines += [f"| {name} | {taken:.2f} |" for name, taken in steps.items()]
    return "\n".join(lines)


def _each(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Processor time of the work, ms an item."""
    before = time.process_time()
    for item in items:
        work(item)
    return 1e3 * (time.process_time() - before) / len(items)


def _children() -> float:
    """Processor seconds of all processes that this one started and that ended."""
    times = os.times()
    return times.children_user + times.children_system


def _median(several: Sequence[Spent]) -> Spent:
    return Spent(*(quartiles(values)[1] for values in ([s.wall for s in several], [s.processor for s in several])))


if __name__ == "__main__":
    main()
