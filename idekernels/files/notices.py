"""What a person should hear once a process, whatever library call it comes from: one line through ``logging``.

Python's own last handler shows it on stderr where the program set up no logging of its own.
"""

from __future__ import annotations

import logging

from idekernels.errors import printable

_LOG = logging.getLogger("idesketch")
_told: set[str] = set()


def tell_once(topic: str, text: str) -> None:
    """Log ``text`` as a warning, unless this process has told of ``topic`` before."""
    if topic not in _told:
        _told.add(topic)
        _LOG.warning("%s", printable(text))
