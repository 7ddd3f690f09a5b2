"""Bytes that take a while to make, kept in the user's cache folder: what is damaged or cannot be kept is made anew."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable

from idekernels.errors import InputError
from idekernels.files.atomic import replace_when_done
from idekernels.files.regular import regular_file
from idemodel.files.cache import usual_folder

_LARGEST = 2**26  # bytes of a file that is read
_DIGEST = hashlib.sha256().digest_size


def kept(name: str, make: Callable[[], bytes]) -> bytes:
    """What ``make`` gives, from the file ``name`` of the cache folder where it was kept before.

    The name must tell everything that the bytes depend on. A file that is altered, cut or no file counts as none, and
    one that cannot be written is left: neither is an error, nor said.
    """
    folder = usual_folder()
    if folder is None:
        return make()
    file = folder / name
    with contextlib.suppress(OSError, InputError):
        regular_file(file, "what is kept", _LARGEST)
        content = file.read_bytes()
        if hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]:
            return content[_DIGEST:]
    made = make()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with replace_when_done(file) as partial:
            partial.write_bytes(hashlib.sha256(made).digest() + made)
    return made
