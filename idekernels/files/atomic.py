"""Files that appear whole or not at all: written beside the target, flushed, fsynced, then renamed over it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from idekernels.errors import InputError
from idekernels.files.notices import tell_once
from idekernels.files.processes import is_running

_SUFFIX = ".partial"
_LONGEST = 255  # bytes of a file's name, where the file system does not say
_LACKING = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EBADF})
_numbers = itertools.count()  # a temporary file for each thread that writes to one path; the last to finish wins
_leftovers: dict[str, list[str]] = {}  # by folder: temporary names of dead processes
_written: set[str] = set()  # paths that this process wrote: for one that it writes again its folder is listed anew


@contextlib.contextmanager
def replace_when_done(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on a clean exit it replaces ``path``, on an error it is removed.

    A reader of ``path`` sees the old file or the new one, never a part. What a killed process of this machine
    left behind for the same target is removed first; a folder is searched for that once a process, and again where a
    path is written again, so that writing many files does not list the folder for each. Where a file system cannot
    flush a file or a folder, that is said once and the file is written all the same.

    Raises
    ------
    OSError
        The folder is missing or read-only, or the disk is full; the old file is untouched.
    InputError
        ``path`` is a pipe or a device: a rename would put a file in its place.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(target.parent))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(target))
    if target.exists() and not target.is_file():
        raise InputError(f"{target}: is a pipe or a device, not a file that can be replaced; choose another name")
    start = _start_of_name(target)
    _remove_leftovers(target, start)
    partial = target.with_name(f"{start}{next(_numbers)}.{os.getpid()}{_SUFFIX}")
    try:
        yield partial
        _flush(partial, os.O_RDWR)
        partial.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):  # a read-only file system refuses that, too: what went wrong first is told
            partial.unlink()
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, os.fspath(partial)):
            raise OSError(error.errno, error.strerror, os.fspath(target)) from error  # the name that was asked for
        raise
    if os.name == "posix":  # other systems cannot open a folder to flush it
        _flush(target.parent, os.O_RDONLY)


def remove_partials(path: str | os.PathLike[str]) -> None:
    """Remove every temporary file for ``path``, whatever process of whatever machine left it.

    For a caller that holds a lock without which nobody writes ``path``; :func:`replace_when_done` alone removes those
    of dead processes of this machine.
    """
    target = Path(path)
    for name in [name for name in os.listdir(target.parent) if name.endswith(_SUFFIX)]:  # noqa: PTH208
        if name.startswith(f".{target.name}."):
            target.with_name(name).unlink(missing_ok=True)


def _start_of_name(target: Path) -> str:
    """What the names of a target's temporary files begin with; a digest where its own name leaves no room."""
    host = socket.gethostname()
    start = f".{target.name}.{host}."
    room = _longest_name(target.parent) - len(f"{2**31}.{2**31}{_SUFFIX}")
    if len(os.fsencode(start)) <= room:
        return start
    return f".{hashlib.sha256(os.fsencode(start)).hexdigest()[:24]}."


def _longest_name(folder: Path) -> int:
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return _LONGEST


def _remove_leftovers(target: Path, start: str) -> None:
    whole = os.path.abspath(target)  # noqa: PTH100 - resolves no links, which costs a call for each part
    folder = os.path.dirname(whole)  # noqa: PTH120
    if folder not in _leftovers or whole in _written:
        _leftovers[folder] = [name for name in os.listdir(folder) if name.endswith(_SUFFIX) and _is_dead(name)]  # noqa: PTH208
    _written.add(whole)
    for name in [name for name in _leftovers[folder] if name.startswith(start)]:
        target.with_name(name).unlink(missing_ok=True)
        with contextlib.suppress(ValueError):  # another thread was faster
            _leftovers[folder].remove(name)


def _is_dead(name: str) -> bool:
    """Whether a temporary file's name ends with the number of a process that is gone."""
    owner = name.removesuffix(_SUFFIX).rpartition(".")[2]
    return owner.isdigit() and int(owner) != os.getpid() and not is_running(int(owner))


def _flush(path: Path, mode: int) -> None:
    """Have a file or a folder written to the disk; one that cannot be flushed is told of, once, and left to the system.

    Some network and shared folders refuse to flush a folder, and a folder that may not be listed cannot be opened.
    """
    try:
        descriptor = os.open(path, mode)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _LACKING and not (path.is_dir() and error.errno in (errno.EACCES, errno.EPERM)):
            raise
        folder = path if path.is_dir() else path.parent
        tell_once(
            "flush",
            f"{folder}: this file system does not say when files are safe on the disk ({error.strerror}); "
            "they are written all the same, but a power cut may lose the last ones",
        )
