"""How near drawn (phantom) faces come to real ones, photos and sketches apart; tables to print, and maps as pictures.

    python -m benchmarks.likeness [--data DIR] [--pairs N] [--seed N] [--out DIR] [--write PAGE]

Compares the photos of ``train`` with phantom photos, and the artist's sketches with phantom sketches: grey levels by
region, power of the gradient by band of frequency, and how far a patch is from the nearest patch of any phantom (of
the usual size and search window). Says so and ends with 0 without data. Sections "likeness-photo", "likeness-sketch".
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe, one_line
from benchmarks.script import DATA, has_pairs, parser, publish
from idekernels import ComposedPatches, MemoryBank, PreparedBank, blend, match, planes_of, prepare
from idemodel.files.images import read_grey, write_image
from idemodel.files.pairs import list_pairs
from idemodel.phantom import phantom_pairs

Images = NDArray[np.uint8]  # (n, 250, 200), grey
Map = NDArray[np.float64]  # (250, 200), in grey levels
PACKAGES = ("idesketch", "numpy", "scipy")
SIDES = ("photo", "sketch")
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
PER_LEVEL = 6  # brightness of a map a grey level of distance: white from 43 levels on
AT_ONCE = 8  # pictures whose patches are looked up in one call

Box = tuple[int, int, int, int]  # top, bottom, left, right in pixels of the aligned 250 x 200 frame
REGIONS: Mapping[str, Sequence[Box]] = {
    "hair, top": [(30, 82, 62, 138)],
    "forehead": [(86, 110, 66, 134)],
    "eyes and brows": [(108, 138, 52, 148)],
    "nose": [(138, 168, 82, 118)],
    "mouth": [(170, 196, 72, 128)],
    "cheeks": [(142, 184, 54, 76), (142, 184, 124, 146)],
    "hair, sides": [(110, 200, 26, 44), (110, 200, 156, 174)],
    "neck": [(216, 240, 76, 124)],
    "shoulders": [(234, 250, 8, 56), (234, 250, 144, 192)],
    "background": [(8, 64, 2, 22), (8, 64, 178, 198)],
}
PARTS: Mapping[str, Box] = {"whole picture": (0, 250, 0, 200), "face": (100, 204, 48, 152)}  # of the spectra
BANDS = (0.0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)  # cycles a pixel


@dataclass(frozen=True)
class Both:
    """The real pictures and the drawn ones of one side."""

    real: Images
    drawn: Images


def main() -> None:
    """Draw, compare both sides, and print."""
    making = parser(__doc__, data=DATA, out="results-output/likeness")
    making.add_argument("--pairs", type=int, default=200, help="phantoms to draw")
    making.add_argument("--seed", type=int, default=11, help="of the phantoms")
    arguments = making.parse_args()
    if not has_pairs(arguments.data, "train"):
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    sides = _both_sides(arguments.data / "train", arguments.pairs, arguments.seed)
    told = f"{one_line(describe(PACKAGES))} Phantoms of seed {arguments.seed}."
    for side, both in sides.items():
        text = f"{told}\n\n{_compared(side, both, arguments.out)}"
        publish({f"likeness-{side}": text}, arguments.write)


def _both_sides(train: Path, count: int, seed: int) -> dict[str, Both]:
    files = list_pairs(train)
    drawn = list(phantom_pairs(count, seed=seed))
    return {
        side: Both(
            np.stack([read_grey(getattr(pair, side)) for pair in files]),
            np.stack([planes_of(getattr(pair, side), ("intensity",))[0] for pair in drawn]),
        )
        for side in SIDES
    }


def _compared(side: str, both: Both, out: Path) -> str:
    title = f"{side}: {len(both.real)} real, {len(both.drawn)} drawn"
    return "\n\n".join([f"**{title}**", _levels(both), _spectra(both), _patches(side, both, out)])


def _levels(both: Both) -> str:
    """Grey levels of every region, real over drawn, and the distance of their histograms in levels."""
    heads = ["region", "which", "mean", "std", *(f"{quantile:.0%}" for quantile in QUANTILES), "Wasserstein"]
    rows = []
    for name, boxes in REGIONS.items():
        real, drawn = inside(both.real, boxes), inside(both.drawn, boxes)
        rows.append([name, "real", *_figures(real), f"{wasserstein(real, drawn):.1f}"])
        rows.append(["", "drawn", *_figures(drawn), ""])
    return _table(heads, rows)


def _figures(levels: NDArray[np.uint8]) -> list[str]:
    return [f"{levels.mean():.0f}", f"{levels.std():.0f}", *(f"{each:.0f}" for each in np.quantile(levels, QUANTILES))]


def inside(images: NDArray[np.generic], boxes: Sequence[Box]) -> NDArray[np.generic]:
    """Every value of (..., H, W) that lies in a box, as one row."""
    cut = [images[..., top:bottom, left:right].ravel() for top, bottom, left, right in boxes]
    return np.concatenate(cut)


def wasserstein(some: NDArray[np.uint8], others: NDArray[np.uint8]) -> float:
    """1-Wasserstein distance of two lots of grey levels: how far, in levels, a pixel's level must move on average."""
    shares = [np.bincount(levels, minlength=256).cumsum() / levels.size for levels in (some, others)]
    return float(np.abs(shares[0] - shares[1]).sum())


