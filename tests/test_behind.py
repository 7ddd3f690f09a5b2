"""Work finished behind by threads: its order, what is said meanwhile, a bound on what waits, errors in their turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idecli.behind import Behind
from idekernels.files import notices
from idekernels.files.notices import tell_once

WAIT = 10.0  # seconds after which a test that hangs fails


def no_thread_is_left() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("behind")]


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=25), st.integers(0, 4), st.integers(1, 8))
def test_all_happens_in_the_order_in_which_it_was_handed_over(
    things: list[tuple[bool, int]], threads: int, most: int
) -> None:
    happened: list[int] = []

    def slow(number: int, delay: int) -> int:
        time.sleep(delay / 2000)
        return number

    with Behind(threads, most) as behind:
        for number, (works, delay) in enumerate(things):
            if works:
                behind.hand_over(lambda number=number, delay=delay: slow(number, delay), happened.append)
            else:
                behind.say(lambda number=number: happened.append(number))
    assert happened == list(range(len(things))) and no_thread_is_left()


def test_without_threads_work_is_done_by_who_hands_it_over() -> None:
    happened: list[object] = []
    with Behind(0, 1) as behind:
        behind.hand_over(threading.current_thread, happened.append)
        assert happened == [threading.main_thread()]
        behind.say(lambda: happened.append("said"))
        assert happened[1:] == ["said"]


@pytest.mark.parametrize("most", [1, 3, 7])
def test_no_more_than_most_things_wait(most: int) -> None:
    begun, happened, deepest = 0, 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal begun
        with lock:
            begun += 1

    def then(_: None) -> None:
        nonlocal happened
        happened += 1

    with Behind(2, most) as behind:
        for number in range(40):
            behind.hand_over(work, then)
            deepest = max(deepest, number + 1 - happened)
    assert deepest <= most and (begun, happened) == (40, 40)


def test_what_is_said_waits_for_the_work_before_it() -> None:
    gate, happened = threading.Event(), []
    with Behind(1, 10) as behind:
        behind.hand_over(lambda: gate.wait(WAIT), lambda _: happened.append("written"))
        behind.say(lambda: happened.append("said"))
        assert happened == []
        gate.set()
    assert happened == ["written", "said"]


def fails(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def test_an_error_of_the_work_is_raised_in_its_turn_and_what_follows_is_dropped() -> None:
    happened: list[str] = []
    with pytest.raises(OSError, match="full"), Behind(1, 10) as behind:
        behind.hand_over(lambda: None, lambda _: happened.append("first"))
        behind.hand_over(fails(OSError(28, "full")), lambda _: happened.append("failed"))
        behind.hand_over(lambda: happened.append("begun"), lambda _: happened.append("third"))
        behind.say(lambda: happened.append("said"))
    assert happened == ["first"] and no_thread_is_left()


def test_work_that_was_begun_before_an_error_is_finished() -> None:
    gate, finished = threading.Event(), []

    def slow() -> None:
        gate.wait(WAIT)
        finished.append(1)

    def failing() -> None:
        gate.set()
        raise OSError(28, "full")

    with pytest.raises(OSError, match="full"), Behind(2, 10) as behind:
        behind.hand_over(slow, lambda _: finished.append(2))
        behind.hand_over(failing, lambda _: None)
    assert finished == [1, 2]  # it stood before the error in the line


def test_of_two_errors_the_first_in_the_line_is_raised() -> None:
    gate = threading.Event()

    def late() -> None:
        gate.wait(WAIT)
        raise OSError(28, "first")

    def early() -> None:
        gate.set()
        raise OSError(28, "second")

    with pytest.raises(OSError, match="first"), Behind(2, 10) as behind:
        behind.hand_over(late, lambda _: None)
        behind.hand_over(early, lambda _: None)


def test_an_interrupt_lets_what_was_handed_over_be_finished() -> None:
    happened: list[int] = []
    with pytest.raises(KeyboardInterrupt), Behind(1, 10) as behind:
        for number in range(5):
            behind.hand_over(lambda number=number: time.sleep(0.001) or number, happened.append)
        raise KeyboardInterrupt
    assert happened == [0, 1, 2, 3, 4] and no_thread_is_left()


def test_what_work_has_to_tell_is_told_in_its_turn(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notices, "_told", set())
    gate = threading.Event()

    def work() -> None:
        tell_once("disk", "the disk is slow")
        gate.set()

    with Behind(1, 10) as behind:
        hold = threading.Event()
        behind.hand_over(lambda: hold.wait(WAIT), lambda _: None)
        behind.hand_over(work, lambda _: None)
        behind.hand_over(work, lambda _: None)
        assert caplog.messages == []
        hold.set()
    assert caplog.messages == ["the disk is slow"] and gate.is_set()
