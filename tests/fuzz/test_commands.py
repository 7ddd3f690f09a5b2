"""Every command on one hostile input: exit code 1 and exactly one line, which names the file; no traceback, no hang."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from idecli.main import run
from idekernels.files.atomic import replace_when_done
from tests.fuzz import seeds


class Hung(BaseException):
    """Nothing that a command may catch."""


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    def stop(number: int, frame: Any) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Good and hostile files of every kind."""
    (tmp_path / "bank.h5").write_bytes(seeds.banks()[0])
    (tmp_path / "model.safetensors").write_bytes(seeds.models()[0])
    (tmp_path / "wide.safetensors").write_bytes((2**63).to_bytes(8, "little") + b"{}")
    (tmp_path / "deep.toml").write_text("x = " + "[" * 8000)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros.pth").symlink_to("/dev/zero")
    for name in ("pairs/photo/a.png", "pairs/sketch/a.png", "good/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        seeds.picture("L").save(tmp_path / name)
    shutil.copytree(tmp_path / "pairs", tmp_path / "bad")
    (tmp_path / "bad/photo/a.png").write_bytes(b"\x89PNG\r\n\x1a\n\n\0\x1b[2J")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_bytes(seeds.descriptions()[0].replace(b'"seed": 5', b'"seed": [[]]'))
    return tmp_path


COMMANDS: dict[str, tuple[list[str], str]] = {
    "demo": (["demo", "--out", "bank.h5"], "bank.h5"),
    "data phantom": (["data", "phantom", "bank.h5", "--pairs", "1"], "bank.h5"),
    "align": (["align", "good/a.png", "-o", "out", "--eyes", "pipe"], "pipe"),
    "data import": (["data", "import", "pairs", "pipe", "new"], "pipe"),
    "bank build": (["bank", "build", "bad", "new.h5", "--patch", "8", "--overlap", "4"], "bad/photo/a.png"),
    "bank info": (["bank", "info", "pipe"], "pipe"),
    "bank verify": (["bank", "verify", "bank.h5", "wide.safetensors"], "wide.safetensors"),
    "coarse": (["coarse", "pipe", "good", "-o", "out"], "pipe"),
    "train": (["train", "pairs", "bank.h5", "-o", "new", "--recipe", "deep.toml"], "deep.toml"),
    "train --resume": (["train", "pairs", "bank.h5", "-o", "run", "--resume"], "run/run.json"),
    "train --vgg19": (["train", "pairs", "bank.h5", "-o", "new", "--recipe", "paper", "--vgg19", "zeros.pth"], "zeros"),
    "enhance": (["enhance", "zeros.pth", "good", "-o", "out"], "zeros.pth"),
    "synth": (["synth", "bank.h5", "wide.safetensors", "good", "-o", "out"], "wide.safetensors"),
    "sketch": (["sketch", "good", "-o", "out", "--bank", "bank.h5", "--model", "wide.safetensors"], "wide.safetensors"),
    "serve": (["serve", "--bank", "pipe", "--port", "0"], "pipe"),
    "bench": (["bench", "--json", "pipe"], "pipe"),
    "export": (["export", "pipe", "--onnx", "new.onnx"], "pipe"),
    "evaluate": (["evaluate", "bad/photo", "good", "-o", "out"], "bad/photo/a.png"),
    "evaluate --weights": (["evaluate", "good", "good", "-o", "out", "--weights", "lpips=zeros.pth"], "zeros.pth"),
    "recognise": (["recognise", "bad", "bad"], "bad/photo/a.png"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_hostile_input_is_one_line(
    name: str, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, named = COMMANDS[name]
    monkeypatch.chdir(place)
    before = {path for path in place.rglob("*") if path.is_file()}
    assert run(arguments) == 1
    told = capsys.readouterr()
    lines = told.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("Error: ") and named in lines[0], told.err
    assert lines[0].isprintable()
    assert {path for path in place.rglob("*") if path.is_file()} - before == set()


def test_every_command_has_its_hostile_input() -> None:
    from idecli import main

    without_input = {"doctor"}
    assert {name.split()[0] for name in COMMANDS} == set(main.COMMANDS) - without_input


@pytest.mark.parametrize("writers", [2, 8])
def test_threads_that_write_one_path_leave_one_whole_file(writers: int, tmp_path: Path) -> None:
    target, together = tmp_path / "file", threading.Barrier(writers)
    errors: list[BaseException] = []

    def write(letter: bytes) -> None:
        try:
            with replace_when_done(target) as partial:
                partial.write_bytes(letter * 1000)
                together.wait(30)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(bytes([65 + number]),)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    content = target.read_bytes()
    assert len(content) == 1000 and len(set(content)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
