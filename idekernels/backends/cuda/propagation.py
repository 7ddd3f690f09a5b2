"""Loopy belief propagation on the device: propagate.cu, where its tables are laid out, and the best of its labellings.

Where the device has clusters of blocks, all iterations of a photo are one launch, which ends when its messages have
settled; elsewhere each iteration is a launch, and the host looks every few of them whether a photo still moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch, variants
from idekernels.backends.cuda.device import Device
from idekernels.backends.cuda.launch import WARP, Limits
from idekernels.grid import PatchGrid
from idekernels.labels import weights_of

WARPS_OF_SM = 16  # of propagate.cu, that the compiler must leave registers for: 128 a thread
WARPS = 8  # of a block of lay_out.cu, energies.cu and choose.cu
_LAUNCHED_WARPS = 4  # of a block that does one iteration
_CLUSTERS = (1, 2, 4, 8)  # blocks that share a photo; no more photos at once than the L2 cache has room for
SOURCES = {
    "lay_out": ("common.cuh", "lay_out.cu"),
    "propagate": ("common.cuh", "cluster.cuh", "propagate.cu"),
    "energies": ("common.cuh", "sums.cuh", "energies.cu"),
    "choose": ("common.cuh", "choose.cu"),
}


@dataclass(frozen=True)
class MessageShape:
    """How a photo's edges are dealt to threads.

    cluster : blocks that wait for one another; 0: a launch an iteration.
    """

    grid: PatchGrid
    k: int
    soft: bool
    cluster: int
    blocks: int
    warps: int

    @property
    def unrolled(self) -> int:
        """Labels whose loads a thread has on their way at once."""
        return 4 if self.k <= 10 else 1

    @cache  # noqa: B019 - shapes are few
    def options(self) -> tuple[str, ...]:
        """The compiler's options for propagate.cu."""
        given = launch.compiler_options(
            K=self.k, NODES=self.grid.nodes, COLUMNS=self.grid.shape[1], SOFT=self.soft, UNROLLED=self.unrolled,
            CLUSTER=max(1, self.cluster), WARPS=self.warps,
            BLOCKS=min(8, WARPS_OF_SM // self.warps),
        )  # fmt: skip
        return *given, launch.UNFUSED

    def shared(self) -> int:
        """Bytes of shared memory that it declares."""
        return shared_of(self.k, self.soft) * self.warps


def shared_of(k: int, soft: bool) -> int:
    """Bytes of shared memory of a warp: two columns of labels a thread, three where exponentials are summed."""
    return 4 * WARP * k * (3 if soft else 2)


def message_shape(k: int, soft: bool, grid: PatchGrid, limits: Limits) -> MessageShape:
    """The one rule: a cluster a photo where there are some; a thread has all labels of an edge in registers."""
    edges = -(-2 * grid.nodes // WARP)  # warps of them
    most = next(warps for warps in (16, 8, 4, 2, 1) if warps * shared_of(k, soft) <= launch.STATIC_SHARED)
    if limits.capability < launch.CLUSTERS_FROM:
        warps = min(_LAUNCHED_WARPS, most)
        return MessageShape(grid, k, soft, 0, -(-edges // warps), warps)
    warps = min(most, edges)
    cluster = next((blocks for blocks in _CLUSTERS if blocks * warps >= edges), _CLUSTERS[-1])
    return MessageShape(grid, k, soft, cluster, cluster, warps)


@dataclass(frozen=True)
class _Given:
    """What messages are passed for, on the device.

    unary : (B, N, K) float32 costs, or uint32 distances. tables : own, other and cross (B, E, K, K) float32 of the
    field, whose costs are ``alpha`` times the disagreement; or three times the costs, where ``alpha`` is None.
    """

    unary: Any
    tables: tuple[Any, Any, Any]
    alpha: float | None
    grid: PatchGrid


@dataclass(frozen=True)
class _Passed:
    """What passing messages gives: costs, labels of all steps, beliefs, the last step that changed a message."""

    costs: Any
    tables: Any
    labels: Any
    beliefs: Any
    last: Any


def propagate(
    unary: Any, pairwise: Any, grid: PatchGrid, iterations: int, damping: float, temperature: float
) -> tuple[Any, Any, Any]:
    """Pass messages; see :func:`idekernels.operations.propagate`.

    Returns the lowest-energy labels (B, N) int32, their energy (B,) float64, the last beliefs (B, N, K) float32. Where
    no message of a photo changes any more, the iterations that are left would change nothing, and are not made.
    """
    given = _Given(unary, (pairwise, pairwise, pairwise), None, grid)
    passed = _passed(given, iterations, damping, temperature)
    labels, energy, _ = _chosen(given, passed)
    return labels, energy, passed.beliefs


def label(
    distance: Any,
    tables: tuple[Any, Any, Any],
    alpha: float,
    grid: PatchGrid,
    iterations: int,
    damping: float,
    temperature: float,
) -> tuple[Any, Any, Any]:
    """Choose candidates; see :meth:`idekernels.backends.protocol.Backend.label`."""
    given = _Given(distance, tables, alpha, grid)
    passed = _passed(given, iterations, damping, temperature)
    labels, energy, weights = _chosen(given, passed)
    return labels, energy, weights_of(labels, passed.beliefs, temperature) if temperature > 0 else weights


def _passed(given: _Given, iterations: int, damping: float, temperature: float) -> _Passed:
    """The field laid out and all messages passed."""
    device, grid = devices.current(), given.grid
    xp, (photos, nodes, k) = device.xp, given.unary.shape
    costs, tables = xp.empty((photos, k, nodes), np.float32), xp.empty((2, photos, k, k, nodes), np.float32)
    messages, last = xp.empty((2, photos, 4, k, nodes), np.float32), xp.empty(photos, np.int32)
    tiles = -(-nodes // WARP), -(-k * k // WARP), 3 * photos
    arrays = map(xp.ascontiguousarray, (given.unary, *given.tables))  # the kernels know no strides
    field = given.alpha is not None
    module = device.module(variants.source_text(SOURCES["lay_out"]), lay_out_options(k, field))
    module.launch(
        "lay_out", tiles, WARP * WARPS,
        (*arrays, np.float32(given.alpha if field else 1.0), *map(np.int32, grid.shape), costs, tables, messages, last),
    )  # fmt: skip
    labels, beliefs = xp.empty((iterations + 1, photos, nodes), np.int32), xp.empty((photos, nodes, k), np.float32)
    shape = message_shape(k, temperature > 0, grid, device.limits)
    settings = (np.float32(damping), np.float32(1.0 - damping), np.float32(temperature), np.int32(iterations))
    _pass_on(device, shape, iterations, (costs, tables, *settings), (messages, labels, beliefs, last))
    return _Passed(costs, tables, labels, beliefs, last)


def _chosen(given: _Given, passed: _Passed) -> tuple[Any, Any, Any]:
    """Of all labellings the one that costs least: labels (B, N), energy (B,), and a weight of one at each label."""
    device, grid = devices.current(), given.grid
    xp, (photos, nodes, k), steps = device.xp, given.unary.shape, len(passed.labels)
    sums = xp.empty((steps, photos), np.float64)
    _run(
        device, "energies", k, (steps, photos, 1), passed.costs, passed.tables, *map(np.int32, grid.shape),
        passed.labels, passed.last, sums,
    )  # fmt: skip
    labels, energy = xp.empty((photos, nodes), np.int32), xp.empty(photos, np.float64)
    weights = xp.empty((photos, nodes, k), np.float32)
    _run(
        device, "choose", k, (-(-nodes // (WARP * WARPS)), photos, 1), sums, passed.labels, np.int32(nodes),
        np.int32(steps - 1), passed.last, labels, energy, weights,
    )  # fmt: skip
    return labels, energy, weights


def _run(device: Device, kernel: str, k: int, blocks: tuple[int, int, int], *arguments: Any) -> None:
    """Queue energies.cu or choose.cu."""
    module = device.module(variants.source_text(SOURCES[kernel]), options(k))
    module.launch(kernel, launch.blocks(*blocks), WARP * WARPS, arguments)


@cache
def options(k: int) -> tuple[str, ...]:
    """The compiler's options for energies.cu and choose.cu."""
    return launch.compiler_options(K=k, WARPS=WARPS)


@cache
def lay_out_options(k: int, field: bool) -> tuple[str, ...]:
    """The compiler's options for lay_out.cu, which makes costs of a field's tables or takes them as they are."""
    return *launch.compiler_options(K=k, WARPS=WARPS, FIELD=field), launch.UNFUSED


def _pass_on(
    device: Device, shape: MessageShape, iterations: int, given: tuple[Any, ...], made: tuple[Any, ...]
) -> None:
    """All iterations, and the step after them that gives labels and beliefs; ``made`` ends with the last changes."""
    module = device.module(variants.source_text(SOURCES["propagate"]), shape.options())
    photos, last = made[1].shape[1], made[-1]

    def queue(first: int, until: int) -> None:
        arguments = (*given, np.int32(first), np.int32(until), *made)
        module.launch("propagate", (shape.blocks, photos, 1), WARP * shape.warps, arguments)

    if shape.cluster:
        queue(0, iterations + 1)
        return
    for step in range(iterations):
        queue(step, step + 1)
        due = (step + 1) % launch.CHECK_ITERATIONS == 0
        if due and bool((last <= step).all()):  # the only read from the device
            break
    queue(iterations, iterations + 1)
