"""A function called in other processes: what comes back, and who is told; processes that are lost, and that end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from idecli.ahead import ahead
from idekernels.bank.file import open_bank
from idekernels.errors import BankError
from idekernels.files import notices
from idekernels.files.processes import is_running
from idemodel.apart import Apart
from idemodel.faces.errors import EyesWanted
from idemodel.files import large
from idemodel.preparation import PreparationSettings
from idemodel.reading import PhotoReader, Reading
from tests import apart_work
from tests.apart_work import WAIT
from tests.test_pipeline import a_bank


def test_results_come_in_the_order_of_the_items() -> None:
    with Apart(apart_work.twice, 2) as twice, ahead(twice, range(40), 2, 5) as coming:
        assert [(item, result.result()) for item, result in coming] == [(item, 2 * item) for item in range(40)]


@pytest.mark.skipif(os.name == "nt", reason="there no process sends another an interrupt")
def test_an_interrupt_that_somebody_sends_to_a_process_does_not_end_it() -> None:
    with Apart(apart_work.process_number, 1) as asked:
        number = asked(0)
        os.kill(number, signal.SIGINT)
        assert asked(0) == number


def test_what_the_first_call_made_ready_is_spared_the_others() -> None:
    with Apart(apart_work.Slow(), 3) as slow, ThreadPoolExecutor(3) as pool:
        made = set(pool.map(slow, range(30)))
    assert len(made) == 1 and os.getpid() not in made


def test_errors_come_back_as_what_they_are() -> None:
    found: dict[str, Exception] = {}
    with Apart(apart_work.fail, 1) as fail:
        for name in apart_work.ERRORS:
            with pytest.raises(Exception) as caught:
                fail(name)
            found[name] = caught.value
    for name in ("bank", "eyes", "file", "mistake", "memory"):
        error = apart_work.ERRORS[name]
        assert (type(found[name]), str(found[name])) == (type(error), str(error))
    assert isinstance(found["bank"], BankError) and isinstance(found["eyes"], EyesWanted)
    assert isinstance(found["file"], OSError) and found["file"].filename == "a.png"
    assert (type(found["unsendable"]), str(found["unsendable"])) == (RuntimeError, "UnsendableError: a b")
    if sys.version_info >= (3, 11):
        assert "apart_work.py" in found["mistake"].__notes__[0]  # where it was made


def test_what_is_printed_there_disturbs_nothing_and_what_is_told_is_told_here_once(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "_told", set())
    with Apart(apart_work.say, 2) as say:
        assert [say(text) for text in ("disk", "disk", "card")] == ["disk", "disk", "card"]
    assert caplog.messages == ["told of disk", "told of card"]
    assert "and more" not in capfd.readouterr().out


def test_libraries_have_one_thread_there_and_ctrl_c_of_a_terminal_does_not_get_there() -> None:
    with Apart(apart_work.where, 1) as where:
        assert [where(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")] == ["1", "1"]
        if os.name != "nt":
            assert where("session") != os.getsid(0)


def test_processes_end_with_the_context_also_where_an_error_leaves_it() -> None:
    with pytest.raises(KeyboardInterrupt), Apart(apart_work.where, 2) as where, ThreadPoolExecutor(2) as pool:
        there = set(pool.map(where, ["pid"] * 8))
        assert os.getpid() not in there and all(map(is_running, there))
        raise KeyboardInterrupt
    assert not any(map(is_running, there))


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_a_process_that_is_killed_costs_nothing_but_time_and_is_told_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "_told", set())
    with Apart(partial(apart_work.die_elsewhere, os.getpid()), 2) as work:
        found = [work(number) for number in (0, 2, 1, 3, 4, 5)]
    assert found == [(0, False), (2, False), (1, True), (3, True), (4, True), (5, True)]
    assert len(caplog.messages) == 1 and "(signal 9 ended it)" in caplog.messages[0]


def test_where_no_process_can_begin_the_work_is_done_here(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "_told", set())
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with Apart(apart_work.twice, 2) as twice:
        assert [twice(number) for number in range(3)] == [0, 2, 4]
    assert len(caplog.messages) == 1 and "No such file" in caplog.messages[0]


def test_a_bank_that_cannot_be_opened_there_is_read_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "_told", set())
    path, photos = a_bank(tmp_path, 1)
    with open_bank(path) as bank:
        reader = PhotoReader(bank, PreparationSettings(), leave_one_out=False)
        path.rename(tmp_path / "gone.h5")
        with Apart(reader.taken, 1) as taken:
            assert taken(photos / "0.png").planes.shape[1:] == (64, 48)
    assert len(caplog.messages) == 1 and "bank.h5" in caplog.messages[0]


def test_a_process_that_reads_loads_no_kernels_no_networks_and_no_console(tmp_path: Path) -> None:
    path, photos = a_bank(tmp_path, 1)
    with open_bank(path) as bank:
        reader = PhotoReader(bank, PreparationSettings(), leave_one_out=False)
        with Apart(partial(apart_work.modules_after, Reading(reader.taken)), 1) as modules:
            loaded = set(modules(photos / "0.png"))
    assert "idemodel.reading" in loaded
    assert not loaded & {"numba", "torch", "cupy", "click", "rich", "idecli", "multiprocessing"}


def test_few_large_pictures_are_held_by_all_processes_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, rows in (("a", 4), ("b", 4), ("c", 4), ("small", 3), ("first", 3)):
        Image.new("RGB", (5, rows)).save(tmp_path / f"{name}.png")
    monkeypatch.setattr(large._places, "free", threading.BoundedSemaphore(2))
    with Apart(apart_work.hold, 4) as hold, ThreadPoolExecutor(4) as pool:
        pool.submit(hold, tmp_path / "first.png").result()  # the others wait for the first call
        several = [pool.submit(hold, tmp_path / f"{name}.png") for name in ("a", "b", "c")]
        until = time.monotonic() + WAIT
        while len(list(tmp_path.glob("held-*"))) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        several.append(pool.submit(hold, tmp_path / "small.png"))  # waits for nobody
        while not (tmp_path / "held-small").exists() and time.monotonic() < until:
            time.sleep(0.01)
        held = {file.name for file in tmp_path.glob("held-*")}
        (tmp_path / "go").touch()
        for each in several:
            each.result()
    assert len(held) == 3 and "held-small" in held and len(list(tmp_path.glob("held-*"))) == 4
    assert large._places.free.acquire(blocking=False) and large._places.free.acquire(blocking=False)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL there")
def test_a_process_that_dies_with_a_large_picture_gives_its_place_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notices, "_told", set())
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    monkeypatch.setattr(large._places, "free", threading.BoundedSemaphore(1))
    with Apart(partial(apart_work.die_decoding, os.getpid()), 1) as work:
        assert work(tmp_path / "a.png") == (4, 5, 3)
    assert len(caplog.messages) == 1
    assert large._places.free.acquire(blocking=False) and large._one_at_a_time.acquire(blocking=False)
    large._one_at_a_time.release()
