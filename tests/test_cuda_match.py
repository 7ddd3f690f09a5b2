"""Matching in CUDA C++ on the host: equal to the CPU's kernel to the bit, at every setting, in both thread orders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idekernels import BankSettings, PatchBank, match, prepare
from idekernels.backends.cuda import catalogue, launch, matching, variants
from idekernels.backends.cuda import device as devices
from idekernels.errors import InputError
from idekernels.representations import REPRESENTATIONS
from idemodel.phantom import phantom_pairs
from tests.emulator import fakecupy, host
from tests.emulator.device import EmulatedDevice

pytestmark = pytest.mark.skipif(host.why_missing() is not None, reason=str(host.why_missing()))


OLD, NEW = (7, 5), (8, 0)  # compute capabilities: without and with tensor cores for bytes


@pytest.fixture(params=[OLD, NEW], ids=["direct", "tensor"])
def device(request: pytest.FixtureRequest) -> Iterator[EmulatedDevice]:
    made = EmulatedDevice(capability=request.param)
    with devices.use(made):
        yield made


def bank_of(images: int, size: tuple[int, int], how: BankSettings, levels: int = 256, seed: int = 0) -> PatchBank:
    numbers = np.random.default_rng(seed)
    photos = numbers.integers(0, levels, (images, *size), dtype=np.uint8)
    return PatchBank.from_images(photos, photos, settings=how)


def query_of(bank: PatchBank, photos: int, levels: int = 256, seed: int = 1) -> Any:
    images = np.random.default_rng(seed).integers(0, levels, (photos, bank.height, bank.width), dtype=np.uint8)
    return np.stack([bank.query(image) for image in images])


def shaped(monkeypatch: pytest.MonkeyPatch, **changes: int) -> None:
    """Have direct matching take another geometry than it would choose."""
    (direct,) = (variant for variant in variants.MATCHING if variant.name == "direct")
    other = replace(direct, shape=lambda *arguments: replace(variants.direct_shape(*arguments), **changes))
    monkeypatch.setattr(variants, "MATCHING", (other,))


def altered(monkeypatch: pytest.MonkeyPatch, right: str, wrong: str) -> None:
    """Plant a fault in direct matching or in the headers that it uses."""
    sound = variants.source_text
    monkeypatch.setattr(variants, "source_text", lambda files: sound(files).replace(right, wrong))
    (direct,) = (variant for variant in variants.MATCHING if variant.name == "direct")
    assert sound(direct.source).count(right) == 1


def equal(query: Any, bank: PatchBank, memory: int | None = None, **options: Any) -> None:
    """The emulated device's candidates are the CPU's."""
    found = match(query, prepare(bank, "cuda", memory), **options)
    truth = match(query, prepare(bank, "cpu"), **options)
    for name in ("distance", "image", "row", "column"):
        np.testing.assert_array_equal(getattr(found, name).get(), getattr(truth, name), err_msg=name)


@pytest.mark.parametrize(
    ("size", "how", "k"),
    [
        ((31, 27), BankSettings(8, 4, 2), 5),
        ((30, 33), BankSettings(7, 3, 3, ("intensity", "dog"), (2, 1)), 10),
        ((16, 17), BankSettings(5, 4, 3), 33),
        ((20, 21), BankSettings(6, 0, 4), 1),
        ((19, 18), BankSettings(18, 9, 1), 2),
        ((17, 16), BankSettings(1, 0, 2), 7),
        ((26, 22), BankSettings(4, 3, 0), 3),
        ((20, 18), BankSettings(8, 6, 9), 64),
    ],
)
def test_equal_to_the_cpu(device: EmulatedDevice, size: tuple[int, int], how: BankSettings, k: int) -> None:
    bank = bank_of(4, size, how)
    equal(query_of(bank, 2), bank, k=k)
    tensor = device.limits.capability == NEW and k <= launch.WARP
    assert device.launched == ["match_tensor" if tensor else "match_direct", "merge"]


@pytest.mark.parametrize("k", [5, 36])
def test_threads_in_the_other_order_give_the_same(device: EmulatedDevice, k: int) -> None:
    device.reverse = True
    bank = bank_of(4, (31, 27), BankSettings(8, 4, 2))
    equal(query_of(bank, 2), bank, k=k)


def test_all_planes_there_are(device: EmulatedDevice) -> None:
    weights = tuple(range(1, len(REPRESENTATIONS) + 1))
    bank = bank_of(2, (20, 23), BankSettings(6, 3, 2, tuple(REPRESENTATIONS), weights))
    equal(query_of(bank, 1), bank, k=4)


def test_ties_go_to_the_lowest_place(device: EmulatedDevice) -> None:
    """Images of two levels: most distances are shared by many places."""
    bank = bank_of(5, (21, 19), BankSettings(4, 2, 3), levels=2)
    equal(query_of(bank, 2, levels=2), bank, k=40)


def test_excluded_images(device: EmulatedDevice) -> None:
    bank = bank_of(4, (24, 21), BankSettings(6, 3, 2))
    query = np.concatenate([bank.source(0, 2), query_of(bank, 1)])
    equal(query, bank, k=6, exclude=np.array([[0, 3], [1, -1], [-1, -1]]))


def test_a_banked_photo_finds_itself(device: EmulatedDevice) -> None:
    bank = bank_of(3, (23, 22), BankSettings(6, 3, 2))
    found = match(bank.source(1, 2), prepare(bank, "cuda"), k=1)
    assert (found.distance.get() == 0).all() and (found.image.get() == 1).all()


@pytest.mark.parametrize("memory", [0, 24 * 24 * 8, 10**9])
def test_a_streamed_bank_gives_the_resident_ones_candidates(device: EmulatedDevice, memory: int) -> None:
    bank = bank_of(7, (23, 22), BankSettings(6, 3, 2))
    equal(query_of(bank, 1), bank, memory, k=5, exclude=np.array([4]))


def test_too_little_memory_means_smaller_blocks_then_one_clear_line() -> None:
    bank = bank_of(7, (23, 22), BankSettings(6, 3, 2))
    small = EmulatedDevice(memory=2 * 2 * 23 * 24)
    with devices.use(small):
        equal(query_of(bank, 1), bank, 7000, k=5)  # 7000 bytes would be blocks of three images; two fit
    assert small.launched.count("merge") == 4
    with (
        devices.use(EmulatedDevice(memory=500)),
        pytest.raises(InputError, match=r"no room for two source images.* 1104 bytes asked for, 500 free; take fewer"),
    ):
        match(query_of(bank, 1), prepare(bank, "cuda"), k=5)


def test_a_resident_bank_that_does_not_fit_after_all_is_streamed() -> None:
    bank = bank_of(200, (23, 22), BankSettings(6, 3, 2))
    fakecupy.limit.append(110_000)  # bytes of one allocation; the bank has 110,400
    try:
        device = EmulatedDevice(memory=400_000)  # blocks of 90 images
        with devices.use(device):
            equal(query_of(bank, 1), bank, k=5)
        assert device.launched.count("merge") == 3
    finally:
        fakecupy.limit.pop()


def test_too_large_a_k(device: EmulatedDevice) -> None:
    bank = bank_of(7, (23, 22), BankSettings(6, 3, 4))
    with pytest.raises(ValueError, match="keeps 64 at most"):
        match(query_of(bank, 1), prepare(bank, "cuda"), k=65)


@pytest.mark.parametrize(
    "changes",
    [
        {"tiled": False},
        {"band": 1},
        {"band": 3},
        {"columns": 1, "rows": 1},
        {"columns": 2, "images": 1},
        {"rows": 3, "images": 5},
    ],
)
def test_every_geometry_gives_the_same(monkeypatch: pytest.MonkeyPatch, changes: dict[str, int]) -> None:
    shaped(monkeypatch, **changes)
    bank = bank_of(5, (29, 26), BankSettings(7, 3, 2, ("intensity", "lbp"), (1, 2)))
    with devices.use(EmulatedDevice()):
        equal(query_of(bank, 1), bank, k=6)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_setting(data: st.DataObject) -> None:
    patch = data.draw(st.integers(1, 13), label="patch")
    how = BankSettings(
        patch, data.draw(st.integers(0, patch - 1), label="overlap"), data.draw(st.integers(0, 6), label="radius")
    )
    size = tuple(data.draw(st.integers(patch, patch + 14), label=side) for side in ("height", "width"))
    bank = bank_of(data.draw(st.integers(2, 4), label="images"), (size[0], size[1]), how, seed=patch)
    with devices.use(EmulatedDevice(reverse=data.draw(st.booleans(), label="reverse"), capability=OLD)):
        equal(query_of(bank, 1), bank, k=data.draw(st.integers(1, 2), label="k"))


@pytest.mark.slow
def test_a_whole_photo(device: EmulatedDevice) -> None:
    """250 x 200, the defaults, three phantom faces in the bank."""
    pairs = list(phantom_pairs(4, seed=5))
    bank = PatchBank.from_images([pair.photo for pair in pairs[:3]], [pair.sketch for pair in pairs[:3]])
    equal(np.stack([bank.query(pairs[3].photo)]), bank)


FAULTS = {
    "a barrier removed": (
        "__syncthreads();  // until every warp has used the last tile",
        ";",
        "race on shared memory: tile",
    ),
    "a barrier for some": (
        "__syncthreads();  // until every warp has used the last tile",
        "if (threadIdx.x < 7 || band > -RADIUS || first > begin) __syncthreads();",
        "divergent barrier",
    ),
    "a wrong index": ("tile[at + word + 1], 8", "tile[at + word + TILE], 8", "out of bounds: tile"),
    "a race": ("ends[row] = last", "ends[row / 2] = last", "race on shared memory: ends"),
    "half a warp at a shuffle": (
        "worst = __shfl_sync(FULL, distance[SLOTS - 1]",
        "if (lane < 16) worst = __shfl_sync(FULL, distance[SLOTS - 1]",
        "divergent warp",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_emulator_sees_planted_faults(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right, wrong, told = FAULTS[fault]
    altered(monkeypatch, right, wrong)
    shaped(monkeypatch, images=1)
    bank = bank_of(8, (40, 41), BankSettings(8, 4, 2))
    with devices.use(EmulatedDevice(multiprocessors=1)), pytest.raises(host.KernelFault, match=told):
        match(query_of(bank, 1), prepare(bank, "cuda"), k=5)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("dx + shift <= RADIUS", "dx + shift < RADIUS"),
        ("&& where < worst_place", "&& where > worst_place"),
        ("theirs &= TAIL", "theirs &= FULL"),
        ("run[shift] = 0;\n                        }\n                    }", "}\n                    }"),
    ],
)
def test_wrong_results_are_seen(right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutations that break no rule of CUDA change the candidates, and the comparison with the CPU says so."""
    altered(monkeypatch, right, wrong)
    bank = bank_of(4, (22, 21), BankSettings(3, 1, 2), levels=2)
    with devices.use(EmulatedDevice(capability=OLD)), pytest.raises(AssertionError):
        equal(query_of(bank, 1, levels=2), bank, k=20)


