"""Matching on tensor cores, on the host: products by the documented layout; at any setting the CPU's lists."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idekernels import BankSettings, PatchBank, match, prepare
from idekernels.backends.cuda import catalogue, launch, variants
from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda.variants import MatchProblem, TensorShape
from idekernels.grid import PatchGrid
from idekernels.representations import REPRESENTATIONS
from tests.emulator import host
from tests.emulator.device import EmulatedDevice
from tests.test_cuda_match import bank_of, equal, query_of

pytestmark = pytest.mark.skipif(host.why_missing() is not None, reason=str(host.why_missing()))

PRODUCT = """
extern "C" __global__ void one_product(const uint8* a, const uint8* b, const int* start, int* out) {
    const int lane = threadIdx.x, group = lane / 4, member = lane % 4;
    uint32 of_a[4] = {}, of_b[2] = {};
    for (int i = 0; i < 16; ++i) {
        const int row = i % 8 < 4 ? group : group + 8, column = 4 * member + i % 4 + (i < 8 ? 0 : 16);
        of_a[i / 4] |= (uint32)a[row * 32 + column] << 8 * (i % 4);
    }
    for (int i = 0; i < 8; ++i) {
        const int row = 4 * member + i % 4 + (i < 4 ? 0 : 16);
        of_b[i / 4] |= (uint32)b[row * 8 + group] << 8 * (i % 4);
    }
    int sums[4];
    for (int i = 0; i < 4; ++i) sums[i] = start[(i < 2 ? group : group + 8) * 8 + 2 * member + i % 2];
    multiply_bytes(sums, of_a, of_b);
    multiply_bytes(sums, of_a, of_b);
    for (int i = 0; i < 4; ++i) out[(i < 2 ? group : group + 8) * 8 + 2 * member + i % 2] = sums[i];
}
"""


@pytest.mark.parametrize("reverse", [False, True])
def test_a_product_is_the_plain_one(reverse: bool) -> None:
    """Elements put where the PTX ISA has them ("Matrix Fragments for mma.m16n8k32"), and once more onto the sum."""
    numbers = np.random.default_rng(0)
    a, b = (numbers.integers(0, 256, size, dtype=np.uint8) for size in ((16, 32), (32, 8)))
    a[0] = b[:, 0] = 255
    start = numbers.integers(-(2**30), 2**30, (16, 8), dtype=np.int32)
    out = np.zeros((16, 8), np.int32)
    source = variants.source_text(("common.cuh", "tensor.cuh")) + PRODUCT
    host.HostModule(source, launch.compiler_options(), reverse).launch("one_product", (1, 1, 1), 32, (a, b, start, out))
    np.testing.assert_array_equal(out, start + 2 * (a.astype(np.int32) @ b.astype(np.int32)))


def test_half_a_warp_cannot_multiply() -> None:
    source = variants.source_text(("common.cuh", "tensor.cuh")) + PRODUCT.replace(
        "    multiply_bytes(sums, of_a, of_b);", "    if (lane < 16) multiply_bytes(sums, of_a, of_b);", 1
    )
    given = (
        np.zeros((16, 32), np.uint8),
        np.zeros((32, 8), np.uint8),
        np.zeros(128, np.int32),
        np.zeros(128, np.int32),
    )
    with pytest.raises(host.KernelFault, match="divergent warp"):
        host.HostModule(source, launch.compiler_options()).launch("one_product", (1, 1, 1), 32, given)


@st.composite
def problems(draw: st.DrawFn) -> tuple[tuple[int, int], BankSettings, int, int, int]:
    """Size, settings of a bank, its images, photos, K."""
    patch = draw(st.integers(1, 17), label="patch")
    planes = draw(st.integers(1, 4 if patch <= 8 else 2), label="planes")
    weights = tuple(draw(st.integers(1, 5), label="weight") for _ in range(planes))
    overlap, radius = draw(st.integers(0, patch - 1), label="overlap"), draw(st.integers(0, 6), label="radius")
    how = BankSettings(patch, overlap, radius, tuple(REPRESENTATIONS)[:planes], weights)
    size = tuple(draw(st.integers(patch, patch + 11), label=side) for side in ("height", "width"))
    photos = draw(st.sampled_from((1, 2, 7, 9, 17)), label="photos")
    return (size[0], size[1]), how, draw(st.integers(2, 6), label="images"), photos, draw(st.integers(1, 32), label="k")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_setting(data: st.DataObject) -> None:
    """Barred images, ties, runs of the bank, blocks of it that are streamed, threads in either order."""
    size, how, images, photos, k = data.draw(problems())
    levels = data.draw(st.sampled_from((2, 256)), label="levels")
    bank = bank_of(images, size, how, levels, seed=k)
    grid = bank.grid()
    down, across = grid.positions(how.radius)
    k = min(k, (images - 1) * int(down.min()) * int(across.min()))
    problem = MatchProblem(grid, how.radius, bank.weights, k, photos, images)
    device = EmulatedDevice(
        reverse=data.draw(st.booleans(), label="reverse"),
        multiprocessors=data.draw(st.sampled_from((1, 60)), label="multiprocessors"),
    )
    barred = data.draw(st.lists(st.integers(-1, images - 1), min_size=photos, max_size=photos), label="barred")
    streamed = data.draw(st.sampled_from((None, 0)), label="memory")
    with devices.use(device):
        equal(query_of(bank, photos, levels), bank, streamed, k=k, exclude=np.array(barred)[:, None])
    fits = variants._tensor_fits(problem, device.limits)
    assert set(device.launched) == {"match_tensor" if fits else "match_direct", "merge"}


@pytest.mark.parametrize("photos", [2, 8, 9, 70])
def test_batches_of_every_size(photos: int) -> None:
    """Seventy photos are three blocks of photos, the last nearly empty."""
    bank = bank_of(3, (23, 22), BankSettings(6, 3, 2))
    device = EmulatedDevice()
    with devices.use(device):
        equal(query_of(bank, photos), bank, k=5, exclude=np.arange(photos) % 3)
    assert device.launched == ["match_tensor", "merge"]


def test_every_plane_that_fits() -> None:
    """Five planes of weights that differ; the largest sums that are allowed."""
    how = BankSettings(6, 3, 2, tuple(REPRESENTATIONS)[:5], (1, 2, 3, 2, 221))
    bank = bank_of(2, (20, 23), how)
    device = EmulatedDevice()
    with devices.use(device):
        equal(query_of(bank, 2), bank, k=4)
        assert device.launched[0] == "match_tensor"
        how = BankSettings(6, 3, 2, tuple(REPRESENTATIONS)[:5], (1, 2, 3, 2, 222))  # 230 * 36 * 255^2 is above 2^29
        equal(query_of(bank, 2), bank_of(2, (20, 23), how), k=4)
    assert device.launched[2] == "match_direct"


def test_black_against_white() -> None:
    """The farthest that patches can be apart, and the nearest."""
    bank = bank_of(2, (26, 24), BankSettings(10, 5, 3))
    bank.source(0, 2)[...] = 0
    with devices.use(EmulatedDevice()):
        for level in (0, 255):
            equal(np.full_like(bank.source(0, 2), level), bank, k=32)


def flat(images: int, photos: int) -> tuple[Any, Any]:
    """A bank and photos that are white but for a corner, as phantoms, paper and blurred walls are."""
    numbers, size = np.random.default_rng(5), (26, 24)
    levels = np.full((images + photos, *size), 255, np.uint8)
    levels[:, :6, :6] = numbers.integers(0, 256, (images + photos, 6, 6))
    bank = PatchBank.from_images(levels[:images], levels[:images], settings=BankSettings(6, 3, 2))
    return bank, np.stack([bank.query(level) for level in levels[images:]])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("k", "levels"), [(1, 2), (7, 1), (10, 3), (32, 2)])
def test_ties_go_to_the_lowest_place(k: int, levels: int, reverse: bool) -> None:
    """One level: all distances are one; two or three: most are shared; barred images; runs of images, merged."""
    bank = bank_of(7, (13, 12), BankSettings(4, 2, 2), levels)
    query, barred = query_of(bank, 9, levels), np.arange(9)[:, None] % 8 - 1
    for multiprocessors in (1, 60):
        with devices.use(EmulatedDevice(reverse=reverse, multiprocessors=multiprocessors)):
            equal(query, bank, k=k, exclude=barred)


def test_flat_pictures_with_a_corner() -> None:
    bank, query = flat(9, 3)
    with devices.use(EmulatedDevice()):
        equal(query, bank, k=10, exclude=np.array([[0, 8], [3, -1], [-1, -1]]))


@pytest.mark.parametrize(("limit", "told"), [("limit", None), ("limit + 1", "too many")])
def test_where_all_places_are_alike_a_full_list_takes_no_more(
    limit: str, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first 80 or fewer of 225 places wait, until a list is full; all would if one as far as its last entry did."""
    bank = bank_of(9, (20, 19), BankSettings(4, 2, 2), levels=1)
    query, device = query_of(bank, 2, levels=1), EmulatedDevice(multiprocessors=1)
    shape = variants.tensor_shape(MatchProblem(bank.grid(), 2, (1,), 8, 2, 9), device.limits)
    most = 2 * 80 * int(np.prod(shape.blocks(2, shape.splits(2, 9, device.limits)))) * shape.down * shape.across
    waits = "waiting += __popc(entering);"
    counted = f'static int all; if (lane == 0 && (all += __popc(entering)) > {most}) emulator::fail("too many");'
    planted(monkeypatch, waits, f"{waits} {counted}")
    planted(monkeypatch, "set_limit(column, limit);", f"set_limit(column, {limit});")
    with devices.use(device), pytest.raises(host.KernelFault, match=told) if told else nullcontext():
        equal(query, bank, k=8)


