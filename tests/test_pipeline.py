"""A batch whose images are read ahead and whose pictures are written behind: as if one were done after the other."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import idecli.batch as batches
import idekernels.backends.cpu.threads as threads_of_cpu
from idecli.batch import Batch, Results
from idecli.console import note
from idecli.kernels import SideBySide
from idecli.main import run
from idecli.photos import PhotoIntake
from idecli.readers import _MOST_WRITERS, Portions, Readers, readers_for, writers_for
from idekernels import MemoryBank, coarse, prepare
from idekernels.errors import InputError
from idemodel.files.images import read_grey
from idemodel.files.journal import JOURNAL, Journal, Making
from idemodel.files.outputs import is_whole
from idemodel.phantom import phantom_pairs

MAKING = Making.of("coarse", k=3)
PHOTOS = 12


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve small photos; the fourth is none."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(PHOTOS):
        Image.new("L", (8, 9), number * 10).save(folder / f"{number:02}.png")
    (folder / "03.png").write_bytes(b"\x89PNG\r\n\x1a\n no")
    return folder


def readers(threads: int, writers: int) -> Readers[Any]:
    return Readers(lambda file, _: note(f"{file.name}: was read"), threads=threads, writers=writers)


def one_by_one(targets: Sequence[Path], images: Sequence[Any]) -> Iterator[Any]:
    """Pictures of the images themselves; the sixth has none, the eighth is made by who writes it."""
    for target, image in zip(targets, images, strict=True):
        made: Any = InputError(f"{target.name}: cannot be made") if target.stem == "05" else image
        yield (lambda image=image: image) if target.stem == "07" else made


def go(photos: Path, out: Path, how: Readers[Any] | None, at_once: int = 3) -> Batch:
    batch = Batch.find([photos], Results(out, MAKING))
    batch.run("x", at_once, read_grey, one_by_one, how)
    return batch


@pytest.mark.parametrize(("threads", "writers", "at_once"), [(1, 1, 1), (2, 1, 3), (4, 4, 5), (3, 2, 20)])
def test_threads_change_nothing_but_the_time(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], threads: int, writers: int, at_once: int
) -> None:
    told, found = [], []
    for name, how in (("plain", readers(1, 0)), ("threads", readers(threads, writers))):
        batch = go(photos, tmp_path / name, how, at_once if name == "threads" else 1)
        told.append([line for line in capsys.readouterr().err.splitlines() if line.strip()])
        found.append({file.name: file.read_bytes() for file in (tmp_path / name).glob("*.png")})
        assert (batch.made, batch.failed, batch.exit_code) == (PHOTOS - 2, 2, 1)
        noted = (tmp_path / name / JOURNAL).read_text().splitlines()
        assert sorted(json.loads(line)["name"] for line in noted) == sorted(found[-1])
    assert found[0] == found[1]
    if at_once == 1:
        assert told[0] == told[1]
    assert sorted(told[0]) == sorted(told[1])


def test_a_picture_that_cannot_be_written_is_told_before_the_next_photos_are(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = batches.write_image

    def refuse(target: Path, picture: Any) -> None:
        time.sleep(0.005)
        if target.stem == "01":
            raise OSError(errno.ENAMETOOLONG, "File name too long", str(target))
        real(target, picture)

    monkeypatch.setattr(batches, "write_image", refuse)
    batch = go(photos, tmp_path / "out", readers(2, 2))
    assert (batch.made, batch.failed) == (PHOTOS - 3, 3)
    lines = [line for line in capsys.readouterr().err.splitlines() if ".png" in line]
    first = [
        next(at for at, line in enumerate(lines) if word in line) for word in ("02.png: was", "01.png: File", "04.")
    ]
    assert first == sorted(first)  # of three made together: told, made, written, then the next


@pytest.mark.parametrize("writers", [0, 1, 3])
def test_a_full_disk_ends_the_batch_and_leaves_whole_pictures(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writers: int
) -> None:
    real = batches.write_image

    def full(target: Path, picture: Any) -> None:
        if int(target.stem) >= 6:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        real(target, picture)

    monkeypatch.setattr(batches, "write_image", full)
    with pytest.raises(OSError) as caught:
        go(photos, tmp_path / "out", readers(2, writers))
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / "out" / "06.png")
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.png")) == ["00", "01", "02", "04"]
    monkeypatch.setattr(batches, "write_image", real)
    again = go(photos, tmp_path / "out", readers(2, writers))
    assert (again.skipped, again.made) == (4, PHOTOS - 6)


def test_a_full_disk_is_one_line_and_the_exit_code_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, photos = a_bank(tmp_path, 5)
    capsys.readouterr()

    def full(target: Path, picture: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(batches, "write_image", full)
    assert run(["coarse", str(bank), str(photos), "-o", str(tmp_path / "out"), "--backend", "cpu", "--k", "2"]) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert told == [f"Error: {tmp_path}/out/0.png: the disk is full; free some space and run the command again"]


def test_no_more_pictures_are_held_than_is_said(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(PHOTOS, 40):
        Image.new("L", (8, 9), number).save(photos / f"{number:02}.png")
    real, lock, made, written, deepest = batches.write_image, threading.Lock(), 0, 0, 0

    def slow(target: Path, picture: Any) -> None:
        nonlocal written
        time.sleep(0.003)
        real(target, picture)
        with lock:
            written += 1

    def make(targets: Sequence[Path], images: Sequence[Any]) -> Sequence[Any]:
        nonlocal made, deepest
        with lock:
            made += len(images)
            deepest = max(deepest, made - written)
        return images

    monkeypatch.setattr(batches, "write_image", slow)
    batch = Batch.find([photos], Results(tmp_path / "out", MAKING))
    batch.run("x", 4, read_grey, make, readers(2, 1))
    assert (batch.made, made) == (39, 39) and deepest <= 3 * 4


def test_the_first_images_are_read_while_the_kernels_are_loaded(photos: Path, tmp_path: Path) -> None:
    begun, order = threading.Event(), []

    def read(file: Path) -> Any:
        begun.set()
        return read_grey(file)

    def load() -> None:
        assert begun.wait(10)
        order.append("loaded")

    def make(targets: Sequence[Path], images: Sequence[Any]) -> Sequence[Any]:
        order.append("made")
        return images

    batch = Batch.find([photos], Results(tmp_path / "out", MAKING))
    batch.run("x", 20, read, make, Readers(lambda *_: None, load))
    assert order == ["loaded", "made"] and batch.made == PHOTOS - 1


def test_an_interrupt_keeps_what_was_made(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def make(targets: Sequence[Path], images: Sequence[Any]) -> Sequence[Any]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return images

    batch = Batch.find([photos], Results(tmp_path / "out", MAKING))
    with pytest.raises(KeyboardInterrupt):
        batch.run("x", 3, read_grey, make, readers(2, 2))
    assert len(list((tmp_path / "out").glob("*.png"))) == 6
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("ahead", "behind"))]


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 400))
def test_portions_are_whole_until_the_end_and_take_all_that_is_left(most: int, calls: int, images: int) -> None:
    portions, left, taken = Portions(most, calls), images, []
    while left:
        taken.append(min(left, portions.size(left)))
        left -= taken[-1]
    assert sum(taken) == images and max(taken) <= most
    assert sorted(taken, reverse=True) == taken or calls == 1
    assert calls == 1 or taken[-1] <= max(1, images // (2 * calls))


def test_batches_are_made_side_by_side_and_come_in_order(tmp_path: Path) -> None:
    """Two that wait for one another are both under way; what the threads' number was does not show."""
    bank, photos = a_bank(tmp_path, 20)
    met, real, threads = threading.Barrier(2), coarse.coarse_sketch, []

    def meeting(*given: Any, **options: Any) -> Any:
        threads.append(threading.current_thread().name)
        if len(threads) <= 2:
            met.wait(20)
        return real(*given, **options)

    found = []
    for calls, work in ((1, real), (2, meeting)):
        out = tmp_path / f"out{calls}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threads_of_cpu, "calls", lambda calls=calls: calls)
            patch.setattr(coarse, "coarse_sketch", work)
            patch.setattr("idekernels.warm.coarse_sketch", real)
            command = ["coarse", bank, photos, "-o", out, "--backend", "cpu", "--k", 3, "--align", "never"]
            assert run([*map(str, command)]) == 0
        found.append({file.name: file.read_bytes() for file in out.glob("*.png")})
        names = [json.loads(line)["name"] for line in (out / JOURNAL).read_text().splitlines()]
        assert sorted(names) == sorted(found[-1])
    assert found[0] == found[1] and len(found[0]) == 20
    assert len(set(threads)) == 2 and all(name.startswith("kernels") for name in threads)


