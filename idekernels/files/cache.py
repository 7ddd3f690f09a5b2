"""The user's cache folder: where it is, whether it can be written, and what stands in for it; knows no contents."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from idekernels.errors import InputError

VARIABLE = "IDESKETCH_CACHE"  # the environment variable that names another folder

_FULL = (errno.ENOSPC, errno.EDQUOT)

Tell = Callable[[str], None]


def usual_folder() -> Path | None:
    """The cache folder by its name, whether it is there or not; None where nobody's home is known."""
    named = os.environ.get(VARIABLE)
    try:
        folder = Path(named).expanduser() if named else _platforms_folder()
    except RuntimeError:  # ~ without a home
        return None
    return folder.absolute() if named or folder.is_absolute() else None


def _platforms_folder() -> Path:
    import platformdirs  # not for who names a folder

    return platformdirs.user_cache_path("idesketch", appauthor=False)


def writable_folder(tell: Tell, name: str = "") -> Path:
    """The cache folder, or ``name`` in it, made if missing; else one of the user's own among the temporary files.

    ``tell`` is given one line where the other folder is taken.

    Raises
    ------
    InputError
        The folder among the temporary files is there and somebody else's.
    OSError
        The disk is full, or there is no folder for temporary files.
    """
    cache = usual_folder()
    usual = cache and cache / name
    reason = "no home folder is known" if usual is None else _why_not_writable(usual)
    if usual is not None and reason is None:
        return usual
    folder = private_folder() / name
    folder.mkdir(exist_ok=True)
    tell(f"{usual or 'cache folder'}: {reason}; {folder} is used instead ({VARIABLE} can name another folder)")
    return folder


def _why_not_writable(folder: Path) -> str | None:
    """What keeps files from being written there, found by writing one; OSError where that is a full disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        if error.errno in _FULL:
            raise
        return f"cannot be written ({error.strerror})"


def private_folder(make: bool = True) -> Path:
    """A folder of this user's among the temporary files, which nobody else can read or write.

    Raises
    ------
    InputError
        It is there and somebody else's.
    OSError
        It cannot be made; or it is not there, and is not to be made.
    """
    posix = os.name == "posix"
    folder = Path(tempfile.gettempdir()) / (f"idesketch-{os.geteuid()}" if posix else "idesketch")
    if make:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    status = folder.lstat()  # not of what a link leads to
    mine = not posix or (status.st_uid == os.geteuid() and not status.st_mode & 0o077)
    if not (stat.S_ISDIR(status.st_mode) and mine):
        raise InputError(f"{folder}: is no folder of yours alone; set {VARIABLE} to a folder that you can write to")
    return folder
