"""The parts of the check that are of stage 2: here on a CPU, where nothing is recorded and all results are the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from recorded import RecordedGraphs

from benchmarks import gpu_parts, gpu_stage2, layouts
from idemodel.training.recipe import RECIPES

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_stage2, "HEIGHT", 64)
    monkeypatch.setattr(gpu_stage2, "WIDTH", 48)
    few = {"features": 4, "modules": 1, "discriminator_features": 4, "crop": 32, "batch": 1}
    recipes = {name: replace(RECIPES[name], **few) for name in ("compact", "drawn")}  # type: ignore[arg-type]
    recipes["paper"] = replace(RECIPES["paper"], features=4, modules=1)
    monkeypatch.setattr(gpu_stage2, "RECIPES", recipes)
    monkeypatch.delitem(gpu_stage2.TRAINED, "`paper`, untrained VGG19")


@pytest.mark.usefixtures("small")
def test_training_is_timed_by_every_way_and_compared() -> None:
    found = gpu_stage2.training("cpu", pairs=2, rounds=1)
    assert [row[0] for row in found.rows] == ["`compact`", "`drawn`"]
    assert all(len(row) == len(found.head) and row[-1] == "0.0e+00" for row in found.rows)
    assert found.sound and all(float(cell) > 0 for row in found.rows for cell in row[1:-1])


@pytest.mark.usefixtures("small")
def test_another_result_of_the_graph_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = gpu_stage2._steps

    def wrong(recipe, way, *others):  # type: ignore[no-untyped-def]
        taken = steps(recipe, way, *others)
        return replace(taken, losses={"pixel": 9.0, **dict.fromkeys(taken.losses, 9.0)}) if way.recorded else taken

    monkeypatch.setattr(gpu_stage2, "_steps", wrong)
    assert not gpu_stage2.training("cpu", pairs=2, rounds=1).sound


@pytest.mark.usefixtures("small")
def test_inference_is_timed_and_levels_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = gpu_stage2.inference("cpu", (1,), 1)
    assert [row[:2] for row in found.rows] == [("`paper`, untrained", "1"), ("`drawn`, as it ships", "1")]
    assert found.sound and all(row[-1].startswith(("0, in", "1, in")) for row in found.rows)
    monkeypatch.setattr(gpu_stage2, "_levels", lambda one, other: (one - other).abs() + 2)
    assert not gpu_stage2.inference("cpu", (1,), 1).sound


@pytest.mark.usefixtures("small")
def test_what_could_not_be_recorded_stands_in_the_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_stage2, "graphs_on", lambda device: RecordedGraphs(full=True))
    note = gpu_stage2.inference("cpu", (1,), 1).note
    assert note.count("cannot be recorded and is launched singly: CUDA out of memory") == 1


def test_a_part_is_a_table_that_json_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu_parts, "need_torch", lambda: None)
    made = gpu_stage2.Found(("a",), (("b",),), "c", False)
    for part in ("training", "inference"):
        monkeypatch.setattr(gpu_stage2, part, lambda: made)
        assert gpu_parts.main([part, str(tmp_path / part)]) == 0
        told = json.loads((tmp_path / part).read_text())
        assert told == {"head": ["a"], "rows": [["b"]], "note": "c", "sound": False}


@pytest.mark.parametrize("recipe", ["paper", "compact", "drawn"])
def test_networks_are_those_of_the_recipes(recipe: str) -> None:
    size = gpu_stage2.network_of(RECIPES[recipe])
    assert size.channels in (1, 3) and size.features == RECIPES[recipe].features


def test_layouts_are_measured_and_compared() -> None:
    told, ours, others, apart = layouts.crops("compact", 1)
    assert "`compact`" in told and apart == "none"
    assert all(float(taken.removesuffix(" ms")) > 0 for taken in (ours, others))
