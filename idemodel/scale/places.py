"""Where a cluster is: ``local:N``, or the address of a scheduler; checked here, reached in :mod:`.cluster`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from idekernels.errors import InputError

_MOST = 256  # processes of one machine
_FORMS = "local:N for N processes of this machine, or the scheduler's address, tcp://HOST:PORT or tls://HOST:PORT"


@dataclass(frozen=True)
class Place:
    """A cluster to be started, of so many ``processes`` on this machine, or one that runs, at ``address``."""

    processes: int = 0
    address: str = ""

    @classmethod
    def of(cls, text: str) -> Place:
        """From ``local:N``, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.

        Raises
        ------
        InputError
            Anything else, or N outside 1 to 256.
        """
        if found := re.fullmatch(r"local:(\d{1,6})", text):
            if not 1 <= int(found[1]) <= _MOST:
                raise InputError(f"{text}: a cluster of this machine has 1 to {_MOST} processes, best one a core")
            return cls(processes=int(found[1]))
        found = re.fullmatch(r"(?:tcp|tls)://(?:\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+):(\d{1,5})", text)
        if not found or not 1 <= int(found[1]) <= 65535:
            raise InputError(f"{text}: is no cluster; give {_FORMS}")
        return cls(address=text)

    def __str__(self) -> str:
        return self.address or f"local:{self.processes}"
