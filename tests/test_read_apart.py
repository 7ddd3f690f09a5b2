"""Photos of a batch that other processes read: as if threads did, whatever happens to the processes or the parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from idecli.readers import processes_for
from idekernels.backends import on_device
from idekernels.files import notices
from idekernels.files.processes import is_running
from idemodel import apart
from idemodel.files.journal import JOURNAL
from idemodel.preparation import PreparationSettings
from tests.commands import call
from tests.test_pipeline import a_bank

WAIT = 20.0  # seconds after which a test that hangs fails


def mixed(photos: Path) -> None:
    """Of a folder's photos make one too dark, one of another size, and one that is none."""
    dark = np.asarray(Image.open(photos / "1.png")) // 3
    Image.fromarray(dark).save(photos / "1.png")
    Image.open(photos / "2.png").resize((33, 47)).save(photos / "2.png")
    (photos / "4.png").write_bytes(b"\x89PNG\r\n\x1a\n no")


def made(out: Path) -> tuple[dict[str, bytes], list[Any]]:
    """The pictures of a folder, and what its journal says of each."""
    noted = sorted((out / JOURNAL).read_text().splitlines(), key=lambda line: str(json.loads(line)["name"]))
    return {file.name: file.read_bytes() for file in out.glob("*.png")}, [json.loads(line) for line in noted]


def made_both_ways(
    module: str, command: tuple[object, ...], folder: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[int, int]:  # fmt: skip
    """A command whose photos threads read, then two processes, makes and says the same: so many pictures and errors."""
    found, told = [], []
    for processes in (0, 2):
        monkeypatch.setattr(f"{module}.processes_for", lambda *_, processes=processes: processes)
        out = folder / f"out{processes}"
        capsys.readouterr()
        assert call(*command, "-o", out) == 1
        told.append(capsys.readouterr().err)
        found.append(made(out))
    assert found[0] == found[1] and told[0] == told[1]
    return len(found[0][0]), told[0].count("Error: ")


@pytest.mark.parametrize("options", [(), ("--align", "never", "--leave-one-out")])
def test_processes_change_nothing_but_the_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    bank, photos = a_bank(tmp_path, 9)
    for photo, name in zip(sorted(photos.iterdir()), sorted((tmp_path / "pairs" / "photo").iterdir()), strict=False):
        if options:  # some have a pair of their name
            photo.rename(photos / name.name)
    if not options:
        mixed(photos)
    command = ("coarse", bank, photos, "--backend", "cpu", "--k", 3, *options)
    sketches, errors = made_both_ways("idecli.coarse", command, tmp_path, capsys, monkeypatch)
    assert 4 <= sketches < 9 and errors == 9 - sketches


@pytest.mark.parametrize("options", [(), ("--paste-back",)])
def test_fine_sketches_are_the_same_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    bank, photos = a_bank(tmp_path, 5)
    mixed(photos)
    command = ("sketch", photos, "--bank", bank, "--backend", "cpu", "--device", "cpu", *options)
    sketches, errors = made_both_ways("idecli.synthesis", command, tmp_path, capsys, monkeypatch)
    assert sketches >= 3 and errors == 5 - sketches


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_a_reader_that_is_killed_is_told_of_and_its_photos_are_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, photos = a_bank(tmp_path, 9)
    real = apart._Process.__init__

    def killed(process: apart._Process, packed: bytes) -> None:
        real(process, packed)
        assert process._process
        process._process.kill()

    monkeypatch.setattr(notices, "_told", set())
    monkeypatch.setattr("idecli.coarse.processes_for", lambda *_: 2)
    monkeypatch.setattr(apart._Process, "__init__", killed)
    assert call("coarse", bank, photos, "-o", tmp_path / "out", "--backend", "cpu", "--k", 3) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 9
    assert [message for message in caplog.messages if "read ahead was lost" in message] == caplog.messages != []


SLOW = """
import os, sys, time
from pathlib import Path
import idecli.batch as batches
import idecli.coarse
from idecli.main import main
from idemodel import apart

real, begun = batches.write_image, apart._Process.__init__
def slow(target, picture):
    time.sleep(0.01)
    real(target, picture)
def noted(process, packed):
    begun(process, packed)
    Path(sys.argv[1], str(process._process.pid)).touch()
batches.write_image, apart._Process.__init__ = slow, noted
idecli.coarse.processes_for = lambda *_: 2
main(sys.argv[2:])
"""


def stopped(tmp_path: Path, how: signal.Signals) -> tuple[int, str, Path]:
    """Exit code, stderr and results of a process whose terminal sends a signal, once it has written ten pictures.

    Its readers' numbers are the names of the files in ``pids``.
    """
    bank, photos = a_bank(tmp_path, 120)
    out, pids = tmp_path / "out", tmp_path / "pids"
    pids.mkdir()
    command = ["coarse", str(bank), str(photos), "-o", str(out), "--backend", "cpu", "--k", "2"]
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, str(pids), *command], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        for _ in range(6000):
            if process.poll() is not None or len(list(out.glob("*.png"))) >= 10:
                break
            time.sleep(0.01)
        os.killpg(process.pid, how)
        _, told = process.communicate()
    return process.returncode, told, out


