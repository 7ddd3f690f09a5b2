"""The Numba-CUDA kernels in the simulator: equal to the reference, exactly where whole, to stated digits where not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from idekernels import (
    BankSettings,
    PatchBank,
    PatchGrid,
    blend,
    coarse_sketch,
    compatibility,
    evidence,
    prepare,
    propagate,
    weigh,
    weigh_multi,
)
from idekernels.backends.cuda import launch
from idekernels.methods import METHODS
from idekernels.results import Compatibility
from tests.emulator import fakecupy, host
from tests.emulator.device import EmulatedDevice

GRIDS = [PatchGrid(9, 9, 4, 2), PatchGrid(8, 11, 5, 3), PatchGrid(7, 5, 5, 0), PatchGrid(5, 9, 5, 4)]
REFERENCE = "reference"


def numbers(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def patches_on(grid: PatchGrid, k: int, planes: int = 1, photos: int = 1, seed: int = 0) -> Any:
    shape = (photos, grid.nodes, k, planes, grid.patch, grid.patch)
    return numbers(seed).integers(0, 256, shape, dtype=np.uint8)


def field(grid: PatchGrid, k: int, photos: int = 1) -> tuple[Any, Compatibility]:
    query = numbers(9).integers(0, 256, (photos, 1, grid.height, grid.width), dtype=np.uint8)
    gram = evidence(query, patches_on(grid, k, 1, photos), grid, backend=REFERENCE).gram
    tables_ = compatibility(patches_on(grid, k, 1, photos, 1), grid, backend=REFERENCE)
    return np.ascontiguousarray(gram), replace(tables_, backend=None)  # any backend may have them


@pytest.mark.parametrize("method", ["top1", "mean", "lle", "mwf"])
def test_weigh(device: EmulatedDevice, method: str) -> None:
    grid = PatchGrid(6, 8, 4, 2)
    gram, tables_ = field(grid, 3, photos=2)
    ours = weigh(gram, tables_, grid, method=method, backend="cuda", sweeps=20)
    truth = weigh(gram, tables_, grid, method=method, backend=REFERENCE)
    weights = ours.weights.get()
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(ours.objective.get(), truth.objective, rtol=1e-6)
    np.testing.assert_allclose(weights, truth.weights, atol=2e-3)
    made = ours.sweeps.get()
    assert made.shape == (2,) and made.dtype == np.int32
    if method in ("lle", "mwf"):
        assert ((made > 1) & (made < 20)).all()
        assert (ours.objective.get() - ours.kkt_residual.get() <= truth.objective * (1 + 1e-6)).all()
    else:
        assert not made.any()
        np.testing.assert_allclose(ours.kkt_residual.get(), truth.kkt_residual, rtol=1e-5)


def test_the_objective_never_rises(device: EmulatedDevice) -> None:
    grid = GRIDS[0]
    gram, tables_ = field(grid, 3)
    options: dict[str, Any] = {"alpha": 2.0, "tolerance": 0.0, "backend": "cuda"}
    reached = [weigh(gram, tables_, grid, sweeps=n, **options).objective.get()[0] for n in (1, 2, 4)]
    assert reached[0] * (1 + 1e-6) >= reached[1] and reached[1] * (1 + 1e-6) >= reached[2]


def test_a_field_that_cannot_move_ends_the_work(device: EmulatedDevice) -> None:
    """At the tolerance 0 every movement counts: the sweeps end where float32 has no step left, near the optimum."""
    grid = PatchGrid(6, 8, 4, 2)
    gram, tables_ = field(grid, 3)
    ours = weigh(gram, tables_, grid, tolerance=0.0, sweeps=1000, backend="cuda")
    truth = weigh(gram, tables_, grid, tolerance=1e-9, backend=REFERENCE)
    assert ours.sweeps.get()[0] <= 60
    assert device.launched.count("sweep") <= 2 * (ours.sweeps.get()[0] + launch.CHECK_SWEEPS)
    np.testing.assert_allclose(ours.objective.get(), truth.objective, rtol=1e-7)
    np.testing.assert_allclose(ours.weights.get(), truth.weights, atol=1e-4)


def test_a_photo_is_the_same_in_any_batch(device: EmulatedDevice) -> None:
    """Bit for bit, though another photo of the batch needs more sweeps and more checks of whether any moves."""
    grid = PatchGrid(6, 6, 4, 2)
    gram, tables_ = field(grid, 3, photos=2)
    for table in (tables_.own, tables_.other, tables_.cross):
        table[1] = 0  # its nodes know nothing of each other and settle sooner
    options: dict[str, Any] = {"alpha": 3.0, "backend": "cuda"}
    together = weigh(gram, tables_, grid, **options)
    assert len(set(together.sweeps.get())) == 2
    for photo in range(2):
        alone = Compatibility(*(table[[photo]] for table in (tables_.own, tables_.other, tables_.cross)))
        made = weigh(gram[[photo]], alone, grid, **options)
        for name in ("weights", "objective", "kkt_residual", "sweeps"):
            np.testing.assert_array_equal(getattr(made, name).get()[0], getattr(together, name).get()[photo])


def settled(gram: Any, tables_: Compatibility, grid: PatchGrid, start: Any, **changed: Any) -> list[Any]:
    """What the backend's own function makes of a start: weights, objective, gap, sweeps."""
    from idekernels.backends.cuda import weighing

    settings = {"alpha": 0.5, "ridge": 16.0, "least": 2.0**-12, "sweeps": 40, **changed}
    links = tuple(map(fakecupy.asarray, (tables_.own, tables_.other, tables_.cross)))
    given = fakecupy.asarray(start)
    made = weighing.weigh(
        fakecupy.asarray(gram), links, grid, settings["alpha"], settings["ridge"], given, settings["least"],
        settings["sweeps"],
    )  # fmt: skip
    np.testing.assert_array_equal(given.host, start)
    return [array.get() for array in made]


