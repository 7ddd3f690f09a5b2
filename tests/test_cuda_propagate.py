"""Belief propagation in CUDA C++ on the host: by clusters of blocks and by launches the reference's labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from idekernels import PatchGrid, propagate
from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch, propagation, variants
from tests.emulator import fakecupy, host
from tests.emulator.device import EmulatedDevice
from tests.fields import REFERENCE, numbers

pytestmark = pytest.mark.skipif(host.why_missing() is not None, reason=str(host.why_missing()))

LAUNCHES, CLUSTERS = (8, 0), (9, 0)  # compute capabilities: a launch an iteration; a launch


@pytest.fixture(params=[LAUNCHES, CLUSTERS], ids=["launches", "clusters"])
def device(request: pytest.FixtureRequest) -> Iterator[EmulatedDevice]:
    made = EmulatedDevice(capability=request.param)
    with devices.use(made):
        yield made


def problem(grid: PatchGrid, k: int, photos: int = 2, highest: int = 100) -> tuple[Any, Any]:
    unary = numbers(2).integers(0, highest, (photos, grid.nodes, k)).astype(np.float32)
    return unary, numbers(3).integers(0, highest, (photos, len(grid.edges), k, k)).astype(np.float32)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("damping", "temperature"), [(0.0, 0.0), (0.3, 0.0), (0.2, 50.0)])
def test_propagate(device: EmulatedDevice, damping: float, temperature: float, reverse: bool) -> None:
    device.reverse = reverse
    grid = PatchGrid(9, 9, 4, 2)
    unary, pairwise = problem(grid, 3)
    options = {"iterations": 4, "damping": damping, "temperature": temperature}
    ours = propagate(unary, pairwise, grid, backend="cuda", **options)
    truth = propagate(unary, pairwise, grid, backend=REFERENCE, **options)
    np.testing.assert_array_equal(ours.labels.get(), truth.labels)
    np.testing.assert_array_equal(ours.energy.get(), truth.energy)
    np.testing.assert_allclose(ours.weights.get(), truth.weights, atol=1e-4)


@pytest.mark.parametrize("k", [1, 2, 17, 40])
@pytest.mark.parametrize("temperature", [0.0, 30.0])
def test_any_number_of_labels(device: EmulatedDevice, k: int, temperature: float) -> None:
    grid = PatchGrid(8, 7, 4, 2)
    unary, pairwise = problem(grid, k, 1)
    options = {"iterations": 3, "temperature": temperature}
    ours = propagate(unary, pairwise, grid, backend="cuda", **options)
    truth = propagate(unary, pairwise, grid, backend=REFERENCE, **options)
    np.testing.assert_array_equal(ours.energy.get(), truth.energy)
    np.testing.assert_allclose(ours.weights.get(), truth.weights, atol=1e-4)


def test_arrays_may_be_views(device: EmulatedDevice) -> None:
    grid = PatchGrid(8, 7, 4, 2)
    unary, pairwise = problem(grid, 3)
    truth = propagation.propagate(*map(fakecupy.asarray, (unary, pairwise)), grid, 4, 0.0, 0.0)
    turned = (fakecupy.DeviceArray(np.asfortranarray(given)) for given in (unary, pairwise))
    for ours, right in zip(propagation.propagate(*turned, grid, 4, 0.0, 0.0), truth, strict=True):
        np.testing.assert_array_equal(ours.get(), right.get())


@pytest.mark.parametrize("iterations", [0, 1])
@pytest.mark.parametrize("grid", [PatchGrid(5, 5, 5, 0), PatchGrid(5, 14, 5, 2), PatchGrid(14, 5, 5, 2)])
def test_few_nodes_and_few_iterations(device: EmulatedDevice, grid: PatchGrid, iterations: int) -> None:
    unary, pairwise = problem(grid, 3)
    ours = propagate(unary, pairwise, grid, iterations=iterations, backend="cuda")
    truth = propagate(unary, pairwise, grid, iterations=iterations, backend=REFERENCE)
    np.testing.assert_array_equal(ours.labels.get(), truth.labels)
    np.testing.assert_array_equal(ours.energy.get(), truth.energy)


def test_messages_that_settle_end_the_work(device: EmulatedDevice) -> None:
    """A chain settles after as many iterations as it is long; fifty more change nothing and are not made."""
    grid = PatchGrid(5, 14, 5, 2)
    unary, pairwise = problem(grid, 2, 1)
    ours = propagate(unary, pairwise, grid, iterations=50, backend="cuda")
    truth = propagate(unary, pairwise, grid, iterations=50, backend=REFERENCE)
    by_launches = device.limits.capability == LAUNCHES
    assert device.launched.count("propagate") == (9 if by_launches else 1)  # the ninth gives labels and beliefs
    np.testing.assert_array_equal(ours.labels.get(), truth.labels)
    np.testing.assert_array_equal(ours.energy.get(), truth.energy)
    np.testing.assert_allclose(ours.weights.get(), truth.weights, atol=1e-4)


def test_a_photo_is_the_same_in_any_batch(device: EmulatedDevice) -> None:
    """To the bit, though the others settle sooner or later."""
    grid = PatchGrid(9, 14, 5, 2)
    unary, pairwise = problem(grid, 3, 3)
    pairwise[0] = 0  # settles at once
    together = propagate(unary, pairwise, grid, iterations=30, backend="cuda")
    for photo in range(3):
        alone = propagate(unary[[photo]], pairwise[[photo]], grid, iterations=30, backend="cuda")
        for name in ("labels", "energy", "weights"):
            np.testing.assert_array_equal(getattr(alone, name).get()[0], getattr(together, name).get()[photo])


def test_propagation_is_four_launches_and_no_read_where_there_are_clusters() -> None:
    grid = PatchGrid(40, 45, 4, 2)  # 836 edges: two blocks
    unary, pairwise = problem(grid, 2, 1)
    device, found = EmulatedDevice(capability=CLUSTERS), []
    for reverse in (False, True):
        device.reverse = reverse
        with devices.use(device):
            fakecupy.copies.update(up=0, down=0)
            ours = propagate(unary, pairwise, grid, iterations=6, backend="cuda")
            assert fakecupy.copies["down"] == 0
            found.append([getattr(ours, name).get() for name in ("labels", "energy", "weights")])
    assert device.launched == 2 * ["lay_out", "propagate", "energies", "choose"]
    truth = propagate(unary, pairwise, grid, iterations=6, backend=REFERENCE)
    for made in found:
        np.testing.assert_array_equal(made[0], truth.labels)
        np.testing.assert_array_equal(made[1], truth.energy)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("messages + ((step + 1) % 2", "messages + (step % 2"),
        ("rest = mine - photo.old[photo.at(edge.back,", "rest = mine - photo.old[photo.at(edge.there,"),
        ("far[j] + cost", "far[j]"),
        ("mine < cheap", "mine <= cheap"),
        ("LEFT, ABOVE, RIGHT, BELOW", "LEFT, RIGHT, ABOVE, BELOW"),
    ],
)
def test_wrong_labels_are_seen(right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one of the two orders of threads, by one of the two ways."""
    sound = variants.source_text
    assert sound(propagation.SOURCES["propagate"]).count(right) == 1
    monkeypatch.setattr(variants, "source_text", lambda files: sound(files).replace(right, wrong))
    grid, same = PatchGrid(40, 45, 4, 2), True
    unary, pairwise = problem(grid, 2, 1, highest=4)
    truth = propagate(unary, pairwise, grid, iterations=6, backend=REFERENCE)
    for reverse in (False, True):
        with devices.use(EmulatedDevice(capability=CLUSTERS, reverse=reverse)):
            ours = propagate(unary, pairwise, grid, iterations=6, backend="cuda")
        same &= np.array_equal(ours.labels.get(), truth.labels)
        same &= np.allclose(ours.weights.get(), truth.weights, atol=1e-4)
    assert not same


@pytest.mark.parametrize("k", [1, 10, 16, 17, 32, 33, 64])
def test_threads_have_room(k: int) -> None:
    """In shared memory; an H100's cluster has a thread for every edge at K 10."""
    for capability in (LAUNCHES, CLUSTERS):
        limits = launch.Limits("card", capability, 132, 2**36)
        shape = propagation.message_shape(k, False, PatchGrid(250, 200), limits)
        assert shape.shared() <= launch.STATIC_SHARED
        if k <= 10 or not shape.cluster:
            assert shape.blocks * shape.warps * launch.WARP >= 2 * 49 * 39
