"""The run folder: a damaged or foreign one is one line, two runs never share one, its log names itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from training_runs import TINY, changed, tiny_run

from idekernels.errors import InputError
from idemodel.training import run_folder
from idemodel.training.loop import train
from idemodel.training.run import Observer, Run

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tiny_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Run:
    return replace(made, folder=tmp_path / "run")


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def test_a_log_that_cannot_grow_is_named(tmp_path: Path) -> None:
    folder = run_folder.RunFolder(tmp_path)
    folder.log.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: .*log\.jsonl"):
        folder.append({"step": 1})


@pytest.mark.parametrize("name", ["state.safetensors", "run.json"])
@pytest.mark.parametrize("damage", [halved, lambda content: b"", lambda content: b"\0" * 64])
def test_a_damaged_run_is_one_line(run: Run, name: str, damage: Callable[[bytes], bytes]) -> None:
    train(replace(run, recipe=replace(TINY, steps=2)))
    file = run.folder / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match="damaged"):
        train(changed(run, resume=True))


def test_what_a_run_refuses(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no training run"):
        train(changed(run, resume=True))
    train(replace(run, recipe=replace(TINY, steps=2)))
    with pytest.raises(InputError, match="go on with --resume"):
        train(run)
    with pytest.raises(InputError, match="another seed"):
        train(changed(run, resume=True, seed=3))
    with pytest.raises(InputError, match="another recipe"):
        train(changed(run, resume=True, recipe=replace(TINY, rate=0.1)))
    with pytest.raises(InputError, match="another data"):
        other = tmp_path / "other"
        for side in ("photo", "sketch"):
            (other / side).mkdir(parents=True)
            for number in range(4):
                (other / side / f"{number}.png").write_bytes((run.data.pairs / side / f"{number}.png").read_bytes())
        train(changed(run, resume=True, pairs=other))
    with pytest.raises(InputError, match="7 pairs aside for validation, of 7"):
        train(replace(run, folder=tmp_path / "b", recipe=replace(TINY, validation=7)))
    with pytest.raises(InputError, match="crops of 48 do not fit"):
        train(replace(run, folder=tmp_path / "c", recipe=replace(TINY, crop=48)))


def test_two_runs_in_one_folder(run: Run) -> None:
    def second(step: int, total: int, losses: Mapping[str, float]) -> None:
        with pytest.raises(InputError, match="another process trains in this folder"):
            train(changed(run, resume=True))

    train(replace(run, recipe=replace(TINY, steps=1), observer=Observer(stepped=second)))


def test_a_newer_run_is_refused(run: Run) -> None:
    train(replace(run, recipe=replace(TINY, steps=1)))
    file = run.folder / "run.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "version": run_folder.VERSION + 1}))
    with pytest.raises(InputError, match="is of version 2"):
        train(changed(run, resume=True))
