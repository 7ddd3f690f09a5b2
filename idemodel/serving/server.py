"""Processes that serve: one with its engine, or several on one socket; connections that say nothing are closed."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from idekernels.errors import InputError
from idemodel.serving.gate import SECURITY_HEADERS, crowded
from idemodel.serving.logs import bound_logs
from idemodel.serving.problems import Refused
from idemodel.serving.processes import TO_END, serve_in_processes
from idemodel.serving.settings import Access, Limits

if TYPE_CHECKING:
    from idemodel.serving.service import Application
    from idemodel.sketcher import Sketcher

_BACKLOG = 512  # connections that wait to be accepted
_KEPT = 10  # seconds that an idle connection is kept for the next request
_MOST_CONNECTIONS = 900  # of a process, where it may open as many files
_OTHER_FILES = 124  # that it may have open besides
_TURNED_AWAY = 64  # connections beyond that get an answer; further ones are closed

# what says that the address is at fault, not the port
_NOT_OURS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL, errno.ENODEV, errno.ENXIO)

_OPTIONS: dict[str, Any] = {
    "http": "idemodel.serving.server:Impatient", "ws": "none", "log_config": None, "access_log": False,
    "server_header": False, "date_header": False, "proxy_headers": False, "lifespan": "on", "backlog": _BACKLOG,
    "timeout_keep_alive": _KEPT, "timeout_graceful_shutdown": int(TO_END) + 3,
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What a process of the server is made of; goes to other processes as it is.

    banks : tuple of Path
        None for the built-in one. model : Path, optional.
    backend, device, precision, memory : see :class:`idemodel.Sketcher`.
    """

    banks: tuple[Path, ...] = ()
    model: Path | None = None
    backend: str = "auto"
    device: str = "auto"
    precision: str = "float32"
    memory: int | None = None
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)

    def check(self) -> None:
        """Open bank and model once, on the CPU, and close them: what is wrong with them is told before processes begin.

        Raises
        ------
        InputError
            One is missing or damaged, they do not fit, or there is no such device, or none for that precision.
        """
        from idemodel.generator.devices import torch_device
        from idemodel.generator.enhance import allowed_precision

        allowed_precision(self.precision, torch_device(self.device))
        opened = replace(self, backend="cpu", device="cpu", precision="float32").sketcher()
        opened.close()
        opened.prepared.bank.close()

    def sketcher(self) -> Sketcher:
        """Open bank and model.

        Raises
        ------
        InputError
            As :meth:`check`, or the backend cannot be had.
        """
        from idekernels import open_bank
        from idemodel.builtin import builtin_bank
        from idemodel.sketcher import Sketcher

        bank = open_bank(*self.banks) if self.banks else builtin_bank()
        try:
            return Sketcher(
                bank, self.model, backend=self.backend, memory=self.memory, device=self.device,
                precision=self.precision,
            )  # fmt: skip
        except BaseException:
            bank.close()
            raise

    def app(self) -> Application:
        """The application, its engine running; what it imports is not for a parent that only watches its processes."""
        from idemodel.serving.engine import Engine
        from idemodel.serving.service import create_app

        Impatient.idle = self.limits.idle
        engine = Engine(self.sketcher(), self.limits)
        engine.start()
        return create_app(engine, self.access, builtin=not self.banks and self.model is None)


class Server(uvicorn.Server):
    """uvicorn's server, which tells at its end those whom it does not serve any more, and leaves none waiting.

    app : Application. ready : called when it serves. options : of :class:`uvicorn.Config`, others than ours.
    """

    def __init__(self, app: Application, ready: Callable[[], None], **options: Any) -> None:
        super().__init__(uvicorn.Config(app, **{**_OPTIONS, **options}))
        self._served, self._ready = app, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse what waits, let what is computed finish in time, and leave no connection."""
        self._served.end()
        loop = asyncio.get_running_loop()
        later = (loop.call_later(TO_END, self._served.hurry), loop.call_later(TO_END + 1, self._close_all))
        try:
            await super().shutdown(sockets)
        finally:
            for timer in later:
                timer.cancel()

    def _close_all(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class Impatient(H11Protocol):
    """uvicorn's HTTP, but a connection that sends no whole header in time is closed: it costs an open file.

    So do too many: they are refused in words, and closed without where they are many more.
    """

    idle = 20.0  # seconds
    most = _MOST_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        self._header_timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.most + _TURNED_AWAY:
            transport.abort()
        elif len(self.connections) > self.most:
            self.app = crowded

    def _unsupported_upgrade_warning(self) -> None:
        """Who asks for another protocol is answered by this one; nobody need read of it."""

    def data_received(self, data: bytes) -> None:
        """Wait for the header that these bytes begin, unless they end it or belong to a body."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()
        else:
            self._wait()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as every other mistake, and close the connection."""
        told = Refused(400, msg, SECURITY_HEADERS)
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
        The address is not this machine's, or unknown, or the port is taken; it names the option to change.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return _listening(socket.socket(family), address)
    except (OSError, UnicodeError) as error:  # the second: it is no name at all
        raise InputError(f"{host}:{port}: cannot listen there ({_reason(error)}); {_remedy(error)}") from None


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
        Called once every process answers.

    Raises
    ------
    InputError
        Bank or model cannot be used, or backend or device cannot be had.
    """
    tell = ready or (lambda: None)
    with listening:
        if workers == 1:
            serve_here(plan, listening, tell)
            return
        plan.check()
        serve_in_processes(partial(serve_here, plan), listening, workers, tell)


def serve_here(plan: Plan, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve in this process until it is told to end; see :func:`serve`."""
    bound_logs()
    Impatient.most = min(_MOST_CONNECTIONS, _most_files() - _OTHER_FILES)
    Server(plan.app(), ready).run(sockets=[listening])


def _most_files() -> int:
    """Files that this process may have open; as many as it may ask for, where it may by now not have enough."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _MOST_CONNECTIONS + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else min(soft, wanted)


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


def _remedy(error: BaseException) -> str:
    if isinstance(error, socket.gaierror | UnicodeError) or getattr(error, "errno", None) in _NOT_OURS:
        return "give an address of this machine as --host, or 0.0.0.0 for every one"
    return "choose another --port"


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error)).casefold()
