"""Training: stopped anywhere and resumed is never stopped; nothing is lost; what is learned is what the recipe says."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_losses import NARROW, vgg_tensors
from training_runs import TINY, changed, drawn_faces, entries, same_files, tiny_run, write_pairs

from idekernels import BankSettings, write_bank
from idekernels.coarse import CoarseSettings
from idekernels.errors import InputError
from idemodel.generator.checkpoint import load_generator
from idemodel.generator.config import MLAConfig
from idemodel.training.loop import Stopped, train
from idemodel.training.losses import load_perceptual
from idemodel.training.recipe import PAPER, LossWeights
from idemodel.training.run import Observer, Run, Trained, TrainingData

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tiny_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Run:
    return replace(made, folder=tmp_path / "run")


@pytest.fixture(scope="module")
def never_stopped(made: Run, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(replace(made, folder=tmp_path_factory.mktemp("whole") / "run"))


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_by_a_signal_and_resumed_is_never_stopped(
    run: Run, never_stopped: Trained, stop_after: int, number: signal.Signals
) -> None:
    def stop(step: int, total: int, losses: Mapping[str, float]) -> None:
        if step == stop_after:
            os.kill(os.getpid(), number)

    with pytest.raises(Stopped, match=f"after step {stop_after}"):
        train(replace(run, observer=Observer(stepped=stop)))
    done = train(changed(run, resume=True))
    assert same_files(done, never_stopped) and done.steps == 6
    assert [entry["step"] for entry in entries(run, "scores")] == [0, 2, 4, 6]


def test_an_ignored_hangup_stays_ignored(run: Run) -> None:
    """As nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        done = train(replace(run, recipe=replace(TINY, steps=1), observer=Observer(stepped=hang_up)))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert done.steps == 1


def hang_up(step: int, total: int, losses: Mapping[str, float]) -> None:
    os.kill(os.getpid(), signal.SIGHUP)


TRAIN = """
import sys, time
from dataclasses import replace
from pathlib import Path
import torch
from idemodel.training.loop import train
from idemodel.training.run import Execution, Observer, Run, TrainingData
from training_runs import TINY

torch.set_num_threads(1)
pairs, bank, folder, resume = sys.argv[1:]

def told(step, total, losses):
    Path(folder, "reached").write_text(str(step))

data, execution = TrainingData(Path(pairs), (Path(bank),)), Execution(resume=resume == "True")
train(Run(data, Path(folder), TINY, execution, Observer(stepped=told)))
"""


