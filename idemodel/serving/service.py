"""The application: its routes, the page and the documentation; computes nothing, the engine does."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from idekernels.bank import PHOTO_TO_SKETCH, SKETCH_TO_PHOTO
from idekernels.methods import METHODS
from idemodel.serving.answers import faces_answer, sketch_answer
from idemodel.serving.engine import Engine, FacesWork, Kind, SketchWork
from idemodel.serving.gate import Admission, Gate, Places
from idemodel.serving.models import (
    FacesAnswer,
    FacesOptions,
    Health,
    Info,
    MethodInfo,
    Problem,
    SketchAnswer,
    SketchOptions,
)  # fmt: skip
from idemodel.serving.problems import MEDIA_TYPE, Refused, refusal
from idemodel.serving.settings import MOST_CANDIDATES, Access
from idemodel.serving.uploads import PHOTO, Upload, read_upload
from idemodel.serving.waiting import Job

SKETCH, FACES = "/api/sketch", "/api/faces"

_JSON, _PNG = "application/json", "image/png"
_MEANT = {_PNG: (_PNG, "image/*", "*/*"), _JSON: (_JSON, "application/*", "*/*")}  # by what, the most exact first
_WEIGHT = re.compile(r"q\s*=\s*([01](?:\.\d{0,3})?)", re.IGNORECASE)
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PAGES = {"/": "index.html", "/docs": "docs.html"}
_OWN = ("page.css", "page.js", "picture.js", "docs.js", "icon.svg")
_SWAGGER = ("swagger-ui.css", "swagger-ui-bundle.js")
_ABOUT = {
    direction: f"{what}. Pictures are kept in memory only, and only while they are computed."
    for direction, what in (
        (PHOTO_TO_SKETCH, "Face photos to pencil sketches"), (SKETCH_TO_PHOTO, "Face sketches to photos")
    )
}  # fmt: skip
_GONE = 499  # nobody reads it
_TAGS: list[Any] = ["sketches"]


def create_app(engine: Engine, access: Access | None = None, *, builtin: bool = False) -> Application:
    """The application of one process.

    Parameters
    ----------
    engine : Engine
        Started and stopped with the application.
    access : Access, optional
    builtin : bool
        Whether bank and model are those that ship; only told.

    Returns
    -------
    Application
    """
    access = access or Access()
    places = Places(engine.limits, engine.line.announce, lambda: engine.pace)
    routes = _Routes(engine, places, builtin)
    app = FastAPI(
        title="idesketch", version=version("idesketch"), docs_url=None, redoc_url=None, lifespan=routes.lifespan,
        description=_ABOUT[engine.sketcher.prepared.bank.direction],
    )  # fmt: skip
    _add_routes(app, routes)
    _add_pages(app)
    _describe(app)
    for kind in (Refused, HTTPException, ClientDisconnect, Exception):
        app.add_exception_handler(kind, _problem)
    admitted: ASGIApp = Admission(app, places, engine.limits, (SKETCH, FACES))
    if access.origins:
        admitted = CORSMiddleware(
            admitted, allow_origins=access.origins, allow_methods=["GET", "POST"],
            allow_headers=["authorization", "accept"],
        )  # fmt: skip
    return Application(Gate(admitted, access, engine.limits), engine, places)


class Application:
    """What uvicorn calls, and how it ends."""

    def __init__(self, app: ASGIApp, engine: Engine, places: Places) -> None:
        self._app, self._engine, self._places = app, engine, places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        await self._app(scope, receive, send)

    def end(self) -> None:
        """Refuse what is received or waits, and whatever comes; what is computed goes on."""
        self._places.end()
        self._engine.end()

    def hurry(self) -> None:
        """Refuse what is computed, too."""
        self._engine.hurry()


class _Routes:
    """What the interface answers."""

    def __init__(self, engine: Engine, places: Places, builtin: bool) -> None:
        self._engine, self._places, self._builtin = engine, places, builtin

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Start the engine, and stop it at the end."""
        await asyncio.to_thread(self._engine.start)
        try:
            yield
        finally:
            await asyncio.to_thread(self._engine.stop)

    async def sketch(self, request: Request) -> Response:
        """Make a sketch of a photo, or a photo of a sketch: as PNG, or as JSON with all pictures and warnings."""
        kind = _wanted(",".join(request.headers.getlist("accept")))
        upload = await self._upload(request)
        options = SketchOptions.of(upload.fields)
        work = SketchWork(
            upload.photo, upload.name, Kind(tuple(options.changes.items()), options.size), options.chosen_eyes,
            options.face, options.paste_back, whole=kind == _JSON,
        )  # fmt: skip
        made = await _awaited(request, self._engine.submit(work))
        if kind == _JSON:
            return _model(sketch_answer(made))
        told = json.dumps(made.warnings)  # ASCII
        return Response(made.framed or made.fine, media_type=_PNG, headers={"idesketch-warnings": told})

    async def faces(self, request: Request) -> Response:
        """Find the faces in a picture, and their eyes."""
        upload = await self._upload(request)
        options = FacesOptions.of(upload.fields)
        work = FacesWork(upload.photo, upload.name, options.preview)
        return _model(faces_answer(await _awaited(request, self._engine.submit(work))))

    async def health(self) -> Response:
        """Whether pictures are made, and how many requests are under way."""
        alive = self._engine.is_alive
        told = Health(status="ok" if alive else "ended", waiting=self._places.held, places=self._places.most)
        return _model(told, 200 if alive else 503)

    async def info(self) -> Response:
        """What this server makes, and of what."""
        sketcher, limits = self._engine.sketcher, self._engine.limits
        bank, settings = sketcher.prepared.bank, sketcher.settings
        told = Info(
            version=version("idesketch"), direction=bank.direction, pairs=bank.images, builtin=self._builtin,
            height=bank.height, width=bank.width, method=settings.method.name, k=settings.k, most_k=MOST_CANDIDATES,
            methods=[MethodInfo(name=name, help=kind.help) for name, kind in METHODS.items()],
            alpha=settings.as_dict()["alpha"], upload=limits.upload, detector=self._engine.detector_name,
            backend=str(sketcher.prepared.backend), device=str(sketcher.enhancer.device),
            precision=sketcher.enhancer.precision, notes=list(sketcher.preparer.notes),
        )  # fmt: skip
        return _model(told)

    async def _upload(self, request: Request) -> Upload:
        return await read_upload(request.stream(), request.headers.get("content-type", ""), self._engine.limits.upload)


