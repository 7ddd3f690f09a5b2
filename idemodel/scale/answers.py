"""What a worker answers where it cannot do its work: a line that names it, never an exception that Dask would log."""

from __future__ import annotations

import errno
import functools
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from idekernels.errors import in_short

Result = TypeVar("Result")

_ONE_AT_A_TIME = threading.Lock()  # of one process: kernels have threads of their own, and the memory of one batch
_REMEDIES = {
    errno.ENOSPC: "its disk is full; free some space there",
    errno.EDQUOT: "its disk quota is used up; free some space there",
    errno.EACCES: "may not be read or written there; change the permissions",
}


@dataclass(frozen=True)
class Refusal:
    """Why a worker cannot do what it was asked for, in one line that names the worker and the remedy."""

    line: str


def answering(work: Callable[..., Result]) -> Callable[..., Result | Refusal]:
    """The same work as a worker does it: with a Refusal in place of what a user can mend."""

    @functools.wraps(work)
    def answered(*given: Any) -> Result | Refusal:
        try:
            return work(*given)
        except ValueError as error:  # an InputError, or a setting out of range
            return Refusal(f"{this_worker()}: {in_short_line(error)}")
        except MemoryError:
            return Refusal(f"{this_worker()}: its memory does not suffice; start fewer workers there, or give --memory")
        except OSError as error:
            where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            told = _REMEDIES.get(error.errno or 0) or in_short(error.strerror or error)
            return Refusal(f"{this_worker()}: {where}{told}, and run the command again")
        except ImportError as error:
            return Refusal(f"{this_worker()}: {in_short(error)}; install idesketch anew there")

    return answered


def one_at_a_time(work: Callable[..., Result]) -> Callable[..., Result]:
    """The same work, one at a time in a process, however many threads a worker was started with."""

    @functools.wraps(work)
    def alone(*given: Any) -> Result:
        with _ONE_AT_A_TIME:
            return work(*given)

    return alone


def this_worker() -> str:
    """This process as messages name it: a worker's address and its machine."""
    from distributed import get_worker

    try:
        return f"worker {get_worker().address} ({socket.gethostname()})"
    except ValueError:  # called as it is, by no worker
        return f"process {os.getpid()} ({socket.gethostname()})"


def in_short_line(error: ValueError) -> str:
    """The error's message as one line."""
    return " ".join(str(error).split())
