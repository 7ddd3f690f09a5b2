"""Verification of a bank's file, byte for byte, in a process of its own: libhdf5 may crash on a hostile file."""

from __future__ import annotations

import os
import subprocess
import sys

from idekernels.bank.file import FileBank
from idekernels.errors import BankError

_FAULT = 3  # the exit status of the process that found something wrong with the bank


def verify(path: str | os.PathLike[str]) -> None:
    """Check every byte of a bank's content, in a process of its own: libhdf5 itself may crash on a hostile file.

    Raises
    ------
    BankError
        What is wrong with the bank.
    """
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"  # import the same packages, whatever the working folder holds
        "from idekernels.bank.verify import verify_here; verify_here(sys.argv[1])"
    )
    result = subprocess.run([sys.executable, "-c", code, os.fspath(path)], capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return
    if result.returncode == _FAULT:
        raise BankError(result.stdout.strip())
    raise BankError(f"{path}: damaged so badly that reading it crashed (status {result.returncode}); build it anew")


def verify_here(path: str) -> None:
    """Verify in this process; on a fault, print it and exit with status 3 (what :func:`verify` runs)."""
    try:
        with FileBank(path) as bank:
            bad = list(bank.damaged())
        if bad:
            shown = ", ".join(bad[:5]) + (" ..." if len(bad) > 5 else "")
            raise BankError(f"{path}: {len(bad)} of {bank.images} pairs are damaged ({shown}); build the bank anew")
    except BankError as error:
        print(error)
        sys.exit(_FAULT)