def test_photos_are_read_while_the_bank_is_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank, photos = a_bank(tmp_path, 3)
    read, real = threading.Event(), PhotoIntake.read

    def reading(intake: PhotoIntake, file: Path) -> Any:
        read.set()
        return real(intake, file)

    def preparing(*given: Any, **options: Any) -> Any:
        assert read.wait(10)
        return prepare(*given, **options)

    monkeypatch.setattr(PhotoIntake, "read", reading)
    monkeypatch.setattr("idekernels.prepare", preparing)
    command = ["coarse", bank, photos, "-o", tmp_path / "out", "--backend", "reference", "--k", 3]
    assert run([*map(str, command)]) == 0 and len(list((tmp_path / "out").glob("*.png"))) == 3


@pytest.mark.parametrize("backend", ["reference", "none"])
def test_what_is_wrong_with_the_backend_is_said_before_what_is_wrong_with_the_bank(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], backend: str
) -> None:
    """As if nothing had been read ahead: the backend's line, or its error and no folder, come first."""
    _, photos = a_bank(tmp_path, 2)
    assert run(["bank", "build", str(tmp_path / "pairs"), str(tmp_path / "dog.h5"), "--plane", "dog"]) == 0
    capsys.readouterr()
    command = ["coarse", str(tmp_path / "dog.h5"), str(photos), "-o", str(tmp_path / "out"), "--backend", backend]
    assert run([*command, "--normalise", "levels"]) == 1
    *before, told = capsys.readouterr().err.strip().splitlines()
    assert ("no backend called" in told and not before) if backend == "none" else before[0].startswith("backend ref")
    assert (tmp_path / "out").exists() == (backend == "reference")