def kernel() -> variants.Variant:
    (tensor,) = (variant for variant in variants.MATCHING if variant.name == "tensor")
    return tensor


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("__syncthreads();  // until every warp has used the last tile", ";", "race on shared memory"),
        ("__syncthreads();  // until the tile is there", ";", r"race on shared memory|read before it was written"),
        ("__syncthreads();  // until the squares are there", ";", r"race on shared memory|read before it was written"),
        ("word << 2 :", "(word + IMAGES * IMAGE_TILE) << 2 :", "out of bounds: tile"),
        ("? 4 * (tap % PATCH * ROW", "? 3 * (tap % PATCH * ROW", "misaligned shared memory: byte"),
        ("__syncwarp();  // until all lists are read", "", "race on shared memory: lists"),
        ("__syncwarp();  // until they are written", "", "race on shared memory: lists"),
        ("entry < next &&", "", "race on shared memory: lists"),
        ("less += theirs < key", "less += 0", "race on shared memory: lists"),
        ("if (any && turn == now) insert", "if (any && now == 0) insert", "race on shared memory: l"),
        ("insert(column, key);\n                    __syncwarp();", "insert(column, key);", "race on shared memory: l"),
        (
            "__syncwarp();\n#pragma unroll 1\n        for (int start = 0; start < waiting",
            "for (int start = 0; start < waiting",
            "race on shared memory: queue",
        ),
        ("waiting > ROOM", "waiting > QUEUE", "out of bounds: queue"),
    ],
)
def test_the_emulator_sees_planted_faults(right: str, wrong: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, right, wrong)
    bank = bank_of(8, (40, 41), BankSettings(8, 4, 2))
    with devices.use(EmulatedDevice(multiprocessors=1)), pytest.raises(host.KernelFault, match=told):
        match(
            query_of(bank, 40 if "ROOM" in right else 3),
            prepare(bank, "cuda"),
            k=17 if "ROOM" in right or "insert" in right else 5,
        )


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("((uint32)first * (SIDE * SIDE) + number)", "number"),
        ("(uint32)((limit + 1) >> 1)", "(uint32)(limit >> 1)"),
        ("level & TAIL : level", "level : level"),
        ("if (bars >> image & 1u)", "if (false)"),
        ("? OPEN : NOBODY", "? 0 : NOBODY"),
        ("sum += row_square(y + PATCH) - row_square(y)", "sum += row_square(y + PATCH)"),
        ("8 * half + g", "4 * half + g"),
    ],
)
def test_wrong_results_are_seen(right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutations that break no rule of CUDA change the candidates, and the comparison with the CPU says so."""
    planted(monkeypatch, right, wrong)
    bank = bank_of(4, (14, 15), BankSettings(3, 1, 2), levels=2)
    with devices.use(EmulatedDevice(reverse=True)), pytest.raises(AssertionError):
        equal(query_of(bank, 2, levels=2), bank, k=20, exclude=np.arange(2))


@pytest.mark.parametrize(
    ("right", "wrong", "levels"),
    [
        ("min(bound, OPEN - 1) + 1", "min(bound, OPEN - 1)", 1),
        (
            "less[0] < KEPT ? least[side] : NOBODY, less[1] < KEPT ?",
            "less[0] < 2 ? least[side] : NOBODY, less[1] < 2 ?",
            256,
        ),
        ("if ((bars >> low | bars >> high) & 1u) continue;", "", 256),
        ("before += lists[at + entry * COLUMNS] < key", "before += lists[at + entry * COLUMNS] >> 32 < key >> 32", 2),
    ],
)
def test_wrong_first_limits_and_lists_are_seen(
    right: str, wrong: str, levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First limits of all places, for photos that must not use most images."""
    shaped = replace(kernel(), shape=lambda *given: replace(variants.tensor_shape(*given), sample=1))
    monkeypatch.setattr(variants, "MATCHING", (shaped,))
    monkeypatch.setattr(variants, "_MOST_RUNS", 1)
    bank = bank_of(9, (14, 15), BankSettings(3, 1, 2), levels)
    query, barred = query_of(bank, 3, levels), np.array([[*range(7)], [*range(2, 9)], [-1] * 7])
    barred = barred if "bars" in right else None
    with devices.use(EmulatedDevice()):
        equal(query, bank, k=10, exclude=barred)
        planted(monkeypatch, right, wrong)
        with pytest.raises(AssertionError):
            equal(query, bank, k=10, exclude=barred)


def planted(monkeypatch: pytest.MonkeyPatch, right: str, wrong: str) -> None:
    sound = variants.source_text
    assert sound(kernel().source).count(right) == 1
    monkeypatch.setattr(variants, "source_text", lambda files: sound(files).replace(right, wrong))


# ---- geometry


def shape_of(patch: int = 10, overlap: int = 5, radius: int = 5, **changes: Any) -> TensorShape:
    grid = PatchGrid(250, 200, patch, overlap)
    given = {"grid": grid, "radius": radius, "weights": (1,), "kept": 10, "photos": 64, "images": 88, **changes}
    return variants.tensor_shape(MatchProblem(**given), catalogue.limits_of(90))


@given(
    patch=st.integers(1, 40), radius=st.integers(0, 20), kept=st.integers(1, 32), photos=st.integers(1, 300),
    planes=st.integers(1, 8), data=st.data(),
)  # fmt: skip
def test_every_shape_stays_within_the_device(
    patch: int, radius: int, kept: int, photos: int, planes: int, data: st.DataObject
) -> None:
    grid = PatchGrid(250, 200, patch, data.draw(st.integers(0, patch - 1)))
    problem = MatchProblem(grid, radius, (1,) * planes, kept, photos, 88)
    limits = catalogue.limits_of(80)
    if not variants._tensor_fits(problem, limits):
        return
    shape = variants.tensor_shape(problem, limits)
    assert shape.shared() <= limits.shared and shape.threads <= 128
    apart = (shape.row % 4 == 2 and shape.version % 32 == 8) or (shape.row % 16 == 8 and shape.version % 4 == 2)
    assert apart  # no two of a tap's words in one bank of shared memory
    assert shape.version >= (shape.tall + patch - 1) * shape.row
    assert 4 * shape.row >= shape.wide + 2 + 4 * -(-patch // 4) - 3
    assert 4 * max(shape.places, shape.images * planes * 4 * shape.version) < 2**16  # bytes, in halves of a word
    splits = shape.splits(photos, 88, limits)
    down, across = grid.shape
    nodes, batches, runs = shape.blocks(photos, splits)
    assert nodes * shape.down * shape.across >= down * across and batches * shape.photos >= photos and runs == splits


def test_banks_of_shared_memory_are_met_once() -> None:
    """Eight places beside each other and four rows: 32 words in 32 banks from a whole word on, nearly so elsewhere."""
    for patch, overlap, radius in ((10, 5, 5), (8, 4, 3), (16, 8, 7)):
        shape = shape_of(patch, overlap, radius)
        for first in range(8):
            places = [(first + g) % 4 * shape.version + (first + g) // 4 for g in range(8)]
            words = {(place + t * shape.row) % 32 for place in places for t in range(4)}
            assert len(words) == 32 if first % 4 == 0 else len(words) >= 26


def test_the_defaults_take_thirty_two_photos_and_four_nodes() -> None:
    shape = shape_of()
    assert (shape.groups, shape.down, shape.across, shape.images, shape.steps) == (4, 2, 2, 3, 4)
    assert shape_of(photos=3).groups == 1 and shape_of(photos=9).groups == 2 and shape_of(photos=256).groups == 4
    assert shape_of(weights=(2, 2, 2, 1)).groups == 2


def test_a_shape_that_there_is_not_is_told() -> None:
    with pytest.raises(ValueError, match="the variant tensor does not fit"):
        shape_of(patch=100)


@pytest.mark.parametrize(
    "changes", [{"kept": 33}, {"weights": (100,)}, {"grid": PatchGrid(250, 200, 100, 50)}, {"weights": (1,) * 8}]
)
def test_what_does_not_fit_is_left_to_direct(changes: dict[str, Any]) -> None:
    problem = MatchProblem(PatchGrid(250, 200), 5, (1,), 10, 64, 88)
    limits = catalogue.limits_of(90)
    assert variants.choose(problem, limits).name == "tensor"
    assert variants.choose(problem, replace(limits, capability=(7, 5))).name == "direct"
    taken = variants.choose(replace(problem, **changes), limits).name
    assert taken == ("tensor" if changes == {"weights": (1,) * 8} else "direct")


def test_a_large_window_of_a_small_image_is_left_to_direct() -> None:
    """More numbers than places: they might not fit into 32 bits where places do."""
    problem = MatchProblem(PatchGrid(20, 18, 8, 6), 10, (1,), 10, 2, 4)
    assert variants.choose(problem, catalogue.limits_of(90)).name == "direct"


def test_the_geometry_says_what_the_kernel_declares() -> None:
    text = Path(variants.__file__).with_name("match_tensor.cu").read_text()
    for declared in (
        "(uint32, tile, IMAGES * IMAGE_TILE", "(int, squares, PLACES + 1", "(uint32, jobs, WARPS * (JOBS + 1)",
        "(uint64, lists, WARPS * DEPTH * COLUMNS", "(uint64, queue, WARPS * QUEUE", "(int, limits, WARPS * COLUMNS",
        "_QUADS(starts, WARPS * 2 * COLUMNS",
    ):  # fmt: skip
        assert f"SHARED{declared})" in text
