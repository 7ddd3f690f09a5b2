"""Whole coarse sketches by the CUDA kernels on the host: the reference's, in few launches, planes alone going up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idekernels import (
    BankSettings,
    PatchBank,
    PatchGrid,
    blend,
    coarse_sketch,
    open_bank,
    prepare,
    weigh,
    weigh_multi,
    write_bank,
)
from idekernels.backends import load
from idekernels.backends.cuda import blending, propagation, tables, variants
from idekernels.backends.cuda import device as cuda_device
from idekernels.coarse import CoarseSketch
from idekernels.methods import METHODS
from idekernels.operations import blend_window
from idekernels.results import Compatibility
from idemodel.files.images import read_grey, write_image
from tests.commands import call
from tests.emulator import fakecupy, host
from tests.emulator.device import EmulatedDevice
from tests.fields import field, numbers

pytestmark = pytest.mark.skipif(host.why_missing() is not None, reason=str(host.why_missing()))
GRIDS = [PatchGrid(9, 9, 4, 2), PatchGrid(8, 11, 5, 3), PatchGrid(7, 5, 5, 0), PatchGrid(5, 9, 5, 4)]
REFERENCE = "reference"
FIELD = ["centre", "join", "sweep", "certify", "total"]
LABELS = ["lay_out", "propagate", "energies", "choose"]


@pytest.fixture
def device() -> Iterator[EmulatedDevice]:
    made = EmulatedDevice()
    with cuda_device.use(made):
        yield made


def small_bank(
    images: int = 5, size: tuple[int, int] = (12, 10), representations: int = 2
) -> tuple[PatchBank, list[Any]]:
    faces = [numbers(seed).integers(0, 256, size, dtype=np.uint8) for seed in range(images + 2)]
    sketches = [255 - face // 2 for face in faces]
    planes = BankSettings(6, 3, 2, ("intensity", "dog")[:representations], (2, 1) if representations == 2 else (1,))
    return PatchBank.from_images(faces[:images], sketches[:images], settings=planes), faces[images:]


@pytest.mark.parametrize("method", METHODS)
def test_a_coarse_sketch_whole(device: EmulatedDevice, method: str) -> None:
    bank, faces = small_bank(size=(9, 8))
    options = {"method": method, "k": 3, "iterations": 3, "exclude": np.array([2])}
    ours = coarse_sketch(faces[0], bank, backend="cuda", **options)
    truth = coarse_sketch(faces[0], bank, backend=REFERENCE, **options)
    np.testing.assert_allclose(ours.pixels.get(), truth.pixels, atol=2e-3)
    np.testing.assert_allclose(ours.objective.get(), truth.objective, rtol=1e-4)
    assert np.abs(ours.images().astype(int) - truth.images()).max() <= 1


@pytest.mark.parametrize(
    ("options", "ours"),
    [
        ({"method": "mwf"}, [*FIELD, "compose", "blend"]),
        ({"method": "mrf", "iterations": 3}, [*LABELS, "compose", "cut"]),
        ({"method": "lle", "blend": "cut"}, [*FIELD, "compose", "cut"]),
        ({"method": "top1", "blend": "average"}, ["centre", "join", "certify", "total", "compose", "blend"]),
    ],
)
@pytest.mark.parametrize("planes", [1, 2])
def test_a_whole_sketch_is_a_dozen_launches_where_there_are_clusters(
    planes: int, options: dict[str, Any], ours: list[str]
) -> None:
    """However long it takes to settle; none of them is CuPy's own, whose compiler need not be loaded."""
    bank, faces = small_bank(size=(9, 8), representations=planes)
    device = EmulatedDevice(capability=(9, 0))
    with cuda_device.use(device):
        ready = prepare(bank, "cuda")
        fakecupy.kernels.clear()
        made = coarse_sketch(faces[0], ready, k=2, exclude=1, **options)
        assert fakecupy.kernels == []
        added = ["add_planes"] * (planes > 1 and options["method"] != "mrf")
        assert device.launched[0] in {variant.kernel for variant in variants.MATCHING}
        assert device.launched[1:] == ["merge", "gather", "evidence", "compatibility", *added, *ours]
        assert len(device.launched) <= 12 + len(added)
        made.images()
    assert fakecupy.kernels == [] and device.launched[-1] == "round_levels"


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


