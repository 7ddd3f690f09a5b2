"""The recipe drawn on the command line: train, synth, enhance with quilts, the hand, what is missing in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import call, told_once
from PIL import Image

from idemodel.files.images import read_grey
from idemodel.generator.intra import IntraDomain

pytestmark = pytest.mark.usefixtures("one_torch_thread")

RECIPE = """base = "drawn"
features = 4
modules = 1
discriminator_features = 4
batch = 1
crop = 32
structure_first = 1
validation = 2
validate_every = 2
hand = {press = 1.3, paper = 0.95}
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six phantom pairs of 64 x 48 pixels, their bank, and a run of two steps."""
    root = tmp_path_factory.mktemp("drawn")
    assert call("data", "phantom", root / "pairs", "--pairs", 6, "--size", "64x48", "--seed", 3) == 0
    assert call("bank", "build", root / "pairs", root / "bank.h5", "--patch", 8, "--overlap", 4, "--radius", 2) == 0
    (root / "tiny.toml").write_text(RECIPE)
    arguments = ("--recipe", root / "tiny.toml", "--steps", 2, "--device", "cpu")
    assert call("train", root / "pairs", root / "bank.h5", "-o", root / "run", *arguments) == 0
    return root


def test_synth_needs_bank_and_model_and_enhance_is_its_second_half(workshop: Path, tmp_path: Path) -> None:
    bank, model, photos = workshop / "bank.h5", workshop / "run" / "best.safetensors", workshop / "pairs" / "photo"
    assert call("synth", bank, model, photos, "-o", tmp_path / "whole", "--save-coarse") == 0
    coarse, quilts = tmp_path / "whole" / "coarse", tmp_path / "whole" / "quilt"
    assert {file.name for file in quilts.glob("*.png")} == {file.name for file in photos.iterdir()}
    beside = ("--photos", photos, "--quilts", quilts)
    assert call("enhance", model, coarse, "-o", tmp_path / "fine", *beside) == 0
    for file in photos.iterdir():  # but for the rounding of stage 1's sketches to eight bits
        whole, half = (read_grey(tmp_path / name / file.name).astype(int) for name in ("whole", "fine"))
        assert np.abs(whole - half).max() <= 4
    assert call("synth", bank, model, photos, "-o", tmp_path / "left-out", "--leave-one-out", "--size", "double") == 0
    assert read_grey(tmp_path / "left-out" / "0000.png").shape == (128, 96)


def test_enhance_leaves_a_training_pair_out_of_the_intra_domain_bank(
    workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    real = IntraDomain.sketches
    monkeypatch.setattr(IntraDomain, "sketches", lambda *given: seen.append(given[2:]) or real(*given))
    model, photos = workshop / "run" / "best.safetensors", workshop / "pairs" / "photo"
    beside = ("--photos", photos, "--quilts", photos, "--leave-one-out")
    assert call("enhance", model, photos / "0003.png", "-o", tmp_path, *beside) == 0
    assert seen == [([["0003"]],)]
    shutil.copy(photos / "0000.png", tmp_path / "stranger.png")
    told = told_once(capsys, "enhance", model, tmp_path / "stranger.png", "-o", tmp_path / "x", *beside)
    assert "no pair 'stranger' in the bank to leave out" in told


def test_the_hand_is_the_recipes_and_can_be_changed(workshop: Path, tmp_path: Path) -> None:
    bank, model = workshop / "bank.h5", workshop / "run" / "best.safetensors"
    photo = workshop / "pairs" / "photo" / "0000.png"
    for name, hand in (("usual", ()), ("plain", ("--press", 1, "--paper", 1)), ("soft", ("--press", 0.5))):
        assert call("synth", bank, model, photo, "-o", tmp_path / name, *hand) == 0
    usual, plain, soft = (read_grey(tmp_path / name / "0000.png") / 255.0 for name in ("usual", "plain", "soft"))
    for drawn, press in ((usual, 1.3), (soft, 0.5)):  # the recipe's paper, 0.95, in both
        np.testing.assert_allclose(drawn, np.clip(plain / 0.95, 0, 1) ** press, atol=2.5 / 255)


def test_what_is_missing_is_one_line(workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank, photos, coarse = workshop / "bank.h5", workshop / "pairs" / "photo", workshop / "pairs" / "sketch"
    model = Path(shutil.copy(workshop / "run" / "best.safetensors", tmp_path / "model.safetensors"))
    synth = ("synth", bank, model, photos, "-o", tmp_path / "out")
    assert "which train wrote beside it" in told_once(capsys, *synth)
    (intra,) = (workshop / "run").glob("intra-*.h5")
    for damage in (bank.read_bytes(), b"", intra.read_bytes()[:20_000]):
        (tmp_path / intra.name).write_bytes(damage)
        assert f"{intra.name}: is damaged; copy it from the folder" in told_once(capsys, *synth)
    shutil.copy(intra, tmp_path / intra.name)
    command = ("enhance", model, coarse, "-o", tmp_path / "fine", "--photos", photos)
    assert "--quilts FOLDER" in told_once(capsys, *command)
    Image.new("L", (60, 70), 200).save(tmp_path / "other.png")
    beside = ("--photos", tmp_path, "--quilts", tmp_path)
    told = told_once(capsys, "enhance", model, tmp_path / "other.png", "-o", tmp_path / "fine", *beside)
    assert "other.png" in told and "64 x 48" in told
    for bad in (("--press", 0), ("--paper", 2), ("--press", "nan")):
        assert "must be finite and in" in told_once(capsys, *synth, *bad)


def test_a_run_of_before_these_settings_goes_on(workshop: Path, tmp_path: Path) -> None:
    """Its run.json does not know quilt, hand and the like; their defaults are what it did."""
    known = [line for line in RECIPE.splitlines() if not line.startswith(("structure_first", "hand"))]
    (tmp_path / "old.toml").write_text("\n".join(known).replace("drawn", "compact"))
    folder = tmp_path / "run"
    command = ("train", workshop / "pairs", workshop / "bank.h5", "-o", folder, "--device", "cpu")
    assert call(*command, "--recipe", tmp_path / "old.toml", "--steps", 1) == 0
    about = json.loads((folder / "run.json").read_text())
    for name in ("tail", "structure_first", "quilt", "intra", "hand"):
        del about["recipe"][name]
    del about["recipe"]["losses"]["texture"]
    (folder / "run.json").write_text(json.dumps(about))
    assert call(*command, "--resume", "--steps", 2) == 0


def test_fewer_steps_than_structure_alone_are_refused(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("train", workshop / "pairs", workshop / "bank.h5", "-o", tmp_path / "run", "--steps", 9)
    assert "--steps 9: structure_first is 2500 of 9 steps" in told_once(capsys, *command)


def test_the_quilt_of_training_is_the_quilt_of_synth(workshop: Path, tmp_path: Path) -> None:
    """Whatever a recipe says of the quilt, its candidates are the coarse sketch's."""
    (tmp_path / "own.toml").write_text(RECIPE + "[coarse]\nradius = 1\nk = 5\n[quilt]\nk = 3\n")
    train = ("train", workshop / "pairs", workshop / "bank.h5", "-o", tmp_path / "run", "--device", "cpu")
    assert call(*train, "--recipe", tmp_path / "own.toml", "--steps", 2) == 0
    made, seen = (
        [np.load(file) for file in sorted((tmp_path / "run" / "coarse").glob("*/*.npy"))],
        tmp_path / "sketches",
    )
    photos = ("--leave-one-out", workshop / "pairs" / "photo", "--save-coarse", "-o", seen)
    assert call("synth", workshop / "bank.h5", tmp_path / "run" / "last.safetensors", *photos) == 0
    quilts = np.stack([read_grey(file) for file in sorted((seen / "quilt").glob("*.png"))])
    assert min(np.abs(each[:, 0] * 255 - quilts).max() for each in made) <= 0.51
