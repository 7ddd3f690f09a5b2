"""The kernels of stage 1 made ready, and said while it lasts; for every command that runs them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from rich.status import Status

from .console import err

if TYPE_CHECKING:
    from idekernels.coarse import CoarseSettings
    from idekernels.results import PreparedBank

Result = TypeVar("Result")

_ENOUGH = 4  # photos for each of several calls that are made side by side


def let_waiting_threads_sleep() -> None:
    """Have threads that wait for each other sleep, unless the user says otherwise.

    Spinning, they take the cores from what runs beside the kernels: threads that read and write, a server's clients.
    OpenMP reads this once, when it is loaded, and processes inherit it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def loading_kernels() -> Status:
    """Shown on a terminal within a ``with`` block."""
    return err.status("Loading the kernels (the first run compiles them, about a minute)")


class SideBySide:
    """Threads that run kernels at the same time, each on its share of the cores; none where one call takes them all.

    Parameters
    ----------
    prepared : PreparedBank
        Its kernels have run once.
    photos : int
        How many there are; few are best made by all cores together.
    """

    def __init__(self, prepared: PreparedBank, photos: int) -> None:
        calls = prepared.backend.side_by_side(prepared.handle)
        self.calls = calls if photos >= _ENOUGH * calls else 1
        self._pool = (
            ThreadPoolExecutor(self.calls, "kernels", prepared.backend.take_share, (calls,)) if self.calls > 1 else None
        )

    def begin(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Have it done, by a thread if there are such; what is returned waits for the result, or raises the error."""
        if self._pool is None:
            result = work()
            return lambda: result
        return self._pool.submit(work).result

    def close(self) -> None:
        """End the threads; what is under way is waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def load_kernels(settings: CoarseSettings, prepared: PreparedBank) -> None:
    """Compile what the settings and the bank need, or load it, and say so."""
    from idekernels.warm import warm_up

    with loading_kernels():
        warm_up(settings, prepared.backend, prepared.bank)
        if prepared.preselection is not None:
            prepared.preselection.warm_up()