def _spectra(both: Both) -> str:
    """Power of the gradient, real over drawn: above 1, the real pictures have more detail of that size."""
    edges = [f"1/{1 / low:.0f} to 1/{1 / high:.0f}" if low else f"to 1/{1 / high:.0f}" for low, high in _bands()]
    rows = []
    for name, (top, bottom, left, right) in PARTS.items():
        real, drawn = (band_power(images[:, top:bottom, left:right]) for images in (both.real, both.drawn))
        rows.append([f"{name}, real / drawn", *(f"{ratio:.2f}" for ratio in real / drawn)])
    return _table(["power of the gradient; cycles a pixel", *edges], rows)


def _bands() -> list[tuple[float, float]]:
    return list(itertools.pairwise(BANDS))


def band_power(images: Images) -> NDArray[np.float64]:
    """Mean power of the gradient of (n, H, W) pictures in every band of frequency, under a Hann window."""
    height, width = images.shape[1:]
    window = np.outer(np.hanning(height), np.hanning(width))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    power = np.zeros((height, width))
    for image in images:
        for slope in np.gradient(image.astype(np.float64)):
            power += np.abs(np.fft.fft2((slope - slope.mean()) * window)) ** 2
    within = [(frequency > low) & (frequency <= high) for low, high in _bands()]
    return np.array([power[band].mean() for band in within]) / len(images)


def _patches(side: str, both: Both, out: Path) -> str:
    """Distance of a real patch to the nearest drawn one, and for scale to the nearest of another real picture."""
    bank = prepare(MemoryBank.from_images(both.drawn, both.drawn))
    others = prepare(MemoryBank.from_images(both.real, both.real))
    drawn = nearest_map(both.real, bank)
    real = nearest_map(both.real, others, leave_one_out=True)
    for name, distance in (("drawn", drawn), ("real", real)):
        shown = np.rint(np.minimum(PER_LEVEL * distance, 255.0)).astype(np.uint8)
        write_image(out / f"{side}-to-{name}.png", shown)
    rows = [_distances(name, drawn, real, boxes) for name, boxes in {**REGIONS, "whole picture": _WHOLE}.items()]
    heads = ["RMS levels from a real patch to the nearest", f"of {len(both.drawn)} drawn"]
    return _table([*heads, f"of the other {len(both.real) - 1} real", "ratio"], rows)


_WHOLE: Sequence[Box] = [PARTS["whole picture"]]


def _distances(name: str, drawn: Map, real: Map, boxes: Sequence[Box]) -> list[str]:
    far, near = (float(inside(distance, boxes).mean()) for distance in (drawn, real))
    return [name, f"{far:.1f}", f"{near:.1f}", f"{far / near:.2f}"]


def nearest_map(images: Images, bank: PreparedBank, *, leave_one_out: bool = False) -> Map:
    """Root mean square difference, in grey levels, of a patch at each pixel to its nearest in the bank; mean of images.

    ``leave_one_out``: the bank is of these images, in this order, and none may find itself.
    """
    grid = bank.bank.grid()
    mean = np.zeros(grid.nodes)
    for first in range(0, len(images), AT_ONCE):
        some = images[first : first + AT_ONCE]
        barred = np.arange(first, first + len(some)) if leave_one_out else None
        found = match(np.stack([bank.bank.query(each) for each in some]), bank, k=1, exclude=barred).host()
        mean += np.sqrt(found.distance[:, :, 0] / grid.patch**2).sum(axis=0) / len(images)
    flat = np.broadcast_to(mean[None, :, None, None, None], (1, grid.nodes, 1, grid.patch, grid.patch))
    spread = blend(ComposedPatches(np.ascontiguousarray(flat, dtype=np.float32)), grid, how="average").host()
    return spread.pixels[0, 0].astype(np.float64)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
