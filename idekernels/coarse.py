"""Stage 1 composed: photos and a bank in, coarse sketches out; kernels are operations.py's, methods methods.py's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from idekernels import arguments, backends, operations
from idekernels.backends.host import rounded
from idekernels.backends.protocol import Backend
from idekernels.bank import PatchBank
from idekernels.errors import InputError
from idekernels.methods import METHODS, SETTINGS, Field, Method, users_of
from idekernels.results import ArrayResult, CandidatePatches, Evidence, PreparedBank

# The two settings that flat settings have always held, whatever the method: files from before methods had their own.
_ALWAYS_FLAT = ("alpha", "iterations")

_MATCHING = ("k", "patch", "overlap", "radius")
_BANKS_OWN = "the bank's own if not given"


def _option(kind: type, text: str, unsaid: str | None = None, among: Sequence[str] = ()) -> Any:
    """A dataclass field with what the command line makes an option of: type, choices, help, and what None means."""
    return field(metadata={"type": kind, "help": text, "unsaid": unsaid, "among": among})


@dataclass(frozen=True, init=False)
class CoarseSettings:
    """How a coarse sketch is made; None leaves the bank's own setting.

    Settings of the method are given flat, as in files and on the command line, or within the method itself:
    ``CoarseSettings("mrf", iterations=20)`` equals ``CoarseSettings(Mrf(iterations=20))``. A setting that the method
    does not have is refused, but for ``alpha`` and ``iterations``, which flat settings hold for every method: these are
    kept, for files and for a change of method.

    Parameters
    ----------
    method : str or Method
        One of :data:`idekernels.methods.METHODS`, by name or as an object.
    k : int
        Candidates a patch.
    patch, overlap, radius : int, optional
        In pixels.
    blend : {"feather", "average", "cut"}, optional
        By default the method's: feather where candidates are mixed, cut where one is chosen (``mrf``).
    remembered : sequence of (name, value)
        Method settings from before, as ``dataclasses.replace`` hands them on; those that the method does not have are
        dropped, silently.
    **flat
        Settings of the method by name, see :data:`idekernels.methods.SETTINGS`.

    Raises
    ------
    TypeError, ValueError
        An unknown name, a value of another type or out of its range, or a setting that the method does not have.
    """

    method: Method
    remembered: tuple[tuple[str, float], ...] = field(repr=False)  # what is not the default, sorted
    k: int = _option(int, "Candidates a patch")
    patch: int | None = _option(int, "Patch side in pixels", _BANKS_OWN)
    overlap: int | None = _option(int, "Pixels that neighbours share", _BANKS_OWN)
    radius: int | None = _option(int, "Search radius in pixels", _BANKS_OWN)
    blend: str | None = _option(str, "How patches are joined", "by default what suits the method", operations.BLENDINGS)

    def __init__(
        self,
        method: str | Method = "mwf",
        k: int = 10,
        *,
        patch: int | None = None,
        overlap: int | None = None,
        radius: int | None = None,
        blend: str | None = None,
        remembered: Sequence[tuple[str, float]] = (),
        **flat: Any,
    ) -> None:
        kind = _kind(method)
        own = {} if isinstance(method, str) else {name: getattr(method, name) for name in kind.settings()}
        _refuse_foreign(kind, flat)
        told = _held(kind, _checked({**dict(remembered), **own, **flat}))
        arguments.whole("k", k, 1, 256)
        if blend is not None:
            arguments.choice("blend", blend, operations.BLENDINGS)
        values: dict[str, Any] = {"k": k, "patch": patch, "overlap": overlap, "radius": radius, "blend": blend}
        values["method"] = kind(**{name: value for name, value in told.items() if name in kind.settings()})
        values["remembered"] = tuple(sorted(told.items()))
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def blending(self) -> str:
        """How patches are joined: as told, or as suits the method."""
        return self.blend or self.method.blend

    @property
    def matching(self) -> tuple[int | None, ...]:
        """What decides which candidates a photo has: settings that agree in it can share a match."""
        return tuple(getattr(self, name) for name in _MATCHING)

    def matched_as(self, other: CoarseSettings) -> CoarseSettings:
        """The same of the other's candidates: with its k, patch, overlap and radius."""
        same: dict[str, Any] = dict(zip(_MATCHING, other.matching, strict=True))
        return replace(self, **same)

    def changed(self, **changes: Any) -> CoarseSettings:
        """The same with some settings replaced, by their flat names; what another method has too is kept for it."""
        return replace(self, **changes) if changes else self

    def as_dict(self) -> dict[str, Any]:
        """Flat plain values, as files hold them: the names of all versions, others where they are not the default."""
        told = dict(self.remembered)
        always = {name: told.pop(name, SETTINGS[name].default) for name in _ALWAYS_FLAT}
        return {
            "method": self.method.name,
            "k": self.k,
            "alpha": always["alpha"],
            "patch": self.patch,
            "overlap": self.overlap,
            "radius": self.radius,
            "blend": self.blend,
            "iterations": always["iterations"],
            **told,
        }


