"""The weight field in CUDA C++ on the host: by clusters of blocks and by launches the same, and near the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from idekernels import PatchGrid, weigh
from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch, variants, weighing
from idekernels.results import Compatibility
from tests.emulator import fakecupy, host
from tests.emulator.device import EmulatedDevice
from tests.fields import REFERENCE, field, numbers

pytestmark = pytest.mark.skipif(host.why_missing() is not None, reason=str(host.why_missing()))

LAUNCHES, CLUSTERS = (8, 0), (9, 0)  # compute capabilities: a launch a colour; a launch


@pytest.fixture(params=[LAUNCHES, CLUSTERS], ids=["launches", "clusters"])
def device(request: pytest.FixtureRequest) -> Iterator[EmulatedDevice]:
    made = EmulatedDevice(capability=request.param)
    with devices.use(made):
        yield made


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
    grid = PatchGrid(9, 9, 4, 2)
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


LEAST = """
extern "C" __global__ void all_least(float least, int sweeps, float* out) {
    for (int sweep = threadIdx.x; sweep < sweeps; sweep += LANES) out[sweep] = least_at(least, sweep);
}
"""


def test_the_least_movement_doubles_as_the_rule_says() -> None:
    shape = weighing.sweep_shape(3, PatchGrid(9, 9, 4, 2), 1, EmulatedDevice.limits)
    text = variants.source_text(weighing.source_of("sweep")) + LEAST
    found = np.zeros(400, np.float32)
    module = host.HostModule(text, shape.options())
    module.launch("all_least", (1, 1, 1), launch.WARP, (np.float32(2.0**-12), np.int32(400), found))
    least = np.float32(2.0**-12)
    for sweep in range(200):
        if sweep >= 32 and (sweep - 32) % 2 == 0:
            least *= np.float32(2)
        assert found[sweep] == least
    assert (found[240:] == np.float32(2.0**88)).all()  # a hundred times, and no more


def test_arrays_may_be_views(device: EmulatedDevice) -> None:
    grid = PatchGrid(6, 6, 4, 2)
    gram, tables_ = field(grid, 3)
    turned = [np.asfortranarray(table) for table in (tables_.own, tables_.other, tables_.cross)]
    start = np.full((1, grid.nodes, 3), 1 / 3)
    truth = settled(gram, tables_, grid, start)
    made = settled(np.asfortranarray(gram), Compatibility(*turned), grid, np.asfortranarray(start))
    for ours, right in zip(made, truth, strict=True):
        np.testing.assert_array_equal(ours, right)


@pytest.mark.parametrize("k", [1, 2, 8, 9, 17, 33, 64])
def test_any_number_of_candidates(k: int) -> None:
    """By clusters in both orders and by launches to the bit; near the reference."""
    grid = PatchGrid(6, 8, 4, 2)
    gram, tables_ = field(grid, k)
    start, found = np.full((1, grid.nodes, k), 1 / k), []
    for capability, reverse in ((LAUNCHES, True), (CLUSTERS, False), (CLUSTERS, True)):
        with devices.use(EmulatedDevice(capability=capability, reverse=reverse)):
            found.append(settled(gram, tables_, grid, start))
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    from idekernels.backends import reference

    links = tables_.own, tables_.other, tables_.cross
    truth = reference.weigh(gram, links, grid, 0.5, 16.0, start, 2.0**-12, 40)
    np.testing.assert_allclose(found[0][0], truth[0], atol=2e-3)
    np.testing.assert_allclose(found[0][1], truth[1], rtol=1e-6)
    assert abs(int(found[0][3][0]) - int(truth[3][0])) <= 2


def test_a_weighing_is_five_launches_and_no_read_where_there_are_clusters() -> None:
    grid = PatchGrid(14, 18, 4, 2)  # 48 nodes: six blocks of one warp
    gram, tables_ = field(grid, 3, photos=2)
    device = EmulatedDevice(capability=CLUSTERS)
    with devices.use(device):
        fakecupy.copies.update(up=0, down=0)
        weigh(gram, tables_, grid, backend="cuda")
    assert device.launched == ["centre", "join", "sweep", "certify", "total"]
    assert fakecupy.copies["down"] == 0


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("if (half + 1 < until) cluster_barrier();", "if (half + 1 < until) __syncthreads();"),
        ("if (*field.last < done - 1) break;", ""),
        ("*field.last = done;", "*field.last = 1;"),
        ("field.dirty[node] = visit.moved;", "field.dirty[node] = 0;"),
        ("-to[slot] : -K", "to[slot] : -K"),
        ("3 * left <= fell", "3 * left > fell"),
        ("(row + colour) % 2", "colour"),
        ("visit.mine[slot] - move : 0.0f", "visit.mine[slot] : 0.0f"),
        ("ours &= ours - 1", "ours &= ours"),
    ],
)
def test_wrong_weights_are_seen(right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one of the two orders; but for the rule that ends the sweeps, which only spares work."""
    grid = PatchGrid(12, 14, 4, 2)
    gram, tables_ = field(grid, 3)
    start = numbers(5).dirichlet(np.ones(3), (1, grid.nodes)).astype(np.float32)

    def both() -> list[list[Any]]:
        found = []
        for reverse in (False, True):
            with devices.use(EmulatedDevice(capability=CLUSTERS, reverse=reverse)):
                found.append(settled(gram, tables_, grid, start, sweeps=13))
        return found

    truth = both()
    sound = variants.source_text
    assert sound(weighing.source_of("sweep")).count(right) == 1
    monkeypatch.setattr(variants, "source_text", lambda files: sound(files).replace(right, wrong))
    same = all(
        np.array_equal(ours, right_)
        for made, wanted in zip(both(), truth, strict=True)
        for ours, right_ in zip(made, wanted, strict=True)
    )
    assert same == (right.startswith("if (*field.last"))


@pytest.mark.parametrize("photos", [1, 2, 33, 64, 66, 128, 256, 1000])
def test_all_photos_of_a_batch_are_there_at_once_where_they_can(photos: int) -> None:
    """On an H100: clusters as large as two blocks an SM allow; the same kernel for any batch of about that size."""
    limits = launch.Limits("H100", (9, 0), 132, 2**36)
    shape = weighing.sweep_shape(10, PatchGrid(250, 200), photos, limits)
    assert shape.cluster == {1: 8, 2: 8, 33: 8, 64: 4, 66: 4, 128: 2}.get(photos, 1)
    assert shape.blocks == shape.cluster and shape.warps == 16
    old = weighing.sweep_shape(10, PatchGrid(250, 200), photos, launch.Limits("A100", (8, 0), 108, 2**36))
    assert old.cluster == 0 and old.blocks * old.warps * 2 >= 49 * 20
