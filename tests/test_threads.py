"""The CPU kernels' threads: no number of them and no batch changes a result, and none is used that is not needed."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from idekernels import PatchGrid, blend, compatibility, compose, evidence, gather, match, prepare, propagate
from idekernels.backends.cpu import blending, propagation, residency, tables, threads
from idekernels.workloads import Workload

PHOTOS = 5
WORK = Workload(pairs=6, photos=PHOTOS, height=64, width=53, k=4)
MOST = numba.config.NUMBA_NUM_THREADS


@pytest.fixture
def eager(monkeypatch):
    """All threads, however small the work."""
    monkeypatch.setattr(threads, "_ALONE", 1e-6)
    monkeypatch.setattr(threads, "_BATCH", 1e-6)


@pytest.fixture(scope="module")
def way():
    """A batch on its way through stage 1, made by one thread."""
    with threads.at_most(1):
        bank = prepare(WORK.bank(), "cpu")
        query = np.stack([bank.bank.query(photo) for photo in WORK.queries()])
        found = match(query, bank, WORK.grid, k=WORK.k)
        patches = gather(found, bank)
        rng = np.random.default_rng(3)
        weights = rng.dirichlet(np.ones(WORK.k), (PHOTOS, WORK.grid.nodes)).astype(np.float32)
        return {
            "bank": bank,
            "query": query,
            "found": found,
            "source": patches.source,
            "target": patches.target,
            "weights": weights,
            "unary": (rng.random((PHOTOS, WORK.grid.nodes, WORK.k)) * 10).astype(np.float32),
            "pairwise": (rng.random((PHOTOS, len(WORK.grid.edges), WORK.k, WORK.k)) * 10).astype(np.float32),
            "composed": compose(patches.target, weights, backend="cpu").patches,
        }


def _gather(way, photos, memory):
    bank = prepare(WORK.bank(), "cpu", memory)
    cut = gather(match(way["query"][photos], bank, WORK.grid, k=WORK.k), bank)
    return cut.source, cut.target


def _compatibility(way, photos):
    found = compatibility(way["target"][photos], WORK.grid, backend="cpu")
    return found.own, found.other, found.cross


def _propagate(way, photos, **options):
    found = propagate(way["unary"][photos], way["pairwise"][photos], WORK.grid, backend="cpu", iterations=9, **options)
    return found.labels, found.energy, found.weights


def _blend(way, photos, how):
    return (blend(way["composed"][photos], WORK.grid, how=how, backend="cpu").pixels,)


CALLS = {
    "gather": lambda way, photos: _gather(way, photos, None),
    "gather, streamed": lambda way, photos: _gather(way, photos, 0),
    "evidence": lambda way, photos: (
        evidence(way["query"][photos], way["source"][photos], WORK.grid, backend="cpu").grams,
    ),
    "compatibility": _compatibility,
    "propagate": _propagate,
    "propagate, damped": lambda way, photos: _propagate(way, photos, damping=0.3),
    "propagate, soft": lambda way, photos: _propagate(way, photos, temperature=2.0),
    "compose": lambda way, photos: (
        compose(way["target"][photos], way["weights"][photos], backend="cpu").patches,
    ),
    "blend average": lambda way, photos: _blend(way, photos, "average"),
    "blend feather": lambda way, photos: _blend(way, photos, "feather"),
    "blend cut": lambda way, photos: _blend(way, photos, "cut"),
}  # fmt: skip


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_photo_gets_the_same_bits_alone_in_any_batch_and_by_any_number_of_threads(call, way):
    with threads.at_most(1):
        ref = call(way, slice(None))
    for count in sorted({1, MOST}):
        with threads.at_most(count):
            for photos in (slice(None), slice(0, 1), slice(2, 5), slice(4, 5)):
                for one, comp in zip(ref, call(way, photos), strict=True):
                    np.testing.assert_array_equal(comp, one[photos], strict=True)


def test_threads_are_limited_inside_and_given_back():
    assert numba.get_num_threads() == MOST
    with threads.at_most(1):
        assert numba.get_num_threads() == 1
        with threads.at_most(MOST + 7):
            assert numba.get_num_threads() == 1, "never more than the caller allows"
    with pytest.raises(KeyError), threads.at_most(0):
        assert numba.get_num_threads() == 1
        raise KeyError
    assert numba.get_num_threads() == MOST


@pytest.mark.parametrize(
    ("photos", "milliseconds", "count"),
    [(1, 0.0, 1), (1, 1.3, 1), (1, 1.5, 2), (16, 1.1, 1), (16, 1.3, 2), (16, 40, 66)],
)
def test_a_thread_is_worth_most_of_a_millisecond(photos, milliseconds, count):
    assert threads.worth(photos, int(milliseconds * 1000), 1000.0) == count


@pytest.mark.parametrize(
    ("module", "kernel", "call"),
    [
        (residency, "_cut", "gather"),
        (tables, "_evidence", "evidence"),
        (tables, "_compatibility", "compatibility"),
        (propagation, "_propagate", "propagate"),
        (blending, "_compose", "compose"),
        (blending, "_blend", "blend feather"),
        (blending, "_quilt", "blend cut"),
    ],
)
def test_a_small_photo_alone_runs_in_one_region_of_one_thread(module, kernel, call, way, monkeypatch):
    used, plain = [], getattr(module, kernel)

    def record(*arguments):
        used.append(numba.get_num_threads())
        plain(*arguments)

    monkeypatch.setattr(module, kernel, record)
    CALLS[call](way, slice(0, 1))
    assert used == [1]


@pytest.mark.skipif(MOST == 1, reason="one thread is all there is")
@pytest.mark.parametrize(
    ("module", "kernel", "call"), [(propagation, "_propagate", "propagate"), (blending, "_quilt", "blend cut")]
)
def test_a_batch_runs_in_parallel_over_photos(module, kernel, call, way, monkeypatch):
    used, plain = [], getattr(module, kernel)

    def record(*arguments):
        used.append(numba.get_num_threads())
        plain(*arguments)

    monkeypatch.setattr(module, kernel, record)
    CALLS[call](way, slice(None))
    assert used == [min(MOST, PHOTOS)]


@pytest.mark.parametrize("patch", [1, 7, 8, 9, 15, 16, 17, 24])
def test_patches_of_any_size_are_cut_to_the_last_byte(patch):
    rng = np.random.default_rng(patch)
    planes = rng.integers(0, 256, (3, 2, 40, 31), dtype=np.uint8)
    place = np.array([0, (40 + 40 - patch) * 31 + 31 - patch, (2 * 40 + 5) * 31 + 4])
    out = np.full((4, 2, patch, patch), 99, np.uint8)
    residency._cut(planes, planes[:, :1], place, np.arange(3), 0, out, np.empty((4, 1, patch, patch), np.uint8))
    for index, pixel in enumerate(place):
        image, (y, x) = pixel // 1240, divmod(pixel % 1240, 31)
        np.testing.assert_array_equal(out[index], planes[image, :, y : y + patch, x : x + patch])
    assert (out[3] == 99).all()


@pytest.mark.parametrize(("patch", "overlap", "channels"), [(3, 0, 2), (3, 1, 3), (10, 5, 3), (6, 5, 1), (1, 0, 1)])
def test_overlaps_of_any_shape_give_the_reference_tables(patch, overlap, channels):
    """Clamped last rows and columns overlap by more; patches that only touch have tables of zeros."""
    grid = PatchGrid(3 * patch + 1, 2 * patch + 2, patch, overlap)
    targets = np.random.default_rng(0).integers(0, 256, (2, grid.nodes, 3, channels, patch, patch), dtype=np.uint8)
    ref, comp = (compatibility(targets, grid, backend=name) for name in ("reference", "cpu"))
    for name in ("own", "other", "cross"):
        np.testing.assert_array_equal(getattr(comp, name), getattr(ref, name))
