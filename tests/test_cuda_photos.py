"""Kernels that make all their rounds by themselves, on the host: cutting, and what they need of the emulator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idekernels import PatchGrid, blend
from idekernels.backends.cuda import catalogue, cutting, launch, variants
from idekernels.backends.cuda import device as devices
from tests.emulator import host
from tests.emulator.device import EmulatedDevice

pytestmark = pytest.mark.skipif(host.why_missing() is not None, reason=str(host.why_missing()))


def planted(monkeypatch: pytest.MonkeyPatch, source: tuple[str, ...], right: str, wrong: str) -> None:
    sound = variants.source_text
    assert sound(source).count(right) == 1
    monkeypatch.setattr(variants, "source_text", lambda files: sound(files).replace(right, wrong))


# ---- the emulator: clusters of blocks, barriers of a warp

ROUND_TABLE = """
extern "C" __global__ void IN_CLUSTERS round_table(const float* given, float* out, int rounds, float share) {
    SHARED(float, seen, LANES);
    const int seat = blockIdx.x % CLUSTER, table = blockIdx.x / CLUSTER * CLUSTER;
    for (int round = 0; round < rounds; ++round) {
        const float* from = round ? out + (round - 1) * gridDim.x : given;
        seen[threadIdx.x] = share * from[table + (seat + 1) % CLUSTER];
        __syncwarp();
        if (threadIdx.x == 0) out[round * gridDim.x + blockIdx.x] = seen[LANES - 1];
        cluster_barrier();
    }
}
"""


def round_table(blocks: int, rounds: int, cluster: int, reverse: bool = False, source: str = ROUND_TABLE) -> Any:
    """What is passed on to the left, ``rounds`` times: (rounds, blocks)."""
    held, out = np.arange(blocks, dtype=np.float32), np.full((rounds, blocks), np.nan, np.float32)
    text = variants.source_text(("common.cuh", "cluster.cuh")) + source
    module = host.HostModule(text, launch.compiler_options(CLUSTER=cluster), reverse)
    module.launch("round_table", (blocks, 1, 1), launch.WARP, (held, out, np.int32(rounds), np.float32(2)))
    return out


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cluster", [1, 3, 8])
def test_blocks_of_a_cluster_wait_for_one_another(cluster: int, reverse: bool) -> None:
    held = np.arange(2 * cluster, dtype=np.float32).reshape(2, cluster)
    for made in round_table(2 * cluster, 5, cluster, reverse):
        held = 2 * np.roll(held, -1, axis=1)
        np.testing.assert_array_equal(made.reshape(2, cluster), held)


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("        __syncwarp();\n", "", "race on shared memory: seen|read before it was written: seen"),
        ("cluster_barrier();", "if (seat) cluster_barrier();", "a thread has ended while others wait"),
        ("cluster_barrier();", "if (seat) cluster_barrier(); else __syncthreads();", "divergent barrier"),
        ("cluster_barrier();", "if (threadIdx.x) cluster_barrier();", "divergent barrier"),
        ("        __syncwarp();\n", "        if (threadIdx.x < 31) __syncwarp();\n", "divergent warp"),
    ],
)
def test_the_emulator_sees_what_clusters_must_not_do(right: str, wrong: str, told: str) -> None:
    assert right in ROUND_TABLE
    with pytest.raises(host.KernelFault, match=told):
        round_table(6, 1, 3, source=ROUND_TABLE.replace(right, wrong))


def test_a_missing_wait_for_other_blocks_shows_in_one_of_the_orders() -> None:
    without = ROUND_TABLE.replace("cluster_barrier();", "for (int i = 0; i <= seat; ++i) __syncwarp();")
    right, *wrong = round_table(3, 4, 3), *(round_table(3, 4, 3, reverse, without) for reverse in (False, True))
    assert not all(np.array_equal(right, one) for one in wrong)


def test_blocks_that_fill_no_cluster_are_told() -> None:
    with pytest.raises(host.KernelFault, match="no multiple of a cluster"):
        round_table(4, 1, 3)


EXCHANGED = """
extern "C" __global__ void exchanged(const int* given, int* out) {
    for (int with = 1; with < LANES; with *= 2)
        out[with * LANES + threadIdx.x] = __shfl_xor_sync(FULL, given[threadIdx.x], with);
}
"""


def test_lanes_are_exchanged_by_their_bits() -> None:
    held, out = np.arange(100, 132, dtype=np.int32), np.zeros((32, 32), np.int32)
    text = variants.source_text(("common.cuh",)) + EXCHANGED
    host.HostModule(text, launch.compiler_options()).launch("exchanged", (1, 1, 1), launch.WARP, (held, out))
    for apart in (1, 2, 4, 8, 16):
        np.testing.assert_array_equal(out[apart], held[np.arange(32) ^ apart])


# ---- cutting

GRIDS = [
    PatchGrid(9, 9, 4, 2), PatchGrid(8, 11, 5, 3), PatchGrid(7, 5, 5, 0), PatchGrid(5, 9, 5, 4),
    PatchGrid(31, 29, 7, 6), PatchGrid(30, 30, 6, 0), PatchGrid(50, 70, 20, 12), PatchGrid(130, 100, 64, 40),
]  # fmt: skip


def laid(grid: PatchGrid, channels: int = 1, reverse: bool = False, levels: int = 256) -> tuple[Any, Any, list[str]]:
    """Pictures by the emulated device and by the CPU, and what was launched."""
    shape = (2, grid.nodes, channels, grid.patch, grid.patch)
    patches = np.random.default_rng(levels).integers(0, levels, shape).astype(np.float32)
    device = EmulatedDevice(reverse=reverse)
    with devices.use(device):
        ours = blend(patches, grid, how="cut", backend="cuda").host()
    return ours, blend(patches, grid, how="cut", backend="cpu").host(), device.launched


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("channels", "reverse", "levels"), [(1, False, 256), (3, True, 3)])
def test_cut_is_the_cpus(grid: PatchGrid, channels: int, reverse: bool, levels: int) -> None:
    """Bit for bit, ties too, in one launch."""
    ours, truth, launched = laid(grid, channels, reverse, levels)
    np.testing.assert_array_equal(ours, truth)
    assert launched == ["cut"]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_cut_is_the_cpus_at_any_setting(data: st.DataObject) -> None:
    patch = data.draw(st.integers(1, 22), label="patch")
    size = (data.draw(st.integers(patch, 40), label=side) for side in ("height", "width"))
    grid = PatchGrid(*size, patch, data.draw(st.integers(0, patch - 1), label="overlap"))
    ours, truth, _ = laid(grid, levels=data.draw(st.integers(1, 5), label="levels"))
    np.testing.assert_array_equal(ours, truth)


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("__syncwarp();  // until the errors are there", "", "race on|before it was written"),
        ("__syncwarp();  // until the first line of costs is there", "", "race on|before it was written"),
        ("__syncwarp();  // until the row's costs are there", "", "race on|before it was written"),
        ("__syncwarp();  // until the paths are there", "", "race on|before it was written"),
        ("came[mine + row * PATCH + column] = ", "came[mine + 2 * WARPS * CELLS + column] = ", "out of bounds: came"),
        ("int above = r ?", "int above = threadIdx.x % 2 && r ?", "race on|before it was written|divergent"),
    ],
)
def test_the_emulator_sees_planted_faults(right: str, wrong: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, cutting.SOURCE, right, wrong)
    with pytest.raises(host.KernelFault, match=told):
        laid(PatchGrid(190, 190, 64, 8))  # two patches of a wave for one warp


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("if (right < least) {", "if (right <= least) {"),
        ("if (middle < least) {", "if (middle <= least) {"),
        ("overlap + 1 : 0", "overlap : 0"),
        ("column < path[left + row] || row < path[top + column]", "column < path[left + row]"),
        ("wave / behind);", "(wave - 1) / behind);"),
    ],
)
def test_wrong_pictures_are_seen(right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, cutting.SOURCE, right, wrong)
    try:
        ours, truth, _ = laid(GRIDS[1], levels=3)
    except host.KernelFault:
        return
    assert not np.array_equal(ours, truth)


@pytest.mark.parametrize("grid", [*GRIDS, PatchGrid(250, 200)])
def test_waves_lay_patches_in_the_rasters_order(grid: PatchGrid) -> None:
    """Patches that touch are never in one wave, and in the raster's order over the waves; a block has room for it."""
    row, column = np.indices(grid.shape).reshape(2, -1)
    when, anchors = column + cutting.behind(grid) * row, grid.anchors
    for node in range(0, grid.nodes, max(1, grid.nodes // 60)):
        touching = (np.abs(anchors - anchors[node]) < grid.patch).all(axis=1)
        touching[node] = False
        before = np.arange(grid.nodes) < node
        assert (when[touching & before] < when[node]).all() and (when[touching & ~before] > when[node]).all()
    warps = cutting.warps_of(grid)
    assert 1 <= warps <= launch.MOST_WARPS and warps * cutting.shared_of(grid.patch) <= launch.STATIC_SHARED


def test_the_defaults_have_a_warp_for_every_patch_of_a_wave() -> None:
    grid, _ = catalogue.CUTS["defaults"]
    row, column = np.indices(grid.shape)
    assert cutting.warps_of(grid) == np.bincount((column + cutting.behind(grid) * row).ravel()).max() == 20
