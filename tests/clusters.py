"""A scheduler and workers of Dask as users start them, each a process of its own; and what tests do to them."""

from __future__ import annotations

import errno
import functools
import importlib
import importlib.metadata
import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass
class Running:
    """A cluster that runs: the scheduler's address, and the processes of the workers by address."""

    address: str
    scheduler: subprocess.Popen[str]
    workers: dict[str, subprocess.Popen[str]]

    def wait(self) -> None:
        """Until all workers have joined."""
        from distributed import Client

        if self.workers:
            with Client(self.address, set_as_default=False) as client:
                client.wait_for_workers(len(self.workers), timeout=60)

    def tell(self, work: Any, *given: Any, on: list[str] | None = None) -> None:
        """Call a function of a module on some workers, or on all."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.run(work, *given, workers=on)


@contextmanager
def running(workers: int, folder: Path, **environment: str) -> Iterator[Running]:
    """Start a scheduler, and workers whose working folder is ``folder``; end them all."""
    # tests is a package of the checkout, which workers are told functions of
    told = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", **environment}
    with ExitStack() as until:
        start = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        scheduler = until.enter_context(_process("dask_scheduler", *start, "--port", "0", cwd=folder, env=told))
        address = _said(scheduler, r"Scheduler at: +(\S+)")
        start += ["--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
        begun = [
            until.enter_context(_process("dask_worker", address, *start, cwd=folder, env=told)) for _ in range(workers)
        ]
        cluster = Running(address, scheduler, {_said(each, r"Start worker at: +(\S+)"): each for each in begun})
        cluster.wait()
        yield cluster


@contextmanager
def _process(module: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def _said(process: subprocess.Popen[str], pattern: str) -> str:
    """Read what a process logs up to the line that is waited for; nothing is read after it: it says little."""
    assert process.stderr
    for line in process.stderr:
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError(f"{process.args} ended")


# What workers are told to do; each function is looked up in this module there.

_UNDO: list[Callable[[], None]] = []


def _put(owner: Any, name: str, made: Callable[..., Any]) -> None:
    """Put a function in another's place, until :func:`recover`."""
    _UNDO.append(partial(setattr, owner, name, getattr(owner, name)))
    setattr(owner, name, made)


def recover() -> None:
    """Undo what this worker was told."""
    while _UNDO:
        _UNDO.pop()()


def kill_at(place: str, number: int, victim: int | None = None) -> None:
    """End this worker, or the process ``victim``, by kill -9 at the so many-th call of MODULE:NAME (or CLASS.NAME)."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = functools.reduce(getattr, owners, importlib.import_module(module))
    work, calls = getattr(owner, name), itertools.count(1)

    def called(*given: Any, **more: Any) -> Any:
        if next(calls) == number:
            os.kill(victim or os.getpid(), signal.SIGKILL)
        return work(*given, **more)

    _put(owner, name, called)


def have_other_version(package: str) -> None:
    """Say that version 0.0.1 of a package is installed here."""
    version = importlib.metadata.version
    _put(importlib.metadata, "version", lambda name: "0.0.1" if name == package else version(name))


def have_full_disk() -> None:
    """Meet a full disk where pictures are made."""
    from idemodel.scale.jobs import CoarseBench

    def make(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/cache")

    _put(CoarseBench, "make", make)
