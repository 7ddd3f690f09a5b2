"""Bytes that take a while to make, kept in the user's cache folder: what is damaged or cannot be kept is made anew."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from idekernels.errors import InputError
from idekernels.files.atomic import replace_when_done
from idekernels.files.cache import private_folder, usual_folder
from idekernels.files.regular import regular_file

_LARGEST = 2**26  # bytes of a file that is read
_DIGEST = hashlib.sha256().digest_size


def kept(name: str, make: Callable[[], bytes]) -> bytes:
    """What ``make`` gives, or what it gave before, in any process.

    Parameters
    ----------
    name : str
        Of the file, below the cache folder, with ``/`` between folders. It must tell all that the bytes depend on.
    make : callable
        Called where nothing is kept.
    """
    found = read_kept(name)
    if found is None:
        found = make()
        keep(name, found)
    return found


def read_kept(name: str) -> bytes | None:
    """What is kept under a name; None where nothing is, or where it was cut or altered, or cannot be read."""
    for folder in _folders(make=False):
        file = folder / name
        with contextlib.suppress(OSError, InputError):
            regular_file(file, "what is kept", _LARGEST)
            content = file.read_bytes()
            if hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]:
                return content[_DIGEST:]
    return None


def keep(name: str, content: bytes) -> Path | None:
    """Keep bytes under a name, with their SHA-256 before them; where, or None where no folder can be written."""
    for folder in _folders(make=True):
        file = folder / name
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            with replace_when_done(file) as partial:
                partial.write_bytes(hashlib.sha256(content).digest() + content)
            return file
    return None


def _folders(make: bool) -> Iterator[Path]:
    """The cache folder; then, for who looks further, the user's own among the temporary files."""
    if usual := usual_folder():
        yield usual
    with contextlib.suppress(OSError, InputError):
        yield private_folder(make)
