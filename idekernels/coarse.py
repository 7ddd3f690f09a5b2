"""Stage 1 composed: photos and a bank in, coarse sketches out; the kernels themselves are operations.py's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idekernels import arguments, operations
from idekernels.bank import PatchBank
from idekernels.errors import InputError
from idekernels.grid import PatchGrid
from idekernels.results import Compatibility, PreparedBank


@dataclass(frozen=True)
class CoarseSettings:
    """How a coarse sketch is made; None leaves the bank's own setting.

    Parameters
    ----------
    method : str
        One of :data:`METHODS`.
    k : int
        Candidates a patch.
    alpha : float
        Weight of the agreement of neighbours, against the likeness to the photo.
    patch, overlap, radius : int, optional
        In pixels.
    blend : {"feather", "average", "cut"}, optional
        By default feather where candidates are mixed, cut where one is chosen (``mrf``).
    iterations : int
        Of belief propagation (``mrf``).
    """

    method: str = "mwf"
    k: int = 10
    alpha: float = 0.5
    patch: int | None = None
    overlap: int | None = None
    radius: int | None = None
    blend: str | None = None
    iterations: int = 50

    def __post_init__(self) -> None:
        arguments.choice("method", self.method, METHODS)
        arguments.whole("k", self.k, 1, 256)
        arguments.real("alpha", self.alpha, 0.0)
        arguments.whole("iterations", self.iterations, 0)
        if self.blend is not None:
            arguments.choice("blend", self.blend, operations.BLENDINGS)


@dataclass(frozen=True)
class CoarseSketch:
    """Coarse sketches as a tensor: (B, C, H, W) float32 in [0, 1], C-contiguous, C = 1 (grey) or 3 (RGB).

    Speaks DLPack: ``torch.from_dlpack(coarse)`` shares its memory, on the CPU and on a GPU, where it waits (on torch's
    stream, not on the host) for what stage 1 has queued. ``objective`` is (B,) float64: the weighing's objective, or
    the labelling's energy. Of the backend cuda both are device arrays.
    """

    pixels: NDArray[np.float32]
    objective: NDArray[np.float64]

    def __dlpack__(self, **options: Any) -> Any:
        return self.pixels.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.pixels.__dlpack_device__()

    def host(self) -> CoarseSketch:
        """The same in the host's memory: itself unless it lies on a device, else a copy."""
        pixels: Any = self.pixels
        objective: Any = self.objective
        return CoarseSketch(pixels.get(), objective.get()) if arguments.on_device(pixels) else self

    def images(self) -> NDArray[np.uint8]:
        """The sketches as uint8, rounded: (B, H, W) where grey, (B, H, W, 3) where RGB."""
        levels = np.rint(self.host().pixels * 255.0).astype(np.uint8)
        return levels[:, 0] if levels.shape[1] == 1 else np.ascontiguousarray(np.moveaxis(levels, 1, 3))


@dataclass(frozen=True)
class _Field:
    """What a method chooses weights from."""

    grams: NDArray[np.float32]  # (B, N, L, K, K), times the planes' weights
    tables: Compatibility
    distance: NDArray[np.uint32]
    grid: PatchGrid
    settings: CoarseSettings
    backend: str

    @property
    def gram(self) -> NDArray[np.float32]:
        return self.grams[:, :, 0] if self.grams.shape[2] == 1 else self.grams.sum(axis=2)


_Weighing = Callable[[_Field], tuple[NDArray[np.float32], NDArray[np.float64]]]


def coarse_sketch(
    photos: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
    bank: PatchBank | PreparedBank,
    settings: CoarseSettings | None = None,
    *,
    exclude: Any = None,
    backend: str = "auto",
    **changes: Any,
) -> CoarseSketch:
    """Make coarse sketches of photos.

    Parameters
    ----------
    photos : (H, W) or (H, W, 3) uint8, or a sequence of B such
        Of the bank's size, eyes where the bank's are.
    bank : PatchBank or PreparedBank
        A prepared bank (:func:`idekernels.prepare`) saves reading it again at every call.
    settings : CoarseSettings, optional
    exclude : int, or int array (B,) or (B, X), optional
        Bank images that a photo must not use, for leave-one-out.
    backend : str
        Used where ``bank`` is not prepared.
    **changes
        Single settings by name, as ``k=15``.

    Returns
    -------
    CoarseSketch

    Raises
    ------
    TypeError, ValueError
        A photo of another size or dtype, or a setting out of range.
    InputError
        Not even one photo's tables fit into memory. A batch that does not fit is made in two halves.
    """
    chosen = replace(settings or CoarseSettings(), **changes)
    prepared = bank if isinstance(bank, PreparedBank) else operations.prepare(bank, backend)
    batch = [photos] if isinstance(photos, np.ndarray) else list(photos)
    if not batch:
        raise ValueError("no photos were given")
    query = np.stack([prepared.bank.query(np.asarray(photo)) for photo in batch])
    barred = arguments.excluded(None if exclude is None else np.atleast_1d(exclude), len(batch), prepared.bank.images)
    return _fitting(query, prepared, chosen, barred)


