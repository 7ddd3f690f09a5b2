"""Evidence and compatibility in CUDA C++ on the host: the reference's bit for bit, at any setting and geometry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idekernels import PatchGrid, compatibility, evidence
from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch, tables, variants
from idekernels.errors import InputError
from tests.emulator import fakecupy, host
from tests.emulator.device import EmulatedDevice

pytestmark = pytest.mark.skipif(host.why_missing() is not None, reason=str(host.why_missing()))

GRIDS = [PatchGrid(9, 9, 4, 2), PatchGrid(8, 11, 5, 3), PatchGrid(7, 5, 5, 0), PatchGrid(5, 9, 5, 4)]


@pytest.fixture
def device() -> Iterator[EmulatedDevice]:
    made = EmulatedDevice()
    with devices.use(made):
        yield made


def levels(shape: tuple[int, ...], seed: int = 0) -> Any:
    made = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    made[np.random.default_rng(seed + 1).random(shape) < 0.2] = 255
    return made


def patches_on(grid: PatchGrid, k: int, planes: int = 1, photos: int = 1, seed: int = 0) -> Any:
    return levels((photos, grid.nodes, k, planes, grid.patch, grid.patch), seed)


def equal_tables(targets: Any, grid: PatchGrid) -> None:
    made, truth = (compatibility(targets, grid, backend=name) for name in ("cuda", "reference"))
    for name in ("own", "other", "cross"):
        np.testing.assert_array_equal(getattr(made, name).get(), getattr(truth, name), err_msg=name)


def equal_evidence(query: Any, sources: Any, grid: PatchGrid) -> None:
    made, truth = (evidence(query, sources, grid, backend=name) for name in ("cuda", "reference"))
    np.testing.assert_array_equal(made.host(), truth)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("k", "planes"), [(1, 1), (3, 2)])
def test_evidence(device: EmulatedDevice, grid: PatchGrid, k: int, planes: int) -> None:
    equal_evidence(levels((2, planes, grid.height, grid.width), 7), patches_on(grid, k, planes, 2), grid)
    assert device.launched == ["evidence"]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("k", "channels"), [(1, 1), (3, 3)])
def test_compatibility(device: EmulatedDevice, grid: PatchGrid, k: int, channels: int) -> None:
    equal_tables(patches_on(grid, k, channels, 2), grid)
    assert device.launched == ["compatibility"]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("k", [10, 23])
def test_the_defaults(k: int, reverse: bool) -> None:
    """Patch 10, overlap 5, a clamped last row and column; K 23 has tables that no shared memory is kept for."""
    grid = PatchGrid(17, 23)
    with devices.use(EmulatedDevice(reverse=reverse)):
        equal_tables(patches_on(grid, k), grid)
        equal_evidence(levels((1, 1, 17, 23), 7), patches_on(grid, k), grid)


@st.composite
def fields(draw: st.DrawFn) -> tuple[PatchGrid, int, int, int]:
    """Grid, K, planes, photos."""
    patch = draw(st.integers(1, 12), label="patch")
    overlap = draw(st.integers(0, patch - 1), label="overlap")
    step = patch - overlap
    height, width = (patch + draw(st.integers(0, 3 * step), label=side) for side in ("height", "width"))
    k, planes = draw(st.integers(1, 20), label="k"), draw(st.integers(1, 3), label="planes")
    return PatchGrid(height, width, patch, overlap), k, planes, draw(st.integers(1, 2), label="photos")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(field=fields(), reverse=st.booleans())
def test_any_setting(field: tuple[PatchGrid, int, int, int], reverse: bool) -> None:
    grid, k, planes, photos = field
    with devices.use(EmulatedDevice(reverse=reverse)):
        equal_tables(patches_on(grid, k, planes, photos), grid)
        query = levels((photos, planes, grid.height, grid.width), 7)
        equal_evidence(query, patches_on(grid, k, planes, photos), grid)


@pytest.mark.parametrize(
    "changes",
    [
        {"chunk": 4},
        {"chunk": 8, "warps": 1},
        {"tall": 1, "wide": 1, "chunk": 4},
        {"tall": 3, "wide": 4, "warps": 2},
        {"tall": 7, "wide": 1, "chunk": 12},
    ],
)
def test_every_geometry_gives_the_same(
    device: EmulatedDevice, changes: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that do not fit into shared memory at once, tiles that do not divide K, more tiles than lanes."""
    chosen = tables.gram_shape
    monkeypatch.setattr(tables, "gram_shape", lambda *given, **more: replace(chosen(*given, **more), **changes))
    grid = PatchGrid(9, 12, 6, 3)
    equal_tables(patches_on(grid, 9, 2), grid)
    equal_evidence(levels((1, 2, 9, 12), 7), patches_on(grid, 9, 2), grid)