async def _awaited(request: Request, job: Job) -> Any:
    """What came of a job; it is given up as soon as its client goes."""
    made = asyncio.wrap_future(job.future)
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({made, gone}, return_when=asyncio.FIRST_COMPLETED)
        if made.done():
            return made.result()
        raise ClientDisconnect
    finally:
        gone.cancel()
        if not made.done():
            job.give_up()
            made.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _wanted(accept: str) -> str:
    """PNG or JSON, whichever an Accept header gives the higher weight (q), or names first; without one, PNG.

    Raises
    ------
    Refused
        It takes neither.
    """
    asked: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        if kind:
            asked.setdefault(kind.casefold(), _weight(parameters))
    ranks = {kind: _rank(_MEANT[kind], asked or {"*/*": 1.0}) for kind in _MEANT}
    best = min(ranks, key=lambda kind: ranks[kind])
    if ranks[best][0] == 0:
        raise Refused(406, f"a sketch is answered as {_PNG}, or as {_JSON} with everything that is known of it")
    return best


def _weight(parameters: list[str]) -> float:
    """The q among the parameters of a kind; 1 where there is none that can be read."""
    found = next(filter(None, map(_WEIGHT.fullmatch, parameters)), None)
    return min(1.0, float(found[1])) if found else 1.0


def _rank(names: tuple[str, ...], asked: dict[str, float]) -> tuple[float, int]:
    """Less is better: the negative weight that the most exact of the names was given, and where the first stands."""
    named = [name for name in names if name in asked]
    if not named:
        return 0.0, len(asked)
    order = list(asked)
    return -asked[named[0]], min(map(order.index, named))


