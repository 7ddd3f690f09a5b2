"""``align`` and ``enhance``, which read ahead and write behind: as if one image were done after the other."""

from __future__ import annotations

import errno
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import call
from PIL import Image
from spots import spots, spotted  # noqa: F401 - a fixture

import idecli.align
import idecli.batch as batches
import idecli.enhance
from idecli.quiet import quietly, tell_in_turn
from idecli.readers import Readers
from idekernels.files import notices
from idekernels.files.notices import tell_once
from idemodel.faces.align_report import AlignReport, Entry
from idemodel.faces.alignment import Eyes
from idemodel.files.journal import JOURNAL
from idemodel.generator.checkpoint import save_generator
from idemodel.generator.network import MLANet

pytestmark = pytest.mark.usefixtures("spots", "one_torch_thread")

EYES = Eyes(30 + 40j, 50 + 40j)
MODULES = (idecli.align, idecli.enhance)
HOW = {"one after the other": (1, 0), "two read, one writes": (2, 1), "many": (4, 4)}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """Forgets what was told once, and gives what was told since, notices among the rest, as on a terminal."""
    last_resort = logging.lastResort
    assert last_resort
    logging.getLogger("idesketch").addHandler(last_resort)

    def lines() -> list[str]:
        monkeypatch.setattr(notices, "_told", set())
        return capsys.readouterr().err.splitlines()

    lines()
    yield lines
    logging.getLogger("idesketch").removeHandler(last_resort)


def run_by(monkeypatch: pytest.MonkeyPatch, threads: int, writers: int, *command: object) -> int:
    """The exit code of a command with so many threads; images that come first are read and written slowest."""
    waits = iter(0.002 * wait for wait in (9, 1, 7, 0, 5, 3, 1, 0) * 20)
    lock = threading.Lock()

    def slow(real: Callable[..., Any]) -> Callable[..., Any]:
        def slowly(*given: Any) -> Any:
            with lock:
                wait = next(waits)
            time.sleep(wait)
            return real(*given)

        return slowly

    with monkeypatch.context() as patched:
        for module in MODULES:
            patched.setattr(module, "Readers", partial(Readers, threads=threads, writers=writers))
            for name in ("read_colour", "read_grey"):
                if hasattr(module, name):
                    patched.setattr(module, name, slow(getattr(module, name)))
        patched.setattr(batches, "write_image", slow(batches.write_image))
        return call(*command)


def files_of(folder: Path) -> dict[str, Any]:
    """Every file below a folder; of a journal the names and digests that it holds, in any order."""
    found: dict[str, Any] = {}
    for path in (path for path in sorted(folder.rglob("*")) if path.is_file()):
        entries = [json.loads(line) for line in path.read_text().splitlines()] if path.name == JOURNAL else []
        noted = sorted((entry["name"], entry["photo"]) for entry in entries)
        found[str(path.relative_to(folder))] = noted or path.read_bytes()
    return found