def _fitting(
    query: NDArray[np.uint8], prepared: PreparedBank, settings: CoarseSettings, barred: NDArray[np.int64]
) -> CoarseSketch:
    """The whole batch at once, or halves of it where there is no memory for that."""
    try:
        return _made(query, prepared, settings, barred)
    except MemoryError as error:
        if len(query) == 1:
            free = prepared.module.free_memory()
            left = "" if free is None else f"; {free} bytes are free"
            raise InputError(
                f"one photo's tables do not fit into memory ({error}{left}): take a smaller k, more pixels between "
                "patches, or --memory to stream the bank"
            ) from None
    half = len(query) // 2
    parts = [_fitting(query[some], prepared, settings, barred[some]) for some in (slice(half), slice(half, None))]
    join = arguments.namespace(parts[0].pixels).concatenate
    return CoarseSketch(join([part.pixels for part in parts]), join([part.objective for part in parts]))


def _made(
    photos: NDArray[np.uint8], prepared: PreparedBank, chosen: CoarseSettings, barred: NDArray[np.int64]
) -> CoarseSketch:
    source, name = prepared.bank, prepared.backend
    query = prepared.module.upload(photos)
    grid = source.grid(chosen.patch, chosen.overlap)
    candidates = operations.match(query, prepared, grid, radius=chosen.radius, k=chosen.k, exclude=barred)
    sources, targets = operations.gather(candidates, prepared, grid.patch)
    grams = operations.evidence(query, sources, grid, backend=name)
    if source.weights != (1,):
        grams *= prepared.module.upload(np.array(source.weights, np.float32))[:, None, None]
    tables = operations.compatibility(targets, grid, backend=name)
    field = _Field(grams, tables, candidates.distance, grid, chosen, name)
    weights, objective = METHODS[chosen.method](field)
    patches = operations.compose(targets, weights, backend=name)
    how = chosen.blend or ("cut" if chosen.method == "mrf" else "feather")
    pixels = operations.blend(patches, grid, how=how, backend=name)
    return CoarseSketch(arguments.namespace(pixels).clip(pixels / np.float32(255.0), 0.0, 1.0), objective)


def _weighed(method: str) -> _Weighing:
    def weighing(field: _Field) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        found = operations.weigh(
            field.gram,
            field.tables,
            field.grid,
            method=method,
            alpha=field.settings.alpha,
            backend=field.backend,
        )
        return found.weights, found.objective

    return weighing


def _chosen(field: _Field) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    unary = field.distance.astype(np.float32)
    pairwise = np.float32(field.settings.alpha) * field.tables.disagreement
    found = operations.propagate(
        unary, pairwise, field.grid, iterations=field.settings.iterations, backend=field.backend
    )
    return found.weights, found.energy


def _weighed_multi(field: _Field) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    found = operations.weigh_multi(
        field.grams, field.tables, field.grid, alpha=field.settings.alpha, backend=field.backend
    )
    return found.weights, found.objective


METHODS: Mapping[str, _Weighing] = MappingProxyType(
    {
        "mwf": _weighed("mwf"),
        "lle": _weighed("lle"),
        "mean": _weighed("mean"),
        "top1": _weighed("top1"),
        "mrf": _chosen,
        "multi": _weighed_multi,
    }
)


def photos_at_once(prepared: PreparedBank, settings: CoarseSettings) -> int:
    """How many photos to give to one call of :func:`coarse_sketch`, as far as their tables leave the memory room.

    On the host 16 at most, within 256 MiB: more are no faster. On a device 64, within a quarter of what is free.
    """
    free = prepared.module.free_memory()
    most, memory = (16, 2**28) if free is None else (64, free // 4)
    bank = prepared.bank
    grid = bank.grid(settings.patch, settings.overlap)
    patches = grid.nodes * settings.k * grid.patch**2 * (bank.planes + bank.channels)
    tables = settings.k**2 * (4 * bank.planes * grid.nodes + 8 * grid.nodes + 12 * len(grid.edges))
    return int(max(1, min(most, memory // (patches + tables))))
