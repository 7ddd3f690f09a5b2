"""On a CUDA device, else skipped: results equal to the reference, streams, memory shared with torch and given back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import idekernels as ide
from idekernels import backends
from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch, variants
from idekernels.coarse import CoarseSettings, coarse_sketch
from idekernels.methods import METHODS
from idekernels.results import Compatibility
from idekernels.workloads import Workload
from idemodel.generator.enhance import Enhancer
from idemodel.generator.network import MLANet
from idemodel.phantom import phantom_pairs

_MISSING = backends.why_missing("cuda")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING))]

WORKS = {
    "one photo": Workload(pairs=12, height=90, width=75),
    "odd sizes, planes": Workload(
        pairs=7, photos=3, height=61, width=53, k=33,
        settings=ide.BankSettings(7, 3, 4, ("intensity", "dog", "lbp"), (3, 2, 1)),
    ),
    "K 64": Workload(pairs=5, photos=2, height=64, width=66, k=64),
}  # fmt: skip


@pytest.fixture
def cupy() -> Iterator[Any]:
    import cupy

    yield cupy
    cupy.get_default_memory_pool().free_all_blocks()


@pytest.fixture(params=WORKS.values(), ids=WORKS.keys())
def work(request: pytest.FixtureRequest) -> Workload:
    return request.param  # type: ignore[no-any-return]


def queries(work: Workload, bank: ide.PatchBank) -> Any:
    return np.stack([bank.query(photo) for photo in work.queries()])


@pytest.mark.parametrize("memory", [None, 40_000])
def test_candidates_are_the_cpus_bit_for_bit(work: Workload, memory: int | None) -> None:
    """Resident, and streamed in blocks through the pinned buffers."""
    bank = work.bank()
    ours, truth = ide.prepare(bank, "cuda", memory), ide.prepare(bank, "cpu")
    exclude = np.arange(work.photos)
    found, right = (ide.match(queries(work, bank), ready, k=work.k, exclude=exclude) for ready in (ours, truth))
    for name in ("distance", "image", "row", "column"):
        np.testing.assert_array_equal(getattr(found, name).get(), getattr(right, name))
    cut, expected = ide.gather(found, ours), ide.gather(right, truth)
    for name in ("source", "target"):
        np.testing.assert_array_equal(getattr(cut, name).get(), getattr(expected, name))


BATCHES = {
    "more photos than a warp serves": Workload(pairs=9, photos=70, height=60, width=55),
    "weighted planes, K 32": Workload(
        pairs=6, photos=9, height=58, width=47, k=32,
        settings=ide.BankSettings(7, 3, 4, ("intensity", "dog", "lbp"), (3, 2, 1)),
    ),
    "patch 16, one photo": Workload(pairs=5, height=64, width=61, k=20, settings=ide.BankSettings(16, 8, 6)),
    "whole photos": Workload(pairs=20, photos=3),
}  # fmt: skip


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
@pytest.mark.parametrize("variant", variants.MATCHING, ids=lambda variant: variant.name)
def test_every_variant_of_matching_gives_the_cpus(
    variant: variants.Variant, batch: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, images barred; a variant that the device is too old for is skipped."""
    settings, limits = batch.settings, devices.current().limits
    problem = variants.MatchProblem(
        batch.grid, settings.radius, settings.weights, batch.k, batch.photos, batch.pairs
    )  # fmt: skip
    if not variant.fits(problem, limits):
        pytest.skip(f"not on {limits.name}")
    monkeypatch.setattr(variants, "MATCHING", (variant,))
    bank = batch.bank()
    query, exclude = queries(batch, bank), np.arange(batch.photos) % batch.pairs
    found, right = (
        ide.match(query, ide.prepare(bank, name), k=batch.k, exclude=exclude) for name in ("cuda", "cpu")
    )  # fmt: skip
    for name in ("distance", "image", "row", "column"):
        np.testing.assert_array_equal(getattr(found, name).get(), getattr(right, name))


