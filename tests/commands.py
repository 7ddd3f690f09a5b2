"""Commands run within the test's process: one that is called, and one that must fail in a single line."""

from __future__ import annotations

import pytest

from idecli.main import run


def call(*arguments: object) -> int:
    """The exit code of ``idesketch`` with these arguments."""
    return run([str(a) for a in arguments])


def told_once(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must end with 1 and exactly one error line; return that line."""
    assert call(*arguments) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(told) == 1, told
    return told[0]
