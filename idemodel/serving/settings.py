"""What a server is told: how much it takes at once, and who may ask it; loads neither FastAPI nor torch."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from idekernels import arguments
from idekernels.errors import InputError

MOST_CANDIDATES = 40  # K that a request may ask for: the tables grow with its square

_LEAST_TOKEN = 8  # characters
_EVERYWHERE = ("0.0.0.0", "::", "")
_HOST = re.compile(r"(\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\s:/@\[\]]+))(:\d{1,5})?")


@dataclass(frozen=True)
class Limits:
    """How much one process of the server takes at once.

    Parameters
    ----------
    upload : int
        Bytes of a request, at least 1024; a larger one is refused with 413.
    places : int
        Requests with a photo that are received, wait, are computed or answered at the same time; the next is refused
        with 429. Uploads hold at most ``places * upload`` bytes. One address beyond this machine has half of them.
    batch : int
        Requests that are taken together by the engine.
    linger : float
        Seconds that the engine waits, at the least, for photos that are being received, and for as many as it had
        before, so that they go into one batch; it waits a tenth of the last batch's time where that is longer.
    receive, send : float
        Seconds in which a request must have come in whole, and in which an answer must have gone out.
    grace : float
        Seconds for which a request may come in as slowly as it will.
    rate : int
        Bytes a second that it must bring after that, on average.
    idle : float
        Seconds after which a connection that sent no whole header is closed.

    Raises
    ------
    TypeError, ValueError
        A number out of its range.
    """

    upload: int = 20 * 2**20
    places: int = 32
    batch: int = 8
    linger: float = 0.02
    receive: float = 60.0
    send: float = 60.0
    grace: float = 5.0
    rate: int = 1024
    idle: float = 20.0

    def __post_init__(self) -> None:
        arguments.whole("upload", self.upload, 1024)
        arguments.whole("places", self.places, 1)
        arguments.whole("batch", self.batch, 1)
        arguments.whole("rate", self.rate, 1)
        for name in ("linger", "receive", "send", "grace", "idle"):
            arguments.real(name, getattr(self, name), 0.0, 3600.0)

    @property
    def places_of_one(self) -> int:
        """Places that one address beyond this machine has."""
        return (self.places + 1) // 2


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Parameters
    ----------
    host : str
        The address that the server listens on.
    token : str, optional
        What every request of the interface must bring, at least 8 characters of ASCII; needed beyond the loopback.
    names : tuple of str
        Further names that the server may be called by (the Host of a request).
    origins : tuple of str
        Pages of other servers that may ask, as ``https://intranet.example``.

    Raises
    ------
    InputError
        No token beyond the loopback, or one that is too short or not of plain characters; an origin that is none.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.token is None and not self.is_loopback:
            raise InputError(f"--host {self.host} is beyond this machine: a token is needed, give --token")
        if self.token is not None and (
            len(self.token) < _LEAST_TOKEN or not self.token.isascii() or not self.token.isprintable()
            or " " in self.token
        ):  # fmt: skip
            raise InputError(f"a token is at least {_LEAST_TOKEN} plain letters, digits or signs, without spaces")
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise InputError(f"--origin {origin}: an origin is like https://intranet.example, without a path")

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine can connect."""
        return is_loopback(self.host)

    def knows_host(self, header: str) -> bool:
        """Whether the Host of a request is a name of this server.

        A page of somebody else's that has its name point here (DNS rebinding) sends its own name.
        """
        name = _without_port(header)
        if name is None:
            return False
        if name in {known.casefold() for known in self.names} or name == self.host.casefold():
            return True
        if self.is_loopback:
            return is_loopback(name)
        if is_loopback(name) or name == socket.gethostname().casefold():
            return True
        return self.host in _EVERYWHERE and _is_address(name)  # rebinding needs a name

    def knows_origin(self, origin: str, host: str) -> bool:
        """Whether the Origin of a request is this server's own page, or one that may ask."""
        own = {f"{scheme}://{host}".casefold() for scheme in ("http", "https")}
        return origin.casefold() in own | {known.casefold() for known in self.origins}


def _without_port(header: str) -> str | None:
    """The name or address in a Host header, without brackets; None where it is no Host."""
    found = _HOST.fullmatch(header.strip().casefold())
    return (found["address"] or found["name"]) if found else None


def is_loopback(name: str) -> bool:
    """Whether a name or an address is this machine's own, whatever network it is in."""
    return name.casefold() == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