@pytest.mark.parametrize(
    ("cores", "reading", "writing"), [(1, 1, 2), (2, 2, 2), (4, 4, 2), (5, 4, 2), (8, 4, 4), (16, 4, 4), (96, 4, 4)]
)
def test_threads_for_so_many_cores(cores: int, reading: int, writing: int) -> None:
    assert (readers_for(cores), writers_for(cores)) == (reading, writing)


def test_few_photos_are_made_by_all_cores_together() -> None:
    prepared = prepare(MemoryBank.from_images(*[[np.zeros((16, 16), np.uint8)] * 2] * 2), "reference")
    assert SideBySide(prepared, 100).calls == 1  # it has no threads
    cpu = prepare(prepared.bank, "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads_of_cpu, "calls", lambda: 3)
        assert [SideBySide(cpu, photos).calls for photos in (1, 11, 12)] == [1, 1, 3]
        streamed = prepare(prepared.bank, "cpu", memory=0)
        assert SideBySide(streamed, 100).calls == 1  # each call would read the bank


def test_an_error_of_a_batch_made_beside_others_ends_the_command_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank, photos = a_bank(tmp_path, 20)
    real = coarse.coarse_sketch

    def failing(queries: Any, *given: Any, **options: Any) -> Any:
        if len(queries.planes) < 5:  # the last ones
            raise InputError("there is no memory")
        return real(queries, *given, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads_of_cpu, "calls", lambda: 2)
        patch.setattr(coarse, "coarse_sketch", failing)
        patch.setattr("idekernels.warm.coarse_sketch", real)
        assert run(["coarse", str(bank), str(photos), "-o", str(tmp_path / "out"), "--backend", "cpu", "--k", "3"]) == 1
    assert [line for line in capsys.readouterr().err.splitlines() if "Error" in line] == ["Error: there is no memory"]
    assert 5 <= len(list((tmp_path / "out").glob("*.png"))) < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("ahead", "behind", "kernels"))]