SETTING_NAMES = (*(each.name for each in fields(CoarseSettings) if each.name != "remembered"), *SETTINGS)  # flat


@dataclass(frozen=True)
class CoarseSketch(ArrayResult):
    """Coarse sketches as a tensor.

    pixels : (B, C, H, W) float32 in [0, 1], C-contiguous, C = 1 (grey) or 3 (RGB). objective : (B,) float64, the
    weighing's objective, or the labelling's energy. Of the backend cuda both are device arrays, until :meth:`host`
    copies them.

    Speaks DLPack: ``torch.from_dlpack(coarse)`` shares its memory, on the CPU and on a GPU, where it waits (on torch's
    stream, not on the host) for what stage 1 has queued.
    """

    array_name: ClassVar[str] = "pixels"
    pixels: NDArray[np.float32]
    objective: NDArray[np.float64]

    def __dlpack__(self, **options: Any) -> Any:
        return self.pixels.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.pixels.__dlpack_device__()

    def images(self) -> NDArray[np.uint8]:
        """The sketches as uint8, rounded: (B, H, W) where grey, (B, H, W, 3) where RGB."""
        images: NDArray[np.uint8]
        if self.backend is not None and arguments.on_device(self.pixels):
            images = self.backend.rounded(self.pixels)  # a quarter of the bytes come down
        else:
            images = rounded(self.host().pixels)
        return images


@dataclass(frozen=True, eq=False)
class Queries:
    """Photos whose planes were made already, by whatever thread read them.

    planes : sequence of B (L, H, W) uint8, each made by ``bank.query`` of the bank that they are sketched from.
    """

    planes: Sequence[NDArray[np.uint8]]


def coarse_sketch(
    photos: NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | Queries,
    bank: PatchBank | PreparedBank,
    settings: CoarseSettings | None = None,
    *,
    exclude: Any = None,
    backend: str | Backend = "auto",
    **changes: Any,
) -> CoarseSketch:
    """Make coarse sketches of photos.

    Parameters
    ----------
    photos : (H, W) or (H, W, 3) uint8, or a sequence of B such, or Queries
        Of the bank's size, eyes where the bank's are.
    bank : PatchBank or PreparedBank
        A prepared bank (:func:`idekernels.prepare`) saves reading it again at every call.
    settings : CoarseSettings, optional
    exclude : int, or int array (B,) or (B, X), optional
        Bank images that a photo must not use, for leave-one-out.
    backend : str or Backend
        Of a bank that is not prepared.
    **changes
        Single settings by name, as ``k=15``; those of the method too, as ``tolerance=1e-3``.

    Returns
    -------
    CoarseSketch

    Raises
    ------
    TypeError, ValueError
        A photo of another size or dtype, a setting out of range or that the method does not have, or another backend
        than the prepared bank's.
    InputError
        Not even one photo's tables fit into memory. A batch that does not fit is made in two halves.
    """
    chosen = (settings or CoarseSettings()).changed(**changes)
    return coarse_sketches(photos, bank, [chosen], exclude=exclude, backend=backend)[0]


def coarse_sketches(
    photos: NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | Queries,
    bank: PatchBank | PreparedBank,
    several: Sequence[CoarseSettings],
    *,
    exclude: Any = None,
    backend: str | Backend = "auto",
) -> tuple[CoarseSketch, ...]:
    """Make several coarse sketches of every photo, by several settings; what is equal among them is done once.

    Settings that match alike (k, patch, overlap, radius) share match, patches and tables, most of the work.

    Parameters
    ----------
    photos, bank
        As for :func:`coarse_sketch`.
    several : sequence of CoarseSettings
    exclude, backend
        As for :func:`coarse_sketch`.

    Returns
    -------
    tuple of CoarseSketch
        One for each of the settings, of all photos.

    Raises
    ------
    TypeError, ValueError, InputError
        As :func:`coarse_sketch`; ValueError for no settings.
    """
    if not several:
        raise ValueError("no settings were given")
    runs_on = backends.common(backend, bank=bank)
    prepared = bank if isinstance(bank, PreparedBank) else operations.prepare(bank, runs_on)
    query = _queried(photos, prepared.bank)
    barred = arguments.excluded(None if exclude is None else np.atleast_1d(exclude), len(query), prepared.bank.images)
    return _fitting(query, prepared, several, barred)


def _queried(photos: NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | Queries, bank: PatchBank) -> NDArray[np.uint8]:
    """The photos' planes, (B, L, H, W) uint8."""
    if isinstance(photos, Queries):
        planes = list(photos.planes)
    else:
        batch = [photos] if isinstance(photos, np.ndarray) else list(photos)
        planes = [bank.query(np.asarray(photo)) for photo in batch]
    if not planes:
        raise ValueError("no photos were given")
    return np.stack(planes)