def deep(path: Path, level: int = 900) -> None:
    """A grey picture of 12 bits in 16, of which a person is told once."""
    Image.fromarray(np.full((60, 70), level, np.uint16)).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos, one too small for detail, some without a face, one broken, of 12 bits, and several of one name."""
    folder = tmp_path / "photos"
    for number in range(12):
        file = folder / ("ab"[number % 2] if number < 6 else ".") / f"{number // 2 if number < 6 else number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture = spotted(100, 90, EYES)
        picture[..., 2] = number
        Image.fromarray(picture if number not in (3, 7) else picture * 0).save(file)
    deep(folder / "08.png")
    deep(folder / "10.png")
    (folder / "09.png").write_bytes(b"\x89PNG\r\n\x1a\n no")
    table = "file,left_x,left_y,right_x,right_y\n" + "".join(
        f"{name},{x},20,{x + 15},20\n" for name in ("08", "10") for x in (10, 40)
    )
    (tmp_path / "eyes.csv").write_text(table + "11,500,5,600,5\n")
    return folder


@pytest.mark.parametrize("face", ["largest", "all", "2"])
def test_align_with_threads_is_align_without(
    photos: Path, tmp_path: Path, told: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, face: str
) -> None:
    seen = {}
    for name, (threads, writers) in HOW.items():
        options = ("--recursive", "--report", "--eyes", tmp_path / "eyes.csv", "--size", "40x32", "--face", face)
        code = run_by(monkeypatch, threads, writers, "align", photos, "-o", tmp_path / name, *options)
        seen[name] = (code, told(), files_of(tmp_path / name))
    code, lines, files = first = seen["one after the other"]
    assert code == 1 and len([line for line in lines if line.startswith("Error: ")]) >= 4
    assert [line for line in lines if "12-bit" in line] == [line for line in lines if "08.png: none of" in line]
    assert len(files) >= 5 and "report/eyes.csv" in files and "report/00.png" in files
    for other in seen.values():
        assert other == first


def test_of_photos_of_one_name_the_report_shows_the_last(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, last in (("both", [photos]), ("last", [photos / "b" / "00.png"])):
        run_by(monkeypatch, 4, 4, "align", *last, "-o", tmp_path / name, "--recursive", "--report")
    both, last = ((tmp_path / name / "report" / "00.png").read_bytes() for name in ("both", "last"))
    assert both == last
    report = AlignReport.open(tmp_path / "report")
    entries = [Entry(Path(f"{where}/x.png"), np.full((2, 2, 3), level, np.uint8), [{"file": where}])
               for level, where in enumerate("abc")]  # fmt: skip
    for turn in (1, 2, 0):
        report.add(entries[turn], turn)
    assert report.rows == {"x.png": [{"file": "c"}]}
    assert np.all(np.asarray(Image.open(report.folder / "x.png")) == 2)


def test_a_report_that_cannot_be_written_costs_its_photo(
    photos: Path, tmp_path: Path, told: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out" / "report" / "06.png").mkdir(parents=True)
    files = (photos / "06.png", photos / "a" / "00.png")
    assert run_by(monkeypatch, 2, 2, "align", *files, "-o", tmp_path / "out", "--report") == 1
    (line,) = [line for line in told() if line.startswith("Error: ")]
    assert line == f"Error: {tmp_path}/out/report/06.png: a folder stands where a file is needed"
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["00.png"]
    assert "06.png" not in (tmp_path / "out" / "report" / "eyes.csv").read_text()


def test_few_photos_are_looked_at_and_not_yet_written(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12, 40):
        Image.fromarray(spotted(100, 90, EYES)).save(photos / f"{number:02}.png")
    real, lock, looked, written, deepest = batches.write_image, threading.Lock(), 0, 0, 0
    align = idecli.align.Aligner.align

    def counted(*given: Any) -> Any:
        nonlocal looked, deepest
        made = align(*given)
        with lock:
            looked += 1
            deepest = max(deepest, looked - written)
        return made

    def slow(*given: Any) -> None:
        nonlocal written
        time.sleep(0.003)
        real(*given)
        with lock:
            written += 1

    monkeypatch.setattr(idecli.align.Aligner, "align", counted)
    monkeypatch.setattr(batches, "write_image", slow)
    monkeypatch.setattr(idecli.align, "Readers", partial(Readers, threads=3, writers=2))
    good = [path for path in photos.iterdir() if path.stem not in ("07", "08", "09", "10", "a", "b")]
    assert call("align", *sorted(good), "-o", tmp_path / "out", "--size", "40x32") == 0
    assert written == looked == 30 and 2 <= deepest <= 4 + 3 + 3


@pytest.fixture
def rough(tmp_path: Path) -> Path:
    """Coarse sketches, one of them broken, one of another size than its photo, one too small, two of 12 bits."""
    for side in ("coarse", "photos"):
        (tmp_path / side).mkdir()
        for number in range(10):
            size = (20, 22) if number == 3 else (40 + number, 36)
            picture = np.random.default_rng(number).integers(0, 256, size, dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / side / f"{number:02}.png")
    Image.new("L", (9, 9)).save(tmp_path / "photos" / "05.png")
    (tmp_path / "photos" / "06.png").unlink()
    (tmp_path / "coarse" / "07.png").write_bytes(b"\x89PNG\r\n\x1a\n no")
    for number in (4, 8):
        Image.fromarray(np.full((40 + number, 36), 900, np.uint16)).save(tmp_path / "photos" / f"{number:02}.png")
    save_generator(tmp_path / "model.safetensors", MLANet(1, 4, 1, 2, 8))
    return tmp_path / "coarse"


def enhance(rough: Path, out: Path) -> tuple[object, ...]:
    here = rough.parent
    return ("enhance", here / "model.safetensors", rough, "-o", out, "--photos", here / "photos", "--device", "cpu")


def test_enhance_with_threads_is_enhance_without(
    rough: Path, tmp_path: Path, told: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}
    for name, (threads, writers) in HOW.items():
        code = run_by(monkeypatch, threads, writers, *enhance(rough, tmp_path / name))
        seen[name] = (code, told(), files_of(tmp_path / name))
    code, lines, files = first = seen["one after the other"]
    assert code == 1 and [line.split(".png")[0][-2:] for line in lines if ".png: " in line] == [
        "03", "04", "05", "06", "07",
    ]  # fmt: skip
    assert len(files) == 1 + 10 - 4
    for other in seen.values():
        assert other == first


def test_an_interrupt_of_enhance_keeps_what_was_made(
    rough: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from idemodel.generator.enhance import Enhancer

    real, calls = Enhancer.enhance, 0

    def interrupted(*given: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return real(*given, **more)

    monkeypatch.setattr(Enhancer, "enhance", interrupted)
    assert run_by(monkeypatch, 2, 2, *enhance(rough, tmp_path / "out")) == 130
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.png")) == ["00", "01", "02"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("ahead", "behind"))]


@pytest.mark.parametrize("command", ["align", "enhance"])
def test_a_full_disk_is_one_line_that_ends_the_command(
    request: pytest.FixtureRequest, tmp_path: Path, told: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:  # fmt: skip
    out, real = tmp_path / "out", batches.write_image
    given = request.getfixturevalue({"align": "photos", "enhance": "rough"}[command])
    last = {"align": "02", "enhance": "01"}[command]

    def full(target: Path, picture: Any) -> None:
        if target.stem >= last:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        real(target, picture)

    monkeypatch.setattr(batches, "write_image", full)
    arguments = enhance(given, out) if command == "enhance" else ("align", given / "a", "-o", out, "--report")
    assert run_by(monkeypatch, 2, 2, *arguments) == 1
    errors = [line for line in told() if line.startswith("Error: ")]
    assert errors[-1] == f"Error: {out}/{last}.png: the disk is full; free some space and run the command again"
    assert {path.stem for path in out.glob("*.png")} == {"align": {"00", "01"}, "enhance": {"00"}}[command]
    if command == "align":
        assert (out / "report" / "eyes.csv").is_file()  # of the photos that were looked at


def test_what_is_told_while_an_image_is_read_waits_for_its_turn(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notices, "_told", set())

    def read(file: Path) -> int:
        tell_once(file.name, f"{file}: is dark")
        return 1 // (file.name != "bad")

    heard = quietly(read)(Path("good"))
    assert heard.content == 1 and not caplog.messages
    tell_in_turn(Path("good"), heard)
    assert caplog.messages == ["good: is dark"]
    with pytest.raises(ZeroDivisionError):
        quietly(read)(Path("bad"))
    assert caplog.messages == ["good: is dark", "bad: is dark"]
