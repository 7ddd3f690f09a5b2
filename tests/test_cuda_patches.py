"""Gathering, composing and blending in CUDA C++ on the host: equal to the reference at any setting, streamed or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idekernels import (
    BankSettings,
    PatchBank,
    PatchGrid,
    blend,
    compatibility,
    compose,
    evidence,
    gather,
    match,
    prepare,
)
from idekernels.backends.cuda import blending, launch, residency
from idekernels.backends.cuda import device as devices
from idekernels.errors import InputError
from idekernels.results import Candidates
from tests.emulator import fakecupy, host
from tests.emulator.device import EmulatedDevice

pytestmark = pytest.mark.skipif(host.why_missing() is not None, reason=str(host.why_missing()))

GRIDS = [PatchGrid(9, 9, 4, 2), PatchGrid(8, 11, 5, 3), PatchGrid(7, 5, 5, 0), PatchGrid(5, 9, 5, 4), PatchGrid(17, 38)]


@pytest.fixture
def device() -> Iterator[EmulatedDevice]:
    made = EmulatedDevice()
    with devices.use(made):
        yield made


def numbers(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def bank_of(images: int, size: tuple[int, int], how: BankSettings) -> PatchBank:
    faces = numbers(1).integers(0, 256, (images, *size), dtype=np.uint8)
    return PatchBank.from_images(faces, 255 - faces // 2, settings=how)


def anywhere(bank: PatchBank, shape: tuple[int, ...], patch: int, seed: int = 0) -> Candidates:
    """Candidates at all places, the last image's last one among them."""
    most = bank.images - 1, bank.height - patch, bank.width - patch
    places = [numbers(seed + axis).integers(0, last, shape, np.int32, endpoint=True) for axis, last in enumerate(most)]
    for place, last in zip(places, most, strict=True):
        place.flat[0], place.flat[-1] = 0, last
    return Candidates(*places, np.zeros(shape, np.uint32), backend=None)


def equal_patches(candidates: Candidates, bank: PatchBank, patch: int, memory: int | None = None) -> None:
    ours = gather(candidates, prepare(bank, "cuda", memory), patch)
    truth = gather(candidates, prepare(bank, "reference"), patch)
    for name in ("source", "target"):
        np.testing.assert_array_equal(getattr(ours, name).get(), getattr(truth, name), err_msg=name)


@pytest.mark.parametrize("memory", [None, 0])
def test_gather(device: EmulatedDevice, memory: int | None) -> None:
    """What matching found, of a resident bank and of one that comes image by image."""
    bank = bank_of(5, (9, 8), BankSettings(6, 3, 2, ("intensity", "dog"), (2, 1)))
    query = np.stack([bank.query(face) for face in numbers(2).integers(0, 256, (2, 9, 8), dtype=np.uint8)])
    candidates = replace(match(query, prepare(bank, "reference"), k=2), backend=None)
    equal_patches(candidates, bank, 6, memory)
    assert device.launched.count("gather") == (1 if memory is None else 10)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_gather_at_any_setting(data: st.DataObject) -> None:
    """Patches of a pixel and of more than a warp copies at once; candidates that fill no warp; rows of odd lengths."""
    patch = data.draw(st.integers(1, 14), label="patch")
    size = tuple(patch + data.draw(st.integers(0, 9), label=side) for side in ("height", "width"))
    planes = data.draw(st.integers(1, 3), label="planes")
    how = BankSettings(1, 0, 1, ("intensity", "dog", "lbp")[:planes], (1,) * planes)
    bank = bank_of(data.draw(st.integers(1, 4), label="images"), (size[0], size[1]), how)
    shape = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 9), label="nodes"), data.draw(st.integers(1, 11))
    with devices.use(EmulatedDevice(reverse=data.draw(st.booleans(), label="reverse"))):
        equal_patches(anywhere(bank, shape, patch), bank, patch, data.draw(st.sampled_from((None, 0)), label="memory"))


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[PatchGrid, Any, Any]:
    """A grid, target patches on it and weights."""
    patch = draw(st.integers(1, 9), label="patch")
    overlap = draw(st.integers(0, patch - 1), label="overlap")
    height, width = (patch + draw(st.integers(0, 3 * (patch - overlap))) for _ in range(2))
    grid = PatchGrid(height, width, patch, overlap)
    k, channels, photos = draw(st.integers(1, 20)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    targets = numbers(k).integers(0, 256, (photos, grid.nodes, k, channels, patch, patch), dtype=np.uint8)
    weights = numbers(channels).dirichlet(np.ones(k), (photos, grid.nodes)).astype(np.float32)
    return grid, targets, weights


def equal_pictures(grid: PatchGrid, targets: Any, weights: Any, how: str) -> None:
    ours, truth = (compose(targets, weights, backend=name) for name in ("cuda", "reference"))
    np.testing.assert_allclose(ours.host(), truth, rtol=1e-6, atol=1e-4)
    made = blend(ours, grid, how=how).host()
    np.testing.assert_allclose(made, blend(truth, grid, how=how), rtol=1e-6, atol=1e-3)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mixture=mixtures(), how=st.sampled_from(("average", "feather")), reverse=st.booleans())
