"""The benchmark of a busy machine: its processes end, its runner serves any checkout, its table is whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import busy, busy_runner


def test_busy_processes_run_inside_and_are_ended_whatever_happens() -> None:
    with pytest.raises(KeyError), busy.busy_processes(2) as processes:
        assert [process.poll() for process in processes] == [None, None]
        raise KeyError
    assert all(process.poll() is not None for process in processes)


def test_a_busy_process_ends_by_itself_where_its_parent_is_another() -> None:
    assert subprocess.run([sys.executable, "-c", busy.SPIN, "-1"], timeout=60, check=False).returncode == 0


def test_calls_go_on_for_the_time_that_is_asked_at_least_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(busy_runner, "KERNELS", {"nothing": made.append})
    for enough in (0.0, 0.01):
        made.clear()
        taken = busy_runner.calls("nothing", None, enough)  # type: ignore[arg-type]
        assert len(taken) == len(made) >= 1 and min(taken) >= 0
    assert len(made) > 1


def test_a_runner_runs_the_kernels_of_the_checkout_that_it_is_given(tmp_path: Path) -> None:
    stages = """
import time
class Field:
    def __init__(self, work, backend):
        self.photos = work.photos
KERNELS = {"told": lambda field: time.sleep(field.photos / 100)}
"""
    workloads = """
from dataclasses import dataclass
@dataclass
class Work:
    photos: int = 1
STANDARD = Work()
"""
    for path, text in (("benchmarks/stages.py", stages), ("idekernels/workloads.py", workloads)):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).with_name("__init__.py").touch()
        (tmp_path / path).write_text(text)
    with busy.Runner(tmp_path, (1, 3)) as runner:
        assert runner.kernels == ["told"]
        assert min(runner.run("told", 1, 0.0)) >= 0.01
        assert min(runner.run("told", 3, 0.0)) >= 0.03


def test_the_table_has_a_line_for_every_kernel_and_batch() -> None:
    ours = {("match", 1): busy.Times([0.01, 0.03, 0.02], [0.06, 0.04, 0.2]), ("match", 16): busy.Times([1.0], [2.0])}
    assert busy.table([ours]).splitlines()[2:] == [
        "| match | 1 | 20.00 | 60.00 | 3.0 | 10.0 |",
        "| match | 16 | 1000.00 | 2000.00 | 2.0 | 2.0 |",
    ]
    older = {work: busy.Times([2 * taken for taken in times.quiet], times.busy) for work, times in ours.items()}
    lines = busy.table([ours, older]).splitlines()
    assert lines[2] == "| match | 1 | 20.00 | 60.00 | 3.0 | 10.0 | 40.00 | 60.00 | 1.5 |"
    assert len({line.count("|") for line in lines}) == 1


def test_kernels_are_timed_quiet_and_busy_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    class Recorded:
        def run(self, kernel: str, photos: int, enough: float) -> list[float]:
            order.append(json.dumps([kernel, photos, enough]))
            return [1.0]

    class Block:
        def __enter__(self) -> None:
            order.append("busy")

        def __exit__(self, *_: object) -> None:
            order.append("quiet")

    monkeypatch.setattr(busy, "busy_processes", lambda count: Block())
    found = busy.measure([Recorded(), Recorded()], ["a"], 2, 0.5)  # type: ignore[list-item]
    once = ['["a", 1, 0.5]'] * 2 + ['["a", 16, 0.5]'] * 2
    assert order == 2 * [*once, "busy", *once, "quiet"]
    assert [times for measured in found for times in measured.values()] == 4 * [busy.Times([1.0, 1.0], [1.0, 1.0])]
