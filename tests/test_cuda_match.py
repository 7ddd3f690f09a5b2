"""match.cu on the host: equal to the CPU's kernel to the bit, at every setting and in both orders of its threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idekernels import BankSettings, PatchBank, match, prepare
from idekernels.backends.cuda import device as devices
from idekernels.backends.cuda import launch, matching
from idekernels.errors import InputError
from idekernels.representations import REPRESENTATIONS
from idemodel.phantom import phantom_pairs
from tests.emulator import fakecupy, host
from tests.emulator.device import EmulatedDevice

pytestmark = pytest.mark.skipif(host.why_missing() is not None, reason=str(host.why_missing()))


@pytest.fixture
def device() -> Iterator[EmulatedDevice]:
    made = EmulatedDevice()
    with devices.use(made):
        yield made


def bank_of(images: int, size: tuple[int, int], how: BankSettings, levels: int = 256, seed: int = 0) -> PatchBank:
    numbers = np.random.default_rng(seed)
    photos = numbers.integers(0, levels, (images, *size), dtype=np.uint8)
    return PatchBank.from_images(photos, photos, settings=how)


def query_of(bank: PatchBank, photos: int, levels: int = 256, seed: int = 1) -> Any:
    images = np.random.default_rng(seed).integers(0, levels, (photos, bank.height, bank.width), dtype=np.uint8)
    return np.stack([bank.query(image) for image in images])


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
    assert device.launched == ["match", "merge"]


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
    assert small.launched.count("match") == 4
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
        assert device.launched.count("match") == 3
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
    chosen = launch.match_shape
    monkeypatch.setattr(launch, "match_shape", lambda *arguments: replace(chosen(*arguments), **changes))
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
    with devices.use(EmulatedDevice(reverse=data.draw(st.booleans(), label="reverse"))):
        equal(query_of(bank, 1), bank, k=data.draw(st.integers(1, 2), label="k"))


@pytest.mark.slow
def test_a_whole_photo() -> None:
    """250 x 200, the defaults, three phantom faces in the bank."""
    pairs = list(phantom_pairs(4, seed=5))
    bank = PatchBank.from_images([pair.photo for pair in pairs[:3]], [pair.sketch for pair in pairs[:3]])
    with devices.use(EmulatedDevice()):
        equal(np.stack([bank.query(pairs[3].photo)]), bank)


FAULTS = {
    "a barrier removed": ("__syncthreads();  // the last tile has been used", ";", "race on shared memory: tile"),
    "a barrier for some": (
        "__syncthreads();  // the last tile has been used",
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
    sound = matching.source()
    assert sound.count(right) == 1
    monkeypatch.setattr(matching, "source", lambda: sound.replace(right, wrong))
    chosen = launch.match_shape
    monkeypatch.setattr(launch, "match_shape", lambda *arguments: replace(chosen(*arguments), images=1))
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
    sound = matching.source()
    assert sound.count(right) == 1
    monkeypatch.setattr(matching, "source", lambda: sound.replace(right, wrong))
    bank = bank_of(4, (22, 21), BankSettings(3, 1, 2), levels=2)
    with devices.use(EmulatedDevice()), pytest.raises(AssertionError):
        equal(query_of(bank, 1, levels=2), bank, k=20)


def test_geometry_stays_within_the_device() -> None:
    for rows, k in ((10, 10), (10, 64), (3, 1), (16, 20), (100, 10)):
        for radius in (0, 5, 60):
            grid = bank_of(1, (250, 200), BankSettings(rows, rows // 2, radius)).grid()
            shape = launch.match_shape(grid, radius, 8, k, (1,) * 8, EmulatedDevice.limits)
            assert shape.shared() <= launch.STATIC_SHARED and shape.threads <= 1024


def test_the_geometry_says_what_match_cu_declares() -> None:
    """The shared memory that launch.py plans with is the one that match.cu takes; read off its constants."""
    text = Path(matching.__file__).with_name("match.cu").read_text()
    for declared in ("ends, SPAN)", "tile, IMAGES * PLANES * TILE)", "own, COLUMNS * PLANES * SPAN * WORDS)"):
        assert f"SHARED(uint32, {declared}" in text
