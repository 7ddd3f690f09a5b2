"""The commands of stage 2, from pairs to a trained model to fine sketches: results, exit codes, one line a mistake."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import call, told_once
from PIL import Image

from idemodel.faces.normalise import Normaliser
from idemodel.files.images import read_colour, read_grey
from idemodel.files.journal import JOURNAL
from idemodel.generator.checkpoint import load_generator, save_generator
from idemodel.generator.network import MLANet
from idemodel.sketcher import Sketcher
from idemodel.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_torch_thread")

RECIPE = """
base = "compact"
name = "tiny"
features = 4
modules = 1
discriminator_features = 4
batch = 2
crop = 32
halvings = []
validation = 2
validate_every = 2
[coarse]
k = 3
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six phantom pairs of 64 x 48 pixels, their bank, a recipe, and a run of two steps."""
    root = tmp_path_factory.mktemp("workshop")
    assert call("data", "phantom", root / "pairs", "--pairs", 6, "--size", "64x48", "--seed", 3) == 0
    assert call("bank", "build", root / "pairs", root / "bank.h5", "--patch", 8, "--overlap", 4, "--radius", 2) == 0
    (root / "tiny.toml").write_text(RECIPE)
    arguments = ("--recipe", root / "tiny.toml", "--steps", 2, "--seed", 5, "--device", "cpu")
    assert call("train", root / "pairs", root / "bank.h5", "-o", root / "run", *arguments) == 0
    return root


@pytest.fixture(scope="module")
def coarse_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that sees no photo."""
    file = tmp_path_factory.mktemp("model") / "coarse.safetensors"
    save_generator(file, MLANet(1, 4, 1))
    return file


def test_a_run_folder_says_everything(workshop: Path) -> None:
    about = json.loads((workshop / "run" / "run.json").read_text())
    assert (about["seed"], about["recipe"]["steps"], about["recipe"]["name"]) == (5, 2, "tiny")
    assert set(about["data"]) == {"bank", "pairs"} and about["versions"]["torch"] == torch.__version__
    for name in ("best.safetensors", "last.safetensors", "state.safetensors", "log.jsonl", "samples", "coarse"):
        assert (workshop / "run" / name).exists()