def test_geometry_stays_within_the_device() -> None:
    for rows, k in ((10, 10), (10, 64), (3, 1), (16, 20), (100, 10)):
        for radius in (0, 5, 60):
            grid = bank_of(1, (250, 200), BankSettings(rows, rows // 2, radius)).grid()
            problem = variants.MatchProblem(grid, radius, (1,) * 8, k, 1, 1)
            shape = variants.direct_shape(problem, EmulatedDevice.limits)
            assert shape.shared() <= launch.STATIC_SHARED and shape.threads <= 1024


def test_the_geometry_says_what_the_kernel_declares() -> None:
    """The shared memory that the geometry plans with is the one that the kernel takes; read off its constants."""
    text = Path(variants.__file__).with_name("match_direct.cu").read_text()
    for declared in ("ends, SPAN)", "tile, IMAGES * PLANES * TILE)", "own, COLUMNS * PLANES * SPAN * WORDS)"):
        assert f"SHARED(uint32, {declared}" in text


# ---- merging


def lists(numbers: np.random.Generator, shape: tuple[int, ...], places: Any, kind: Any) -> tuple[Any, Any]:
    """Random lists (..., K), ascending by (distance, place): few distances, so that most are ties; some end empty."""
    distance = numbers.integers(0, 4, shape).astype(np.uint32)
    distance[numbers.random(shape) < 0.2] = launch.WORST
    place = numbers.permuted(np.broadcast_to(places, (*shape[:-1], len(places))), axis=-1)[..., : shape[-1]]
    order = np.lexsort((place, distance))
    return np.take_along_axis(distance, order, -1), np.take_along_axis(place, order, -1).astype(kind)


def merged(parts: list[tuple[Any, Any]], k: int) -> tuple[Any, Any]:
    """The K least (distance, place) of the lists of every query, in NumPy."""
    distance, place = (np.concatenate([part[side] for part in parts], axis=-1) for side in range(2))
    order = np.lexsort((place, distance))[..., :k]
    return np.take_along_axis(distance, order, -1), np.take_along_axis(place, order, -1)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("k", "splits"), [(1, 3), (10, 2), (33, 4), (64, 1), (64, 3)])
def test_merging_equals_a_plain_merge(k: int, splits: int, reverse: bool) -> None:
    """Ties between the lists, empty entries and whole lists, places beyond 32 bits; before and behind others."""
    numbers, queries, size = np.random.default_rng(k), (2, 3), (7, 2**20)
    first = 1234
    origin = first * size[0] * size[1]
    running = lists(numbers, (*queries, k), np.arange(2 * k) + origin - k, np.int64)
    found = lists(numbers, (splits, *queries, k), np.arange(k, 4 * k), np.uint32)
    found[0][0, 0, 0] = running[0][1, 1] = launch.WORST
    found[0][:, 1, 2] = running[0][1, 2] = launch.WORST
    theirs = [(found[0][split], found[1][split].astype(np.int64) + origin) for split in range(splits)]
    device = EmulatedDevice(reverse=reverse)
    for begun in (True, False):
        distance, place = merged([running, *theirs] if begun else theirs, k)
        axes = np.unravel_index(running[1], (2 * first, *size)) if begun else [np.full((*queries, k), 99)] * 3
        lists_ = [fakecupy.asarray(part) for part in (running[0].copy(), *(axis.astype(np.int32) for axis in axes))]
        matching.merge(device, fakecupy.asarray(np.stack(found)), first, size, begun, lists_)
        np.testing.assert_array_equal(lists_[0].get(), distance)
        empty = distance == launch.WORST
        assert empty.any() and not empty.all()
        expected = np.unravel_index(np.where(empty, 0, place), (2 * first, *size))
        for ours, axis in zip(lists_[1:], expected, strict=True):
            np.testing.assert_array_equal(ours.get(), np.where(empty, -1, axis))


# ---- the table of variants

BACKWARDS = """
// Matching the slow way, a warp a node: lane l takes places l, l + 32, ... of all images, last image first.
extern "C" __global__ void match_backwards(const uint8* query, const uint8* bank, const uint8* barred, const int* rows,
                                           const int* columns, int images, int across, int nodes, uint32* distances,
                                           uint32* places) {
    const int node = blockIdx.x, photo = blockIdx.y, lane = threadIdx.x;
    const int top = rows[node / across], left = columns[node % across];
    Nearest<uint32> nearest;
    nearest.clear();
    const int side = 2 * RADIUS + 1, jobs = images * side * side;
    for (int start = 0; start < jobs; start += LANES) {
        const int job = min(start + lane, jobs - 1);
        const int image = images - 1 - job / (side * side);
        const int y = top + job / side % side - RADIUS, x = left + job % side - RADIUS;
        const bool good = start + lane < jobs && y >= 0 && y <= HEIGHT - PATCH && x >= 0 && x <= WIDTH - PATCH &&
                          !barred[photo * images + image];
        uint32 found = 0;
        for (int cell = 0; good && cell < PATCH * PATCH; ++cell) {
            const int row = cell / PATCH, column = cell % PATCH;
            const int apart = bank[(image * HEIGHT + y + row) * PITCH + x + column] -
                              query[(photo * HEIGHT + top + row) * PITCH + left + column];
            found += (uint32)(apart * apart);
        }
        nearest.offer(good, found, (uint32)((image * HEIGHT + y) * WIDTH + x));
    }
    for (int slot = 0; slot < SLOTS; ++slot) {
        const int entry = slot * LANES + lane;
        if (entry < KEPT) {
            distances[((int64)photo * nodes + node) * KEPT + entry] = nearest.distance[slot];
            places[((int64)photo * nodes + node) * KEPT + entry] = nearest.place[slot];
        }
    }
}
"""


@dataclass(frozen=True)
class BackwardsShape:
    """A geometry, macros and arguments unlike those of the variant that is there."""

    problem: variants.MatchProblem
    threads: int = launch.WARP

    def options(self) -> tuple[str, ...]:
        grid = self.problem.grid
        return launch.compiler_options(
            PATCH=grid.patch, RADIUS=self.problem.radius, KEPT=self.problem.kept, HEIGHT=grid.height, WIDTH=grid.width,
            PITCH=launch.pitch(grid.width),
        )  # fmt: skip

    def shared(self) -> int:
        return 0

    def splits(self, photos: int, images: int, limits: launch.Limits) -> int:
        return 1

    def blocks(self, photos: int, splits: int) -> tuple[int, int, int]:
        return self.problem.grid.nodes, photos, 1

    def arguments(self, search: variants.Search) -> tuple[Any, ...]:
        return (
            search.query, search.bank, search.barred, search.rows, search.columns, np.int32(len(search.bank)),
            np.int32(len(search.columns)), np.int32(self.problem.grid.nodes), search.distances, search.places,
        )  # fmt: skip


@pytest.fixture
def backwards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> variants.Variant:
    """A second row of the table, before the one that is there: for at most two photos of one plane, from sm_80 on."""
    written = tmp_path / "match_backwards.cu"
    written.write_text(BACKWARDS)
    made = variants.Variant(
        "backwards",
        ("common.cuh", "nearest.cuh", str(written)),
        lambda problem, limits: BackwardsShape(problem),
        lambda problem, limits: (
            problem.weights == (1,) and problem.photos <= 2 and problem.kept <= 40 and limits.capability >= (8, 0)
        ),
    )
    monkeypatch.setattr(variants, "MATCHING", (made, *variants.MATCHING))
    return made


@pytest.mark.parametrize(
    ("photos", "k", "planes", "capability", "kernel"),
    [
        (2, 5, 1, (8, 0), "match_backwards"),
        (1, 36, 1, (9, 0), "match_backwards"),
        (3, 5, 1, (8, 0), "match_tensor"),
        (2, 41, 1, (8, 0), "match_direct"),
        (2, 5, 2, (8, 0), "match_tensor"),
        (2, 5, 1, (7, 5), "match_direct"),
    ],
)
def test_the_first_variant_that_fits_is_launched(
    backwards: variants.Variant, photos: int, k: int, planes: int, capability: tuple[int, int], kernel: str
) -> None:
    """By batch, settings and capability; nothing but its row in the table tells matching of it."""
    how = BankSettings(6, 3, 2, ("intensity", "dog")[:planes], (1,) * planes)
    bank = bank_of(6, (17, 15), how)
    device = EmulatedDevice(capability=capability)
    with devices.use(device):
        equal(query_of(bank, photos), bank, k=k, exclude=np.arange(photos))
        equal(query_of(bank, photos), bank, 2 * 4 * 17 * 16, k=k)  # streamed
    assert set(device.launched) == {kernel, "merge"}


def test_a_device_without_a_variant_is_told() -> None:
    bank = bank_of(2, (17, 15), BankSettings(6, 3, 2))
    device = EmulatedDevice()
    device.limits = replace(device.limits, name="GTX 980", capability=(5, 2))
    with devices.use(device), pytest.raises(InputError, match=r"no matching kernel for GTX 980 .*5\.2.* backend cpu"):
        match(query_of(bank, 1), prepare(bank, "cuda"), k=5)


@pytest.mark.parametrize("variant", variants.MATCHING, ids=lambda variant: variant.name)
def test_every_variant_is_where_it_has_to_be(variant: variants.Variant) -> None:
    """Its files, its kernel, its budget and settings that it is compiled for."""
    assert host.kernels_of(variants.source_text(variant.source)) == [variant.kernel]
    compiled = [entry for at in (75, 90) for entry in catalogue.cuda_entries(at) if entry.kernel == variant.kernel]
    assert compiled and all(entry.registers == catalogue.MATCH_REGISTERS[variant.name] for entry in compiled)
    assert f"match_{variant.name}.cu" in variant.source


def test_the_last_variant_takes_every_setting() -> None:
    for problem in catalogue.PROBLEMS.values():
        assert variants.MATCHING[-1].fits(problem, catalogue.limits_of(75))


def test_messages_name_the_file_and_its_line() -> None:
    text = variants.source_text(variants.MERGE_SOURCE)
    files = [line.split('"')[1] for line in text.splitlines() if line.startswith("#line 1 ")]
    assert files == [*variants.MERGE_SOURCE]
    written = Path(variants.__file__).with_name("merge.cu").read_text().splitlines()
    (line,) = (number for number, code in enumerate(written, 1) if "const int lane" in code)
    with pytest.raises(AssertionError, match=rf"merge\.cu:{line}:.*nonsense"):
        host.HostModule(text.replace("const int lane = threadIdx.x, query", "nonsense"), variants.merge_options(3))


def test_the_emulator_takes_no_argument_of_another_size() -> None:
    """An int where the kernel takes an int64 would be read with four bytes of something else on a device."""
    module = host.HostModule(variants.source_text(variants.MERGE_SOURCE), variants.merge_options(1))
    words, axes = np.zeros((1, 1), np.uint32), [np.zeros((1, 1), np.int32)] * 3
    arguments = (words, words, *map(np.int32, (1, 1, 0, 1, 1, 0)), words, *axes)
    with pytest.raises(host.KernelFault, match="argument 4 has 8 bytes, the kernel takes 4"):
        module.launch("merge", (1, 1, 1), 32, (*arguments[:4], np.int64(0), *arguments[5:]))
    with pytest.raises(host.KernelFault, match="11 arguments given, the kernel takes 12"):
        module.launch("merge", (1, 1, 1), 32, arguments[:11])