def test_by_the_command_the_writers_wait_for_the_device(
    device: EmulatedDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes the pictures of a batch is one copy from the device, made by a thread that writes one of them."""
    bank, faces = small_bank(size=(16, 16))
    faces = [np.repeat(face[..., None], 3, axis=2) for face in faces]
    pairs = [(str(number), face, 255 - face[..., 0]) for number, face in enumerate(faces)]
    write_bank(tmp_path / "bank.h5", pairs, bank.settings)
    (tmp_path / "in").mkdir()
    for number, face in enumerate(faces):
        write_image(tmp_path / "in" / f"{number}.png", face)
    copied, real = [], CoarseSketch.images

    def images(made: CoarseSketch) -> Any:
        copied.append(threading.current_thread().name)
        return real(made)

    monkeypatch.setattr(CoarseSketch, "images", images)
    options = ("--align", "never", "--normalise", "none", "--k", 3, "--backend", "cuda")
    assert call("coarse", tmp_path / "bank.h5", tmp_path / "in", "-o", tmp_path / "out", *options) == 0
    assert len(copied) == 1 and copied[0].startswith("behind")
    with open_bank(tmp_path / "bank.h5") as opened:
        truth = [real(coarse_sketch(face, opened, k=3, backend="cuda"))[0] for face in faces]
    found = [read_grey(tmp_path / "out" / f"{number}.png") for number in range(2)]
    np.testing.assert_array_equal(found, truth)


# ---- steps that a device takes within its kernels are those of the host around its own


def on_both(step: str, *given: Any) -> tuple[Any, Any]:
    """What a step gives on the device and by the reference; NumPy's arrays of floats and bytes go up."""
    backends = load("cuda"), load(REFERENCE)
    ours = getattr(backends[0], step)(*(_up(each) for each in given))
    return ours, getattr(backends[1], step)(*given)


def _up(value: Any) -> Any:
    if isinstance(value, tuple) and all(isinstance(each, np.ndarray) for each in value):
        return tuple(map(fakecupy.asarray, value))
    return fakecupy.asarray(value) if isinstance(value, np.ndarray) and value.ndim > 2 else value


@pytest.mark.parametrize("temperature", [0.0, 40.0])
@pytest.mark.parametrize("grid", GRIDS)
def test_choosing_by_the_field_is_choosing_by_its_costs(
    device: EmulatedDevice, grid: PatchGrid, temperature: float
) -> None:
    _, links = field(grid, 3, photos=2)
    distance = numbers(7).integers(0, 2**20, (2, grid.nodes, 3), dtype=np.uint32)
    ours, truth = on_both("label", distance, (links.own, links.other, links.cross), 0.3, grid, 5, 0.1, temperature)
    np.testing.assert_array_equal(ours[0].get(), truth[0])
    np.testing.assert_allclose(ours[1].get(), truth[1], rtol=1e-6)
    np.testing.assert_allclose(ours[2].get(), truth[2], atol=1e-4)
    plain = load("cuda").propagate(
        fakecupy.asarray(distance.astype(np.float32)), fakecupy.asarray(links.costs(0.3)), grid, 5, 0.1, temperature
    )
    np.testing.assert_array_equal(ours[0].get(), plain[0].get())
    np.testing.assert_array_equal(ours[1].get(), plain[1].get())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("how", ["feather", "average", None])
def test_levels_are_shares_of_the_highest(device: EmulatedDevice, how: str | None, channels: int) -> None:
    """To the bit what is joined divided by 255, and nothing below 0 or above 1."""
    grid = GRIDS[0]
    patches = numbers(3).uniform(-200, 455, (2, grid.nodes, channels, grid.patch, grid.patch)).astype(np.float32)
    window = None if how is None else blend_window(how, grid.patch)
    made = load("cuda").levels(fakecupy.asarray(patches), grid, window).get()
    plain = blend(fakecupy.asarray(patches), grid, how=how or "cut", backend="cuda").pixels.get()
    np.testing.assert_array_equal(made, np.clip(plain / np.float32(255), 0, 1))
    assert made.min() == 0 and made.max() == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_rounded_as_on_the_host(device: EmulatedDevice, channels: int) -> None:
    """Halves to even; 130 pixels, more than a block of threads."""
    levels = numbers(channels).integers(0, 511, (2, channels, 13, 10)).astype(np.float32) / np.float32(510)
    ours, truth = on_both("rounded", levels)
    assert ours.dtype == np.uint8 and ours.flags.c_contiguous
    np.testing.assert_array_equal(ours, truth)


@pytest.mark.parametrize("k", [3, 25])
def test_planes_count_by_their_weights(device: EmulatedDevice, k: int) -> None:
    """Tables that are put together in shared memory, and tables that are too large for it."""
    grid = GRIDS[0]
    query, sources = (
        numbers(k).integers(0, 256, shape, dtype=np.uint8)
        for shape in ((2, 3, grid.height, grid.width), (2, grid.nodes, k, 3, grid.patch, grid.patch))
    )
    ours, truth = on_both("evidence", query, sources, grid, (2, 1, 3))
    np.testing.assert_array_equal(ours.get(), truth)
    ours, truth = on_both("gram", truth)
    np.testing.assert_array_equal(ours.get(), truth)
    one = fakecupy.asarray(np.ones((1, 2, 1, k, k), np.float32))
    assert np.shares_memory(load("cuda").gram(one).host, one.host)


def blended(device: EmulatedDevice) -> None:
    test_levels_are_shares_of_the_highest(device, "feather", 1)
    test_images_are_rounded_as_on_the_host(device, 1)


CHECKS: dict[Any, Callable[[EmulatedDevice], None]] = {  # by the module whose kernels they run
    blending: blended,
    tables: lambda device: test_planes_count_by_their_weights(device, 3),
    propagation: lambda device: test_choosing_by_the_field_is_choosing_by_its_costs(device, GRIDS[0], 0.0),
}


@pytest.mark.parametrize(
    ("module", "right", "wrong"),
    [
        (propagation, "2.0f * value", "value"),
        (propagation, "own[edge * CELLS + first * K + first]", "own[edge * CELLS + second * K + second]"),
        (propagation, "which / 4 * photos + photo", "which / 4 * photos"),
        (propagation, "if (one < least)", "if (one > least)"),
        (propagation, "if (row + 1 < rows) energy", "if (row + 2 < rows) energy"),
        (blending, "min(max(level / most, 0.0f), 1.0f)", "max(level / most, 0.0f)"),
        (blending, "rintf(", "floorf("),
        (tables, "UNIT ? 1.0f : weights[plane]", "1.0f"),
    ],
)
def test_wrong_steps_are_seen(module: Any, right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = variants.source_text
    monkeypatch.setattr(variants, "source_text", lambda files: sound(files).replace(right, wrong))
    monkeypatch.setattr(blending, "source_text", variants.source_text)
    monkeypatch.setattr(tables, "source_text", variants.source_text)
    device = EmulatedDevice()
    with cuda_device.use(device), pytest.raises(AssertionError):
        CHECKS[module](device)
