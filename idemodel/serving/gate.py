"""What every request passes before anything is computed: who asks, how much at once, how slowly; pure ASGI."""

from __future__ import annotations

import asyncio
import hmac
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from idemodel.serving.problems import Refused, ending
from idemodel.serving.settings import Access, Limits, is_loopback
from idemodel.serving.uploads import too_large

API = "/api/"

_DRAINED = 4  # times the largest upload that is read, and thrown away, of a request that is refused
# what may be answered before the body has come in, and the seconds for which the rest of it is read
_DRAIN_SECONDS = {**dict.fromkeys((401, 403, 413, 415, 421, 429), 5.0), 503: 0.5}
_LONGEST_RETRY = 30  # seconds

EXPOSED = ("idesketch-warnings", "retry-after")  # headers that pages of other servers, where allowed, may read

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
    """Refuses foreign hosts and origins, and requests of the interface without the token; adds the security headers.

    HEAD is answered as GET, without the body.
    """

    def __init__(self, app: ASGIApp, access: Access, limits: Limits) -> None:
        self._app, self._access, self._limits = app, access, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        body, asked = _Body(receive), scope["method"]

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] in _DRAIN_SECONDS and "expect" not in headers:
                    await body.drain(_DRAINED * self._limits.upload, _DRAIN_SECONDS[message["status"]])
                self._add_headers(message, headers, scope["path"])
            elif asked == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            self._check(headers, scope)
        except Refused as refused:
            await answer(refused, guarded)
            return
        await self._app({**scope, "method": "GET"} if asked == "HEAD" else scope, body.receive, guarded)

    def _check(self, headers: Headers, scope: Scope) -> None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._access.knows_host(host):
            raise Refused(421, "this server has another name; ask it by its address, or name it with --name")
        if not all(self._access.knows_origin(origin, host) for origin in headers.getlist("origin")):
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
        allowed = headers.get("origin", "") in self._access.origins
        added["cross-origin-resource-policy"] = "cross-origin" if allowed else "same-origin"
        if allowed:  # also what is refused: else the page that asked could not tell why
            added["access-control-allow-origin"] = headers["origin"]
            added["access-control-expose-headers"] = ", ".join(EXPOSED)
            added.add_vary_header("Origin")


class Places:
    """The places of one process: a request with a photo holds one from before its body is read until it is answered.

    announce : called with 1 when a request begins to come in, with -1 when it is here. pace : the seconds that a photo
    takes at present. chance : a number between two, by chance.
    """

    def __init__(
        self, limits: Limits, announce: Callable[[int], None], pace: Callable[[], float],
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:  # fmt: skip
        self.most, self._of_one = limits.places, limits.places_of_one
        self._announce, self._pace, self._chance = announce, pace, chance
        self._held: Counter[str] = Counter()  # by address
        self._coming: set[asyncio.Future[None]] = set()  # of those that are received, done when the server ends
        self._ended = False

    @property
    def held(self) -> int:
        """Places that are held now."""
        return self._held.total()

    def take(self, address: str) -> None:
        """Hold one; an address beyond this machine holds at most half of them.

        Raises
        ------
        Refused
            All are held: 429, with the seconds after which it is worth while to try again. 503 once the server ends.
        """
        if self._ended:
            raise ending()
        if self.held >= self.most:
            self._refuse("too many requests at once", self.held)
        if self._held[address] >= self._of_one and not is_loopback(address):
            self._refuse("too many requests at once from one address", self._held[address])
        self._held[address] += 1
        self._announce(1)

    def _refuse(self, why: str, before: int) -> None:
        """Those who are refused together do not come again together, and rather too early than too late."""
        seconds = min(before * self._pace() * self._chance(0.5, 1.0), _LONGEST_RETRY * self._chance(2 / 3, 1.0))
        told = max(1, math.ceil(seconds))
        raise Refused(429, f"{why}; try again in {told} s", {"retry-after": str(told)})

    def coming(self) -> asyncio.Future[None]:
        """For a request that begins to come in: a future that is done when the server ends."""
        made = asyncio.get_running_loop().create_future()
        self._coming.add(made)
        return made

    def received(self, coming: asyncio.Future[None]) -> None:
        """The request is here whole, or is not waited for any more."""
        self._coming.discard(coming)
        self._announce(-1)

    def give_back(self, address: str) -> None:
        """Hold one no more."""
        self._held[address] -= 1
        if not self._held[address]:
            del self._held[address]

    def end(self) -> None:
        """Give no more places, and refuse what is being received."""
        self._ended = True
        for coming in self._coming:
            if not coming.done():
                coming.set_result(None)


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
        address = (scope.get("client") or ("", 0))[0]
        try:
            length = Headers(scope=scope).get("content-length", "0")
            if length.isdecimal() and int(length) > self._limits.upload:
                raise too_large(self._limits.upload)
            self._places.take(address)
        except Refused as refused:
            await answer(refused, send)
            return
        hurried = _Hurried(receive, send, self._limits, self._places)
        try:
            await self._app(scope, hurried.receive, hurried.send)
        except _NotTaken:
            return  # uvicorn closes the connection of an answer that does not end
        finally:
            hurried.note_received()
            self._places.give_back(address)


class _NotTaken(Exception):
    """A client does not take its answer."""


class _Hurried:
    """A request that must come in, and whose answer must go out, in time."""

    def __init__(self, receive: Receive, send: Send, limits: Limits, places: Places) -> None:
        self._receive, self._send, self._limits, self._places = receive, send, limits, places
        self._began, self._size = time.monotonic(), 0
        self._coming: asyncio.Future[None] | None = places.coming()

    def note_received(self) -> None:
        """The body is here whole, or no longer expected."""
        if self._coming is not None:
            self._places.received(self._coming)
            self._coming = None

    async def receive(self) -> Message:
        """The next message; Refused where the body takes too long, or the server ends meanwhile."""
        if self._coming is None:
            return await self._receive()
        message = await self._next(self._coming)
        self._size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.note_received()
        return message

    async def _next(self, ended: asyncio.Future[None]) -> Message:
        """What comes next, by the time at which so many bytes are too few."""
        limits = self._limits
        seconds = min(limits.receive, limits.grace + self._size / limits.rate)
        next_one = asyncio.ensure_future(self._receive())
        try:
            left = self._began + seconds - time.monotonic()
            both: set[asyncio.Future[Any]] = {next_one, ended}
            await asyncio.wait(both, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
            if next_one.done():
                return next_one.result()
        finally:
            next_one.cancel()
        if ended.done():
            raise ending()
        why = f"came too slowly; at least {limits.rate} bytes a second are expected"
        if seconds == limits.receive:
            why = f"took over {limits.receive:g} s to arrive; send a smaller one"
        raise Refused(408, f"the photo {why}", {"connection": "close"})

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

    async def drain(self, most: int, seconds: float) -> None:
        """Read what is left and throw it away, within limits: a client that is still sending would see no answer."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._drain(most), seconds)

    async def _drain(self, most: int) -> None:
        size = 0
        while not self._over and size < most:
            size += len((await self.receive()).get("body", b""))


async def crowded(scope: Scope, receive: Receive, send: Send) -> None:
    """The application of connections that are too many."""
    refused = Refused(503, "too many connections at once; try again in a few seconds", {"connection": "close"})
    refused.headers.update({**SECURITY_HEADERS, "retry-after": str(random.randint(2, 10))})
    await answer(refused, send)


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