def _model(told: BaseModel, status: int = 200) -> Response:
    return Response(told.model_dump_json(), status, media_type=_JSON)


async def _problem(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=_GONE)
    if isinstance(error, HTTPException):
        error = _told(request, error)
    told = refusal(error)
    return Response(told.body(), told.status, told.all_headers())


def _told(request: Request, error: HTTPException) -> Refused:
    """What the framework refuses by itself, in a sentence."""
    if error.status_code == 404:
        return Refused(404, "there is nothing at this address", error.headers)
    if error.status_code != 405:
        return Refused(error.status_code, str(error.detail), error.headers)
    taken = sorted(route for route in (error.headers or {}).get("Allow", "").split(", ") if route)
    if "GET" in taken and "HEAD" not in taken:  # see Gate
        taken.insert(taken.index("GET") + 1, "HEAD")
    said = f"{request.method[:20]} is not answered at this address; ask by {' or '.join(taken)}"
    return Refused(405, said, {"allow": ", ".join(taken)})


def _add_routes(app: FastAPI, routes: _Routes) -> None:
    problems: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
        for status, text in _PROBLEMS.items()
    }
    picture = {_PNG: {"schema": {"type": "string", "format": "binary"}}}
    image: dict[int | str, dict[str, Any]] = {200: {"description": "What was made", "content": picture}}
    app.post(
        SKETCH,
        tags=_TAGS,
        response_model=SketchAnswer,
        responses={**problems, **image},
        openapi_extra=_form(SketchOptions),
    )(routes.sketch)
    app.post(FACES, tags=_TAGS, response_model=FacesAnswer, responses=problems, openapi_extra=_form(FacesOptions))(
        routes.faces
    )
    ended: dict[int | str, dict[str, Any]] = {503: {"description": "The engine has stopped", "model": Health}}
    app.get("/api/health", tags=_TAGS, response_model=Health, responses=ended)(routes.health)
    app.get("/api/info", tags=_TAGS, response_model=Info)(routes.info)


_PROBLEMS = {
    400: "The form is damaged",
    401: "A token is needed",
    403: "A page of another server asks",
    408: "The photo came too slowly",
    413: "Too large",
    415: "No multipart/form-data",
    421: "Asked by a foreign name",
    422: "The photo or an option cannot be used; the sentence says why",
    429: "Too many requests at once; Retry-After says when to try again",
    500: "The server's own mistake",
    503: "The server is ending, or out of memory",
}


def _form(options: type[BaseModel]) -> dict[str, Any]:
    """The description of a form: the photo, and the fields of a model."""
    schema = options.model_json_schema()
    photo = {"type": "string", "format": "binary", "description": "PNG, JPEG, WebP, BMP, TIFF, GIF or HEIC"}
    form = {
        "type": "object", "required": [PHOTO], "properties": {PHOTO: photo, **schema["properties"]},
        "additionalProperties": False,
    }  # fmt: skip
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


def _describe(app: FastAPI) -> None:
    """Have OpenAPI name the model of problems, and the token."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            parts = made.setdefault("components", {})
            parts.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
            parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            made["security"] = [{}, {"token": []}]
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _add_pages(app: FastAPI) -> None:
    """Everything that a browser gets, read once; no path of a request ever names a file."""
    own = files("idemodel.serving") / "assets"
    for path, name in _PAGES.items():
        _add_page(app, path, (own / name).read_bytes(), _KINDS[".html"])
    for name in _OWN:
        _add_page(app, f"/assets/{name}", (own / name).read_bytes(), _KINDS[name[name.rindex(".") :]])
    swagger = files("fastapi_offline") / "static"
    for name in _SWAGGER:
        _add_page(app, f"/assets/{name}", (swagger / name).read_bytes(), _KINDS[name[name.rindex(".") :]])


def _add_page(app: FastAPI, path: str, content: bytes, kind: str) -> None:
    async def page() -> Response:
        return Response(content, media_type=kind)

    app.get(path, include_in_schema=False)(page)
