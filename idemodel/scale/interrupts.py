"""What a worker of ``local:N`` loads first: Ctrl-C in a terminal reaches it too, but only the command answers it."""

from __future__ import annotations

import signal


def dask_setup(_worker: object) -> None:
    """Ignore interrupts, which else end a worker with a traceback; the command ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