def test_weigh_begins_where_it_is_told(device: EmulatedDevice) -> None:
    grid = PatchGrid(6, 6, 4, 2)
    gram, tables_ = field(grid, 3)
    start = numbers(5).dirichlet(np.ones(3), (1, grid.nodes)).astype(np.float32)
    still = settled(gram, tables_, grid, start, sweeps=0)
    np.testing.assert_array_equal(still[0], start)
    assert still[3].tolist() == [0]
    there = settled(gram, tables_, grid, start)
    assert there[1] < still[1] and there[2] < still[2]
    again = settled(gram, tables_, grid, there[0])
    assert again[3][0] <= 2 < there[3][0]
    np.testing.assert_allclose(again[0], there[0], atol=2.0**-11)


def test_evidence_in_float64_is_rounded_once_centred(device: EmulatedDevice) -> None:
    """As ``multi`` has it; on what float32 holds it changes nothing, and digits beyond are not lost."""
    grid = PatchGrid(6, 6, 4, 2)
    gram, tables_ = field(grid, 3)
    start = np.full((1, grid.nodes, 3), 1 / 3)
    truth = settled(gram, tables_, grid, start)
    for ours, right in zip(settled(gram.astype(np.float64), tables_, grid, start), truth, strict=True):
        np.testing.assert_array_equal(ours, right)
    far = settled(
        gram.astype(np.float64) + 2.0**36, tables_, grid, start
    )  # the same to every candidate: no weight changes
    np.testing.assert_allclose(far[0], truth[0], atol=2.0**-11)


def test_candidates_that_are_no_numbers_end_the_work(device: EmulatedDevice) -> None:
    grid = PatchGrid(6, 6, 4, 2)
    gram, tables_ = field(grid, 3)
    made = settled(np.full_like(gram, np.nan), tables_, grid, np.full((1, grid.nodes, 3), 1 / 3), sweeps=1000)
    assert made[3].tolist() == [1] and np.isnan(made[1]).all()
    np.testing.assert_allclose(made[0], 1 / 3)


def test_every_pair_is_looked_at(device: EmulatedDevice) -> None:
    """The steepest candidate is so far from the others that no step to it counts; the third one is still found."""
    grid = PatchGrid(5, 5, 5, 0)
    residuals = np.array([[1.0, 3000.0], [4.0, 0.0], [2.0, 0.0]], np.float32)
    gram = (residuals @ residuals.T)[None, None]
    none = Compatibility(*[np.zeros((1, 0, 3, 3), np.float32)] * 3)
    start = np.array([[[0.0, 1.0, 0.0]]])
    made = settled(gram, none, grid, start, ridge=0.0)
    np.testing.assert_array_equal(made[0], [[[0.0, 0.0, 1.0]]])
    assert made[1] == [4.0] and made[3].tolist() == [2]


def test_the_least_movement_doubles_as_the_rule_says() -> None:
    from idekernels.backends.cuda import weighing

    least = np.float32(2.0**-12)
    for sweep in range(200):
        if sweep >= 32 and (sweep - 32) % 2 == 0:
            least *= np.float32(2)
        assert weighing._least_at(sweep, 2.0**-12) == least
    assert weighing._least_at(10**6, 0.0) == 0


@pytest.mark.parametrize(("damping", "temperature"), [(0.0, 0.0), (0.3, 0.0), (0.2, 50.0)])
def test_propagate(device: EmulatedDevice, damping: float, temperature: float) -> None:
    grid = GRIDS[0]
    unary = numbers(2).integers(0, 100, (2, grid.nodes, 3)).astype(np.float32)
    pairwise = numbers(3).integers(0, 100, (2, len(grid.edges), 3, 3)).astype(np.float32)
    options = {"iterations": 4, "damping": damping, "temperature": temperature}
    ours = propagate(unary, pairwise, grid, backend="cuda", **options)
    truth = propagate(unary, pairwise, grid, backend=REFERENCE, **options)
    np.testing.assert_array_equal(ours.labels.get(), truth.labels)
    np.testing.assert_array_equal(ours.energy.get(), truth.energy)
    np.testing.assert_allclose(ours.weights.get(), truth.weights, atol=1e-4)