@pytest.mark.slow
def test_killed_and_resumed_is_never_stopped(run: Run, never_stopped: Trained) -> None:
    script = [sys.executable, "-c", TRAIN, str(run.data.pairs), str(run.data.banks[0]), str(run.folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    reached = run.folder / "reached"
    for kill_after, resume in ((1, False), (3, True)):
        process = subprocess.Popen([*script, str(resume)], env=environment)
        while process.poll() is None and not (reached.exists() and int(reached.read_text() or 0) >= kill_after):
            time.sleep(0.002)
        process.kill()
        process.wait()
    assert same_files(train(changed(run, resume=True)), never_stopped)
    assert [entry["step"] for entry in entries(run, "scores")] == [0, 2, 4, 6]


def test_resumed_at_the_end_changes_nothing(run: Run) -> None:
    first = train(run)
    content = first.last_file.read_bytes()
    again = train(changed(run, resume=True))
    assert again.last_file.read_bytes() == content and (again.best, again.best_step) == (first.best, first.best_step)


def test_more_steps_than_planned(run: Run) -> None:
    train(replace(run, recipe=replace(TINY, steps=3)))
    longer = train(changed(run, resume=True))
    whole = train(replace(run, folder=run.folder.with_name("whole")))
    assert longer.last_file.read_bytes() == whole.last_file.read_bytes()


def test_the_seed_decides(run: Run, never_stopped: Trained) -> None:
    other = train(changed(run, seed=1))
    assert other.last_file.read_bytes() != never_stopped.last_file.read_bytes()


@pytest.mark.parametrize("full_at", [1, 2, 3])
def test_a_full_disk_is_an_error_and_not_a_lost_run(
    run: Run, never_stopped: Trained, monkeypatch: pytest.MonkeyPatch, full_at: int
) -> None:
    calls = 0
    write_bytes = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        nonlocal calls
        calls += "safetensors" in self.name
        if calls >= full_at and "safetensors" in self.name:
            write_bytes(self, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return write_bytes(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        train(run)
    monkeypatch.undo()
    assert same_files(train(changed(run, resume=True)), never_stopped)
    assert [entry["step"] for entry in entries(run, "scores")] == [0, 2, 4, 6]


@pytest.mark.parametrize(("bytes_at_most", "named"), [(30_000, ".npy"), (100_000, "state.safetensors")])
def test_what_the_system_refuses_to_write_is_named(
    run: Run, never_stopped: Trained, bytes_at_most: int, named: str
) -> None:
    """No file may grow past a limit, by the system's own doing: first the coarse sketches, then the state."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_at_most, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            train(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value.filename).endswith(named)
    assert not list(run.folder.rglob("*.partial"))
    assert same_files(train(changed(run, resume=True)), never_stopped)


def test_a_log_line_cut_short_is_dropped(run: Run, never_stopped: Trained) -> None:
    train(replace(run, recipe=replace(TINY, steps=2)))
    with (run.folder / "log.jsonl").open("a") as log:
        log.write('{"step": 4, "losses": {}}\n{"step": 2, "sco')
    assert train(changed(run, resume=True)).last_file.read_bytes() == never_stopped.last_file.read_bytes()
    assert [entry["step"] for entry in entries(run, "step")] == [0, 2, 4, 6]


def test_a_perceptual_loss_says_which_file_it_wants(run: Run) -> None:
    with pytest.raises(InputError, match=r"--vgg19 FILE, torchvision's vgg19 \(vgg19-dcbb9e9d.pth"):
        train(replace(run, recipe=replace(TINY, losses=LossWeights())))
    assert not run.folder.exists()


@pytest.fixture
def papers_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The recipe paper with every part of it, but few features: perceptual loss and the VGG discriminator included."""
    photos, sketches = drawn_faces(3, 128, 130)
    write_pairs(tmp_path / "pairs", photos, sketches)
    write_bank(tmp_path / "bank.h5", zip("012", photos, sketches, strict=True), BankSettings(16, 4, radius=1))
    torch.save(vgg_tensors(NARROW), tmp_path / "vgg19.pth")
    monkeypatch.setattr("idemodel.training.material.load_perceptual", partial(load_perceptual, widths=NARROW))
    few = {"features": 4, "modules": 1, "discriminator_features": 2, "batch": 2, "steps": 3}
    recipe = replace(PAPER, **few, coarse=CoarseSettings("mean", k=2))  # type: ignore[arg-type]
    data = TrainingData(tmp_path / "pairs", (tmp_path / "bank.h5",), vgg19=tmp_path / "vgg19.pth")
    return Run(data, tmp_path / "run", recipe)


def test_the_papers_recipe_trains_stops_and_goes_on(papers_run: Run) -> None:
    """Batch normalisation's running means are part of the state, too."""

    def stop(step: int, total: int, losses: Mapping[str, float]) -> None:
        assert set(losses) == {"pixel", "perceptual", "adversarial", "generator", "discriminator"}
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = train(replace(papers_run, folder=papers_run.folder.with_name("whole")))
    with pytest.raises(Stopped):
        train(replace(papers_run, observer=Observer(stepped=stop)))
    assert same_files(train(changed(papers_run, resume=True)), whole)
    states = [(path.parent / "state.safetensors").read_bytes() for path in (papers_run.folder / "x", whole.last_file)]
    assert states[0] == states[1]
    assert load_generator(whole.last_file).config == MLAConfig(3, 4, 1, 2, 0)


def test_other_weights_for_the_perceptual_loss_are_another_run(papers_run: Run) -> None:
    run = replace(papers_run, recipe=replace(papers_run.recipe, steps=1))
    train(run)
    assert run.data.vgg19 is not None
    torch.save(vgg_tensors(NARROW, seed=1), run.data.vgg19)
    with pytest.raises(InputError, match="another data"):
        train(changed(run, resume=True))


def test_it_learns(run: Run) -> None:
    """More steps of L1 alone come nearer to the sketches than the coarse ones are."""
    losses: list[float] = []
    only_pixels = LossWeights(pixel=1.0, perceptual=0, adversarial=0)
    poor = CoarseSettings("mean", k=50)
    recipe = replace(TINY, losses=only_pixels, steps=80, rate=2e-2, halvings=(), validation=0, coarse=poor)
    train(
        replace(run, recipe=recipe, observer=Observer(stepped=lambda step, total, found: losses.append(found["pixel"])))
    )
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:5])


# Several processes


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_with_the_doubled_batch(run: Run, tmp_path: Path) -> None:
    recipe = tmp_path / "two.toml"
    text = (
        'base = "compact"\nfeatures = 4\nmodules = 1\ndiscriminator_features = 4\nsteps = 10\ncrop = 32\n'
        "validation = 0\nbatch = 2\n[coarse]\nk = 3\n"
    )
    recipe.write_text(text)
    command = ["-m", "idecli", "train", str(run.data.pairs), str(run.data.banks[0]), "--recipe", str(recipe), "-o"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launcher, *command, str(tmp_path / "two")], check=True, env=environment, capture_output=True)
    recipe.write_text(text.replace("batch = 2", "batch = 4"))
    subprocess.run([sys.executable, *command, str(tmp_path / "one")], check=True, env=environment, capture_output=True)
    two, one = (json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[-1]) for name in ("two", "one"))
    assert two["step"] == one["step"] == 10
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-4)
    weights = [load_generator(tmp_path / name / "last.safetensors").state_dict() for name in ("two", "one")]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=2e-5, rtol=1e-3)
