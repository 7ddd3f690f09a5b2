"""Warnings ignored by several threads at once, and as before when the last has left, also in the child of a fork."""

from __future__ import annotations

import os
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import idemodel.files.images as images
import idemodel.files.large as large
from idemodel.files.images import read_colour
from idemodel.files.warned import warnings_ignored

WAIT = 10.0  # seconds after which a test that hangs fails


def is_raised() -> bool:
    """Whether a warning is an error, as in all tests."""
    try:
        warnings.warn("a warning", UserWarning, stacklevel=1)
    except UserWarning:
        return True
    return False


def test_warnings_are_ignored_within_and_as_before_after() -> None:
    before = list(warnings.filters)
    with pytest.raises(ZeroDivisionError), warnings_ignored():
        with warnings_ignored():
            assert not is_raised()
        assert not is_raised()
        _ = 1 / 0
    assert is_raised() and list(warnings.filters) == before


def test_who_leaves_first_leaves_them_ignored_for_the_others() -> None:
    entered, leave, seen = threading.Barrier(2), threading.Event(), []

    def other() -> None:
        with warnings_ignored():
            entered.wait(WAIT)
            leave.wait(WAIT)
            seen.append(is_raised())

    thread = threading.Thread(target=other)
    with warnings_ignored():
        thread.start()
        entered.wait(WAIT)
    leave.set()
    thread.join()
    assert seen == [False] and is_raised()


def test_two_threads_decode_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (5, 4), (1, 2, 3)).save(tmp_path / "a.png")
    both, real = threading.Barrier(2), images._pixels

    def together(*given: object) -> Image.Image:
        both.wait(WAIT)  # breaks where one waits for the other
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "_pixels", together)
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(read_colour(tmp_path / "a.png"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.tolist() for one in found] == [[[[1, 2, 3]] * 5] * 4] * 2


def test_large_pictures_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    within, most, lock, real = 0, 0, threading.Lock(), images._upright

    def counted(*given: object) -> Image.Image:
        nonlocal within, most
        with lock:
            within += 1
            most = max(most, within)
        time.sleep(0.01)
        with lock:
            within -= 1
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "_upright", counted)
    monkeypatch.setattr(large, "LARGE", 19)
    threads = [threading.Thread(target=read_colour, args=(tmp_path / "a.png",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_few_large_pictures_are_held_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    Image.new("RGB", (5, 3)).save(tmp_path / "small.png")
    monkeypatch.setattr(large, "LARGE", 19)
    lock, held, most, small = threading.Lock(), 0, 0, threading.Event()
    full = threading.Semaphore(0)

    def hold() -> None:
        nonlocal held, most
        with large.held_meanwhile():
            read_colour(tmp_path / "a.png")
            read_colour(tmp_path / "a.png")  # a second one takes no second place
            with lock:
                held += 1
                most = max(most, held)
            full.release()
            assert small.wait(WAIT)
            with lock:
                held -= 1

    threads = [threading.Thread(target=hold) for _ in range(3 * large.MOST_HELD)]
    for thread in threads:
        thread.start()
    for _ in range(large.MOST_HELD):
        assert full.acquire(timeout=WAIT)
    with large.held_meanwhile():
        read_colour(tmp_path / "small.png")  # waits for nobody
    read_colour(tmp_path / "a.png")  # nor does one whose thread says nothing of holding it
    small.set()
    for thread in threads:
        thread.join()
    assert (held, most) == (0, large.MOST_HELD)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks there")
def test_the_child_of_a_fork_has_its_warnings_back() -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with warnings_ignored():
            entered.set()
            leave.wait(WAIT)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(WAIT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are threads
        child = os.fork()
        if child == 0:
            code = 1
            try:
                before = is_raised()
                with warnings_ignored():
                    inside = is_raised()
                code = 0 if before and not inside and is_raised() else 2
            finally:
                os._exit(code)
    _, status = os.waitpid(child, 0)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0 and is_raised()
