"""``idesketch sketch``: a photo and nothing else gives a sketch; what is wrong with a photo is one line."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import call, told_once
from PIL import Image

import idemodel.builtin
from idekernels import BankSettings, write_bank
from idekernels.errors import InputError
from idemodel.builtin import DrawnBank, builtin_file
from idemodel.files.images import read_colour, read_grey, write_image
from idemodel.files.journal import JOURNAL
from idemodel.generator.checkpoint import save_generator
from idemodel.generator.hand import STYLES, Hand, chosen_hand
from idemodel.generator.network import MLANet
from idemodel.phantom import phantom_pairs

pytestmark = pytest.mark.usefixtures("one_torch_thread", "tiny")

TINY = DrawnBank(pairs=4, height=64, width=48, settings=BankSettings(8, 4, 2))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the tests that do not care whether the bank is drawn."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, kept: Path) -> None:
    """The built-in bank is a tiny one."""
    monkeypatch.setattr(idemodel.builtin, "BUILTIN", TINY)
    monkeypatch.setenv("IDESKETCH_CACHE", str(kept))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Of a stranger, of the bank's size."""
    file = tmp_path / "stranger.png"
    write_image(file, next(phantom_pairs(1, height=64, width=48, seed=3)).photo)
    return file


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refused)


@pytest.mark.usefixtures("offline")
def test_a_photo_and_nothing_else_gives_a_sketch(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IDESKETCH_CACHE", str(tmp_path / "cache"))
    assert call("sketch", photo, "-o", tmp_path / "out") == 0
    made = read_grey(tmp_path / "out" / "stranger.png")
    assert made.shape == (64, 48) and np.ptp(made) > 50
    told = capsys.readouterr()
    assert "built-in bank of 4 faces: first use, drawing it" in told.err
    assert "built-in bank of 4 drawn faces" in told.err and "backend" in told.err and "device" in told.err
    assert told.out == f"{tmp_path / 'out'}: 1 made, 0 there already, 0 failed\n"
    assert call("sketch", photo, "-o", tmp_path / "out") == 0
    told = capsys.readouterr()
    assert "drawing" not in told.err and "0 made, 1 there already" in told.out


def test_it_is_what_synth_makes_of_bank_and_model(photo: Path, tmp_path: Path) -> None:
    from idemodel.generator.weights import PHANTOM

    assert call("sketch", photo, "-o", tmp_path / "sketch") == 0
    assert call("synth", builtin_file(), PHANTOM, photo, "-o", tmp_path / "synth") == 0
    ours, theirs = ((tmp_path / name / "stranger.png").read_bytes() for name in ("sketch", "synth"))
    assert ours == theirs


def test_styles_are_darker_and_lighter(photo: Path, tmp_path: Path) -> None:
    for style in STYLES:
        assert call("sketch", photo, "-o", tmp_path / style, "--style", style) == 0
    assert call("sketch", photo, "-o", tmp_path / "usual") == 0
    soft, pencil, bold, usual = (
        read_grey(tmp_path / name / "stranger.png").astype(float) for name in ("soft", "pencil", "bold", "usual")
    )
    np.testing.assert_array_equal(pencil, usual)
    for other, press in ((soft, 0.7), (bold, 1.5)):  # a power of what the model's own hand makes
        seen = pencil > 40  # in the darks, a level of rounding is many
        assert np.abs(other - 255 * (pencil / 255) ** press)[seen].max() <= 1.5
    assert soft.mean() > pencil.mean() + 1 and bold.mean() < pencil.mean() - 1


def test_a_style_is_of_the_models_own_hand() -> None:
    own = Hand(2.0, 0.97)
    assert chosen_hand(own, "pencil") == chosen_hand(own, None) == own
    assert chosen_hand(own, "bold") == Hand(3.0, 0.97) and chosen_hand(own, {"paper": 1.0}) == Hand(2.0, 1.0)
    assert chosen_hand(Hand(4.0), "bold") == Hand(4.0) and chosen_hand(own, Hand()) == Hand()
    with pytest.raises(ValueError, match="soft, pencil, bold"):
        chosen_hand(own, "charcoal")


def test_an_unknown_style_is_usage(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sketch", photo, "-o", tmp_path / "out", "--style", "charcoal") == 2
    assert "pencil" in capsys.readouterr().err


def test_bank_and_model_of_ones_own(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IDESKETCH_CACHE", str(tmp_path / "cache"))
    for seed in (5, 6):
        pairs = phantom_pairs(3, height=64, width=48, seed=seed)
        named = ((f"{seed}-{pair.name}", pair.photo, pair.sketch) for pair in pairs)
        write_bank(tmp_path / f"{seed}.h5", named, TINY.settings)
    save_generator(tmp_path / "model.safetensors", MLANet(1, 4, 1))
    capsys.readouterr()
    assert call("sketch", photo, "-o", tmp_path / "bank", "--bank", tmp_path / "5.h5") == 0
    assert "3 pairs" in capsys.readouterr().err
    both = ("--bank", tmp_path / "5.h5", "--bank", tmp_path / "6.h5")
    assert call("sketch", photo, "-o", tmp_path / "both", *both) == 0
    assert "6 pairs" in capsys.readouterr().err and not (tmp_path / "cache" / "banks").exists()
    assert call("sketch", photo, "-o", tmp_path / "model", "--model", tmp_path / "model.safetensors") == 0
    assert "built-in bank of 4 drawn faces" in capsys.readouterr().err
    assert call("sketch", photo, "-o", tmp_path / "usual") == 0
    bank, model, usual = (read_grey(tmp_path / name / "stranger.png") for name in ("bank", "model", "usual"))
    assert not np.array_equal(bank, usual) and not np.array_equal(model, usual)


def test_what_it_was_made_by_is_noted(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_generator(tmp_path / "model.safetensors", MLANet(1, 4, 1))
    assert call("sketch", photo, "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / JOURNAL).read_text().count('"sketch"') == 1
    for other in (("--model", tmp_path / "model.safetensors"), ("--style", "bold"), ("--size", "double")):
        capsys.readouterr()
        assert call("sketch", photo, "-o", tmp_path / "out", *other) == 0
        assert "made with other settings" in capsys.readouterr().err


def test_the_sketch_lies_over_its_photo_and_doubles(photo: Path, tmp_path: Path) -> None:
    assert call("sketch", photo, "-o", tmp_path / "back", "--paste-back", "--size", "double") == 0
    assert read_grey(tmp_path / "back" / "stranger.png").shape == read_colour(photo).shape[:2]
    assert call("sketch", photo, "-o", tmp_path / "double", "--size", "double") == 0
    assert read_grey(tmp_path / "double" / "stranger.png").shape == (128, 96)


def test_folders_are_searched_and_a_bad_photo_costs_itself_alone(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    album = tmp_path / "album"
    (album / "more").mkdir(parents=True)
    (album / "more" / "b.png").write_bytes(photo.read_bytes())
    (album / "a.png").write_bytes(photo.read_bytes()[:-50])
    Image.new("RGB", (300, 400), (200, 100, 50)).save(album / "wall.png")
    Image.new("RGB", (3, 2)).save(album / "dot.png")
    Image.new("L", (48, 64), 255).save(album / "blank.png")
    assert call("sketch", album, tmp_path / "none.png", "-o", tmp_path / "out", "--recursive") == 1
    told = capsys.readouterr()
    errors = [line for line in told.err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 4 and "2 made, 0 there already, 4 failed" in told.out
    for name in ("a.png", "wall.png", "dot.png", "none.png"):
        assert sum(name in line for line in errors) == 1
    assert any("wall.png: no face found" in line for line in errors)
    assert read_grey(tmp_path / "out" / "more" / "b.png").shape == read_grey(tmp_path / "out" / "blank.png").shape


def test_nothing_is_drawn_for_photos_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IDESKETCH_CACHE", str(tmp_path / "cache"))
    told = told_once(capsys, "sketch", tmp_path / "none.png", "-o", tmp_path / "out")
    assert told == f"Error: {tmp_path / 'none.png'}: no such file or folder"
    assert not (tmp_path / "cache").exists() and not (tmp_path / "out").exists()


def test_a_bank_that_cannot_be_kept_is_one_line(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object) -> Path:
        raise InputError("somewhere: is no folder of yours alone; set IDESKETCH_CACHE")

    monkeypatch.setenv("IDESKETCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(idemodel.builtin, "writable_folder", refused)
    assert "IDESKETCH_CACHE" in told_once(capsys, "sketch", photo, "-o", tmp_path / "out")


def test_doctor_shows_where_the_bank_is(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IDESKETCH_CACHE", str(tmp_path / "cache"))
    assert call("doctor") == 0
    told = capsys.readouterr().out
    assert str(tmp_path / "cache") in told and "not drawn yet" in told
    assert call("sketch", photo, "-o", tmp_path / "out") == 0
    assert call("doctor") == 0
    told = capsys.readouterr().out
    assert str(builtin_file()) in told and "not drawn yet" not in told