def test_resume_takes_the_runs_own_recipe_and_seed(workshop: Path, tmp_path: Path) -> None:
    shutil.copytree(workshop / "run", tmp_path / "run")
    shared = ("train", workshop / "pairs", workshop / "bank.h5", "-o")
    assert call(*shared, tmp_path / "run", "--resume", "--steps", 3, "--device", "cpu") == 0
    whole = ("--recipe", workshop / "tiny.toml", "--steps", 3, "--seed", 5, "--device", "cpu")
    assert call(*shared, tmp_path / "whole", *whole) == 0
    ours, theirs = (load_generator(tmp_path / name / "last.safetensors").state_dict() for name in ("run", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_stopped_run_says_how_to_go_on(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer.step

    def interrupted(self: Trainer, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, *arguments)

    monkeypatch.setattr(Trainer, "step", interrupted)
    shared = ("train", workshop / "pairs", workshop / "bank.h5", "-o", tmp_path / "run", "--device", "cpu")
    assert call(*shared, "--recipe", workshop / "tiny.toml", "--steps", 3) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "stopped after step 1, all saved; go on with --resume"
    monkeypatch.undo()
    assert call(*shared, "--resume") == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--recipe", "paper"], "--vgg19 FILE"),
        (["--recipe", "none.toml"], "none.toml"),
        (["--device", "abacus"], "abacus"),
        (["--resume"], "holds no training run"),
        (["--recipe", "paper", "--vgg19", "none.pth"], "none.pth"),
    ],
)
def test_training_that_cannot_begin_is_one_line(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    command = ("train", workshop / "pairs", workshop / "bank.h5", "-o", tmp_path / "run", *arguments)
    assert told in told_once(capsys, *command)


def test_a_second_run_in_one_folder_is_refused(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (workshop / "run" / "last.safetensors").read_bytes()
    command = ("train", workshop / "pairs", workshop / "bank.h5", "-o", workshop / "run")
    assert "--resume" in told_once(capsys, *command, "--recipe", workshop / "tiny.toml")
    assert (workshop / "run" / "last.safetensors").read_bytes() == before


def test_synth_writes_what_the_sketcher_makes(workshop: Path, tmp_path: Path) -> None:
    bank, model = workshop / "bank.h5", workshop / "run" / "best.safetensors"
    assert call("synth", bank, model, workshop / "pairs" / "photo", "-o", tmp_path, "--save-coarse") == 0
    with Sketcher(bank, model) as sketcher:
        made = sketcher.sketch(read_colour(workshop / "pairs" / "photo" / "0002.png"))
    np.testing.assert_allclose(read_grey(tmp_path / "0002.png"), made.images()[0], atol=1)
    np.testing.assert_array_equal(read_grey(tmp_path / "coarse" / "0002.png"), made.coarse.images()[0])
    assert len(list(tmp_path.glob("*.png"))) == len(list((tmp_path / "coarse").glob("*.png"))) == 6


def test_both_stages_see_the_normalised_photo(workshop: Path, tmp_path: Path) -> None:
    bank, model, dark = workshop / "bank.h5", workshop / "run" / "best.safetensors", tmp_path / "dark.png"
    Image.fromarray(read_colour(workshop / "pairs" / "photo" / "0002.png") // 8).save(dark)
    assert call("synth", bank, model, dark, "-o", tmp_path / "out", "--save-coarse") == 0
    with Sketcher(bank, model) as sketcher:
        assert sketcher.enhancer.needs_photo
        normalised = Normaliser.of(sketcher.prepared.bank).normalise(read_colour(dark))
        assert "levels" in normalised.steps
        made = sketcher.sketch(normalised.photo)
    np.testing.assert_allclose(read_grey(tmp_path / "out" / "dark.png"), made.images()[0], atol=1)
    np.testing.assert_array_equal(read_grey(tmp_path / "out" / "coarse" / "dark.png"), made.coarse.images()[0])


def test_synth_doubles_and_takes_other_settings(workshop: Path, tmp_path: Path) -> None:
    bank, model = workshop / "bank.h5", workshop / "run" / "best.safetensors"
    photo = workshop / "pairs" / "photo" / "0001.png"
    assert call("synth", bank, model, photo, "-o", tmp_path / "double", "--size", "double", "--save-coarse") == 0
    assert read_grey(tmp_path / "double" / "0001.png").shape == (128, 96)
    assert read_grey(tmp_path / "double" / "coarse" / "0001.png").shape == (64, 48)
    assert call("synth", bank, model, photo, "-o", tmp_path / "other", "--leave-one-out", "--save-coarse") == 0
    one, other = (read_grey(tmp_path / name / "coarse" / "0001.png") for name in ("double", "other"))
    assert not np.array_equal(one, other)  # it found itself in the bank, until it was left out


def test_synth_skips_what_is_done_and_goes_on_past_bad_photos(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(workshop / "pairs" / "photo", photos)
    (photos / "0003.png").write_bytes(b"")
    Image.new("RGB", (47, 64)).save(photos / "0004.png")
    command = ("synth", workshop / "bank.h5", workshop / "run" / "best.safetensors", photos, "-o", tmp_path / "out")
    assert call(*command) == 1
    told = capsys.readouterr()
    assert [name for name in ("0003.png", "0004.png") if name in told.err] == ["0003.png", "0004.png"]
    assert "4 made, 0 there already, 2 failed" in told.out
    (tmp_path / "out" / "0000.png").write_bytes(b"mine")
    assert call(*command) == 1
    assert "0 made, 4 there already, 2 failed" in capsys.readouterr().out
    assert (tmp_path / "out" / "0000.png").read_bytes() == b"mine"


@pytest.mark.parametrize("content", [None, b"", b"text", b"\x08\0\0\0\0\0\0\0{}      "])
@pytest.mark.parametrize("name", ["bad.safetensors", "bad.pth"])
def test_what_is_not_a_model_is_one_line(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, name: str
) -> None:
    bad, photos = tmp_path / name, workshop / "pairs" / "photo"
    if content is not None:
        bad.write_bytes(content)
    assert str(bad) in told_once(capsys, "synth", workshop / "bank.h5", bad, photos, "-o", tmp_path / "out")
    assert str(bad) in told_once(capsys, "enhance", bad, photos, "-o", tmp_path / "out")
    assert str(bad) in told_once(capsys, "export", bad, "--onnx", tmp_path / "x.onnx")
    assert not (tmp_path / "out").exists() and not (tmp_path / "x.onnx").exists()


def test_a_missing_model_is_usage(workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("synth", workshop / "bank.h5", workshop / "pairs" / "photo", "-o", tmp_path) == 2
    assert "then a model" in capsys.readouterr().err


def test_enhance_is_the_second_half_of_synth(workshop: Path, tmp_path: Path) -> None:
    bank, model, photos = workshop / "bank.h5", workshop / "run" / "best.safetensors", workshop / "pairs" / "photo"
    assert call("synth", bank, model, photos, "-o", tmp_path / "whole", "--save-coarse") == 0
    coarse = tmp_path / "whole" / "coarse"
    assert call("enhance", model, coarse, "-o", tmp_path / "fine", "--photos", photos) == 0
    for file in photos.iterdir():  # but for the rounding of the coarse sketches to eight bits
        whole, half = (read_grey(tmp_path / name / file.name).astype(int) for name in ("whole", "fine"))
        assert np.abs(whole - half).max() <= 3


def test_enhance_names_what_is_missing(
    workshop: Path, coarse_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, sketches = workshop / "run" / "best.safetensors", workshop / "pairs" / "sketch"
    assert "--photos FOLDER" in told_once(capsys, "enhance", model, sketches, "-o", tmp_path / "out")
    photos = tmp_path / "photos"
    shutil.copytree(workshop / "pairs" / "photo", photos)
    (photos / "0001.png").unlink()
    Image.new("L", (48, 63)).save(photos / "0002.png")
    assert call("enhance", model, sketches, "-o", tmp_path / "out", "--photos", photos) == 1
    told = capsys.readouterr()
    assert "0001.png: no image of that name" in told.err and "0002.png" in told.err
    assert "4 made, 0 there already, 2 failed" in told.out
    small = tmp_path / "small.png"
    Image.new("L", (20, 40)).save(small)
    command = ("enhance", coarse_model, small, workshop / "pairs" / "sketch" / "0000.png", "-o", tmp_path / "more")
    assert "too small" in told_once(capsys, *command)
    assert sorted(file.name for file in (tmp_path / "more").iterdir()) == [JOURNAL, "0000.png"]


def test_export_writes_a_file(coarse_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    assert call("export", coarse_model, "--onnx", tmp_path / "model.onnx") == 0
    assert (tmp_path / "model.onnx").stat().st_size > 1000
    assert "model.onnx" in capsys.readouterr().out


def test_help_loads_no_torch() -> None:
    code = "import sys; from idecli.main import run; run(['synth', '--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--save-coarse" in done.stdout
