"""Files that appear whole or not at all: written beside the target, flushed, fsynced, then renamed over it."""

from __future__ import annotations

import contextlib
import errno
import glob
import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from idekernels.files.processes import is_running

_SUFFIX = ".partial"
_numbers = itertools.count()  # a temporary file for each thread that writes to one path; the last to finish wins


@contextlib.contextmanager
def replace_when_done(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on a clean exit it replaces ``path``, on an error it is removed.

    A reader of ``path`` sees the old file or the new one, never a part. What a killed process of this machine
    left behind for the same target is removed first.

    Raises
    ------
    OSError
        The folder is missing or read-only, or the disk is full; the old file is untouched.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(target.parent))
    _remove_leftovers(target)
    partial = target.with_name(f".{target.name}.{socket.gethostname()}.{next(_numbers)}.{os.getpid()}{_SUFFIX}")
    try:
        yield partial
        _flush_to_disk(partial)
        partial.replace(target)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, os.fspath(partial)):
            raise OSError(error.errno, error.strerror, os.fspath(target)) from error  # the name that was asked for
        raise
    _flush_folder(target.parent)


def _remove_leftovers(target: Path) -> None:
    stem = f".{target.name}.{socket.gethostname()}."
    for path in target.parent.glob(f"{glob.escape(stem)}*{_SUFFIX}"):
        owner = path.name.removesuffix(_SUFFIX).rpartition(".")[2]
        if owner.isdigit() and int(owner) != os.getpid() and not is_running(int(owner)):
            path.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":  # other systems cannot open a folder to flush it
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
