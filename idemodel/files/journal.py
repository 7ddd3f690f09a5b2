"""The journal of a folder of results: a line a picture on what it was made of and how; appended to, never rewritten.

A line is written by one call that appends, so two processes may write to one folder at once; the last line of a
picture counts. A journal that is missing, damaged or cannot be written costs nothing but what it would have told.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from idekernels.errors import InputError
from idekernels.files.notices import tell_once
from idekernels.files.regular import regular_file
from idemodel.files.images import LARGEST
from idemodel.files.outputs import same_file

JOURNAL = ".idesketch.jsonl"

_LARGEST = 2**26  # bytes of a journal that is read: some 150,000 pictures
_LONGEST_LINE = 2**14  # bytes
_CHUNK = 2**20


@dataclass(frozen=True)
class Making:
    """How a command makes its pictures: its name, and a digest of everything but the photo that they depend on."""

    command: str
    how: str

    @classmethod
    def of(cls, command: str, **settings: Any) -> Making:
        """From settings whose text says all that they are."""
        text = json.dumps({name: str(value) for name, value in settings.items()}, sort_keys=True)
        return cls(command, hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True)
class Entry:
    """One picture: its name, the SHA-256 of the photo and of itself, how it was made and by which version.

    ``in_place`` is whether the photo lay in the same folder, where the picture must not be taken for a photo.

    ``size`` and ``changed`` (bytes, nanoseconds) are the photo's when it was read: where they still hold, the photo is
    taken to be the same without being read.
    """

    name: str
    photo: str
    size: int
    changed: int
    made: str
    command: str
    how: str
    version: str
    in_place: bool


@dataclass(frozen=True)
class Photo:
    """A photo's file, as it was when it was read: SHA-256, bytes, and nanoseconds of its last change."""

    file: Path
    digest: str
    size: int
    changed: int

    @classmethod
    def of(cls, file: Path) -> Photo:
        """Read a file.

        Raises
        ------
        InputError
            It cannot be read.
        """
        regular_file(file, "an image", LARGEST)
        status = file.stat()
        return cls(file, file_digest(file), status.st_size, status.st_mtime_ns)


class Journal:
    """The journal of one folder, read when it is first asked."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL
        self._entries: dict[str, Entry] | None = None

    def of(self, name: str) -> Entry | None:
        """The last entry of a picture, None where there is none."""
        if self._entries is None:
            self._entries = _read(self.path)
        return self._entries.get(name)

    def is_result(self, picture: Path) -> Entry | None:
        """The entry of a picture of this folder, where the file is the one that was written then."""
        entry = self.of(picture.name)
        with contextlib.suppress(OSError):
            return entry if entry and file_digest(picture) == entry.made else None
        return None

    def same_photo(self, entry: Entry, photo: Path) -> bool:
        """Whether a picture was made of this very photo."""
        return file_digest(photo) == entry.photo  # size and date prove nothing: archives give many files one date

    def add(self, picture: Path, photo: Photo, making: Making) -> None:
        """Note a picture that has just been written."""
        try:
            made = file_digest(picture)
            entry = Entry(picture.name, photo.digest, photo.size, photo.changed, made, making.command, making.how,
                          _version(), same_file(photo.file.parent, picture.parent))  # fmt: skip
            _append(self.path, json.dumps(asdict(entry)).encode() + b"\n")
        except OSError as error:
            tell_once(
                "journal", f"{self.path}: cannot be written ({error.strerror}); how pictures were made is not noted"
            )
            return
        if self._entries is not None:
            self._entries[picture.name] = entry


@cache
def _version() -> str:
    """Of this package; looked up once, since that reads and parses a file."""
    from importlib import metadata

    return metadata.version("idesketch")


def file_digest(file: Path) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _append(path: Path, line: bytes) -> None:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        if end:
            os.lseek(descriptor, end - 1, os.SEEK_SET)
            if os.read(descriptor, 1) not in (b"\n", b""):
                line = b"\n" + line  # a process was killed in the midst of its line
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, Entry]:
    try:
        regular_file(path, "a journal of idesketch", _LARGEST)
        with path.open("rb") as lines:
            found = (_entry(line) for line in iter(lambda: lines.readline(_LONGEST_LINE), b""))
            return {entry.name: entry for entry in found if entry}
    except (InputError, OSError):
        return {}


def _entry(line: bytes) -> Entry | None:
    """What a line says; None where it is no whole line of this journal."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, Mapping) or any(not isinstance(said.get(each.name), _TYPES[each.type]) for each in _FIELDS):
        return None
    return Entry(**{each.name: said[each.name] for each in _FIELDS})


_FIELDS = fields(Entry)
_TYPES: Mapping[Any, type] = {"str": str, "int": int, "bool": bool}
