"""Processes that serve: one with its engine, or several on one socket; connections that say nothing are closed."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from idekernels.errors import InputError
from idemodel.serving.problems import Refused
from idemodel.serving.settings import Access, Limits

if TYPE_CHECKING:
    from idemodel.serving.engine import Engine

_BACKLOG = 512  # connections that wait to be accepted
_KEPT = 10  # seconds that an idle connection is kept for the next request
_TO_END = 10  # seconds for what is under way when the server ends
_HEALTHY = 30  # seconds for a process to answer its parent: one that compiles kernels is busy
_MOST_CONNECTIONS = 900  # of a process; below the usual limit of open files

_OPTIONS: dict[str, Any] = {
    "ws": "none", "log_level": "warning", "access_log": False, "server_header": False, "date_header": False,
    "proxy_headers": False, "lifespan": "on", "backlog": _BACKLOG, "timeout_keep_alive": _KEPT,
    "timeout_graceful_shutdown": _TO_END, "timeout_worker_healthcheck": _HEALTHY,
    "limit_concurrency": _MOST_CONNECTIONS,
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What a process of the server is made of; goes to other processes as it is.

    banks : tuple of Path
        None for the built-in one. model : Path, optional. backend, device, memory : see :class:`idemodel.Sketcher`.
    """

    banks: tuple[Path, ...] = ()
    model: Path | None = None
    backend: str = "auto"
    device: str = "auto"
    memory: int | None = None
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)

    def engine(self) -> Engine:
        """Open bank and model.

        Raises
        ------
        InputError
            One is missing or damaged, or they do not fit.
        """
        from idekernels import open_bank
        from idemodel.builtin import builtin_bank
        from idemodel.serving.engine import Engine
        from idemodel.sketcher import Sketcher

        bank = open_bank(*self.banks) if self.banks else builtin_bank()
        sketcher = Sketcher(bank, self.model, backend=self.backend, device=self.device, memory=self.memory)
        return Engine(sketcher, self.limits)

    def app(self) -> ASGIApp:
        """The application with its engine; what it imports is not for a parent that only watches its processes."""
        from idemodel.serving.service import create_app

        Impatient.idle = self.limits.idle
        return create_app(self.engine(), self.access, builtin=not self.banks and self.model is None)

    def __call__(self) -> ASGIApp:
        """The application, in a process of its own; a mistake is one line, and the parent is told to end."""
        try:
            return self.app()
        except (InputError, OSError) as error:
            print(f"Error: {error}", file=sys.stderr)
            sys.exit(STARTUP_FAILURE)


class Impatient(H11Protocol):
    """uvicorn's HTTP, but a connection that sends no whole header in time is closed: it costs an open file."""

    idle = 20.0  # seconds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        self._header_timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait for the header that these bytes begin, unless they end it or belong to a body."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()
        else:
            self._wait()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as every other mistake, and close the connection."""
        told = Refused(400, msg)
        head = "".join(f"{name}: {value}\r\n" for name, value in told.all_headers().items())
        body = told.body()
        head = f"HTTP/1.1 400 {told.title}\r\n{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.idle, self._close_if_silent)

    def _wait_no_more(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _close_if_silent(self) -> None:
        self._header_timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; who connects before the server is ready waits.

    Raises
    ------
    InputError
        The address is not this machine's, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return _listening(socket.socket(family), address)
    except OSError as error:
        raise InputError(f"{host}:{port}: cannot listen there ({_reason(error)}); choose another --port") from None


def serve(plan: Plan, listening: socket.socket, workers: int = 1, *, ready: Callable[[], None] | None = None) -> None:
    """Serve until interrupted.

    Parameters
    ----------
    plan : Plan
    listening : socket
        From :func:`listen`; closed at the end.
    workers : int
        Processes, each with its own bank, networks and line; with 1 it is this one.
    ready : function, optional
        Called once the bank and the model are loaded; with several processes at once.

    Raises
    ------
    InputError
        Bank or model cannot be used. Several processes tell why themselves; their parent notices within a minute.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    tell = ready or (lambda: None)
    with listening:
        if workers == 1:
            config = uvicorn.Config(plan.app(), http=Impatient, **_OPTIONS)
            tell()
            uvicorn.Server(config).run(sockets=[listening])
            return
        tell()
        config = uvicorn.Config(plan, factory=True, workers=workers, http=Impatient, **_OPTIONS)
        several = Multiprocess(config, [listening])
        several.run()
        if STARTUP_FAILURE in [process.exitcode for process in several.processes]:
            raise InputError("no process of the server could start; each has told why")


def _listening(made: socket.socket, address: Any) -> socket.socket:
    try:
        if os.name != "nt":  # there it would let two servers have one port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
        made.set_inheritable(True)
    except OSError:
        made.close()
        raise
    return made


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error)).casefold()
