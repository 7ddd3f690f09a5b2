"""What programs send and get, once: checked by these models when a request comes, and shown by /docs."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from idekernels import arguments
from idekernels.methods import METHODS
from idemodel.faces.alignment import Eyes
from idemodel.generator.inputs import SIZES
from idemodel.serving.problems import Refused
from idemodel.serving.settings import MOST_CANDIDATES

_FARTHEST = 1e5  # pixels; no photo is as large
_MOST_FACES = 1000
_LONGEST_NUMBER = 18  # digits
_YES = {"true": True, "1": True, "on": True, "yes": True, "false": False, "0": False, "off": False, "no": False}


class Point(BaseModel):
    """A place in the upright photo, in pixels: column x, row y; 0 is the centre of the first one."""

    x: float
    y: float

    @classmethod
    def of(cls, place: complex) -> Point:
        """From a point x + iy, to a hundredth of a pixel."""
        return cls(x=round(place.real, 2), y=round(place.imag, 2))


class EyePoints(BaseModel):
    """The two eyes, left and right as one sees them in the picture."""

    left: Point
    right: Point

    @classmethod
    def of(cls, eyes: Eyes) -> EyePoints:
        """From the eyes of a face."""
        return cls(left=Point.of(eyes.left), right=Point.of(eyes.right))


class SketchOptions(BaseModel):
    """How a picture is made; what is not given is as the model was trained, or as usual."""

    model_config = ConfigDict(extra="forbid")

    method: Annotated[
        str | None, Field(description="How candidates are weighed", json_schema_extra={"enum": [*METHODS]})
    ] = None
    alpha: Annotated[
        float | None,
        BeforeValidator(lambda told: _real("alpha", told, 0.0, 1e6)),
        Field(ge=0, le=1e6, description="Weight of the agreement of neighbours"),
    ] = None
    k: Annotated[
        int | None,
        BeforeValidator(lambda told: _whole("k", told, 1, MOST_CANDIDATES)),
        Field(ge=1, le=MOST_CANDIDATES, description="Candidates a patch"),
    ] = None
    size: Annotated[
        str,
        BeforeValidator(lambda told: arguments.choice("size", told, SIZES)),
        Field(description="Of the bank, or twice that", json_schema_extra={"enum": [*SIZES]}),
    ] = SIZES[0]
    paste_back: Annotated[
        bool,
        BeforeValidator(lambda told: _yes("paste_back", told)),
        Field(description="Lay what is made over the picture that was sent, of its size"),
    ] = False
    face: Annotated[
        int | None,
        BeforeValidator(lambda told: _whole("face", told, 1, _MOST_FACES)),
        Field(ge=1, le=_MOST_FACES, description="Which of several faces, from 1, counted from the largest"),
    ] = None
    eyes: Annotated[
        str | None,
        Field(
            description="Where a person sees the eyes, instead of a face being looked for: "
            "LEFT_X,LEFT_Y,RIGHT_X,RIGHT_Y in pixels of the upright picture; left is left in the picture",
            examples=["75,125,125,125"],
        ),
    ] = None

    @field_validator("eyes")
    @classmethod
    def _four_numbers(cls, told: str | None) -> str | None:
        if told is not None:
            _numbers(told)
        return told

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> SketchOptions:
        if self.eyes is not None and self.face is not None:
            raise ValueError("give the eyes of a photo or the number of a face, not both")
        return self

    @property
    def chosen_eyes(self) -> Eyes | None:
        """The eyes that were given."""
        if self.eyes is None:
            return None
        left_x, left_y, right_x, right_y = _numbers(self.eyes)
        return Eyes(complex(left_x, left_y), complex(right_x, right_y))

    @property
    def changes(self) -> dict[str, Any]:
        """The settings of stage 1 that were given."""
        told = {name: getattr(self, name) for name in ("method", "alpha", "k")}
        return {name: value for name, value in told.items() if value is not None}

    @classmethod
    def of(cls, fields: dict[str, str]) -> SketchOptions:
        """From the fields of a form; an empty one is as none.

        Raises
        ------
        Refused
            An unknown field, or a value out of its range.
        """
        return _checked(cls, fields)


class FacesOptions(BaseModel):
    """What is told of the faces of a photo."""

    model_config = ConfigDict(extra="forbid")

    preview: Annotated[
        bool,
        BeforeValidator(lambda told: _yes("preview", told)),
        Field(description="With the picture as the server sees it, upright, at most 1024 pixels, as JPEG"),
    ] = False

    @classmethod
    def of(cls, fields: dict[str, str]) -> FacesOptions:
        """From the fields of a form; see :meth:`SketchOptions.of`."""
        return _checked(cls, fields)


class SketchAnswer(BaseModel):
    """What was made, with all that is known of it; pictures are PNG in base64."""

    fine: Annotated[str, Field(description="The fine sketch, or the fine photo where the bank makes photos")]
    coarse: Annotated[str, Field(description="The coarse one, of stage 1")]
    photo: Annotated[str, Field(description="What was sent as it was used: aligned, in the light of the bank")]
    framed: Annotated[str | None, Field(description="The fine one in its place in what was sent, with paste_back")] = (
        None
    )
    width: Annotated[int, Field(description="Of the fine one, in pixels")]
    height: int
    face: Annotated[int | None, Field(description="Which face, from 1; null where none had to be looked for")] = None
    eyes: Annotated[EyePoints | None, Field(description="By which the photo was aligned; null where it was not")] = None
    warnings: Annotated[list[str], Field(description="What may spoil the result, and what was done to the picture")]


class FoundFace(BaseModel):
    """A face of a photo."""

    number: Annotated[int, Field(description="From 1, counted from the largest")]
    eyes: EyePoints
    box: Annotated[list[Point], Field(description="The corners of the detector's box, clockwise from the top left")]
    score: Annotated[float | None, Field(description="The detector's own, higher is surer")] = None


class FacesAnswer(BaseModel):
    """The faces of a photo, largest first; none is no error."""

    width: Annotated[int, Field(description="Of the upright photo, in pixels")]
    height: int
    faces: list[FoundFace]
    warnings: list[str]
    preview: Annotated[str | None, Field(description="JPEG in base64, where it was asked for")] = None


class Health(BaseModel):
    """Whether sketches are being made."""

    status: Annotated[str, Field(description="ok, or ended where the engine has stopped")]
    waiting: Annotated[int, Field(description="Requests that hold a place now")]
    places: Annotated[int, Field(description="Requests that can hold one at the same time")]


class MethodInfo(BaseModel):
    """A way to weigh candidates."""

    name: str
    help: str


class Info(BaseModel):
    """What this server makes, of what, and how much it takes."""

    version: str
    direction: Annotated[str, Field(description="photo-to-sketch or sketch-to-photo, as bank and model go")]
    pairs: Annotated[int, Field(description="In the bank")]
    builtin: Annotated[bool, Field(description="Whether bank and model are those that ship")]
    height: Annotated[int, Field(description="Of a sketch of size source, in pixels")]
    width: int
    methods: list[MethodInfo]
    method: Annotated[str, Field(description="The model's own, taken where none is given")]
    alpha: float | None
    k: int
    most_k: int
    upload: Annotated[int, Field(description="Bytes that a request may have")]
    detector: Annotated[str | None, Field(description="What finds faces; null where nothing does")]
    backend: str
    device: str
    precision: Annotated[str, Field(description="Of stage 2: float32 or float16")]
    notes: list[str]


class Problem(BaseModel):
    """What is wrong with a request (RFC 9457), as application/problem+json."""

    type: str = "about:blank"
    title: str
    status: int
    detail: Annotated[str, Field(description="What is wrong, in a sentence")]


def _numbers(told: str) -> tuple[float, float, float, float]:
    try:
        left_x, left_y, right_x, right_y = (float(number) for number in told.split(","))
    except ValueError:
        raise ValueError("eyes are four numbers, LEFT_X,LEFT_Y,RIGHT_X,RIGHT_Y, for example 75,125,125,125") from None
    if not all(math.isfinite(number) and abs(number) < _FARTHEST for number in (left_x, left_y, right_x, right_y)):
        raise ValueError("eyes are places in the photo, in pixels")
    return left_x, left_y, right_x, right_y


def _whole(name: str, told: Any, least: int, most: int) -> int | None:
    """An integer in a field of a form, refused in the words of the command line."""
    if told is None or isinstance(told, int):
        return told
    text = str(told).strip()
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= _LONGEST_NUMBER):
        raise ValueError(f"{name} must be an integer, not {told!r}")
    return arguments.whole(name, int(text), least, most)


def _real(name: str, told: Any, least: float, most: float) -> float | None:
    if told is None:
        return told
    try:
        number = float(told)
    except ValueError:
        raise ValueError(f"{name} must be a number, not {told!r}") from None
    return arguments.real(name, number, least, most)


def _yes(name: str, told: Any) -> bool:
    if isinstance(told, bool):
        return told
    try:
        return _YES[str(told).strip().casefold()]
    except KeyError:
        raise ValueError(f"{name} must be true or false, not {told!r}") from None


def _checked(model: Any, fields: dict[str, str]) -> Any:
    try:
        return model.model_validate({name: value for name, value in fields.items() if value != ""})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        said = str(first["msg"]).removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            said = f"{first['loc'][0]}: no such field; there are photo, {', '.join(model.model_fields)}"
        raise Refused(422, said) from None
