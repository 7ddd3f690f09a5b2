"""The main job from nothing: a bank of drawn faces, coarse and fine sketches of strangers and of one real photo."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idekernels import CoarseSettings, coarse_sketch, open_bank, prepare, write_bank
from idemodel.builtin import BUILTIN
from idemodel.evaluation.pages import render, write_page
from idemodel.faces.alignment import Eyes
from idemodel.files.contact_sheet import contact_sheet
from idemodel.files.images import write_image
from idemodel.generator.weights import PHANTOM
from idemodel.metrics.ssim import ssim
from idemodel.phantom import PhantomPair, phantom_pairs
from idemodel.phantom.workers import Series, drawn_pairs
from idemodel.preparation import PhotoPreparer, PreparationSettings, PreparedPhoto
from idemodel.sketcher import Sketcher

METHODS = ("mean", "mwf", "fine")  # two coarse ones, and stage 2 on top of the second
ASTRONAUT = "astronaut"  # Eileen Collins, NASA, public domain; comes with scikit-image
ASTRONAUT_EYES = Eyes(204.4 + 100.5j, 246.0 + 102.2j)  # as dlib sees them, which the demo does not need then
SSIM_VARIANT = "SSIM on 8-bit grey: Gaussian window 11, sigma 1.5, population covariance, data range 255"
DRAWN = PreparationSettings(align="never", normalise="none")  # faces are drawn of the bank's size, in its light

Advance = Callable[[str, int, int], None]
Images = list[NDArray[np.uint8]]


@dataclass(frozen=True)
class Demo:
    """What the demo made: mean SSIM by method, over ``faces`` drawn faces, and where the pictures are."""

    ssim: dict[str, float]
    faces: int
    sheet: Path
    page: Path


def run_demo(
    out: Path,
    pairs: int = BUILTIN.pairs,
    faces: int = 7,
    seed: int = BUILTIN.seed,
    backend: str = "auto",
    advance: Advance | None = None,
) -> Demo:
    """Draw ``pairs`` phantom pairs into a bank; sketch ``faces`` others and an astronaut, by each of ``METHODS``.

    The generator is the one that comes with the package, and by default the bank is the built-in one. Writes
    ``bank.h5``, ``METHOD/NAME.png``, ``contact-sheet.png`` and ``index.html`` into ``out``. ``advance(what, done,
    total)`` is told of every step.

    Raises
    ------
    OSError
        The folder is read-only or the disk is full.
    """
    told = advance or (lambda what, done, total: None)
    out.mkdir(parents=True, exist_ok=True)
    with closing(drawn_pairs(Series(pairs, BUILTIN.height, BUILTIN.width, seed))) as drawn:
        _build(out / "bank.h5", drawn, pairs, told)
    strangers = list(_counted(phantom_pairs(faces, seed=seed, start=pairs), faces, "Drawing strangers", told))
    photos, sketches = _sketched(out / "bank.h5", strangers, backend, told)
    for method, images in sketches.items():
        (out / method).mkdir(exist_ok=True)
        for name, sketch in zip((*(pair.name for pair in strangers), ASTRONAUT), images, strict=True):
            write_image(out / method / f"{name}.png", sketch)
    scores = {
        method: float(np.mean([ssim(sketch, pair.sketch) for sketch, pair in zip(images[:-1], strangers, strict=True)]))
        for method, images in sketches.items()
    }
    truth = [*(pair.sketch for pair in strangers), np.full_like(strangers[0].sketch, 255)]  # nobody drew the astronaut
    return _show(out, {"photo": photos, **sketches, "truth": truth}, scores, pairs)


def _build(path: Path, drawn: Iterator[PhantomPair], count: int, advance: Advance) -> None:
    faces = _counted(drawn, count, "Drawing faces for the bank", advance)
    write_bank(path, ((pair.name, pair.photo, pair.sketch) for pair in faces), BUILTIN.settings)


def _sketched(
    bank_file: Path, strangers: Sequence[PhantomPair], backend: str, advance: Advance
) -> tuple[Images, dict[str, Images]]:
    """The photos as they are sketched, the astronaut's last, and by method their sketches, (H, W) uint8 each."""
    with open_bank(bank_file) as bank:
        prepared = prepare(bank, backend)
        preparer = PhotoPreparer(bank, DRAWN)
        photos = [preparer.prepare(pair.photo, name=pair.name) for pair in strangers]
        photos.append(_astronaut(PhotoPreparer(bank)))
        advance("Coarse and fine sketches", 0, 2)
        mean = coarse_sketch([photo.image for photo in photos], prepared, CoarseSettings("mean")).images()
        advance("Coarse and fine sketches", 1, 2)
        made = Sketcher(prepared, PHANTOM).sketch(photos)
        by_method = {"mean": list(mean), "mwf": list(made.coarse.images()), "fine": list(made.images())}
        return [photo.image for photo in photos], by_method


def _astronaut(preparer: PhotoPreparer) -> PreparedPhoto:
    """The one real photo, from among scikit-image's pictures."""
    from skimage import data

    return preparer.prepare(data.astronaut(), eyes=ASTRONAUT_EYES, name=ASTRONAUT)


def _counted(drawn: Iterator[PhantomPair], total: int, what: str, advance: Advance) -> Iterator[PhantomPair]:
    for number, pair in enumerate(drawn, 1):
        yield pair
        advance(what, number, total)


def _show(out: Path, shown: dict[str, Images], scores: dict[str, float], pairs: int) -> Demo:
    titles = {method: f"{method}, SSIM {score:.3f}" for method, score in scores.items()}
    columns = [(titles.get(name, name), images) for name, images in shown.items()]
    faces = len(shown["truth"]) - 1
    sheet, page = out / "contact-sheet.png", out / "index.html"
    write_image(sheet, contact_sheet(columns))
    html = render(
        "demo.html.jinja",
        title="idesketch demo",
        sheet="data:image/png;base64," + base64.b64encode(sheet.read_bytes()).decode(),
        scores=scores,
        variant=SSIM_VARIANT,
        faces=faces,
        pairs=pairs,
    )
    write_page(page, html)
    return Demo(scores, faces, sheet, page)
