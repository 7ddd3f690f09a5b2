"""Processes: cores for them, whether one runs, locks that the child of a fork finds free; starts and ends none."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

Value = TypeVar("Value")

_QUERY = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION
_NO_SUCH_PROCESS = 87  # ERROR_INVALID_PARAMETER, what OpenProcess says of a number that no process has
_STILL_ACTIVE = 259


class Lock(Protocol):
    """What can be held and let go; a lock, or what wraps one."""

    def acquire(self) -> Any:
        """Wait for it and hold it."""

    def release(self) -> Any:
        """Let it go."""


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_running(process: int) -> bool:
    """Whether a process of this number runs on this machine; nothing is sent to it. True where that cannot be known."""
    if os.name == "nt":
        return _is_running_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _is_running_on_windows(process: int) -> bool:
    """There ``os.kill`` ends the process, whatever the signal: ask for a handle instead."""
    import ctypes

    system = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    system.OpenProcess.restype = ctypes.c_void_p
    handle = system.OpenProcess(_QUERY, False, ctypes.c_uint32(process))
    if not handle:
        return bool(ctypes.get_last_error() != _NO_SUCH_PROCESS)  # type: ignore[attr-defined,unused-ignore]
    try:
        code = ctypes.c_uint32()
        known = system.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
        return not known or code.value == _STILL_ACTIVE
    finally:
        system.CloseHandle(ctypes.c_void_p(handle))


def keep_over_forks(lock: Lock) -> None:
    """Let no fork happen while another thread holds ``lock``: the child would find it held for ever."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


def forked_by_multiprocessing() -> bool:
    """Whether this is a process that multiprocessing forked; False in those that it spawned."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is None:
        return False
    return getattr(multiprocessing.current_process(), "_start_method", None) == "fork"


class kept_property(functools.cached_property[Value]):
    """A property that is computed once; the lock that Python has for it before 3.12 is free in the child of a fork."""

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        super().__init__(compute)
        if lock := getattr(self, "lock", None):
            keep_over_forks(lock)