def _fitting(
    query: NDArray[np.uint8], prepared: PreparedBank, several: Sequence[CoarseSettings], barred: NDArray[np.int64]
) -> tuple[CoarseSketch, ...]:
    """The whole batch at once, or halves of it where there is no memory for that."""
    try:
        return _made(query, prepared, several, barred)
    except MemoryError as error:
        if len(query) == 1:
            free = prepared.backend.free_memory()
            left = "" if free is None else f"; {free} bytes are free"
            raise InputError(
                f"one photo's tables do not fit into memory ({error}{left}): take a smaller k, more pixels between "
                "patches, or --memory to stream the bank"
            ) from None
    half = len(query) // 2
    parts = [_fitting(query[some], prepared, several, barred[some]) for some in (slice(half), slice(half, None))]
    return tuple(_joined(halves, prepared.backend) for halves in zip(*parts, strict=True))


def _joined(parts: Sequence[CoarseSketch], backend: Backend) -> CoarseSketch:
    join = arguments.namespace(parts[0].pixels).concatenate
    joined = (join([part.pixels for part in parts]), join([part.objective for part in parts]))
    return CoarseSketch(*joined, backend=backend)


def _made(
    photos: NDArray[np.uint8], prepared: PreparedBank, several: Sequence[CoarseSettings], barred: NDArray[np.int64]
) -> tuple[CoarseSketch, ...]:
    """Sketches of photos' planes (B, L, H, W) uint8, none made of the images in ``barred`` (B, X) int64."""
    query = prepared.backend.upload(photos)
    matched: dict[tuple[int | None, ...], tuple[Field, CandidatePatches]] = {}
    for chosen in several:
        if chosen.matching not in matched:
            matched[chosen.matching] = _matched(query, prepared, chosen, barred)
    return tuple(_solved(*matched[chosen.matching], chosen) for chosen in several)


def _matched(
    query: Any, prepared: PreparedBank, chosen: CoarseSettings, barred: NDArray[np.int64]
) -> tuple[Field, CandidatePatches]:
    """What is to be weighed, and the candidates' patches."""
    source, backend = prepared.bank, prepared.backend
    grid = source.grid(chosen.patch, chosen.overlap)
    candidates = operations.match(query, prepared, grid, radius=chosen.radius, k=chosen.k, exclude=barred)
    patches = operations.gather(candidates, prepared, grid.patch)
    arguments.exact_products(grid.patch, 1)
    evidence = Evidence(backend.evidence(query, patches.source, grid, source.weights), backend=backend)
    tables = operations.compatibility(patches, grid)
    return Field(evidence, candidates, tables, grid, backend), patches


def _solved(field: Field, patches: CandidatePatches, chosen: CoarseSettings) -> CoarseSketch:
    """The candidates weighed, mixed and joined to sketches."""
    found = chosen.method.solve(field)
    mixed = operations.compose(patches, found.weights, backend=field.backend)
    how = chosen.blending
    window = None if how == "cut" else operations.blend_window(how, field.grid.patch)
    levels = field.backend.levels(mixed.patches, field.grid, window)
    return CoarseSketch(levels, found.objective, backend=field.backend)


def photos_at_once(prepared: PreparedBank, settings: CoarseSettings, calls: int = 1) -> int:
    """How many photos to give to one call of :func:`coarse_sketch`, as far as their tables leave the memory room.

    On the host 16 at most, within 256 MiB: more are no faster. Where so many ``calls`` are made at the same time, 8
    each, within a share of that and 64 MiB at least. On a device 64, within a quarter of what is free.
    """
    free = prepared.backend.free_memory()
    most, memory = (16 if calls == 1 else 8, max(2**28 // calls, 2**26)) if free is None else (64, free // 4)
    bank = prepared.bank
    grid = bank.grid(settings.patch, settings.overlap)
    patches = grid.nodes * settings.k * grid.patch**2 * (bank.planes + bank.channels)
    tables = settings.k**2 * (4 * bank.planes * grid.nodes + 8 * grid.nodes + 12 * len(grid.edges))
    return int(max(1, min(most, memory // (patches + tables))))


def _kind(method: Any) -> type[Method]:
    """The method's class, of its name or of itself."""
    return type(method) if isinstance(method, Method) else METHODS[arguments.choice("method", method, METHODS)]


def _checked(flat: Mapping[str, Any]) -> Mapping[str, Any]:
    """Flat method settings, once their names are found to be known and their values in range."""
    for name, value in flat.items():
        if name not in SETTINGS:
            raise TypeError(f"no setting is called {name!r}; there are {', '.join(SETTING_NAMES)}")
        SETTINGS[name].check(name, value)
    return flat


def _refuse_foreign(kind: type[Method], flat: Mapping[str, Any]) -> None:
    """ValueError for a setting that only other methods have, unless every file holds it."""
    for name in flat:
        if name in SETTINGS and name not in (*kind.settings(), *_ALWAYS_FLAT):
            raise ValueError(
                f"the method {kind.name!r} has no {name}; that is a setting of {', '.join(users_of(name))}"
            )


def _held(kind: type[Method], flat: Mapping[str, Any]) -> dict[str, Any]:
    """What settings keep of flat ones: what is not the default, of the method or such as every file holds."""
    kept = (*kind.settings(), *_ALWAYS_FLAT)
    return {name: value for name, value in flat.items() if name in kept and value != SETTINGS[name].default}
