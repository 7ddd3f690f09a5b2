"""What a run writes down: log, best generator, description, samples, TensorBoard events; and what it never saves."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_runs import TINY, changed, entries, tiny_run

from idekernels.errors import InputError
from idemodel.generator.checkpoint import load_generator, read_header
from idemodel.generator.config import MLAConfig
from idemodel.training.loop import train
from idemodel.training.recipe import Recipe
from idemodel.training.run import Observer, Run
from idemodel.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tiny_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Run:
    return replace(made, folder=tmp_path / "run")


def test_the_best_is_the_best_of_the_log(run: Run) -> None:
    done = train(run)
    scores = {entry["step"]: entry["scores"]["mean"] for entry in entries(run, "scores")[1:]}  # type: ignore[index]
    assert done.best == max(scores.values()) == scores[done.best_step]
    assert Recipe.from_dict(read_header(done.best_file).recipe) == TINY
    assert load_generator(done.best_file).config == MLAConfig(1, 4, 1, 2, 8)


def test_the_folder_says_everything(run: Run) -> None:
    train(run)
    described = json.loads((run.folder / "run.json").read_text())
    assert Recipe.from_dict(described["recipe"]) == TINY and described["seed"] == 0
    assert described["versions"]["torch"] == torch.__version__.split("+")[0] or described["versions"]["torch"]
    assert all(len(value) == 64 for value in described["data"].values())
    assert {path.name for path in (run.folder / "samples").iterdir()} == {f"step-{step:07d}.png" for step in (2, 4, 6)}


def test_tensorboard_sees_losses_scores_and_samples(run: Run) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(replace(run, recipe=replace(TINY, steps=10, validate_every=5)))
    seen = accumulators.EventAccumulator(str(run.folder / "tensorboard"))
    seen.Reload()
    assert {"loss/generator", "loss/pixel", "score/ssim"} <= set(seen.Tags()["scalars"])
    assert [event.step for event in seen.Images("samples")] == [5, 10]


def test_without_tensorboard_one_note(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    notes: list[str] = []
    train(replace(run, observer=Observer(note=notes.append)))
    assert len(notes) == 1 and "idesketch[tensorboard]" in notes[0]


def test_losses_that_are_no_numbers_stop_the_run_and_name_the_last_good_checkpoint(run: Run) -> None:
    train(replace(run, recipe=replace(TINY, steps=2)))
    state = (run.folder / "state.safetensors").read_bytes()
    original = Trainer.step

    def overflowing(self: Trainer, *arguments: object) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            next(self.generator.parameters()).fill_(float("inf"))
        return original(self, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", overflowing)
        with pytest.raises(InputError, match=r"no longer a number at step 3; the last good checkpoint is .*\(step 2\)"):
            train(changed(run, resume=True))
    assert (run.folder / "state.safetensors").read_bytes() == state
    assert train(changed(run, resume=True)).steps == 6


def test_weights_that_are_no_numbers_are_never_saved(run: Run) -> None:
    with pytest.raises(InputError, match="nothing was saved yet; start anew with a lower rate"):
        train(replace(run, recipe=replace(TINY, rate=1e38, validation=0)))
    assert not (run.folder / "last.safetensors").exists()
