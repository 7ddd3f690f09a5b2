"""The kernels of stage 1 made ready, and said while it lasts; for every command that runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.status import Status

from .console import err

if TYPE_CHECKING:
    from idekernels.coarse import CoarseSettings
    from idekernels.results import PreparedBank


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
