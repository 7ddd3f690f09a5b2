"""Verification of a bank's file, byte for byte, in processes of its own: libhdf5 may crash on a hostile file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from idekernels.bank.file import FileBank
from idekernels.errors import BankError
from idekernels.files.processes import usable_cores

_FAULT = 3  # the exit status of a process that found the bank unusable
_SHARE = 2**25  # bytes of the file, at least, for a process: starting one takes as long as reading these


def verify(path: str | os.PathLike[str], jobs: int | None = None) -> None:
    """Check every byte of a bank's content, in processes of their own: libhdf5 itself may crash on a hostile file.

    Parameters
    ----------
    path : path
    jobs : int, optional
        How many processes share the pairs; one a usable core if not given, each for 32 MiB of the file at least. What
        is found and said does not depend on it.

    Raises
    ------
    BankError
        What is wrong with the bank.
    """
    if jobs is None:
        jobs = min(usable_cores(), _size_of(path) // _SHARE + 1)
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"  # import the same packages, whatever the working folder holds
        "from idekernels.bank.verify import verify_here; verify_here(*sys.argv[1:])"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, os.fspath(path), str(job), str(jobs)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for job in range(jobs)
    ]  # fmt: skip
    try:
        answers = [process.communicate()[0] for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    _judge(path, [process.returncode for process in running], answers)


def verify_here(path: str, job: str, jobs: str) -> None:
    """Verify every ``jobs``-th pair from ``job`` on in this process: what :func:`verify` runs.

    Prints the number of pairs and the damaged ones as JSON; or what is wrong with the bank, and exits with status 3.
    """
    try:
        with FileBank(path) as bank:
            bad = list(bank.damaged(share=slice(int(job), None, int(jobs))))
            print(json.dumps([bank.images, [(bank.names.index(name), name) for name in bad]]))
    except BankError as error:
        print(error)
        sys.exit(_FAULT)


def _judge(path: str | os.PathLike[str], codes: Sequence[int], answers: Sequence[str]) -> None:
    """Raise BankError for what the processes found, as one process would have said it."""
    for code, answer in zip(codes, answers, strict=True):
        if code == _FAULT:
            raise BankError(answer.strip())
        if code:
            raise BankError(f"{path}: damaged so badly that reading it crashed (status {code}); build it anew")
    told = [json.loads(answer) for answer in answers]
    bad = [name for _, name in sorted(found for _, share in told for found in share)]
    if bad:
        shown = ", ".join(bad[:5]) + (" ..." if len(bad) > 5 else "")
        raise BankError(f"{path}: {len(bad)} of {told[0][0]} pairs are damaged ({shown}); build the bank anew")


def _size_of(path: str | os.PathLike[str]) -> int:
    """Bytes of a file; 0 where it cannot be had, which a process of its own will say."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
