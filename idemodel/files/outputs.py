"""Which files may be written: none that is an input of the same call, through whatever name; and which are whole."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from idekernels.errors import InputError
from idemodel.files.listing import one_form

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
_TAIL = 4096  # bytes in which a PNG's end is looked for: some programs add a little after it


class Inputs:
    """The input files of a call, so that nothing is written over one of them.

    Two paths are the same file where the system says so (links), or where their names differ in nothing but capitals
    or the form of Unicode within one folder, which some file systems do not tell apart.
    """

    def __init__(self, files: Iterable[Path] = ()) -> None:
        self._files: set[tuple[int, int]] = set()
        self._names: set[tuple[str, str]] = set()
        self._folders: dict[Path, str] = {}
        for file in files:
            self.add(file)

    def add(self, file: Path) -> None:
        """One more input; where it is not there, only its name counts."""
        self._names.add(self.name(file))
        identity = _identity(file)
        if identity:
            self._files.add(identity)

    def __contains__(self, target: Path) -> bool:
        return self.name(target) in self._names or _identity(target) in self._files

    def name(self, file: Path) -> tuple[str, str]:
        """A path as it is compared: its folder, links resolved; its name in small letters and one form of Unicode."""
        folder = self._folders.get(file.parent)
        if folder is None:
            folder = self._folders[file.parent] = os.path.realpath(file.parent)
        return folder, one_form(one_form(file.name).casefold())


def lies_within(inner: Path, outer: Path) -> bool:
    """Whether a path is a folder or lies in it, told by the folders themselves and not by their names."""
    whole = inner.resolve()
    return any(same_file(place, outer) for place in (whole, *whole.parents))


def make_folder(folder: Path) -> Path:
    """Make a folder for results, which may be there already.

    Raises
    ------
    InputError
        A file stands there.
    OSError
        It cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder for the results with -o")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def is_whole(picture: Path) -> bool:
    """False for a file that is empty, begins with zeros (as after a power cut), or is a PNG that was cut off."""
    with picture.open("rb") as file:
        head = file.read(len(_SIGNATURE))
        if not head.strip(b"\0"):
            return False
        if not _SIGNATURE.startswith(head):
            return True
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        return _END in file.read()


def same_file(first: Path, second: Path) -> bool:
    """Whether two paths are one file or folder; False where one is not there."""
    try:
        return first.samefile(second)
    except OSError:
        return False


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None
