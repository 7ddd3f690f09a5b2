"""A form with a photo, read in memory piece by piece: nothing is spooled to a file, and nothing grows too large."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from idekernels.errors import printable
from idemodel.serving.problems import Refused

PHOTO = "photo"  # the field's name

_MOST_PARTS = 16
_LONGEST_FIELD = 1024  # bytes of a field that is no photo
_LONGEST_NAME = 80  # characters of a photo's name that messages repeat
_UNNAMED = "the photo"


@dataclass
class Upload:
    """What a form held.

    photo : bytes of the image file. name : what messages call it. fields : the other fields, as text.
    """

    photo: bytes
    name: str
    fields: dict[str, str]


async def read_upload(pieces: AsyncIterable[bytes], content_type: str, most: int) -> Upload:
    """Read a request's body.

    Parameters
    ----------
    pieces : of the body
    content_type : str
        The request's header.
    most : int
        Bytes that the body may have.

    Raises
    ------
    Refused
        No form, one that is damaged, too large, without a photo or with several.
    """
    form = _Form()
    parser = python_multipart.MultipartParser(_boundary(content_type), form.callbacks())
    size = 0
    try:
        async for piece in pieces:
            size += len(piece)
            if size > most:
                raise too_large(most)
            parser.write(piece)
        parser.finalize()
    except FormParserError:
        raise Refused(400, "the form is damaged: it is no multipart/form-data") from None
    return form.upload()


def too_large(most: int) -> Refused:
    """The answer to a request of more than ``most`` bytes."""
    shown = f"{most / 2**20:.0f} MiB" if most >= 2**20 else f"{most} bytes"
    return Refused(413, f"the photo is larger than the {shown} that are taken; scale it down first")


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data":
        raise Refused(415, "send the photo as multipart/form-data, in the field photo")
    if not re.fullmatch(rb"[\x21-\x7e ]{1,70}", boundary):
        raise Refused(400, "the form is damaged: it has no boundary")
    return boundary


@dataclass
class _Part:
    """One field of a form, as it comes in."""

    name: str = ""
    file: str | None = None  # the file's name, where the field is one
    content: bytearray = field(default_factory=bytearray)


class _Form:
    """Takes what the parser finds; holds no more than a photo and a few short fields."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._whole = False

    def callbacks(self) -> python_multipart.multipart.MultipartCallbacks:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_begin": self._begin_header,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._named,
            "on_part_data": self._take,
            "on_end": self._end,
        }

    def upload(self) -> Upload:
        """The form, once it has come in whole."""
        if not self._whole:
            raise Refused(400, "the form is damaged: it ends too early")
        photos = [part for part in self._parts if part.name == PHOTO]
        if len(photos) != 1:
            raise Refused(422, f"send one photo in the field {PHOTO}, not {len(photos) or 'none'}")
        if not photos[0].content:
            raise Refused(422, f"{_name_of(photos[0])}: is empty")
        fields: dict[str, str] = {}
        for part in self._parts:
            if part.name in fields:
                raise Refused(422, f"{part.name[:_LONGEST_NAME]}: the field is given twice")
            if part.name != PHOTO:
                fields[part.name] = _text(part)
        return Upload(bytes(photos[0].content), _name_of(photos[0]), fields)

    def _begin(self) -> None:
        if len(self._parts) == _MOST_PARTS:
            raise Refused(413, f"a form has at most {_MOST_PARTS} fields")
        self._parts.append(_Part())

    def _begin_header(self) -> None:
        self._header = (bytearray(), bytearray())

    def _end_header(self) -> None:
        name, value = (bytes(part) for part in self._header)
        if name.strip().lower() == b"content-disposition":
            _, options = parse_options_header(value)
            self._parts[-1].name = options.get(b"name", b"").decode("utf-8", "replace")
            told = options.get(b"filename")
            self._parts[-1].file = None if told is None else told.decode("utf-8", "replace")

    def _named(self) -> None:
        if not self._parts[-1].name:
            raise Refused(400, "the form is damaged: a field has no name")

    def _take(self, data: bytes, start: int, end: int) -> None:
        part = self._parts[-1]
        if part.name != PHOTO and len(part.content) + end - start > _LONGEST_FIELD:
            name = part.name[:_LONGEST_NAME]
            if part.file is not None:
                raise Refused(422, f"{name}: is a file; send the photo in the field {PHOTO}")
            raise Refused(413, f"{name}: a field has at most {_LONGEST_FIELD} bytes")
        part.content += data[start:end]

    def _end(self) -> None:
        self._whole = True


def _text(part: _Part) -> str:
    try:
        return part.content.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(422, f"{part.name[:_LONGEST_NAME]}: is not text") from None


def _name_of(part: _Part) -> str:
    """What messages call the photo: the name of its file, without folders and in one short line."""
    told = PurePosixPath((part.file or "").replace("\\", "/")).name
    return printable(" ".join(told.split()))[:_LONGEST_NAME] or _UNNAMED
