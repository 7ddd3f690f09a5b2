"""What is wrong with a request, in a sentence: raised anywhere, answered as application/problem+json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from idekernels.errors import BankError, InputError, printable
from idemodel.faces.errors import EyesWanted

MEDIA_TYPE = "application/problem+json"

_TOLD = 500  # characters of a sentence that are told
_GIVE_EYES = "put the two points on the eyes, or send them in the field eyes"
_OURS = "the server could not do this; what went wrong stands in its own output"


class Refused(Exception):
    """A request that is not answered with a result.

    status : int, of HTTP. detail : str, one line that a person understands. headers : further ones of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = " ".join(printable(detail).split())[:_TOLD]
        self.headers = dict(headers or {})

    @property
    def title(self) -> str:
        """What HTTP calls the status."""
        return HTTPStatus(self.status).phrase

    def body(self) -> bytes:
        """The problem as JSON (RFC 9457)."""
        told = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}
        return json.dumps(told).encode()

    def all_headers(self) -> dict[str, str]:
        """The headers of the answer."""
        return {"content-type": MEDIA_TYPE, "cache-control": "no-store", **self.headers}


def ending() -> Refused:
    """What those are told whom the server, which is asked to end, does not serve any more."""
    return Refused(503, "the server is ending", {"connection": "close"})


def refusal(error: BaseException) -> Refused:
    """An error as what a client is told of it: a client's own mistake in words, anything else without details.

    The words are the error's own, as on the command line; but how eyes are given is told as it is done here. A bank's
    file that turns out damaged while it is read is nothing that a client did, and its message names a path.
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, EyesWanted):
        return Refused(422, f"{error.what}; {_GIVE_EYES}")
    if isinstance(error, InputError) and not isinstance(error, BankError):
        return Refused(422, str(error) or "the photo cannot be used")
    if isinstance(error, MemoryError):
        return Refused(503, "there is not enough memory for this now; try again, or with a smaller photo")
    return Refused(500, _OURS)