def test_compose_and_blend_at_any_setting(mixture: tuple[PatchGrid, Any, Any], how: str, reverse: bool) -> None:
    with devices.use(EmulatedDevice(reverse=reverse)):
        equal_pictures(*mixture, how)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("how", ["average", "feather"])
def test_compose_and_blend(device: EmulatedDevice, grid: PatchGrid, how: str) -> None:
    targets = numbers().integers(0, 256, (2, grid.nodes, 10, 3, grid.patch, grid.patch), dtype=np.uint8)
    weights = numbers(1).dirichlet(np.ones(10), (2, grid.nodes)).astype(np.float32)
    equal_pictures(grid, targets, weights, how)
    assert device.launched == ["compose", "blend"]


def test_one_candidate_keeps_its_levels(device: EmulatedDevice) -> None:
    """Exactly: what is cut along a seam must be the reference's."""
    targets = numbers().integers(0, 256, (1, 4, 3, 1, 6, 6), dtype=np.uint8)
    weights = np.zeros((1, 4, 3), np.float32)
    weights[..., 1] = 1
    np.testing.assert_array_equal(compose(targets, weights, backend="cuda").host(), targets[:, :, 1])


@given(length=st.integers(1, 60), patch=st.integers(1, 20), data=st.data())
def test_nodes_that_cover_a_pixel_follow_from_the_grid(length: int, patch: int, data: st.DataObject) -> None:
    """blend.cu's rule, in Python: the nodes of an axis from the first to the one after the last, and no others."""
    length = max(length, patch)
    grid = PatchGrid(length, patch, patch, data.draw(st.integers(0, patch - 1)))
    nodes, last = len(grid.rows), length - patch
    np.testing.assert_array_equal(grid.rows, [min(at * grid.step, last) for at in range(nodes)])
    for pixel in range(length):
        first = 0 if pixel < patch else (pixel - patch) // grid.step + 1
        end = pixel // grid.step + 1 if pixel < last else nodes
        covering = np.flatnonzero((grid.rows <= pixel) & (pixel < grid.rows + patch))
        assert [*range(first, end)] == covering.tolist()


def test_more_than_32_bits_number_is_refused() -> None:
    assert launch.number(2**31 - 1) == 2**31 - 1
    with pytest.raises(InputError, match=r"2147483648 items are more than .* or the backend cpu"):
        launch.number(2**31)
    with pytest.raises(InputError, match="32768000000 items"):
        residency.gather_options(2**14, 10**6, 1, 2, 10)


@pytest.mark.parametrize(
    ("module", "right", "wrong"),
    [
        (residency, "within >= 0 &&", "within > 0 &&"),
        (residency, "image[first + lane] - begin", "image[first + lane]"),
        (residency, "down = byte / PATCH % PATCH", "down = byte / PATCH"),
        (residency, "side + blockIdx.y == 1", "blockIdx.y == 1"),
        (blending, "pixel < last ?", "pixel <= last ?"),
        (blending, "(pixel - PATCH) / STEP + 1", "(pixel - PATCH) / STEP + 2"),
        (blending, "word >> 8 * byte", "word >> 4 * byte"),
        (blending, "item / ITEMS;", "item / (ITEMS + 1);"),
    ],
)
def test_wrong_results_are_seen(
    device: EmulatedDevice, module: Any, right: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutations that break no rule of CUDA change patches or pictures, and the comparison says so."""
    sound = module.source_text
    files = (residency.GATHER, blending.COMPOSE, blending.BLEND)
    assert sum(sound(each).count(right) for each in files) == 1
    monkeypatch.setattr(module, "source_text", lambda files: sound(files).replace(right, wrong))
    with pytest.raises(AssertionError):
        if module is residency:
            bank = bank_of(3, (7, 9), BankSettings(6, 3, 2, ("intensity", "dog"), (2, 1)))
            for memory in (None, 0):
                equal_patches(anywhere(bank, (1, 5, 7), 5), bank, 5, memory)
        else:
            for grid in (PatchGrid(9, 11, 4, 2), PatchGrid(10, 13, 6, 3)):
                targets = numbers().integers(0, 256, (1, grid.nodes, 3, 1, grid.patch, grid.patch), dtype=np.uint8)
                equal_pictures(grid, targets, np.full((1, grid.nodes, 3), 1 / 3, np.float32), "feather")


def test_nothing_but_the_window_goes_up(device: EmulatedDevice) -> None:
    """Where nodes lie and which cover a pixel follows from the grid's numbers: a launch each, no table of the grid."""
    grid = PatchGrid(17, 23)
    query, targets, weights = (
        fakecupy.asarray(each)
        for each in (
            np.zeros((1, 1, 17, 23), np.uint8),
            np.zeros((1, grid.nodes, 2, 1, 10, 10), np.uint8),
            np.ones((1, grid.nodes, 2), np.float32),
        )
    )
    fakecupy.copies.update(up=0, down=0)
    evidence(query, targets, grid, backend="cuda")
    compatibility(targets, grid, backend="cuda")
    composed = compose(targets, weights, backend="cuda")
    assert fakecupy.copies == {"up": 0, "down": 0}
    blend(composed, grid)
    assert fakecupy.copies == {"up": 4 * grid.patch**2, "down": 0}
    assert device.launched == ["evidence", "compatibility", "compose", "blend"]
