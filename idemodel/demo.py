"""The main job on faces that never were: phantom pairs, a bank, coarse and fine sketches of strangers, scores."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idekernels import BankSettings, CoarseSettings, coarse_sketch, open_bank, prepare, write_bank
from idemodel.evaluation.pages import render, write_page
from idemodel.files.contact_sheet import contact_sheet
from idemodel.files.images import write_image
from idemodel.generator.weights import PHANTOM
from idemodel.metrics.ssim import ssim
from idemodel.phantom import PhantomPair, phantom_pairs
from idemodel.preparation import PhotoPreparer, PreparationSettings
from idemodel.sketcher import Sketcher

METHODS = ("mean", "mwf", "fine")  # two coarse ones, and stage 2 on top of the second
SSIM_VARIANT = "SSIM on 8-bit grey: Gaussian window 11, sigma 1.5, population covariance, data range 255"
DRAWN = PreparationSettings(align="never", normalise="none")  # faces are drawn of the bank's size, in its light

Advance = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Demo:
    """What the demo made: mean SSIM by method, over ``faces`` faces, and where the pictures are."""

    ssim: dict[str, float]
    faces: int
    sheet: Path
    page: Path


def run_demo(
    out: Path, pairs: int = 60, faces: int = 8, seed: int = 7, backend: str = "auto", advance: Advance | None = None
) -> Demo:
    """Draw ``pairs`` phantom pairs into a bank and sketch the photos of ``faces`` others, by each of ``METHODS``.

    The generator is the one that comes with the package. Writes ``bank.h5``, ``METHOD/NAME.png``,
    ``contact-sheet.png`` and ``index.html`` into ``out``. ``advance(what, done, total)`` is told of every step.

    Raises
    ------
    OSError
        The folder is read-only or the disk is full.
    """
    told = advance or (lambda what, done, total: None)
    out.mkdir(parents=True, exist_ok=True)
    _build(out / "bank.h5", phantom_pairs(pairs, seed=seed), pairs, told)
    strangers = list(_counted(phantom_pairs(faces, seed=seed, start=pairs), faces, "Drawing strangers", told))
    sketches = _sketched(out / "bank.h5", strangers, backend, told)
    for method, images in sketches.items():
        (out / method).mkdir(exist_ok=True)
        for pair, sketch in zip(strangers, images, strict=True):
            write_image(out / method / f"{pair.name}.png", sketch)
    scores = {
        method: float(np.mean([ssim(sketch, pair.sketch) for sketch, pair in zip(images, strangers, strict=True)]))
        for method, images in sketches.items()
    }
    return _show(out, strangers, sketches, scores, pairs)


def _build(path: Path, drawn: Iterator[PhantomPair], count: int, advance: Advance) -> None:
    faces = _counted(drawn, count, "Drawing faces for the bank", advance)
    write_bank(path, ((pair.name, pair.photo, pair.sketch) for pair in faces), BankSettings())


def _sketched(
    bank_file: Path, strangers: Sequence[PhantomPair], backend: str, advance: Advance
) -> dict[str, NDArray[np.uint8]]:
    """The strangers' sketches by method, (faces, H, W) uint8 each."""
    with open_bank(bank_file) as bank:
        prepared = prepare(bank, backend)
        preparer = PhotoPreparer(bank, DRAWN)
        photos = [preparer.prepare(pair.photo, name=pair.name) for pair in strangers]
        advance("Coarse and fine sketches", 0, 2)
        mean = coarse_sketch([photo.image for photo in photos], prepared, CoarseSettings("mean")).images()
        advance("Coarse and fine sketches", 1, 2)
        made = Sketcher(prepared, PHANTOM, CoarseSettings("mwf")).sketch(photos)
        return {"mean": mean, "mwf": made.coarse.images(), "fine": made.images()}


def _counted(drawn: Iterator[PhantomPair], total: int, what: str, advance: Advance) -> Iterator[PhantomPair]:
    for number, pair in enumerate(drawn, 1):
        yield pair
        advance(what, number, total)


def _show(
    out: Path,
    strangers: Sequence[PhantomPair],
    sketches: dict[str, NDArray[np.uint8]],
    scores: dict[str, float],
    pairs: int,
) -> Demo:
    columns = [
        ("photo", [pair.photo for pair in strangers]),
        *((f"{method}, SSIM {scores[method]:.3f}", list(made)) for method, made in sketches.items()),
        ("truth", [pair.sketch for pair in strangers]),
    ]
    sheet, page = out / "contact-sheet.png", out / "index.html"
    write_image(sheet, contact_sheet(columns))
    html = render(
        "demo.html.jinja",
        title="idesketch demo",
        sheet="data:image/png;base64," + base64.b64encode(sheet.read_bytes()).decode(),
        scores=scores,
        variant=SSIM_VARIANT,
        faces=len(strangers),
        pairs=pairs,
    )
    write_page(page, html)
    return Demo(scores, len(strangers), sheet, page)
