"""Steps recorded once and replayed are those launched singly, bit for bit, here on a stand-in for a CUDA graph."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded import RecordedGraphs
from test_losses import NARROW, vgg_tensors
from torch import Tensor
from training_runs import TINY, changed, drawn_faces, own_sketches, tiny_faces, tiny_run

from idemodel.generator.config import MLAConfig, guide_channels
from idemodel.training import loop, losses
from idemodel.training.crops import TrainingPairs
from idemodel.training.data import Faces
from idemodel.training.losses import PerceptualLoss, load_perceptual
from idemodel.training.recipe import DRAWN, PAPER, Recipe
from idemodel.training.resident import as_numbers, resident_pairs
from idemodel.training.run import Observer
from idemodel.training.steps import Steps
from idemodel.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_torch_thread")

ROOM = 2**30
SMALL = {"features": 4, "modules": 1, "discriminator_features": 4, "batch": 2, "crop": 32, "stride": 2}
RECIPES = {
    "compact": replace(TINY, steps=9, halvings=(5,)),
    "drawn, two phases": replace(DRAWN, **SMALL, steps=12, structure_first=6, halvings=(5, 8)),
    "all orientations, no mean": replace(TINY, transposes=True, average=0.0, steps=6),
    "bf16": replace(TINY, precision="bf16", steps=6),
}


@pytest.fixture
def capturable_here() -> Iterator[None]:
    """Adam for graphs, which asks for a CUDA device, on the CPU: the same operations."""
    with pytest.MonkeyPatch.context() as patched:
        adam = sys.modules["torch.optim.adam"]
        patched.setattr(adam, "_get_capturable_supported_devices", lambda *args, **more: ["cpu", "cuda"])
        yield


def made(recipe: Recipe, faces: Faces | None = None) -> tuple[TrainingPairs, MLAConfig]:
    faces = faces or tiny_faces()
    channels = recipe.channels or 1
    network = MLAConfig(channels, 4, 1, 2, guide_channels(recipe.inputs, channels), recipe.tail)
    coarse = own_sketches(faces)
    beside = {"quilt": [1 - sketch for sketch in coarse], "intra": [sketch / 2 for sketch in coarse]}
    return TrainingPairs(faces, coarse, recipe, network, beside), network


def run(steps: Steps, recipe: Recipe) -> list[dict[str, float]]:
    taken = (steps.take(3, number, recipe.batch) for number in range(recipe.steps))
    return [{name: value.item() for name, value in losses.items()} for losses in taken]


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.usefixtures("capturable_here")
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_a_replayed_step_is_the_one_launched_singly(recipe: Recipe) -> None:
    """Rates are halved, the mean's decay grows, a phase ends, crops change: all of it reaches the recorded step."""
    pairs, network = made(recipe)
    plain, recorded = (Trainer(recipe, network, 0, recordable=True) for _ in range(2))
    resident, graphs = resident_pairs(pairs, "cpu", ROOM), RecordedGraphs()
    expected = run(Steps(pairs, plain, resident), recipe)
    assert run(Steps(pairs, recorded, resident, graphs), recipe) == expected
    assert equal(recorded.state(), plain.state())
    phases = 2 if 0 < recipe.structure_first < recipe.steps else 1
    assert graphs.said.count("recorded") == phases and graphs.said.count("warmed") == 3 * phases
    assert graphs.said.count("replayed") == recipe.steps - 3 * phases


@pytest.mark.usefixtures("capturable_here")
def test_the_papers_step_is_recorded_too(tmp_path: Path) -> None:
    """With batch normalisation, whose running means are counted on the device, and the perceptual loss."""
    photos, sketches = drawn_faces(3, 128, 131)
    faces = Faces(("0", "1", "2"), np.repeat(np.stack(photos)[..., None], 3, axis=3), np.stack(sketches))
    few = {"features": 4, "modules": 1, "discriminator_features": 2, "batch": 2, "steps": 5}
    recipe = replace(PAPER, **few)  # type: ignore[arg-type]
    torch.save(vgg_tensors(NARROW), tmp_path / "vgg19.pth")
    perceptual: Callable[[], PerceptualLoss] = partial(load_perceptual, tmp_path / "vgg19.pth", widths=NARROW)
    pairs, network = made(recipe, faces)
    plain, recorded = (Trainer(recipe, network, 0, perceptual(), recordable=True) for _ in range(2))
    expected = run(Steps(pairs, plain), recipe)
    resident = resident_pairs(pairs, "cpu", ROOM)
    assert run(Steps(pairs, recorded, resident, RecordedGraphs()), recipe) == expected
    assert equal(recorded.state(), plain.state())


