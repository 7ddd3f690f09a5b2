"""``idesketch bench``: what is timed, the table and the JSON; no test looks at a time itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bank_files import run
from commands import call, told_once

from idekernels import METHODS, WORKLOADS, backends, bench
from idekernels.bench import Case, Rounds, Timing

TWO = {"tiny": ("top1", "mwf")}


@pytest.fixture
def two_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "METHODS_OF", TWO)
    monkeypatch.setattr(bench, "USUAL", ("tiny",))


def test_every_workload_is_timed_by_methods_that_there_are() -> None:
    assert set(bench.METHODS_OF) == set(WORKLOADS) and set(bench.USUAL) < set(WORKLOADS)
    assert {method for methods in bench.METHODS_OF.values() for method in methods} == set(METHODS)


def test_a_workload_that_is_named_twice_is_timed_once() -> None:
    assert bench.cases_of(["batch", "batch"]) == [Case("batch", "mwf"), Case("batch", "mrf")]
    with pytest.raises(ValueError, match="workload must be one of tiny, standard, batch, planes, not 'huge'"):
        bench.cases_of(["huge"])


def test_rounds_go_on_until_there_are_enough_of_both() -> None:
    timings = list(bench.timed([Case("tiny", "top1")], "cpu", Rounds(3, 0.0)))
    assert [len(timing.seconds) for timing in timings] == [3]
    assert min(timings[0].seconds) > 0
    (timing,) = bench.timed([Case("tiny", "top1")], "cpu", Rounds(1, 2 * max(timings[0].seconds)))
    assert sum(timing.seconds) >= 2 * max(timings[0].seconds)


def test_photos_a_second_are_those_of_the_batch_at_the_median() -> None:
    timing = Timing(Case("batch", "mwf"), (4.0, 1.0, 2.0))
    assert timing.quartiles == (1.5, 2.0, 3.0)
    assert timing.photos_a_second == 4.0
    told = timing.as_dict()
    assert (told["photos"], told["pairs"], told["median"], told["rounds"]) == (8, 88, 2.0, 3)


def test_the_processor_has_no_device_name() -> None:
    facts = bench.facts(backends.load("reference"))
    assert facts["backend"] == "reference" and facts["device"] is None and facts["versions"]["numpy"][0].isdigit()


@pytest.mark.usefixtures("two_cases")
def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("bench", "--backend", "cpu", "--json", tmp_path / "figures.json") == 0
    said = capsys.readouterr().out.splitlines()
    content = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert [(each["workload"], each["method"]) for each in content["results"]] == [("tiny", "top1"), ("tiny", "mwf")]
    assert said[0].startswith("backend cpu; 20") and "numba" in said[0]
    assert [line.split()[:4] for line in said[2:4]] == [["tiny", "1", "6", method] for method in TWO["tiny"]]
    expected = content["results"][1]["photos_a_second"]
    assert f"with mwf about {expected:.1f} photos a second against 6 pairs of 64 x 48" in said[-1]
    assert content["machine"]["backend"] == "cpu"


def test_a_backend_that_cannot_run_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no backend called 'tpu'" in told_once(capsys, "bench", "--backend", "tpu")


_WITHOUT_PYTEST = """
    import sys
    sys.modules.update(dict.fromkeys(("pytest", "pytest_benchmark", "benchmarks")))  # None: cannot be imported
    from idecli.main import run
    from idekernels import bench
    bench.METHODS_OF = {"tiny": ("top1",)}
    sys.exit(run(["bench", "--workload", "tiny", "--backend", "cpu"]))
"""


def test_it_needs_neither_pytest_nor_the_checkout(tmp_path: Path) -> None:
    done = run(_WITHOUT_PYTEST, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "top1" in done.stdout


@pytest.mark.parametrize("place", ["missing/figures.json", "."])
def test_a_place_that_takes_no_json_is_said_before_anything_is_timed(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "timed", lambda *_: pytest.fail("timed"))
    line = told_once(capsys, "bench", "--workload", "tiny", "--backend", "reference", "--json", place)
    assert "folder" in line
