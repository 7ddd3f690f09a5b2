"""The images of a folder, told by their first bytes, and what else was there; the names by which files are paired."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from idekernels.errors import InputError
from idemodel.files.formats import HEAD, format_of
from idemodel.files.images import SUFFIXES

_SHOWN = 5  # names of what was passed over


@dataclass(frozen=True)
class ImageFolder:
    """What a folder holds.

    images : the image files, by name, subfolders after the files where they were searched. passed : (path below the
    folder, reason) of every other visible file. subfolders : how many were not searched.
    """

    folder: Path
    images: tuple[Path, ...]
    passed: tuple[tuple[str, str], ...] = ()
    subfolders: int = 0

    def told(self, remedy: str = "") -> str:
        """What was left out, in one line; empty where nothing was. ``remedy`` is said of subfolders."""
        parts = []
        if self.passed:
            shown = ", ".join(f"{name} ({reason})" for name, reason in self.passed[:_SHOWN])
            more = f" and {len(self.passed) - _SHOWN} more" if len(self.passed) > _SHOWN else ""
            parts.append(f"passed over: {shown}{more}")
        if self.subfolders:
            were = "1 subfolder was" if self.subfolders == 1 else f"{self.subfolders} subfolders were"
            parts.append(f"{were} not searched" + (f" ({remedy})" if remedy else ""))
        return f"{self.folder}: {'; '.join(parts)}" if parts else ""


@dataclass
class _Search:
    """A search under way: what was found so far; ``skip`` says why a path is left out, see :func:`list_images`."""

    root: Path
    recursive: bool
    skip: Callable[[Path], str | None]
    passed: list[tuple[str, str]] = field(default_factory=list)
    subfolders: int = 0

    def images(self, folder: Path) -> Iterator[Path]:
        """The images of a folder and, where they are to be searched, of those in it."""
        deeper: list[Path] = []
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            left_out = self.skip(path)
            reason = _unfit(path) if left_out is None else left_out
            if reason == _FOLDER:
                deeper.append(path)
            elif left_out == "":
                continue
            elif reason:
                self.passed.append((str(path.relative_to(self.root)), reason))
            else:
                yield path
        if not self.recursive:
            self.subfolders += len(deeper)
            return
        for path in deeper:
            if path.is_symlink():  # it may lead back, or anywhere
                self.passed.append((str(path.relative_to(self.root)), "a link to a folder"))
                continue
            try:
                yield from self.images(path)
            except OSError as error:
                self.passed.append((str(path.relative_to(self.root)), error.strerror or "cannot be listed"))


def list_images(
    folder: str | os.PathLike[str], *, recursive: bool = False, skip: Callable[[Path], str | None] = lambda path: None
) -> ImageFolder:
    """The images of a folder.

    An image is a regular file, or a link to one, that begins as an image does, whatever its name; and a file whose
    name has a usual suffix, so that a damaged one is told of where it is read. Hidden files are passed over in
    silence. ``skip`` is asked of every other path first: None takes it, a text is the reason that it is passed over
    for, an empty one passes it over in silence.

    Raises
    ------
    InputError
        No such folder, or it may not be listed.
    """
    root = Path(folder)
    search = _Search(root, recursive, skip)
    try:
        if not stat.S_ISDIR(root.stat().st_mode):
            raise InputError(f"{root}: no such folder")
        images = tuple(search.images(root))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{root}: no such folder") from None
    except OSError as error:
        raise InputError(f"{root}: cannot be listed ({error.strerror})") from None
    return ImageFolder(root, images, tuple(search.passed), search.subfolders)


def stem_of(path: str | os.PathLike[str]) -> str:
    """The name by which a file is paired: without its suffix, and in one form of Unicode (NFC).

    A copy between systems may change the form, and with it the bytes of a name that looks the same.
    """
    return one_form(Path(path).stem)


def one_form(name: str) -> str:
    """A name as it is compared with others: in Unicode's composed form, NFC."""
    return unicodedata.normalize("NFC", name)


_FOLDER = "a folder"


def _unfit(path: Path) -> str:
    """Why a path is not taken for an image; empty where it is."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return _FOLDER
        if not stat.S_ISREG(mode):
            return "a pipe or a device"
        if path.suffix.lower() in SUFFIXES:
            return ""
        with path.open("rb") as file:
            return "" if format_of(file.read(HEAD)) else "no image"
    except PermissionError:
        return "may not be read"
    except OSError:
        return "a link to nothing" if path.is_symlink() else "cannot be opened"
