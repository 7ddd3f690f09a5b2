"""``make results-preselect``: what searching only the N nearest faces loses and saves; the tables in docs/RESULTS.md.

    python -m benchmarks.preselect [--bank FILE] [--pairs 10000] [--photos 10] [--data DIR] [--out DIR]
        [--backend auto] [--only phantom|cuhk] [--write docs/RESULTS.md]

Two banks: of drawn faces (FILE; drawn and built into OUT where it is not there, which takes some ten minutes) and
of the 88 CUHK student pairs. Photos are none of the bank's. Every photo's figures are kept in OUT as they come: the
same command goes on where it was ended; of figures taken before, only those of the same backend and bank count.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import idekernels as ide
from benchmarks.machine import describe, one_line
from benchmarks.results import do
from benchmarks.script import DATA, parser, publish
from benchmarks.timing import seconds
from idekernels import backends
from idekernels.bank.description import VERSION
from idekernels.files.atomic import replace_when_done
from idekernels.preselection import Preselection
from idekernels.results import Candidates, PreparedBank
from idemodel import phantom_pairs, read_colour, read_grey
from idemodel.files.pairs import images_by_stem
from idemodel.metrics import METRICS

BANK_SEED, PHOTO_SEED = 19, 20
SCORES = ("ssim", "fsim", "scoot")
COUNTS: Mapping[str, tuple[int | None, ...]] = {
    "phantom": (25, 50, 100, 200, 300, 500, 1000, None),
    "cuhk": (25, 50, None),
}  # None: all of the bank, which is exact
AIM = 0.003  # of SSIM that may be lost

Image = NDArray[np.uint8]
Figures = dict[str, float]
Banks = Mapping[int | None, PreparedBank]  # one handle, by how many faces are searched


@dataclass(frozen=True)
class Test:
    """A photo that is not in the bank, and its true sketch."""

    name: str
    photo: Image
    sketch: Image


def main() -> None:
    """Measure both banks, or one, and write the tables."""
    made = parser(__doc__, data=DATA, out="results-output/preselect")
    made.add_argument("--bank", type=Path, help="bank of drawn faces of seed 19")
    made.add_argument("--pairs", type=int, default=10_000, help="pairs of that bank where it is to be made")
    made.add_argument("--photos", type=int, default=10, help="photos for that bank")
    made.add_argument("--backend", default="auto")
    made.add_argument("--only", choices=tuple(COUNTS))
    given = made.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    sections: dict[str, str] = {}
    suffix = "-cuda" if str(backends.resolve(given.backend)) == "cuda" else ""  # a section of its own in the page
    for name, measured in (("phantom", _phantom), ("cuhk", _cuhk)):
        if given.only in (None, name) and (name != "cuhk" or (given.data / "train").is_dir()):
            sections[f"preselect-{name}{suffix}"] = measured(given)
    publish(sections, given.write)


def _phantom(given: argparse.Namespace) -> str:
    bank = given.bank or _drawn(given.out, given.pairs)
    tests = (Test(pair.name, pair.photo, pair.sketch) for pair in phantom_pairs(given.photos, seed=PHOTO_SEED))
    return _measured("phantom", bank, tests, given)


def _cuhk(given: argparse.Namespace) -> str:
    bank = given.out / "cuhk.h5"
    if not bank.exists():
        do("bank", "build", str(given.data / "train"), str(bank))
    photos, sketches = (images_by_stem(given.data / "test" / side) for side in ("photo", "sketch"))
    tests = (Test(stem, read_colour(photos[stem]), read_grey(sketches[stem])) for stem in sorted(photos))
    return _measured("cuhk", bank, tests, given)


def _drawn(out: Path, pairs: int) -> Path:
    """The bank of drawn faces, made where it is not there."""
    folder, bank = out / f"pairs-{pairs}", out / f"phantom-{pairs}.h5"
    if not bank.exists():
        do("data", "phantom", str(folder), "--pairs", str(pairs), "--seed", str(BANK_SEED), "--overwrite")
        do("bank", "build", str(folder), str(bank))
    return bank


def _measured(name: str, path: Path, tests: Iterator[Test], given: argparse.Namespace) -> str:
    """The table of one bank."""
    facts = describe(("idesketch", "numpy", "numba"))
    with ide.open_bank(path) as bank:
        exact = ide.prepare(bank, given.backend)
        kept = _Kept.of(given.out / f"{name}-{exact.backend}.json", [getattr(bank, "digest", ""), VERSION])
        banks = {count: _preselecting(exact, count) for count in COUNTS[name]}
        done = [kept.of_photo(test, banks) for test in tests]
        images, told = bank.images, f"{one_line(facts)} Backend {exact.backend}, {bank.images} pairs"
    return "\n".join([f"{told}, {len(done)} photos.", "", *_table(done, COUNTS[name], images)])


@dataclass(frozen=True)
class _Kept:
    """Figures that are kept in a file: of every photo, by N."""

    file: Path
    of_what: list[Any]
    photos: dict[str, dict[str, Figures]]
    warm: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, file: Path, of_what: list[Any]) -> _Kept:
        """Those of a file, where they are of this bank."""
        told = json.loads(file.read_text()) if file.exists() else {}
        return cls(file, of_what, told["photos"] if told.get("of_what") == of_what else {})

    def of_photo(self, test: Test, banks: Banks) -> dict[str, Figures]:
        """The figures of a photo, taken now if they are not kept; the first ones twice, to warm up."""
        if test.name not in self.photos:
            for _ in range(1 if self.warm else 2):
                self.photos[test.name] = _figures(test, banks)
            self.warm.append(test.name)
            with replace_when_done(self.file) as partial:
                partial.write_text(json.dumps({"of_what": self.of_what, "photos": self.photos}, indent=1))
            print(f"{self.file.stem}: {len(self.photos)} photos", flush=True)
        return self.photos[test.name]


def _figures(test: Test, banks: Banks) -> dict[str, Figures]:
    """Scores, recall and times of one photo, by N."""
    query = banks[None].bank.query(test.photo)[None]
    candidates: dict[int | None, Candidates] = {}
    times = {}
    for count, bank in banks.items():
        times[count] = seconds(lambda: candidates.update({count: ide.match(query, bank).host()}))  # noqa: B023
    return {
        str(count): {
            "recall": recall(candidates[count], candidates[None]), "match": times[count], **_scores(test, bank)
        }
        for count, bank in banks.items()
    }  # fmt: skip


def _preselecting(exact: PreparedBank, count: int | None) -> PreparedBank:
    """The bank with a preselection, on what was read for the exact search: no second copy in memory."""
    return replace(exact, preselection=count and Preselection(exact.bank, count, exact.backend))


def _scores(test: Test, ready: PreparedBank) -> Figures:
    """How good the coarse sketch is, and how long all of it took."""
    made: list[Image] = []
    took = seconds(lambda: made.append(ide.coarse_sketch(test.photo, ready).images()[0]))
    return {"sketch": took, **{name: METRICS[name].function(made[0], test.sketch) for name in SCORES}}


def recall(found: Candidates, truth: Candidates) -> float:
    """The share of the true candidates, (B, N, K), that are among those found for the same node."""
    places = [np.stack([each.image, each.row, each.column], axis=-1) for each in (found, truth)]
    same = (places[0][:, :, :, None] == places[1][:, :, None]).all(axis=-1)
    return float(same.any(axis=2).mean())


def _table(done: Sequence[Mapping[str, Figures]], counts: Sequence[int | None], images: int) -> list[str]:
    def mean(count: int | None, what: str) -> float:
        return float(np.mean([figures[str(count)][what] for figures in done]))

    def took(count: int | None, what: str) -> float:
        return 1e3 * float(np.median([figures[str(count)][what] for figures in done]))

    lines = [
        "| N | recall | SSIM | SSIM lost | FSIM | Scoot | ms matching | times less | ms a photo |",
        f"|---|{'---|' * 8}",
    ]
    for count in counts:
        lost, less = mean(None, "ssim") - mean(count, "ssim"), took(None, "match") / took(count, "match")
        lines.append(
            f"| {count or f'all {images}'} | {mean(count, 'recall'):.3f} | {mean(count, 'ssim'):.4f} | {lost:.4f} | "
            f"{mean(count, 'fsim'):.4f} | {mean(count, 'scoot'):.4f} | {took(count, 'match'):.0f} | {less:.1f} | "
            f"{took(count, 'sketch'):.0f} |"
        )
    enough = [count for count in counts if count and mean(None, "ssim") - mean(count, "ssim") < AIM]
    return [*lines, "", _verdict(enough, took)]


def _verdict(enough: Sequence[int], took: Any) -> str:
    """Which N is enough, and what it saves."""
    if not enough:
        return f"No N here loses less than {AIM} SSIM."
    return (
        f"N = {enough[0]} is the least here that loses under {AIM} SSIM: {took(enough[0], 'match'):.0f} ms of matching "
        f"a photo, {took(None, 'match') / took(enough[0], 'match'):.1f} times less than the exact search."
    )


if __name__ == "__main__":
    main()