def test_the_farthest_levels(device: EmulatedDevice) -> None:
    """White candidates of a black query, and the other way round: the largest sums, and differences of both signs."""
    grid = PatchGrid(12, 12, 12, 0)
    for background in (0, 255):
        sources = np.full((1, 1, 2, 1, 12, 12), 255 - background, np.uint8)
        sources[0, 0, 1, 0, ::2] = background
        equal_evidence(np.full((1, 1, 12, 12), background, np.uint8), sources, grid)


def test_views_that_begin_anywhere(device: EmulatedDevice) -> None:
    """Kernels read whole words: an array that begins in the middle of one is copied first."""
    grid = PatchGrid(8, 12, 4, 2)
    for patches in (patches_on(grid, 2, photos=2), patches_on(PatchGrid(5, 7, 5, 3), 3, photos=2)):
        on = grid if patches.shape[-1] == 4 else PatchGrid(5, 7, 5, 3)
        memory = np.zeros(patches.nbytes + 4, np.uint8)
        for start in range(4):
            view = memory[start : start + patches.nbytes].reshape(patches.shape)
            view[...] = patches
            given = fakecupy.DeviceArray(view)
            whole = launch.whole_words(given)
            assert (whole is given) == (view.ctypes.data % 4 == 0) and whole.host.ctypes.data % 4 == 0
            made = compatibility(given, on, backend="cuda")
            truth = compatibility(patches, on, backend="reference")
            np.testing.assert_array_equal(made.cross.get(), truth.cross)


def test_a_single_node_has_no_edges(device: EmulatedDevice) -> None:
    made = compatibility(levels((2, 1, 3, 1, 4, 4)), PatchGrid(4, 4, 4, 0), backend="cuda")
    assert made.own.shape == (2, 0, 3, 3) and device.launched == []


def test_more_blocks_than_a_launch_has_are_refused() -> None:
    assert launch.blocks(2**31 - 1, 2**16 - 1, 2**16 - 1) == (2**31 - 1, 2**16 - 1, 2**16 - 1)
    for size in ((2**31, 1, 1), (1, 2**16, 1), (1, 1, 2**16)):
        with pytest.raises(InputError, match=r"take fewer photos at once, or the backend cpu"):
            launch.blocks(*size)


# ---- geometry


@given(kept=st.integers(1, 256), patch=st.integers(1, 180), planes=st.integers(1, 3), links=st.booleans())
def test_every_shape_stays_within_the_device(kept: int, patch: int, planes: int, links: bool) -> None:
    shape = tables.gram_shape(kept, patch, planes, links)
    assert shape.shared() <= launch.STATIC_SHARED and shape.row % 8 == 4 and shape.chunk % 4 == 0
    assert 4 <= shape.chunk <= shape.words and shape.tall + shape.wide <= 7


def test_the_defaults_take_a_lane_for_every_ten_sums() -> None:
    links, node = (tables.gram_shape(10, 10, 1, links) for links in (True, False))
    assert {links.tall, links.wide} == {2, 5} and (links.chunk, links.row, links.warps) == (28, 28, 4)
    assert (node.tall, node.wide, node.chunk, node.warps) == (2, 2, 28, 4)


def test_too_many_candidates_are_told() -> None:
    with pytest.raises(ValueError, match="k is 4000, too many for the tables"):
        tables.gram_shape(4000, 10, 1, True)


# ---- faults