@pytest.mark.usefixtures("capturable_here")
def test_crops_of_the_host_go_into_the_recorded_step_as_well() -> None:
    recipe = RECIPES["compact"]
    pairs, network = made(recipe)
    plain, recorded = (Trainer(recipe, network, 0, recordable=True) for _ in range(2))
    assert run(Steps(pairs, recorded, None, RecordedGraphs()), recipe) == run(Steps(pairs, plain), recipe)
    assert equal(recorded.state(), plain.state())


@pytest.mark.usefixtures("capturable_here")
def test_a_recorded_run_goes_on_from_a_saved_state() -> None:
    recipe = RECIPES["drawn, two phases"]
    pairs, network = made(recipe)
    whole, first, second = (Trainer(recipe, network, seed, recordable=True) for seed in (0, 0, 9))
    run(Steps(pairs, whole, graphs=RecordedGraphs()), recipe)
    run(Steps(pairs, first, graphs=RecordedGraphs()), replace(recipe, steps=7))
    second.load_state(first.state())
    steps = Steps(pairs, second, graphs=RecordedGraphs())
    for number in range(7, recipe.steps):
        steps.take(3, number, recipe.batch)
    assert equal(second.state(), whole.state())


@pytest.mark.usefixtures("capturable_here")
def test_a_step_that_cannot_be_recorded_is_launched_singly_and_told_in_one_line() -> None:
    recipe = RECIPES["compact"]
    pairs, network = made(recipe)
    plain, other = (Trainer(recipe, network, 0, recordable=True) for _ in range(2))
    told: list[str] = []
    found = run(Steps(pairs, other, graphs=RecordedGraphs(full=True), told=told.append), recipe)
    assert found == run(Steps(pairs, plain), recipe) and equal(other.state(), plain.state())
    assert len(told) == 1 and "\n" not in told[0]
    assert told[0] == (
        "the work on cpu cannot be recorded and is launched singly: CUDA out of memory. Tried to allocate 20.00 GiB"
    )


