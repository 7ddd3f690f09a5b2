"""What may be opened for reading: regular files up to a size. Reading a pipe or a device may never return."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from idekernels.errors import InputError


def regular_file(
    path: str | os.PathLike[str], wanted: str, largest: int | None = None, error: type[InputError] = InputError
) -> int:
    """Check that a regular file, or a link to one, stands at ``path`` and may be read, before it is opened.

    Parameters
    ----------
    path : path
    wanted : str
        What should stand there, for the message.
    largest : int, optional
        Bytes.
    error : type
        What to raise.

    Returns
    -------
    int
        The file's size in bytes.

    Raises
    ------
    InputError
        Nothing stands there, or a folder, a pipe, a device; or it may not be read, or is too large.
    """

    def refuse(what: str) -> InputError:
        return error(f"{os.fspath(path)!s}: {what}; wanted is {wanted}")

    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise refuse("no such file") from None
    except PermissionError:
        raise refuse("may not be read (permission denied)") from None
    except (OSError, ValueError) as reason:  # a name too long or with a NUL, a loop of symbolic links
        raise refuse(f"cannot be opened ({getattr(reason, 'strerror', None) or reason})") from None
    if stat.S_ISDIR(status.st_mode):
        raise refuse("is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise refuse("is a pipe or a device, not a file")
    if not os.access(path, os.R_OK):
        raise refuse("may not be read (permission denied)")
    if largest is not None and status.st_size > largest:
        raise refuse(f"has {status.st_size} bytes, more than the {largest} that are read")
    return status.st_size
