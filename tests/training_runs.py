"""A training run small enough for tests: seven drawn faces of 40 x 38, their bank, a recipe of six steps."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from idekernels import BankSettings, write_bank
from idekernels.coarse import CoarseSettings
from idemodel.files.images import write_image
from idemodel.training.data import Faces
from idemodel.training.recipe import COMPACT
from idemodel.training.run import Execution, Run, Trained, TrainingData

TINY = replace(
    COMPACT,
    features=4,
    modules=1,
    discriminator_features=4,
    steps=6,
    batch=2,
    crop=32,
    halvings=(3,),
    validation=2,
    validate_every=2,
    save_every=2,
    coarse=CoarseSettings(k=3),
)
NAMES = "0123456"
SETTINGS = BankSettings(patch=8, overlap=4, radius=2)


def drawn_faces(count: int, height: int, width: int) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Blobs as photos, and lighter negatives as sketches."""
    numbers = np.random.default_rng(0)
    photos = [_stretched(gaussian_filter(numbers.normal(size=(height, width)), 3)) for _ in range(count)]
    return photos, [255 - photo // 2 for photo in photos]


def _stretched(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    return (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)


def tiny_faces() -> Faces:
    """What reading the pairs of :func:`tiny_run` gives."""
    photos, sketches = drawn_faces(7, 40, 38)
    return Faces(tuple(NAMES), np.repeat(np.stack(photos)[..., None], 3, axis=3), np.stack(sketches))


def own_sketches(faces: Faces) -> list[torch.Tensor]:
    """The targets themselves in place of coarse sketches."""
    return [torch.from_numpy(sketch)[None] / 255.0 for sketch in faces.target]


def write_pairs(root: Path, photos: list[NDArray[np.uint8]], sketches: list[NDArray[np.uint8]]) -> Path:
    for side, images in (("photo", photos), ("sketch", sketches)):
        (root / side).mkdir(parents=True)
        for number, image in enumerate(images):
            write_image(root / side / f"{number}.png", image)
    return root


def tiny_run(root: Path) -> Run:
    """Write pairs and bank, and tell a run of them in ``root / "run"``, which is not made."""
    photos, sketches = drawn_faces(7, 40, 38)
    pairs = write_pairs(root / "pairs", photos, sketches)
    write_bank(root / "bank.h5", zip(NAMES, photos, sketches, strict=True), SETTINGS)
    return Run(TrainingData(pairs, (root / "bank.h5",)), root / "run", TINY)


def changed(run: Run, **changes: Any) -> Run:
    """The run with other values for some fields, of itself, its data or its execution."""
    data, execution = ({entry.name for entry in fields(each)} for each in (TrainingData, Execution))
    own = {name: value for name, value in changes.items() if name not in data | execution}
    return replace(
        run,
        data=replace(run.data, **{name: value for name, value in changes.items() if name in data}),
        execution=replace(run.execution, **{name: value for name, value in changes.items() if name in execution}),
        **own,
    )


def entries(run: Run, kind: str) -> list[dict[str, Any]]:
    """Lines of the run's log that hold something of that kind."""
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if kind in line]


def same_files(done: Trained, other: Trained) -> bool:
    same_last = done.last_file.read_bytes() == other.last_file.read_bytes()
    return same_last and done.best_file.read_bytes() == other.best_file.read_bytes() and done.best == other.best
