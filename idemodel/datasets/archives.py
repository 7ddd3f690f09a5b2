"""Archives unpacked safely: members get numbers for names, and every limit counts bytes that were really read."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from idekernels.errors import InputError

MAX_MEMBERS = 200_000  # files and folders of one import
MAX_MEMBER_BYTES = 256 * 2**20  # one file, unpacked
MAX_TOTAL_BYTES = 32 * 2**30  # all files of an archive, unpacked
MAX_RATIO = 200  # unpacked : packed of a whole archive; photos and sketches stay below 20
SLACK = 2**20  # bytes that an archive may unpack to whatever its ratio

ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
_OPENERS: dict[bytes, Callable[..., BinaryIO]] = {
    b"\x1f\x8b": gzip.open,  # type: ignore[dict-item]
    b"BZh": bz2.open,  # type: ignore[dict-item]
    b"\xfd7zXZ\x00": lzma.open,  # type: ignore[dict-item]
}
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError, RuntimeError,
    NotImplementedError, KeyError, IndexError,
)  # fmt: skip
_CHUNK = 2**20

Unpacked = Iterator[tuple[str, Path | None, str]]


def is_archive(path: Path) -> bool:
    """Whether a file's name is an archive's."""
    return path.name.lower().endswith(ARCHIVES)


def stem(name: str) -> str:
    """An archive's name without its suffix."""
    return next((name[: -len(end)] for end in sorted(ARCHIVES, key=len)[::-1] if name.lower().endswith(end)), name)


def unpack(archive: Path, wanted: Callable[[str], bool], folder: Path) -> Unpacked:
    """Unpack the wanted files of a .zip or .tar archive as ``folder/0``, ``folder/1``, ...

    Yields
    ------
    (name, path, reason)
        The member's name; where it is now, or None and why it was left out (a link, a device).

    Raises
    ------
    InputError
        Not an archive, damaged or cut off, encrypted, over a limit, or a member whose name leads out of the archive
        (absolute, or with ``..``).
    """
    try:
        yield from (_unzip if zipfile.is_zipfile(archive) else _untar)(archive, wanted, folder)
    except InputError:
        raise
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # a full disk, for one
            raise
        raise InputError(
            f"{archive}: not a whole .zip or .tar archive ({' '.join(str(error).split())[:80]}); fetch it again"
        ) from error


@contextmanager
def uncompressed(path: Path) -> Iterator[BinaryIO]:
    """Open a file that may be packed by gzip, bzip2 or xz, told by its first bytes, not by its name."""
    with path.open("rb") as raw:
        start = raw.read(6)
        raw.seek(0)
        opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
        if opener is None:
            yield raw
            return
        with opener(raw) as stream:
            yield stream


def copy_limited(stream: BinaryIO, target: Path, name: str) -> None:
    """Copy what a stream holds into a file; InputError past ``MAX_MEMBER_BYTES``."""
    left = MAX_MEMBER_BYTES
    with target.open("wb") as out:
        while chunk := stream.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise InputError(
                    f"{name}: unpacks to more than {MAX_MEMBER_BYTES // 2**20} MiB, which no picture needs"
                )
            out.write(chunk)


def _limit(archive: Path) -> int:
    return min(MAX_TOTAL_BYTES, MAX_RATIO * archive.stat().st_size + SLACK)


def _too_much(archive: Path) -> InputError:
    return InputError(
        f"{archive}: unpacks to more than {MAX_RATIO} times its size or {MAX_TOTAL_BYTES // 2**30} GiB; "
        "if you trust it, unpack it yourself and give the folder"
    )


def _checked_name(archive: Path, name: str) -> str:
    plain = name.replace("\\", "/")
    path = PurePosixPath(plain)
    if path.is_absolute() or ".." in path.parts or "\0" in plain or plain[1:2] == ":":
        raise InputError(f"{archive}: the member {name[:80]!r} leads out of the archive; do not trust this file")
    return str(path)


def _unzip(archive: Path, wanted: Callable[[str], bool], folder: Path) -> Unpacked:
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        if len(members) > MAX_MEMBERS:
            raise InputError(f"{archive}: holds {len(members)} files, over the limit of {MAX_MEMBERS}")
        if sum(member.file_size for member in members) > _limit(archive):
            raise _too_much(archive)
        for number, member in enumerate(members):
            name = _checked_name(archive, member.orig_filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.is_dir():
                continue
            if kind not in (0, stat.S_IFREG):
                yield name, None, "a link or device, which is not followed"
            elif wanted(name):
                if member.flag_bits & 1:
                    raise InputError(f"{archive}: is encrypted; unpack it yourself and give the folder")
                with packed.open(member) as stream:
                    copy_limited(stream, folder / str(number), f"{archive}: {name}")  # type: ignore[arg-type]
                yield name, folder / str(number), ""
            else:
                yield name, None, ""


class _Counted(io.RawIOBase):
    """A stream that ends in an error once it has given more bytes than it may."""

    def __init__(self, stream: BinaryIO, archive: Path) -> None:
        self.stream, self.archive = stream, archive
        self.whole = self.step = _limit(archive)
        self.tail = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self.stream.read(size)
        self.whole -= len(chunk)
        self.step -= len(chunk)
        if self.whole < 0 or self.step < 0:
            raise _too_much(self.archive)
        self.tail = (self.tail + chunk)[-512:]
        return chunk


def _untar(archive: Path, wanted: Callable[[str], bool], folder: Path) -> Unpacked:
    with uncompressed(archive) as stream:
        counted = _Counted(stream, archive)
        counted.step = SLACK  # headers are held in memory: what lies between two members must be small
        with tarfile.open(fileobj=counted, mode="r|") as packed:
            for number, member in enumerate(packed):
                name = _checked_name(archive, member.name)
                if number >= MAX_MEMBERS:
                    raise InputError(f"{archive}: holds more than {MAX_MEMBERS} files")
                if member.size > MAX_MEMBER_BYTES:
                    raise InputError(f"{archive}: {name}: is over {MAX_MEMBER_BYTES // 2**20} MiB; leave it out")
                counted.step = member.size + SLACK
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    yield name, None, "a link or device, which is not followed"
                elif wanted(name):
                    content = packed.extractfile(member)
                    if content is not None:
                        copy_limited(content, folder / str(number), f"{archive}: {name}")  # type: ignore[arg-type]
                    yield name, folder / str(number), ""
                else:
                    yield name, None, ""
                packed.members = []  # type: ignore[attr-defined]  # a long archive's list of members is not kept
        _to_the_end(counted)


def _to_the_end(counted: _Counted) -> None:
    """A tar archive ends with zeros, or it was cut off; a compressed one checks its sum at its end."""
    counted.step = counted.whole
    while counted.read(_CHUNK):
        pass
    if counted.tail.strip(b"\0"):
        raise InputError(f"{counted.archive}: ends too early; fetch it again")
