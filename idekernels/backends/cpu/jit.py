"""How this backend compiles: Numba with an on-disk cache where one can be written, without it where none can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

_NO_CACHE = "no locator available"


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a kernel like ``numba.njit(**options)``, cached on disk if any cache folder can be written.

    Numba raises at decoration when neither the package nor the user's cache folder is writable (a read-only
    install without a home); compiling once a process is then the right thing, not a crash.
    """

    def decorate(kernel: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(kernel)
        except RuntimeError as error:
            if _NO_CACHE not in str(error):
                raise
            return numba.njit(**options)(kernel)

    return decorate


def cache_folder() -> Path | None:
    """Where compiled kernels are kept; None where no folder can be written."""

    def probe() -> None:
        """Never called: only its file decides where the cache would be."""

    path = getattr(getattr(compiled()(probe), "stats", None), "cache_path", None)
    return Path(path) if path else None
