"""What an import reads from: a folder or an archive as a list of named files; knows no layout."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from idekernels.errors import InputError
from idemodel.datasets.archives import MAX_MEMBERS, copy_limited, is_archive, stem, uncompressed, unpack
from idemodel.files.images import SUFFIXES
from idemodel.files.listing import one_form
from idemodel.files.tables import decoded

PICTURES = (*SUFFIXES, ".jfif", ".jpe", ".webp", ".gif", ".avif", ".heic", ".heif", ".ppm", ".pgm")
POINTS = (".dat", ".3pts", ".pts", ".pos", ".5pts")
TABLES = (".txt", ".lst", ".csv", ".json")
PACKED = (".gz", ".bz2", ".xz")  # of one file: FERET's photos are 00001fa010_930831.ppm.bz2
MAX_TEXT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Member:
    """A file of a source.

    name : str
        Its path below the source with ``/``; files of an archive have the archive's stem before it.
    path : Path
        Where it is on this disk, maybe packed.
    side : str
        "photo" or "sketch" where the user named the folder it is in, else empty.
    """

    name: str
    path: Path
    side: str = ""

    @property
    def plain(self) -> str:
        """The name without the suffix of a packed file."""
        return next((self.name[: -len(end)] for end in PACKED if self.name.lower().endswith(end)), self.name)

    @property
    def suffix(self) -> str:
        """The lower-case suffix, ``.ppm`` of ``a.ppm.bz2``."""
        return PurePosixPath(self.plain).suffix.lower()

    @property
    def stem(self) -> str:
        """The file's name without folder and suffixes, in one form of Unicode.

        A point file's may be that of its picture, ``a.tif.pos``.
        """
        name = PurePosixPath(self.plain).name
        while (end := PurePosixPath(name).suffix.lower()) in (*PICTURES, *POINTS, *TABLES, ".3"):
            name = name[: -len(end)]
        return one_form(name)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders it is in, outermost first, in lower case."""
        return PurePosixPath(self.name.lower()).parts[:-1]

    def text(self) -> str:
        """The text of a text file.

        Raises
        ------
        InputError
            Over ``MAX_TEXT_BYTES``, damaged, or not text.
        """
        try:
            return decoded(self.content())
        except UnicodeDecodeError as error:
            raise InputError(f"{self.name}: is not text in UTF-8") from error

    def content(self) -> bytes:
        """The bytes of a text file, unpacked.

        Raises
        ------
        InputError
            Over ``MAX_TEXT_BYTES``, or damaged.
        """
        try:
            with uncompressed(self.path) as stream:
                data = stream.read(MAX_TEXT_BYTES + 1)
        except EOFError as error:
            raise InputError(f"{self.name}: is not text in UTF-8") from error
        if len(data) > MAX_TEXT_BYTES:
            raise InputError(f"{self.name}: is over {MAX_TEXT_BYTES // 2**20} MiB, too long for a list")
        return data


@dataclass
class Source:
    """The files of a folder or an archive, those left out with the reason, and a folder for what is unpacked."""

    given: Path
    spare: Path
    members: list[Member] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def add(self, path: Path, side: str = "") -> None:
        """Add a folder or an archive; archives right in a folder are opened as folders of their name.

        Raises
        ------
        InputError
            Neither, or over a limit of :mod:`idemodel.datasets.archives`.
        """
        if path.is_dir():
            self._folder(path, side)
        elif path.is_file():
            self._archive(path, stem(path.name), side)
        else:
            raise InputError(f"{path}: no such file or folder")
        self.members.sort(key=lambda member: member.name)

    @contextmanager
    def plain_file(self, member: Member) -> Iterator[Path]:
        """A path at which a member lies unpacked."""
        if member.plain == member.name:
            yield member.path
            return
        with tempfile.TemporaryDirectory(dir=self.spare) as folder:
            target = Path(folder) / "plain"
            try:
                with uncompressed(member.path) as stream:
                    copy_limited(stream, target, member.name)
            except (EOFError, OSError, ValueError) as error:
                if isinstance(error, InputError) or (isinstance(error, OSError) and error.errno is not None):
                    raise
                raise InputError(f"{member.name}: is damaged ({error})") from error
            yield target

    def _folder(self, root: Path, side: str) -> None:
        for place, folders, files in os.walk(root):
            for name in sorted(folders):
                if (Path(place) / name).is_symlink():
                    self._leave(_below(root, Path(place) / name), "a link, which is not followed")
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
            for name in sorted(files):
                path = Path(place) / name
                below = _below(root, path)
                if path.is_symlink():
                    self._leave(below, "a link, which is not followed")
                elif is_archive(path):
                    self._archive(path, str(PurePosixPath(below).parent / stem(name)), side)
                else:
                    self._take(Member(below, path, side))

    def _archive(self, path: Path, prefix: str, side: str) -> None:
        folder = Path(tempfile.mkdtemp(dir=self.spare))
        seen: set[str] = set()
        for name, place, reason in unpack(path, lambda name: _wanted(PurePosixPath(name).name), folder):
            whole = f"{prefix}/{name}".removeprefix("./")
            if name in seen:
                self._leave(whole, "the archive holds two files of this name")
            elif place is None:
                self._leave(whole, reason or _NOT_WANTED)
            else:
                self._take(Member(whole, place, side))
            seen.add(name)

    def _take(self, member: Member) -> None:
        if "__macosx" in member.folders or not _wanted(PurePosixPath(member.name).name):
            self._leave(member.name, _NOT_WANTED)
            return
        if not member.name.isprintable():  # control characters, or bytes that are no UTF-8
            self._leave(member.name, "a name that cannot be printed")
            return
        if len(self.members) >= MAX_MEMBERS:
            raise InputError(f"{self.given}: holds more than {MAX_MEMBERS} files; give a smaller folder")
        self.members.append(member)

    def _leave(self, name: str, reason: str) -> None:
        self.left_out.append((name if name.isprintable() else ascii(name), reason))


_NOT_WANTED = "neither a picture nor a list or point file"


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a folder or an archive; what is unpacked lies in a temporary folder that goes when this ends."""
    with tempfile.TemporaryDirectory(prefix="idesketch-") as spare:
        source = Source(path, Path(spare))
        source.add(path)
        yield source


def _wanted(name: str) -> bool:
    plain = Member(name, Path())
    return not name.startswith(".") and plain.suffix in (*PICTURES, *POINTS, *TABLES)


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
