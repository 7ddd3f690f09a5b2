"""The pairs folder: ``photo/NAME.png`` and ``sketch/NAME.png``, matched by stem; knows files, not pixels."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from idekernels.errors import InputError
from idemodel.files.formats import LABELS
from idemodel.files.listing import list_images, stem_of


@dataclass(frozen=True)
class PairFiles:
    """One face: its name and the paths of its photo and its sketch."""

    name: str
    photo: Path
    sketch: Path


def list_pairs(folder: str | os.PathLike[str], told: Callable[[str], object] | None = None) -> list[PairFiles]:
    """List the pairs of a pairs folder, by name; ``told`` as in :func:`images_by_stem`.

    Raises
    ------
    InputError
        ``photo`` or ``sketch`` is missing or empty, or some image has no twin (every such name is given).
    """
    root = Path(folder)
    photos, sketches = images_by_stem(root / "photo", told), images_by_stem(root / "sketch", told)
    alone = sorted(photos.keys() ^ sketches.keys())
    if alone:
        shown = ", ".join(alone[:8]) + (f" and {len(alone) - 8} more" if len(alone) > 8 else "")
        raise InputError(f"{root}: without a twin in photo/ or sketch/: {shown}; add the twin or remove the image")
    if not photos:
        raise InputError(f"{root}: no images in photo/ and sketch/ ({LABELS})")
    return [PairFiles(name, photos[name], sketches[name]) for name in sorted(photos)]


def images_by_stem(folder: str | os.PathLike[str], told: Callable[[str], object] | None = None) -> dict[str, Path]:
    """Map stem -> path for the images of one folder (not its subfolders), sorted by stem.

    Stems are in one form of Unicode (NFC), see :func:`idemodel.files.listing.stem_of`; paths are as the disk has them.
    ``told`` is called with a line on what was passed over, if anything was.

    Raises
    ------
    InputError
        No such folder, or two images share a stem (``1.png`` and ``1.jpg``).
    """
    listed = list_images(folder)
    if told is not None and (line := listed.told()):
        told(line)
    found: dict[str, Path] = {}
    for path in listed.images:
        stem = stem_of(path)
        if stem in found:
            raise InputError(f"{path}: has the same name as {found[stem].name}; keep one of the two")
        found[stem] = path
    return dict(sorted(found.items()))
