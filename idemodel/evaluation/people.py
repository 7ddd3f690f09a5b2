"""Images of people for recognition, read from folders: a gallery and its probes, all of one size; compares nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idekernels.errors import InputError
from idemodel.files.images import read_grey
from idemodel.files.pairs import images_by_stem
from idemodel.files.shapes import shape_text

GALLERY_FOLDERS = ("synth", "photo")  # the first that is there
PROBE_FOLDER = "sketch"


@dataclass(frozen=True)
class People:
    """Images of people: the gallery (synthesised sketches, or photos) and the probes (artists' sketches).

    ``names`` has n entries; ``gallery`` and ``probes`` are (n, H W) uint8; ``size`` is (H, W); ``folders``
    are where they come from.
    """

    names: tuple[str, ...]
    gallery: NDArray[np.uint8]
    probes: NDArray[np.uint8]
    size: tuple[int, int]
    folders: tuple[Path, Path]


def read_people(place: str) -> People:
    """Read gallery and probe images of one size.

    Parameters
    ----------
    place
        A folder with ``sketch/`` (probes) and ``synth/`` or else ``photo/`` (gallery); or two folders,
        ``GALLERY:PROBES``, joined by the system's path separator (``;`` on Windows). Partners have equal
        stems.

    Raises
    ------
    InputError
        A folder is missing or empty, an image has no partner or another size, or cannot be read.
    """
    folders = _folders(place)
    gallery, probes = images_by_stem(folders[0]), images_by_stem(folders[1])
    alone = sorted(gallery.keys() ^ probes.keys())
    if alone:
        shown = ", ".join(alone[:8]) + (f" and {len(alone) - 8} more" if len(alone) > 8 else "")
        raise InputError(
            f"{folders[0]}: without a partner here or in {folders[1]}: {shown}; add the partner or remove the image"
        )
    if not gallery:
        raise InputError(f"{folders[0]}: no images")
    names = tuple(gallery)
    size = read_grey(gallery[names[0]]).shape
    return People(
        names=names,
        gallery=np.stack([_read(gallery[name], size) for name in names]),
        probes=np.stack([_read(probes[name], size) for name in names]),
        size=(size[0], size[1]),
        folders=folders,
    )


def _folders(place: str) -> tuple[Path, Path]:
    if not Path(place).is_dir() and os.pathsep in place:
        gallery, _, probes = place.partition(os.pathsep)
        return Path(gallery), Path(probes)
    root = Path(place)
    for name in GALLERY_FOLDERS:
        if (root / name).is_dir():
            return root / name, root / PROBE_FOLDER
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    raise InputError(
        f"{root}: has neither {' nor '.join(name + '/' for name in GALLERY_FOLDERS)} beside {PROBE_FOLDER}/; "
        f"name the two folders as GALLERY{os.pathsep}PROBES"
    )


def _read(file: Path, size: tuple[int, ...]) -> NDArray[np.uint8]:
    image = read_grey(file)
    if image.shape != size:
        given, expected = (shape_text(shape) for shape in (image.shape, size))
        raise InputError(f"{file}: is {given} where the first image is {expected}; scale it to that size")
    return image.ravel()
