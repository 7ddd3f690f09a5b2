"""The kernels of stage 1 made ready, and said while it lasts; for every command that runs them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.status import Status

from .console import err

if TYPE_CHECKING:
    from idekernels.coarse import CoarseSettings
    from idekernels.results import PreparedBank


def let_waiting_threads_sleep() -> None:
    """Have threads that wait for each other sleep, unless the user says otherwise.

    Spinning, they take the cores from what runs beside the kernels: threads that read and write, a server's clients.
    OpenMP reads this once, when it is loaded, and processes inherit it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def loading_kernels() -> Status:
    """Shown on a terminal within a ``with`` block."""
    return err.status("Loading the kernels (the first run compiles them, about a minute)")


def load_kernels(settings: CoarseSettings, prepared: PreparedBank) -> None:
    """Compile what the settings and the bank need, or load it, and say so."""
    from idekernels.warm import warm_up

    with loading_kernels():
        warm_up(settings, prepared.backend, prepared.bank)
        if prepared.preselection is not None:
            prepared.preselection.warm_up()