def test_tables_are_exact(work: Workload) -> None:
    bank = work.bank()
    ready, query = ide.prepare(bank, "cpu"), queries(work, bank)
    patches = ide.gather(ide.match(query, ready, k=work.k), ready)
    sources, targets = patches.source, patches.target
    gram = ide.evidence(query, sources, work.grid, backend="cuda")
    np.testing.assert_array_equal(gram.host(), ide.evidence(query, sources, work.grid, backend="cpu"))
    ours, truth = (ide.compatibility(targets, work.grid, backend=name) for name in ("cuda", "cpu"))
    for name in ("own", "other", "cross"):
        np.testing.assert_array_equal(getattr(ours, name).get(), getattr(truth, name))


FIELDS = {
    "odd bytes": (ide.PatchGrid(40, 33, 7, 4), 9, 3),
    "more tiles than lanes, nothing staged": (ide.PatchGrid(26, 31, 6, 3), 40, 1),
    "rows in parts": (ide.PatchGrid(100, 90, 60, 30), 12, 3),
    "a pixel": (ide.PatchGrid(9, 8, 1, 0), 1, 1),
}


@pytest.mark.parametrize(("grid", "k", "channels"), FIELDS.values(), ids=FIELDS.keys())
def test_patches_at_hostile_settings(grid: ide.PatchGrid, k: int, channels: int) -> None:
    """Tables bit for bit, composed and blended patches to the stated digits; white and black among the levels."""
    numbers = np.random.default_rng(0)
    targets = numbers.integers(0, 256, (2, grid.nodes, k, channels, grid.patch, grid.patch), dtype=np.uint8)
    targets[:, :, 0], targets[:, ::2, -1] = 255, 0
    query = numbers.integers(0, 256, (2, channels, grid.height, grid.width), dtype=np.uint8)
    weights = numbers.dirichlet(np.ones(k), (2, grid.nodes)).astype(np.float32)
    grams = [ide.evidence(query, targets, grid, backend=name).host() for name in ("cuda", "cpu")]
    np.testing.assert_array_equal(*grams)
    ours, truth = (ide.compatibility(targets, grid, backend=name) for name in ("cuda", "cpu"))
    for name in ("own", "other", "cross"):
        np.testing.assert_array_equal(getattr(ours, name).get(), getattr(truth, name))
    mixed = [ide.compose(targets, weights, backend=name) for name in ("cuda", "cpu")]
    np.testing.assert_allclose(*(one.host() for one in mixed), rtol=1e-6, atol=1e-4)
    for how in ("average", "feather"):
        np.testing.assert_allclose(*(ide.blend(one, grid, how=how).host() for one in mixed), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_sketches_are_the_cpus(work: Workload, method: str) -> None:
    settings = CoarseSettings(method=method, k=work.k, iterations=12)
    bank = work.bank()
    ours = coarse_sketch(work.queries(), bank, settings, backend="cuda").host()
    truth = coarse_sketch(work.queries(), bank, settings, backend="cpu")
    np.testing.assert_allclose(ours.objective, truth.objective, rtol=1e-4)
    np.testing.assert_allclose(ours.pixels, truth.pixels, atol=4e-3)


def test_messages_equal_the_references() -> None:
    numbers, grid = np.random.default_rng(1), ide.PatchGrid(60, 55)
    unary = numbers.integers(0, 500, (3, grid.nodes, 10)).astype(np.float32)
    pairwise = numbers.integers(0, 300, (3, len(grid.edges), 10, 10)).astype(np.float32)
    for options in ({}, {"damping": 0.25}, {"temperature": 40.0}):
        ours = ide.propagate(unary, pairwise, grid, iterations=20, backend="cuda", **options)
        truth = ide.propagate(unary, pairwise, grid, iterations=20, backend="reference", **options)
        np.testing.assert_allclose(ours.energy.get(), truth.energy, rtol=1e-6)
        np.testing.assert_allclose(ours.weights.get(), truth.weights, atol=1e-3)


@pytest.mark.parametrize(
    "grid", [ide.PatchGrid(250, 200), ide.PatchGrid(61, 53, 7, 4), ide.PatchGrid(150, 130, 64, 40)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_cut_is_the_cpus_bit_for_bit(grid: ide.PatchGrid, channels: int) -> None:
    """Patches of whole levels, few of them, so that many seams cost the same."""
    shape = (3, grid.nodes, channels, grid.patch, grid.patch)
    for levels in (3, 256):
        patches = np.random.default_rng(levels).integers(0, levels, shape).astype(np.float32)
        ours, truth = (ide.blend(patches, grid, how="cut", backend=name).host() for name in ("cuda", "cpu"))
        np.testing.assert_array_equal(ours, truth)


@pytest.mark.parametrize("method", ["mwf", "lle", "mrf"])
def test_clusters_and_launches_give_the_same(work: Workload, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit: the rounds of a photo in one launch, and one launch for each, as on devices before sm_90."""
    settings = CoarseSettings(method=method, k=work.k)
    ready, device = ide.prepare(work.bank(), "cuda"), devices.current()
    if device.limits.capability < launch.CLUSTERS_FROM:
        pytest.skip(f"{device.limits.name} has no clusters")
    ours = coarse_sketch(work.queries(), ready, settings)
    monkeypatch.setattr(device, "limits", replace(device.limits, capability=(8, 0)))
    truth = coarse_sketch(work.queries(), ready, settings)
    np.testing.assert_array_equal(ours.pixels.get(), truth.pixels.get())
    np.testing.assert_array_equal(ours.objective.get(), truth.objective.get())


def test_a_batch_of_64_equals_photos_one_by_one() -> None:
    work = Workload(pairs=10, photos=64, height=80, width=70)
    bank = work.bank()
    ready = ide.prepare(bank, "cuda")
    together = coarse_sketch(work.queries(), ready)
    for number in (0, 31, 63):
        alone = coarse_sketch(work.queries()[number], ready)
        np.testing.assert_array_equal(together.pixels[number].get(), alone.pixels[0].get())
        assert float(together.objective[number]) == float(alone.objective[0])


@pytest.mark.parametrize("method", ["mwf", "lle", "multi"])
def test_a_photo_is_the_same_in_any_batch(work: Workload, method: str) -> None:
    """Bit for bit, though the photos of a batch settle after different numbers of sweeps."""
    settings = CoarseSettings(method=method, k=work.k)
    ready = ide.prepare(work.bank(), "cuda")
    together = coarse_sketch(work.queries(), ready, settings).pixels.get()
    for number, photo in enumerate(work.queries()):
        np.testing.assert_array_equal(coarse_sketch(photo, ready, settings).pixels.get()[0], together[number])


def test_every_photo_settles_by_itself(cupy: Any) -> None:
    """Weights, objective, gap and sweeps of each photo are those of the photo alone; sweeps near the CPU's."""
    work = WORKS["odd sizes, planes"]
    bank = work.bank()
    ready, query = ide.prepare(bank, "cuda"), queries(work, bank)
    patches = ide.gather(ide.match(query, ready, k=work.k), ready)
    gram = ide.evidence(query, patches, work.grid)
    links = ide.compatibility(patches, work.grid)
    together = ide.weigh(gram, links, work.grid)
    assert together.sweeps.dtype == np.int32 and together.sweeps.shape == (work.photos,)
    for photo in range(work.photos):
        one = Compatibility(*(cupy.ascontiguousarray(t[[photo]]) for t in (links.own, links.other, links.cross)))
        alone = ide.weigh(cupy.ascontiguousarray(gram.gram[[photo]]), one, work.grid, backend="cuda")
        for name in ("weights", "objective", "kkt_residual", "sweeps"):
            np.testing.assert_array_equal(getattr(alone, name).get()[0], getattr(together, name).get()[photo])
    host = Compatibility(*(t.get() for t in (links.own, links.other, links.cross)))
    truth = ide.weigh(gram.gram.get(), host, work.grid, backend="cpu")
    assert (np.abs(together.sweeps.get() - truth.sweeps) <= 8).all()
    np.testing.assert_allclose(together.objective.get(), truth.objective, rtol=1e-6)


@pytest.fixture(scope="module")
def phantoms() -> tuple[ide.PatchBank, list[Any]]:
    """A bank of twenty drawn faces, and six photos of others."""
    pairs = list(phantom_pairs(26, seed=5))
    settings = ide.BankSettings(representations=("intensity", "dog"), weights=(2, 1))
    bank = ide.PatchBank.from_images([p.photo for p in pairs[:20]], [p.sketch for p in pairs[:20]], settings=settings)
    return bank, [pair.photo for pair in pairs[20:]]


@pytest.mark.parametrize("method", ["mwf", "lle", "multi"])
@pytest.mark.parametrize("k", [10, 20])
def test_sketches_of_phantoms_are_within_a_level_of_the_cpus(
    phantoms: tuple[ide.PatchBank, list[Any]], method: str, k: int
) -> None:
    """At every pixel, on flat backgrounds too, where candidates are alike."""
    bank, photos = phantoms
    chosen = CoarseSettings(method=method, k=k)
    ours, truth = (coarse_sketch(photos, bank, chosen, backend=name).images().astype(int) for name in ("cuda", "cpu"))
    assert np.abs(ours - truth).max() <= 1


def test_work_stays_on_the_callers_stream(cupy: Any) -> None:
    """A sketch queued behind a long wait on a stream of the caller's is right, and other streams do not wait for it."""
    work = WORKS["one photo"]
    bank = work.bank()
    ready = ide.prepare(bank, "cuda")
    truth = coarse_sketch(work.queries(), ready).pixels.get()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        made = coarse_sketch(work.queries(), ready).pixels
        event = stream.record()
    event.synchronize()
    np.testing.assert_array_equal(made.get(stream=stream), truth)


def test_torch_shares_the_memory_on_its_own_stream() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch is built without CUDA")
    work = WORKS["one photo"]
    coarse = coarse_sketch(work.queries(), work.bank(), backend="cuda")
    with torch.cuda.stream(torch.cuda.Stream()):
        tensor = torch.from_dlpack(coarse)
        doubled = tensor * 2
    assert tensor.data_ptr() == coarse.pixels.data.ptr and tensor.is_cuda
    torch.cuda.synchronize()
    np.testing.assert_array_equal(doubled.cpu().numpy(), 2 * coarse.pixels.get())


def test_the_whole_way_on_the_device() -> None:
    torch = pytest.importorskip("torch")
    from idemodel.sketcher import Sketcher

    work = WORKS["one photo"]
    torch.manual_seed(0)
    networks = [MLANet(channels=1, features=8, modules=1) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ours = Sketcher(work.bank(), Enhancer(networks[0], device=device), backend="cuda").sketch(work.queries())
    truth = Sketcher(work.bank(), Enhancer(networks[1], device="cpu"), backend="cpu").sketch(work.queries())
    assert ours.fine.device.type == device
    assert np.abs(ours.images().astype(int) - truth.images()).max() <= 3


def test_memory_is_given_back(cupy: Any) -> None:
    work = WORKS["one photo"]
    pool = cupy.get_default_memory_pool()
    ready = ide.prepare(work.bank(), "cuda")
    coarse_sketch(work.queries(), ready)
    used = pool.used_bytes()  # the bank stays
    for _ in range(3):
        coarse_sketch(work.queries(), ready)
    assert pool.used_bytes() == used
    del ready
    assert pool.used_bytes() < used


def test_what_does_not_fit_is_halved_then_told(cupy: Any) -> None:
    work = Workload(pairs=6, photos=4, height=80, width=70)
    bank = work.bank()
    truth = coarse_sketch(work.queries(), bank, backend="cpu").pixels
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()  # else the bank takes a part of a large block of before, whose rest no limit counts
    ready = ide.prepare(bank, "cuda")
    coarse_sketch(work.queries()[0], ready)
    pool.free_all_blocks()
    before = pool.used_bytes()
    try:
        pool.set_limit(size=before + 12_000_000)  # tables of two photos, not of four
        np.testing.assert_allclose(coarse_sketch(work.queries(), ready).pixels.get(), truth, atol=4e-3)
        pool.free_all_blocks()
        pool.set_limit(size=before + 100_000)
        with pytest.raises(ide.InputError, match="tables do not fit into memory"):
            coarse_sketch(work.queries()[0], ready)
    finally:
        pool.set_limit(size=0)
