"""How the weight field settles on real photos: sweeps, gaps and pixels of two backends; a table in docs/KERNELS.md.

python -m benchmarks.settling [--data FOLDER] [--against BACKEND] [--compared N] [--write docs/KERNELS.md]

Every test photo is weighed by the backend cpu against the bank of the training pairs. Those that took the most sweeps
are weighed by the other backend too, and without the ridge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

import idekernels as ide
from benchmarks.machine import describe, one_line
from benchmarks.script import DATA, has_pairs, parser, publish
from idekernels.results import Compatibility, PreparedBank, Weights
from idemodel.files.images import read_colour
from idemodel.files.pairs import list_pairs

CASES = (("mwf", 10), ("mwf", 20), ("mwf", 30), ("lle", 10))
_HEAD = """\
| method, K | sweeps, mean and most | gap / objective, most | objective apart | pixel apart, in grey levels | as uint8 \
| without ridge: pixel apart, most and mean |
|---|---|---|---|---|---|---|"""

Pixels = NDArray[np.float32]


def main() -> None:
    """Settle all test photos and print, or write, what came of it."""
    options = parser(__doc__, data=DATA)
    options.add_argument("--against", default="reference", help="the other backend; reference takes seconds a photo")
    options.add_argument("--compared", type=int, default=5, help="photos that the other backend weighs too")
    arguments = options.parse_args()
    if not (has_pairs(arguments.data, "train") and has_pairs(arguments.data, "test")):
        return
    pairs = list_pairs(arguments.data / "train")
    images = [[read_colour(file) for file in side] for side in zip(*((p.photo, p.sketch) for p in pairs), strict=True)]
    bank = ide.prepare(ide.PatchBank.from_images(*images), "cpu")
    photos = [read_colour(pair.photo) for pair in list_pairs(arguments.data / "test")]
    rows = [_row(method, k, bank, photos, arguments.against, arguments.compared) for method, k in CASES]
    text = (
        f"{one_line(describe(('idesketch', 'numpy', 'numba')))} {len(photos)} photos by cpu; the {arguments.compared} "
        f"of the most sweeps by {arguments.against} too.\n\n"
    )
    publish({"settling": text + "\n".join([_HEAD, *rows])}, arguments.write)


def _row(
    method: str, k: int, bank: PreparedBank, photos: Sequence[NDArray[np.uint8]], against: str, compared: int
) -> str:
    """All photos by cpu, and the slowest also by the other backend and without the ridge."""
    found = [next(_settled(photo, bank, method, k, ("cpu",)))[0] for photo in photos]
    sweeps = np.array([weights.sweeps[0] for weights in found])
    gap = max(float(weights.kkt_residual[0] / weights.objective[0]) for weights in found)
    apart, objectives, unlike, bare = [], [], [], []
    for photo in np.argsort(-sweeps, kind="stable")[:compared]:
        (ours, pixels), (theirs, other) = _settled(photos[photo], bank, method, k, ("cpu", against))
        ((_, free),) = _settled(photos[photo], bank, method, k, ("cpu",), ridge=0.0)
        apart.append(np.abs(pixels - other).max())
        unlike.append(np.abs(np.rint(pixels) - np.rint(other)).max())
        objectives.append(abs(float(ours.objective[0] / theirs.objective[0]) - 1))
        bare.append(np.abs(pixels - free))
    return (
        f"| {method}, {k} | {sweeps.mean():.1f}, {sweeps.max()} | {gap:.1e} | {max(objectives):.0e} | "
        f"{max(apart):.2f} | {max(unlike):.0f} | {np.max(bare):.1f}, {np.mean(bare):.3f} |"
    )


def _settled(
    photo: NDArray[np.uint8], bank: PreparedBank, method: str, k: int, backends: Sequence[str], ridge: float = 1.0
) -> Iterator[tuple[Weights, Pixels]]:
    """A photo's weights and its feathered picture (C, H, W) in grey levels, by each backend, of the same tables."""
    grid, query = bank.bank.grid(), bank.bank.query(photo)[None]
    patches = ide.gather(ide.match(query, bank, k=k), bank)
    gram = ide.evidence(query, patches, grid).gram
    tables = ide.compatibility(patches, grid)
    links = Compatibility(tables.own, tables.other, tables.cross)  # of no backend
    for backend in backends:
        found = ide.weigh(gram, links, grid, method=method, ridge=ridge, backend=backend).host()
        mixed = ide.compose(patches.target, found.weights, backend="cpu")
        yield found, np.clip(ide.blend(mixed, grid).pixels[0], 0, 255)


if __name__ == "__main__":
    main()
