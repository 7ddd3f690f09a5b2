"""Interrupts that wait: kept until the end, let through where that is said, and a bank that is whole or not there."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idekernels import verify, write_bank
from idekernels.files.interrupts import HeldInterrupts
from idekernels.files.patient import PatientFile

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a process does not send itself SIGINT there")


@pytest.fixture(autouse=True)
def interrupts_raise() -> Iterator[None]:
    """Also where the tests were started in the background, which ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_waits_for_the_end() -> None:
    reached, before = False, signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), HeldInterrupts():
        interrupt()
        reached = True
    assert reached and signal.getsignal(signal.SIGINT) is before


def test_one_that_waits_comes_where_it_is_let_through() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), HeldInterrupts() as held:
        with held.let_through():
            reached = True
        interrupt()
        with held.let_through():
            raise AssertionError("the interrupt was lost")
    assert reached


def test_without_an_interrupt_nothing_happens_and_other_threads_may_use_it() -> None:
    with HeldInterrupts() as held, held.let_through():
        pass

    def elsewhere() -> None:
        with HeldInterrupts() as other, other.let_through():
            pass

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is not None


@pytest.mark.parametrize("at", range(0, 60, 7))
def test_a_bank_that_is_interrupted_while_written_leaves_the_old_one(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, plain, calls = tmp_path / "bank.h5", PatientFile.write, 0
    planes = np.random.default_rng(1).integers(0, 256, (6, 40, 32), dtype=np.uint8)

    def pairs() -> list[Any]:
        return [(f"{number}", plane, plane) for number, plane in enumerate(planes)]

    write_bank(file, pairs())
    before = file.read_bytes()

    def interrupted(self: PatientFile, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == at + 1:
            interrupt()
        return plain(self, data)

    monkeypatch.setattr(PatientFile, "write", interrupted)
    try:
        write_bank(file, pairs())
    except KeyboardInterrupt:
        assert calls > at
    else:
        assert calls <= at  # fewer writes than that
    verify(file)
    assert calls <= at or file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["bank.h5"]
