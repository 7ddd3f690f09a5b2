"""Bank files for the tests: pairs of noise, a bank of them, all that a bank says, and Python in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from idekernels import BankError, BankSettings, open_bank, verify, write_bank

SETTINGS = BankSettings(6, 3, 2, ("intensity", "lbp"), (2, 1))


def some_pairs(seed=0, count=6, size=(20, 18)):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 2, *size), dtype=np.uint8)
    return [(f"pair-{i}", photo, sketch) for i, (photo, sketch) in enumerate(images)]


def content(bank):
    """Everything that a bank says, for comparing."""
    planes = (bank.source(0, bank.images).tobytes(), bank.target(0, bank.images).tobytes())
    return (planes, bank.names, bank.settings, bank.height, bank.width, bank.channels, bank.created, bank.tool)


def run(code, *arguments, before=(), **options):
    """Python in a process of its own; warnings are errors there too."""
    command = [*before, sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(os.fspath, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


def a_bank_in(folder):
    path = folder / "bank.h5"
    write_bank(path, some_pairs(), SETTINGS)
    return path


def assert_refused(path, says):
    """One line from open_bank and from verify, with the file's name in it."""
    for attempt in (open_bank, verify):
        with pytest.raises(BankError, match=says) as caught:
            attempt(path).close()
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)
