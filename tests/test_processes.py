"""Whether a process runs, on this system and on a simulated Windows, where os.kill would end it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from typing import Any

import pytest

from idekernels.files import processes
from idekernels.files.processes import is_running


def test_processes_that_run_and_that_do_not() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert is_running(os.getpid()) and is_running(os.getppid()) and is_running(2**70)
    assert not is_running(gone.pid)


class Windows:
    """kernel32 of a machine where process 7 runs, 8 has ended and 9 is another user's."""

    def __init__(self) -> None:
        self.closed: list[Any] = []
        self.OpenProcess = self.opened  # a function of ctypes takes attributes

    @staticmethod
    def opened(access: int, inherited: bool, process: Any) -> int:
        assert access == 0x1000
        return process.value if process.value in (7, 8) else 0

    def GetExitCodeProcess(self, handle: Any, code: Any) -> bool:
        code._obj.value = 259 if handle.value == 7 else 0
        return True

    def CloseHandle(self, handle: Any) -> None:
        self.closed.append(handle.value)


def test_on_windows_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    system = Windows()
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, use_last_error: system, raising=False)
    errors = iter((87, 5))
    monkeypatch.setattr(ctypes, "get_last_error", lambda: next(errors), raising=False)
    monkeypatch.setattr(processes.os, "name", "nt")
    monkeypatch.setattr(processes.os, "kill", None)
    found = [is_running(7), is_running(8), is_running(10), is_running(9)]
    monkeypatch.undo()
    assert found == [True, False, False, True]
    assert system.closed == [7, 8]