@pytest.mark.usefixtures("capturable_here")
def test_the_stand_in_refuses_what_a_graph_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that reads a value back, or that holds a number of its own step, is not mistaken for a recorded one."""
    recipe = RECIPES["compact"]
    pairs, network = made(recipe)
    told: list[str] = []
    waiting = Trainer(recipe, network, 0, recordable=True)
    take = waiting.take
    monkeypatch.setattr(
        waiting, "take", lambda *given: {name: value + value.item() for name, value in take(*given).items()}
    )
    run(Steps(pairs, waiting, graphs=RecordedGraphs(), told=told.append), recipe)
    assert len(told) == 1 and "_local_scalar_dense" in told[0]
    monkeypatch.setattr(losses, "_ssim_window", losses._ssim_window.__wrapped__)  # made of the host's numbers each time
    run(Steps(pairs, Trainer(recipe, network, 0, recordable=True), graphs=RecordedGraphs(), told=told.append), recipe)
    assert len(told) == 2 and "lift_fresh" in told[1]
    monkeypatch.undo()
    plain, stale = (Trainer(recipe, network, 0, recordable=True) for _ in range(2))
    stale._share = 0.5  # a plain number: fixed when the step is recorded
    assert run(Steps(pairs, stale, graphs=RecordedGraphs()), recipe) and run(Steps(pairs, plain), recipe)
    assert not equal(stale.state(), plain.state())


def test_a_trainer_with_plain_numbers_is_never_recorded() -> None:
    recipe = RECIPES["compact"]
    pairs, network = made(recipe)
    with pytest.raises(ValueError, match="only where the trainer is recordable"):
        Steps(pairs, Trainer(recipe, network, 0), graphs=RecordedGraphs())


@pytest.mark.usefixtures("capturable_here")
def test_a_recordable_trainer_learns_what_a_plain_one_learns() -> None:
    """Other last digits: a rate in float32, and operations in another order."""
    recipe = RECIPES["compact"]
    pairs, network = made(recipe)
    plain, other = Trainer(recipe, network, 0), Trainer(recipe, network, 0, recordable=True)
    for found, expected in zip(run(Steps(pairs, other), recipe), run(Steps(pairs, plain), recipe), strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)
    for name, value in other.state().items():
        torch.testing.assert_close(value, plain.state()[name], atol=1e-4, rtol=1e-3)


def test_steps_are_the_trainers_own() -> None:
    """On a CPU nothing is recorded: as ever, whether the crops are cut by slices or by indices."""
    recipe = RECIPES["drawn, two phases"]
    pairs, network = made(recipe)
    one, other, third = (Trainer(recipe, network, 0) for _ in range(3))
    for number in range(recipe.steps):
        one.step(pairs.batch(3, number, recipe.batch), number)
    run(Steps(pairs, other), recipe)
    run(Steps(pairs, third, resident_pairs(pairs, "cpu", ROOM)), recipe)
    assert equal(one.state(), other.state()) and equal(one.state(), third.state())


@pytest.mark.parametrize("side", [(40, 38), (39, 37), (38, 39)])
@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("transposes", [False, True])
def test_crops_cut_on_a_device_are_the_hosts_bit_for_bit(side: tuple[int, int], flips: bool, transposes: bool) -> None:
    height, width = side
    faces = tiny_faces()
    faces = replace(faces, source=faces.source[:, :height, :width], target=faces.target[:, :height, :width])
    coarse = own_sketches(faces)
    beside = {"quilt": [1 - sketch for sketch in coarse], "intra": [sketch / 2 for sketch in coarse]}
    recipe = replace(TINY, flips=flips, transposes=transposes)
    for channels, guide in ((1, 8), (1, 16), (3, 0), (3, 16), (3, 40)):
        pairs = TrainingPairs(faces, coarse, recipe, MLAConfig(channels, 4, 1, 2, guide), beside)
        resident = resident_pairs(pairs, "cpu", ROOM)
        assert resident is not None
        for step in range(6):
            expected, found = pairs.batch(1, step, 3), resident.cut(as_numbers(pairs.draws(1, step, 3)))
            for one, other in ((expected.inputs, found.inputs), (expected.truth, found.truth)):
                assert torch.equal(one, other) and one.stride() == other.stride()


def test_pairs_that_take_too_much_stay_where_they_are() -> None:
    pairs, _ = made(RECIPES["drawn, two phases"])
    resident = resident_pairs(pairs, "cpu", ROOM)
    assert resident is not None
    taken = 4 * (resident.planes.numel() + resident.halves.numel())
    assert resident_pairs(pairs, "cpu", taken - 1) is None and resident_pairs(pairs, "cpu", taken) is not None


@pytest.mark.slow
@pytest.mark.usefixtures("capturable_here")
def test_a_whole_run_with_recorded_steps_stops_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device: pairs there, a graph for each phase, validation between steps; stopped, it is never stopped."""
    graphs: list[RecordedGraphs] = []

    def stand_in(device: str) -> RecordedGraphs:
        graphs.append(RecordedGraphs())
        return graphs[-1]

    monkeypatch.setattr(loop, "graphs_on", stand_in)
    monkeypatch.setattr(loop, "room_on", lambda device: ROOM)
    monkeypatch.setattr(loop, "Trainer", partial(Trainer, recordable=True))
    recipe = replace(DRAWN, **SMALL, steps=12, structure_first=6, halvings=(5, 8), validation=2, validate_every=3)
    tiny = replace(tiny_run(tmp_path), recipe=recipe)

    def trained(name: str, stop_after: int | None = None, **more: bool) -> bytes:
        def stepped(step: int, total: int, losses: Mapping[str, float]) -> None:
            if step == stop_after:
                os.kill(os.getpid(), signal.SIGINT)

        ours = changed(replace(tiny, folder=tmp_path / name), **more)
        with contextlib.suppress(loop.Stopped):
            loop.train(replace(ours, observer=Observer(stepped=stepped)))
        return loop.train(changed(ours, resume=True)).last_file.read_bytes()

    whole = trained("whole")
    assert graphs[0].said.count("recorded") == 2 and graphs[0].said.count("replayed") == 6
    assert all(trained(f"stopped-{after}", after) == whole for after in (2, 5, 8))
    assert trained("singly", graphs=False) == whole and len(graphs) == 8
