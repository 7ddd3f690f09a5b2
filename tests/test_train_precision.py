"""Precision is the recipe's: said in the run's folder and the model's header, kept when a run goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_runs import TINY, changed, tiny_run

from idekernels.errors import InputError
from idemodel.generator.checkpoint import load_generator, read_header
from idemodel.training.loop import train
from idemodel.training.recipe import Recipe, read_recipe
from idemodel.training.run import Observer, Run
from idemodel.training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tiny_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Run:
    return replace(made, folder=tmp_path / "run", recipe=replace(TINY, steps=4))


def bf16(run: Run) -> Run:
    return replace(run, recipe=replace(run.recipe, precision="bf16"))


def test_bf16_is_said_and_learns_almost_the_same(run: Run) -> None:
    whole = train(replace(run, folder=run.folder.with_name("float32")))
    lower = train(bf16(run))
    assert RunFolder(run.folder).read_description()["recipe"]["precision"] == "bf16"
    assert read_header(lower.last_file).recipe["precision"] == "bf16"
    assert read_header(whole.last_file).recipe["precision"] == "float32"
    ours, truth = (load_generator(done.last_file).state_dict() for done in (lower, whole))
    assert all(value.dtype == torch.float32 for value in ours.values())
    assert not all(torch.equal(value, truth[name]) for name, value in ours.items())
    for name, value in ours.items():  # four steps of 3e-4 at most, whatever the gradients are
        torch.testing.assert_close(value, truth[name], atol=2.5e-3, rtol=0)


def test_a_bf16_run_stopped_and_resumed_is_never_stopped(run: Run) -> None:
    whole = train(replace(bf16(run), folder=run.folder.with_name("whole")))
    half = bf16(run)
    train(replace(half, recipe=replace(half.recipe, steps=2)))
    assert train(changed(half, resume=True)).last_file.read_bytes() == whole.last_file.read_bytes()


def test_tf32_on_a_cpu_is_float32_and_told(run: Run) -> None:
    told: list[str] = []
    whole = train(replace(run, folder=run.folder.with_name("float32")))
    tf32 = train(replace(run, recipe=replace(run.recipe, precision="tf32"), observer=Observer(note=told.append)))
    assert "a CPU knows no tf32: its products are of float32" in told
    ours, truth = (load_generator(done.last_file).state_dict() for done in (tf32, whole))
    assert all(torch.equal(value, truth[name]) for name, value in ours.items())


def test_another_precision_is_another_run(run: Run) -> None:
    train(replace(run, recipe=replace(run.recipe, steps=2)))
    with pytest.raises(InputError) as caught:
        train(changed(bf16(run), resume=True))
    assert str(caught.value) == (
        f"{run.folder}: its run has the precision float32, the recipe now bf16; resume with the same or use another "
        "folder"
    )


def test_a_run_of_an_older_version_is_of_float32_and_goes_on(run: Run) -> None:
    whole = train(replace(run, folder=run.folder.with_name("whole")))
    train(replace(run, recipe=replace(run.recipe, steps=2)))
    file = run.folder / "run.json"
    content = json.loads(file.read_text())
    del content["recipe"]["precision"]
    file.write_text(json.dumps(content))
    assert RunFolder(run.folder).recipe_and_seed()[0].precision == "float32"
    with pytest.raises(InputError, match="its run has the precision float32, the recipe now bf16"):
        train(changed(bf16(run), resume=True))
    assert train(changed(run, resume=True)).last_file.read_bytes() == whole.last_file.read_bytes()


def test_a_recipe_names_it(tmp_path: Path) -> None:
    file = tmp_path / "fast.toml"
    file.write_text('base = "compact"\nprecision = "tf32"\n')
    assert read_recipe(file).precision == "tf32" and Recipe().precision == "float32"
    file.write_text('precision = "float16"\n')
    with pytest.raises(InputError, match="precision must be one of float32, tf32, bf16"):
        read_recipe(file)