def test_messages_that_settle_end_the_work(device: EmulatedDevice) -> None:
    """A chain settles after as many iterations as it is long; fifty more change nothing and are not made."""
    grid = PatchGrid(5, 14, 5, 2)
    unary = numbers(2).integers(0, 100, (1, grid.nodes, 2)).astype(np.float32)
    pairwise = numbers(3).integers(0, 100, (1, len(grid.edges), 2, 2)).astype(np.float32)
    ours = propagate(unary, pairwise, grid, iterations=50, backend="cuda")
    truth = propagate(unary, pairwise, grid, iterations=50, backend=REFERENCE)
    assert device.launched.count("propagate") == 8
    np.testing.assert_array_equal(ours.labels.get(), truth.labels)


def small_bank(images: int = 5, size: tuple[int, int] = (12, 10)) -> tuple[PatchBank, list[Any]]:
    faces = [numbers(seed).integers(0, 256, size, dtype=np.uint8) for seed in range(images + 2)]
    sketches = [255 - face // 2 for face in faces]
    planes = BankSettings(6, 3, 2, ("intensity", "dog"), (2, 1))
    return PatchBank.from_images(faces[:images], sketches[:images], settings=planes), faces[images:]


@pytest.mark.skipif(host.why_missing() is not None, reason=str(host.why_missing()))
@pytest.mark.parametrize("method", METHODS)
def test_a_coarse_sketch_whole(device: EmulatedDevice, method: str) -> None:
    bank, faces = small_bank(size=(9, 8))
    options = {"method": method, "k": 3, "iterations": 3, "exclude": np.array([2])}
    ours = coarse_sketch(faces[0], bank, backend="cuda", **options)
    truth = coarse_sketch(faces[0], bank, backend=REFERENCE, **options)
    np.testing.assert_allclose(ours.pixels.get(), truth.pixels, atol=2e-3)
    np.testing.assert_allclose(ours.objective.get(), truth.objective, rtol=1e-4)
    assert np.abs(ours.images().astype(int) - truth.images()).max() <= 1


@pytest.mark.skipif(host.why_missing() is not None, reason=str(host.why_missing()))
def test_nothing_but_planes_and_sketch_crosses(device: EmulatedDevice) -> None:
    """Up: the photo's planes, once, and small tables of the grid. Down: a truth value a check of convergence."""
    bank, faces = small_bank(size=(9, 8))
    ready = prepare(bank, "cuda")
    coarse_sketch(faces[0], ready, k=2)  # the bank goes up
    fakecupy.copies.update(up=0, down=0)
    made = coarse_sketch(faces[0], ready, k=2)
    grid = bank.grid()
    tables_ = sum(part.nbytes for part in (grid.rows, grid.columns, grid.anchors, grid.edges, grid.shifts))
    axes = 8 * (grid.height + grid.width) + 2 * (grid.rows.nbytes + grid.columns.nbytes)
    small = tables_ + axes + 4 * grid.patch**2 + 64
    planes = bank.query(faces[0]).nbytes
    assert planes <= fakecupy.copies["up"] <= planes + small
    assert fakecupy.copies["down"] <= 110  # bytes: at most one a check, of 1000 sweeps by tens
    assert isinstance(made.pixels, fakecupy.DeviceArray)


def test_colour_and_multi_arrays_stay_where_they_are(device: EmulatedDevice) -> None:
    grid = GRIDS[0]
    gram, tables_ = field(grid, 2)
    grams = np.stack([gram, 2 * gram], axis=2)
    ours = weigh_multi(grams, tables_, grid, rounds=2, backend="cuda")
    truth = weigh_multi(grams, tables_, grid, rounds=2, backend=REFERENCE)
    assert isinstance(ours.history, fakecupy.DeviceArray)
    np.testing.assert_allclose(ours.objective.get(), truth.objective, rtol=1e-4)


@pytest.mark.parametrize(("kernel", "told"), [("cut", "cuts 64 at most"), ("weigh", "weighs 64 at most")])
def test_too_large_is_told(device: EmulatedDevice, kernel: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        if kernel == "cut":
            blend(np.zeros((1, 1, 1, 65, 65), np.float32), PatchGrid(65, 65, 65, 0), how="cut", backend="cuda")
        else:
            empty = Compatibility(*[np.zeros((1, 0, 65, 65), np.float32)] * 3)
            weigh(np.ones((1, 1, 65, 65), np.float32), empty, PatchGrid(4, 4, 4, 0), backend="cuda")