def all_end(pids: Path) -> bool:
    """Whether the two processes are gone, now or soon."""
    numbers = [int(file.name) for file in pids.iterdir()]
    until = time.monotonic() + WAIT
    while any(map(_lives, numbers)) and time.monotonic() < until:
        time.sleep(0.01)
    return len(numbers) == 2 and not any(map(_lives, numbers))


def _lives(process: int) -> bool:
    """Whether it runs; one that nobody has asked how it ended does not."""
    try:
        return is_running(process) and Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return sys.platform != "linux" and is_running(process)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_readers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code, told, out = stopped(tmp_path, signal.SIGKILL)
    assert code == -signal.SIGKILL and 10 <= len(list(out.glob("*.png"))) < 120
    assert all_end(tmp_path / "pids") and "Traceback" not in told


@pytest.mark.skipif(os.name == "nt", reason="a process is sent no SIGINT there")
def test_an_interrupt_is_one_line_and_ends_the_readers(tmp_path: Path) -> None:
    code, told, out = stopped(tmp_path, signal.SIGINT)
    assert code == 130 and told.splitlines()[-1].startswith("Interrupted; what was finished is kept")
    assert "Traceback" not in told and "lost" not in told
    assert 10 <= len(list(out.glob("*.png"))) < 120 and not list(out.glob(".*.partial"))
    assert all_end(tmp_path / "pids")


@pytest.mark.parametrize(
    ("photos", "cores", "processes"),
    [(1, 16, 0), (255, 16, 0), (256, 7, 0), (256, 8, 6), (1000, 16, 12), (10000, 96, 12)],
)
def test_processes_read_many_photos_on_many_cores(photos: int, cores: int, processes: int) -> None:
    assert processes_for(photos, cores, False, lambda: True) == processes
    assert processes_for(photos, cores, False, lambda: False) == 0  # the kernels take the cores


def test_what_the_kernels_run_on_is_not_asked_where_few_photos_are_read() -> None:
    def asked() -> bool:
        raise AssertionError

    assert processes_for(10, 16, False, asked) == processes_for(1000, 4, False, asked) == 0


def test_photos_that_are_taken_as_they_are_are_read_by_threads() -> None:
    untouched = PreparationSettings(align="never", normalise="none")
    others = PreparationSettings(), PreparationSettings(align="never"), PreparationSettings(normalise="none")
    assert untouched.as_they_are and not any(each.as_they_are for each in others)
    assert processes_for(1000, 16, True, lambda: True) == 0


def test_which_backends_leave_the_cores_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idekernels.backends.why_missing", lambda name: "no device" if name == "cuda" else None)
    assert [on_device(name) for name in ("cuda", "cpu", "reference", "auto")] == [True, False, False, False]
    monkeypatch.setattr("idekernels.backends.why_missing", lambda name: None)
    assert on_device("auto")
