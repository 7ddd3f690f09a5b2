"""The command align, and coarse and synth that align by themselves: files, skips, reports, one line a mistake."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from idecli.main import run
from idemodel.faces import detectors
from idemodel.faces.alignment import Similarity, standard_eyes, warp
from idemodel.files.images import read_colour, read_grey, write_image
from idemodel.files.journal import JOURNAL
from idemodel.phantom import phantom_pairs

PHANTOMS = [pair.photo for pair in phantom_pairs(2, seed=11)]
MOVE = Similarity(1.3 * np.exp(0.15j), 150 + 60j)
EYES = MOVE.eyes(standard_eyes())
HEADER = "file,left_x,left_y,right_x,right_y"
KERNEL = ["--patch", "8", "--overlap", "4", "--radius", "2"]


def call(*arguments: object) -> int:
    return run([str(a) for a in arguments])


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return [line for line in told.splitlines() if line.startswith("Error: ")]


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that finds faces is installed."""
    monkeypatch.setattr(detectors, "DETECTORS", {"dlib": detectors.Dlib})
    monkeypatch.setattr(detectors.Dlib, "why_missing", lambda _: "not installed")


@pytest.fixture
def sees() -> None:
    pytest.importorskip("dlib")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """a.png: one face, moved; b.jpg: two; c.png: none; d.png: no picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    write_image(folder / "a.png", warp(PHANTOMS[0], MOVE, 480, 640, "edge"))
    Image.fromarray(np.hstack(PHANTOMS)).save(folder / "b.jpg", quality=95)
    write_image(folder / "c.png", np.full((300, 300, 3), 120, np.uint8))
    (folder / "d.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "eyes.csv"
    row = ",".join(str(part) for eye in (EYES.left, EYES.right) for part in (eye.real, eye.imag))
    path.write_text(f"{HEADER}\na,{row}\nnobody.jpg,1,1,9,9\n")
    return path


@pytest.mark.usefixtures("blind")
def test_given_eyes_need_no_detector(
    photos: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("align", photos / "a.png", "-o", tmp_path / "out", "--eyes", table) == 0
    told = capsys.readouterr()
    assert "1 made, 0 there already, 0 failed" in told.out and "rows without a photo: nobody.jpg" in told.err
    made = read_colour(tmp_path / "out" / "a.png")
    assert made.shape == (250, 200, 3)
    assert np.abs(made.astype(int) - PHANTOMS[0])[10:-10, 10:-10].mean() < 4  # the very picture that was moved
    assert call("align", photos / "a.png", "-o", tmp_path / "small", "--eyes", table, "--size", "125x100") == 0
    assert read_colour(tmp_path / "small" / "a.png").shape == (125, 100, 3)
    capsys.readouterr()
    assert call("align", photos / "b.jpg", "-o", tmp_path / "out", "--eyes", table) == 1
    (told_once,) = errors(capsys)
    assert "nothing here finds faces" in told_once and "idesketch[align]" in told_once


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 1, "pip install 'idesketch[align]'"),
        (["--eyes", "none.csv"], 1, "none.csv: no such file"),
        (["--detector", "dlib"], 1, "dlib: not installed"),
        (["--size", "4x4"], 1, "cannot be made"),
        (["--face", "0"], 2, "neither largest, nor all"),
        (["--face", "most"], 2, "neither largest, nor all"),
        (["--pad", "black"], 2, "'black'"),
    ],
)
def test_mistakes(
    photos: Path,
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    told: str,
) -> None:
    eyes = ["--eyes", table] if "--size" in arguments else []
    assert call("align", photos / "a.png", "-o", tmp_path / "out", *eyes, *arguments) == code
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("sees")
def test_a_folder_is_aligned_reported_and_not_done_twice(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert call("align", photos, "-o", out, "--report") == 1
    told = capsys.readouterr()
    assert "2 made, 0 there already, 2 failed" in told.out and "b.jpg: 2 faces, took number 1" in told.err
    assert "c.png: no face found" in told.err and "d.png: not a readable" in told.err
    assert sorted(path.name for path in (out / "report").iterdir()) == ["a.png", "b.png", "c.png", "eyes.csv"]
    with (out / "report" / "eyes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["taken"]) for row in rows] == [
        ("a.png", "yes"),
        ("b.jpg", "yes"),
        ("b.jpg", "no"),
        ("c.png", ""),
    ]
    assert abs(complex(float(rows[0]["left_x"]), float(rows[0]["left_y"])) - EYES.left) < 0.12 * EYES.distance
    assert "no face found" in rows[3]["note"]

    (out / "a.png").write_bytes(b"mine")
    assert call("align", photos, "-o", out, "--report") == 1
    assert "0 made, 2 there already, 2 failed" in capsys.readouterr().out
    assert (out / "a.png").read_bytes() == b"mine"
    with (out / "report" / "eyes.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == rows  # what was done before stays in the table


@pytest.mark.usefixtures("sees")
def test_a_report_can_be_given_back(photos: Path, tmp_path: Path) -> None:
    assert call("align", photos / "a.png", photos / "b.jpg", "-o", tmp_path / "one", "--report") == 0
    again = ["--eyes", tmp_path / "one" / "report" / "eyes.csv"]
    assert call("align", photos / "a.png", photos / "b.jpg", "-o", tmp_path / "two", *again) == 0
    for name in ("a.png", "b.png"):  # but for the rounding of the table
        one, two = (read_colour(tmp_path / run / name).astype(int) for run in ("one", "two"))
        assert np.abs(one - two).mean() < 0.5


def test_a_report_that_is_none_is_left_alone(
    photos: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "out" / "report" / "eyes.csv"
    report.parent.mkdir(parents=True)
    report.write_bytes(b"\xff\xfe")
    assert call("align", photos / "a.png", "-o", tmp_path / "out", "--eyes", table, "--report") == 1
    (told,) = errors(capsys)
    assert str(report) in told and "move it away" in told and report.read_bytes() == b"\xff\xfe"


@pytest.mark.usefixtures("sees")
def test_all_faces_have_numbers(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert call("align", photos / "a.png", photos / "b.jpg", "-o", out, "--face", "all") == 0
    assert sorted(path.name for path in out.iterdir()) == [JOURNAL, "a-1.png", "b-1.png", "b-2.png"]
    assert call("align", photos / "b.jpg", "-o", out, "--face", "all") == 0
    assert "0 made, 1 there already" in capsys.readouterr().out
    assert call("align", photos / "b.jpg", "-o", tmp_path / "second", "--face", 2) == 0
    np.testing.assert_array_equal(read_colour(tmp_path / "second" / "b.png"), read_colour(out / "b-2.png"))


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """Three phantom pairs of 125 x 100 pixels as a bank."""
    assert call("data", "phantom", tmp_path / "pairs", "--pairs", 3, "--size", "125x100", "--seed", 3) == 0
    assert call("bank", "build", tmp_path / "pairs", tmp_path / "bank.h5", *KERNEL) == 0
    return tmp_path / "bank.h5"


@pytest.mark.usefixtures("sees")
def test_coarse_aligns_what_needs_it_and_only_that(
    photos: Path, bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, moved = tmp_path / "pairs" / "photo" / "0001.png", photos / "a.png"
    for mode in ("auto", "never"):
        assert call("coarse", bank, kept, "-o", tmp_path / mode, "--k", 3, "--align", mode) == 0
    assert (tmp_path / "auto" / "0001.png").read_bytes() == (tmp_path / "never" / "0001.png").read_bytes()
    assert call("align", moved, "-o", tmp_path / "aligned", "--size", "125x100") == 0
    capsys.readouterr()
    assert call("coarse", bank, moved, "-o", tmp_path / "auto", "--k", 3) == 0
    assert "1 photos were aligned first" in capsys.readouterr().err
    assert call("coarse", bank, tmp_path / "aligned" / "a.png", "-o", tmp_path / "never", "--k", 3) == 0
    assert (tmp_path / "auto" / "a.png").read_bytes() == (tmp_path / "never" / "a.png").read_bytes()
    assert call("coarse", bank, moved, "-o", tmp_path / "refused", "--k", 3, "--align", "never") == 1


@pytest.mark.usefixtures("blind")
def test_coarse_without_a_detector_names_the_extra(
    photos: Path, bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert call("coarse", bank, photos / "a.png", tmp_path / "pairs/photo/0001.png", "-o", tmp_path / "out") == 1
    (told,) = errors(capsys)
    assert "a.png: is 480 x 640" in told and "idesketch[align]" in told
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [JOURNAL, "0001.png"]


@pytest.mark.usefixtures("sees")
def test_synth_puts_the_sketch_back(photos: Path, bank: Path, tmp_path: Path) -> None:
    from idemodel.generator.checkpoint import save_generator
    from idemodel.generator.network import MLANet

    model = tmp_path / "model.safetensors"
    save_generator(model, MLANet(1, 4, 1))
    kept = tmp_path / "pairs" / "photo" / "0001.png"
    for name, options in (("plain", []), ("back", ["--paste-back"]), ("large", ["--paste-back", "--size", "double"])):
        arguments = ("--align", "auto", "--k", 3, *KERNEL, *options)
        assert call("synth", bank, model, photos / "a.png", kept, "-o", tmp_path / name, *arguments) == 0
    luma = read_grey(photos / "a.png").astype(int)
    for name in ("back", "large"):
        back = read_grey(tmp_path / name / "a.png").astype(int)
        assert back.shape == (480, 640)
        assert np.abs(back - luma)[:, -100:].max() == 0
        assert np.abs(back - luma)[200:260, 240:320].mean() > 5
        assert read_grey(tmp_path / name / "0001.png").shape == (125, 100)
    assert (tmp_path / "back" / "0001.png").read_bytes() == (tmp_path / "plain" / "0001.png").read_bytes()