def a_bank(folder: Path, photos: int) -> tuple[Path, Path]:
    """A bank of phantoms of 64 x 48, and a folder of that many photos of them."""
    pairs = list(phantom_pairs(4, height=64, width=48, seed=2))
    for side in ("photo", "sketch"):
        (folder / "pairs" / side).mkdir(parents=True)
        for pair in pairs:
            Image.fromarray(np.asarray(getattr(pair, side))).save(folder / "pairs" / side / f"{pair.name}.png")
    (folder / "photos").mkdir()
    for number in range(photos):
        Image.fromarray(pairs[number % 4].photo).save(folder / "photos" / f"{number}.png")
    assert run(["bank", "build", str(folder / "pairs"), str(folder / "bank.h5"), "--radius", "2"]) == 0
    return folder / "bank.h5", folder / "photos"


SLOW = """
import sys, time
import idecli.batch as batches
from idecli.main import main
real = batches.write_image
def slow(target, picture):
    time.sleep(0.01)
    real(target, picture)
batches.write_image = slow
main(sys.argv[1:])
"""


def stopped(command: list[str], out: Path, how: signal.Signals) -> tuple[int, str]:
    """Exit code and stderr of a process that is sent a signal when it has written twenty pictures."""
    with subprocess.Popen([sys.executable, "-c", SLOW, *command], stderr=subprocess.PIPE, text=True) as process:
        for _ in range(6000):
            if process.poll() is not None or len(list(out.glob("*.png"))) >= 20:
                break
            time.sleep(0.01)
        process.send_signal(how)
        _, told = process.communicate()
    return process.returncode, told


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_one_that_is_killed_leaves_whole_pictures_and_is_gone_on_with(tmp_path: Path) -> None:
    bank, photos = a_bank(tmp_path, 120)
    out = tmp_path / "out"
    command = ["coarse", str(bank), str(photos), "-o", str(out), "--backend", "cpu", "--k", "2"]
    stopped(command, out, signal.SIGKILL)
    there = sorted(out.glob("*.png"))
    assert 20 <= len(there) < 120
    assert all(is_whole(path) for path in there)
    unnoted = [path for path in there if Journal(out).of(path.name) is None]
    assert len(unnoted) <= _MOST_WRITERS  # written, and killed before that was noted
    before = {path: path.read_bytes() for path in there}
    assert run(command) == 0
    assert len(list(out.glob("*.png"))) == 120 and {path: path.read_bytes() for path in there} == before
    assert not list(out.glob(".*.partial"))


@pytest.mark.skipif(os.name == "nt", reason="a process is sent no SIGINT there")
def test_one_that_is_interrupted_says_so_and_keeps_what_it_made(tmp_path: Path) -> None:
    bank, photos = a_bank(tmp_path, 120)
    out = tmp_path / "out"
    command = ["coarse", str(bank), str(photos), "-o", str(out), "--backend", "cpu", "--k", "2"]
    code, told = stopped(command, out, signal.SIGINT)
    assert code == 130 and told.splitlines()[-1].startswith("Interrupted; what was finished is kept")
    there = sorted(out.glob("*.png"))
    assert 20 <= len(there) < 120 and all(is_whole(path) for path in there)
    assert all(Journal(out).of(path.name) for path in there) and not list(out.glob(".*.partial"))
