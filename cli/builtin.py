"""The built-in bank for the commands that need no other: a bar is shown where it has to be drawn first."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from idemodel.preparation import Once

from .console import counted, note

if TYPE_CHECKING:
    from idekernels.bank import PatchBank


def builtin_bank_shown() -> PatchBank:
    """Open it; a bar is shown where it has to be drawn first."""
    from idemodel.builtin import builtin_bank

    with ExitStack() as shown:
        bar = Once(lambda: shown.enter_context(counted("Drawing the built-in bank (first use only)")))
        try:
            return builtin_bank(advance=lambda done, total: bar()(done, total), tell=note)
        except KeyboardInterrupt:
            note("the built-in bank is not complete; the next use draws it from the beginning")
            raise
