"""What every request passes before anything is computed: who asks, how much at once, how slowly; pure ASGI."""

from __future__ import annotations

import asyncio
import hmac
import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from idemodel.serving.problems import Refused
from idemodel.serving.settings import Access, Limits
from idemodel.serving.uploads import too_large

API = "/api/"

_DRAINED_FOR = (401, 403, 413, 415, 421, 429)  # what may be answered before the body has come in
_DRAINED = 4  # times the largest upload that is read, and thrown away, of a request that is refused
_DRAIN_SECONDS = 5.0

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "media-src 'self' blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
}


class Gate:
    """Refuses foreign hosts and origins, and requests of the interface without the token; adds the security headers."""

    def __init__(self, app: ASGIApp, access: Access, limits: Limits) -> None:
        self._app, self._access, self._limits = app, access, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        body = _Body(receive)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] in _DRAINED_FOR and "expect" not in headers:
                    await body.drain(_DRAINED * self._limits.upload)
                self._add_headers(message, headers, scope["path"])
            await send(message)

        try:
            self._check(headers, scope)
        except Refused as refused:
            await answer(refused, guarded)
            return
        await self._app(scope, body.receive, guarded)

    def _check(self, headers: Headers, scope: Scope) -> None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if len(headers.getlist("host")) != 1 or not self._access.knows_host(host):
            raise Refused(421, "this server has another name; ask it by its address, or name it with --name")
        if origin is not None and not self._access.knows_origin(origin, host):
            raise Refused(403, "a page of another server may not ask; allow it with --origin")
        asks = scope["path"].startswith(API) and scope["method"] != "OPTIONS"
        if asks and self._access.token is not None and not self._has_token(headers.get("authorization", "")):
            raise Refused(
                401,
                "a token is needed: open the page by the address that the server printed, or send "
                "Authorization: Bearer TOKEN",
                {"www-authenticate": "Bearer"},
            )

    def _has_token(self, header: str) -> bool:
        kind, _, given = header.partition(" ")
        right = (self._access.token or "").encode()
        return kind.casefold() == "bearer" and hmac.compare_digest(given.strip().encode(), right)

    def _add_headers(self, message: Message, headers: Headers, path: str) -> None:
        added = MutableHeaders(scope=message)
        for name, value in SECURITY_HEADERS.items():
            added[name] = value
        added.setdefault("cache-control", "no-store" if path.startswith(API) else "no-cache")
        allowed = headers.get("origin") in self._access.origins
        added["cross-origin-resource-policy"] = "cross-origin" if allowed else "same-origin"


class Places:
    """The places of one process: a request with a photo holds one from before its body is read until it is answered."""

    def __init__(self, limits: Limits, announce: Callable[[int], None]) -> None:
        self.most, self.held = limits.places, 0
        self._announce = announce
        self._seconds = 1.0  # that a request has taken of late, divided by those beside it

    def take(self) -> None:
        """Hold one.

        Raises
        ------
        Refused
            All are held: 429, with the seconds after which it is worth while to try again.
        """
        if self.held >= self.most:
            seconds = min(120, max(1, math.ceil(self._seconds * self.held)))
            raise Refused(429, f"too many requests at once; try again in {seconds} s", {"retry-after": str(seconds)})
        self.held += 1
        self._announce(1)

    def received(self) -> None:
        """The request that holds one has come in whole."""
        self._announce(-1)

    def give_back(self, seconds: float) -> None:
        """Hold one no more; the request took so long."""
        self._seconds += 0.2 * (seconds / max(1, self.held) - self._seconds)
        self.held -= 1


class Admission:
    """Gives requests with a photo a place, within limits of size and time; others pass.

    ``paths`` are of those that hold a place.
    """

    def __init__(self, app: ASGIApp, places: Places, limits: Limits, paths: Iterable[str]) -> None:
        self._app, self._places, self._limits, self._paths = app, places, limits, frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        try:
            length = Headers(scope=scope).get("content-length", "0")
            if length.isdecimal() and int(length) > self._limits.upload:
                raise too_large(self._limits.upload)
            self._places.take()
        except Refused as refused:
            await answer(refused, send)
            return
        began = time.monotonic()
        hurried = _Hurried(receive, send, self._limits, self._places.received)
        try:
            await self._app(scope, hurried.receive, hurried.send)
        except _NotTaken:
            return  # uvicorn closes the connection of an answer that does not end
        finally:
            hurried.note_received()
            self._places.give_back(time.monotonic() - began)


class _NotTaken(Exception):
    """A client does not take its answer."""


class _Hurried:
    """A request that must come in, and whose answer must go out, in time."""

    def __init__(self, receive: Receive, send: Send, limits: Limits, received: Callable[[], None]) -> None:
        self._receive, self._send, self._limits = receive, send, limits
        self._until = time.monotonic() + limits.receive
        self._note: Callable[[], None] | None = received

    def note_received(self) -> None:
        """The body is here whole, or no longer expected."""
        if self._note is not None:
            self._note()
            self._note = None

    async def receive(self) -> Message:
        """The next message; Refused where the body takes too long."""
        if self._note is None:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._until - time.monotonic()))
        except asyncio.TimeoutError:
            raise Refused(408, "the photo took too long to arrive", {"connection": "close"}) from None
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.note_received()
        return message

    async def send(self, message: Message) -> None:
        """Send on, in pieces; a client that does not take them in time is left."""
        body = message.get("body", b"") if message["type"] == "http.response.body" else b""
        until = time.monotonic() + self._limits.send
        pieces = [body[start : start + 2**16] for start in range(0, len(body), 2**16)] or [body]
        for number, piece in enumerate(pieces, 1):
            more = number < len(pieces) or message.get("more_body", False)
            part = {**message, "body": piece, "more_body": more} if body else message
            try:
                await asyncio.wait_for(self._send(part), max(0.0, until - time.monotonic()))
            except asyncio.TimeoutError:
                raise _NotTaken from None


class _Body:
    """A request's body, and whether it has come in whole."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._over = receive, False

    async def receive(self) -> Message:
        """The next message."""
        message = await self._receive()
        self._over = self._over or message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def drain(self, most: int) -> None:
        """Read what is left and throw it away, within limits: a client that is still sending would see no answer."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._drain(most), _DRAIN_SECONDS)

    async def _drain(self, most: int) -> None:
        size = 0
        while not self._over and size < most:
            size += len((await self.receive()).get("body", b""))


async def answer(refused: Refused, send: Send) -> None:
    """Send a problem as the answer."""
    body = refused.body()
    headers: list[tuple[bytes, bytes]] = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in refused.all_headers().items()
    ]
    headers.append((b"content-length", str(len(body)).encode()))
    start: dict[str, Any] = {"type": "http.response.start", "status": refused.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
