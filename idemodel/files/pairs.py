"""The pairs folder: ``photo/NAME.png`` and ``sketch/NAME.png``, matched by stem; knows files, not pixels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from idekernels.errors import InputError
from idemodel.files.images import SUFFIXES


@dataclass(frozen=True)
class PairFiles:
    """One face: its name and the paths of its photo and its sketch."""

    name: str
    photo: Path
    sketch: Path


def list_pairs(folder: str | os.PathLike[str]) -> list[PairFiles]:
    """List the pairs of a pairs folder, by name.

    Raises
    ------
    InputError
        ``photo`` or ``sketch`` is missing or empty, or some image has no twin (every such name is given).
    """
    root = Path(folder)
    photos, sketches = images_by_stem(root / "photo"), images_by_stem(root / "sketch")
    alone = sorted(photos.keys() ^ sketches.keys())
    if alone:
        shown = ", ".join(alone[:8]) + (f" and {len(alone) - 8} more" if len(alone) > 8 else "")
        raise InputError(f"{root}: without a twin in photo/ or sketch/: {shown}; add the twin or remove the image")
    if not photos:
        raise InputError(f"{root}: no images in photo/ and sketch/ ({', '.join(SUFFIXES)})")
    return [PairFiles(name, photos[name], sketches[name]) for name in sorted(photos)]


def images_by_stem(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Map stem -> path for the images of one folder (not its subfolders), sorted by stem.

    Raises
    ------
    InputError
        No such folder, or two images share a stem (``1.png`` and ``1.jpg``).
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in found:
            raise InputError(f"{path}: has the same name as {found[path.stem].name}; keep one of the two")
        found[path.stem] = path
    return dict(sorted(found.items()))