def planted(monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...], right: str, wrong: str) -> None:
    sound = variants.source_text
    assert sound(files).count(right) == 1
    monkeypatch.setattr(tables, "source_text", lambda files: sound(files).replace(right, wrong))


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("__syncthreads();  // until every lane has used the last chunk", ";", "race on shared memory"),
        ("__syncthreads();  // until the chunk is there", ";", "race on shared memory|read before it was written"),
        ("__syncthreads();  // until the tables are whole", ";", "race on shared memory|read before it was written"),
        ("KEPT : 0)) * ROW;", "32 * WARPS * KEPT : 0)) * ROW;", "out of bounds: shared"),
        ("offset & 3;", "0;", "misaligned global memory: [123]"),
        ("mine + TABLES + 8", "mine + TABLES + 7", "misaligned shared memory|read before it was written"),
    ],
)
def test_the_emulator_sees_planted_faults(
    device: EmulatedDevice, right: str, wrong: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, tables.COMPATIBILITY, right, wrong)
    chosen = tables.gram_shape
    monkeypatch.setattr(tables, "gram_shape", lambda *given, **more: replace(chosen(*given, **more), chunk=4))
    grid = PatchGrid(9, 12, 6, 3)
    with pytest.raises(host.KernelFault, match=told):
        compatibility(patches_on(grid, 6), grid, backend="cuda")


@pytest.mark.parametrize(
    ("files", "right", "wrong"),
    [
        ("COMPATIBILITY", "row < high && column < wide", "row <= high && column < wide"),
        ("COMPATIBILITY", "skew + count > 4 ?", "skew + count > 7 ?"),
        ("COMPATIBILITY", "shift + start, bytes, mask", "start, bytes, mask"),
        ("EVIDENCE", "(count < 4 ?", "(false ?"),
        ("EVIDENCE", "- shared[own + DOTS + other]", "- shared[own + DOTS + one]"),
        ("EVIDENCE", "plane * BYTES + start", "start"),
    ],
)
def test_wrong_results_are_seen(
    device: EmulatedDevice, files: str, right: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutations that break no rule of CUDA change the tables, and the comparison with the reference says so."""
    planted(monkeypatch, getattr(tables, files), right, wrong)
    grid = PatchGrid(8, 11, 6, 3)
    with pytest.raises(AssertionError):
        if files == "EVIDENCE":
            uneven = PatchGrid(8, 10, 5, 3)
            for on in (grid, uneven):
                equal_evidence(levels((1, 2, on.height, on.width), 7), patches_on(on, 3, 2), on)
        else:
            equal_tables(patches_on(grid, 3, 2), grid)


PRODUCTS = """
extern "C" __global__ void one_product(const uint32* one, const uint32* other, const uint32* sum, uint32* out) {
    out[threadIdx.x] = __dp4a(one[threadIdx.x], other[threadIdx.x], sum[threadIdx.x]);
}
"""


def test_a_product_of_packed_bytes_is_the_plain_one() -> None:
    """__dp4a of unsigned words: four products of bytes added to a sum of 32 bits, which wraps (CUDA C++ guide)."""
    numbers = np.random.default_rng(0)
    one, other = (numbers.integers(0, 256, (64, 4), dtype=np.uint8) for _ in range(2))
    one[0] = other[0] = 255
    sums = numbers.integers(0, 2**32, 64, dtype=np.uint32)
    sums[0] = 2**32 - 1
    out = np.zeros(64, np.uint32)
    module = host.HostModule(variants.source_text(("common.cuh",)) + PRODUCTS, launch.compiler_options())
    module.launch("one_product", (1, 1, 1), 64, (one.view(np.uint32).ravel(), other.view(np.uint32).ravel(), sums, out))
    products = (one.astype(np.uint64) * other).sum(axis=1)
    np.testing.assert_array_equal(out, (sums + products).astype(np.uint32))
    assert out[0] < sums[0]


def test_the_geometry_says_what_the_kernels_declare() -> None:
    for name in ("evidence.cu", "compatibility.cu"):
        assert "SHARED_QUADS(shared, WARPS * OWN)" in Path(tables.__file__).with_name(name).read_text()
