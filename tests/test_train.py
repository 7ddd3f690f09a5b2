"""Training: stopped anywhere and resumed is never stopped; nothing is lost; what is learned is what the recipe says."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from test_losses import NARROW, vgg_tensors
from torch.nn import functional

from idekernels import BankSettings, PatchBank, coarse_sketch, open_bank, prepare, write_bank
from idekernels.coarse import CoarseSettings
from idekernels.errors import InputError
from idemodel.files.images import write_image
from idemodel.generator.checkpoint import load_generator, read_header
from idemodel.generator.network import MLAConfig
from idemodel.training import run_folder
from idemodel.training.data import (
    Faces,
    TrainingPairs,
    bank_digest,
    cached_coarse_sketches,
    coarse_cache_key,
    read_faces,
)
from idemodel.training.loop import Run, Stopped, Trained, Watch, train
from idemodel.training.losses import load_perceptual
from idemodel.training.recipe import COMPACT, PAPER, LossWeights, Recipe
from idemodel.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_torch_thread")

TINY = replace(
    COMPACT,
    features=4,
    modules=1,
    discriminator_features=4,
    steps=6,
    batch=2,
    crop=32,
    halvings=(3,),
    validation=2,
    validate_every=2,
    save_every=2,
    coarse=CoarseSettings(k=3),
)


def drawn_faces(count: int, height: int, width: int) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Blobs as photos, and lighter negatives as sketches."""
    numbers = np.random.default_rng(0)
    photos = [_stretched(gaussian_filter(numbers.normal(size=(height, width)), 3)) for _ in range(count)]
    return photos, [255 - photo // 2 for photo in photos]


def _stretched(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    return (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    photos, sketches = drawn_faces(7, 40, 38)
    for side, images in (("photo", photos), ("sketch", sketches)):
        (root / side).mkdir()
        for number, image in enumerate(images):
            write_image(root / side / f"{number}.png", image)
    return root


@pytest.fixture(scope="module")
def bank_file(pairs: Path) -> Path:
    photos, sketches = drawn_faces(7, 40, 38)
    settings = BankSettings(patch=8, overlap=4, radius=2)
    write_bank(pairs / "bank.h5", zip("0123456", photos, sketches, strict=True), settings)
    return pairs / "bank.h5"


@pytest.fixture
def run(pairs: Path, bank_file: Path, tmp_path: Path) -> Run:
    return Run(pairs, (bank_file,), tmp_path / "run", TINY)


@pytest.fixture(scope="module")
def never_stopped(pairs: Path, bank_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(Run(pairs, (bank_file,), tmp_path_factory.mktemp("whole") / "run", TINY))


def entries(run: Run, kind: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if kind in line]


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal_and_resumed_is_never_stopped(
    run: Run, never_stopped: Trained, stop_after: int, number: signal.Signals
) -> None:
    def stop(step: int, total: int, losses: Mapping[str, float]) -> None:
        if step == stop_after:
            os.kill(os.getpid(), number)

    with pytest.raises(Stopped, match=f"after step {stop_after}"):
        train(replace(run, watch=Watch(stepped=stop)))
    done = train(replace(run, resume=True))
    assert same_files(done, never_stopped) and done.steps == 6
    assert [entry["step"] for entry in entries(run, "scores")] == [0, 2, 4, 6]


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def same_files(done: Trained, other: Trained) -> bool:
    same_last = done.last_file.read_bytes() == other.last_file.read_bytes()
    return same_last and done.best_file.read_bytes() == other.best_file.read_bytes() and done.best == other.best


TRAIN = """
import sys, time
from dataclasses import replace
from pathlib import Path
import torch
from idemodel.training.loop import Run, Watch, train
from test_train import TINY

torch.set_num_threads(1)
pairs, bank, folder, resume = sys.argv[1:]

def told(step, total, losses):
    Path(folder, "reached").write_text(str(step))

train(Run(Path(pairs), (Path(bank),), Path(folder), TINY, resume=resume == "True", watch=Watch(stepped=told)))
"""


@pytest.mark.slow
def test_killed_and_resumed_is_never_stopped(run: Run, never_stopped: Trained) -> None:
    script = [sys.executable, "-c", TRAIN, str(run.pairs), str(run.banks[0]), str(run.folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    reached = run.folder / "reached"
    for kill_after, resume in ((1, False), (3, True)):
        process = subprocess.Popen([*script, str(resume)], env=environment)
        while process.poll() is None and not (reached.exists() and int(reached.read_text() or 0) >= kill_after):
            time.sleep(0.002)
        process.kill()
        process.wait()
    assert same_files(train(replace(run, resume=True)), never_stopped)
    assert [entry["step"] for entry in entries(run, "scores")] == [0, 2, 4, 6]


def test_resumed_at_the_end_changes_nothing(run: Run) -> None:
    first = train(run)
    content = first.last_file.read_bytes()
    again = train(replace(run, resume=True))
    assert again.last_file.read_bytes() == content and (again.best, again.best_step) == (first.best, first.best_step)


def test_more_steps_than_planned(run: Run) -> None:
    train(replace(run, recipe=replace(TINY, steps=3)))
    longer = train(replace(run, resume=True))
    whole = train(replace(run, folder=run.folder.with_name("whole")))
    assert longer.last_file.read_bytes() == whole.last_file.read_bytes()


def test_the_seed_decides(run: Run, never_stopped: Trained) -> None:
    other = train(replace(run, seed=1))
    assert other.last_file.read_bytes() != never_stopped.last_file.read_bytes()


def test_the_best_is_the_best_of_the_log(run: Run) -> None:
    done = train(run)
    scores = {entry["step"]: entry["scores"]["mean"] for entry in entries(run, "scores")[1:]}  # type: ignore[index]
    assert done.best == max(scores.values()) == scores[done.best_step]
    assert Recipe.from_dict(read_header(done.best_file).recipe) == TINY
    assert load_generator(done.best_file).config == MLAConfig(1, 4, 1, 2, 8)


def test_the_folder_says_everything(run: Run) -> None:
    train(run)
    described = json.loads((run.folder / "run.json").read_text())
    assert Recipe.from_dict(described["recipe"]) == TINY and described["seed"] == 0
    assert described["versions"]["torch"] == torch.__version__.split("+")[0] or described["versions"]["torch"]
    assert all(len(value) == 64 for value in described["data"].values())
    assert {path.name for path in (run.folder / "samples").iterdir()} == {f"step-{step:07d}.png" for step in (2, 4, 6)}


def test_tensorboard_sees_losses_scores_and_samples(run: Run) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(replace(run, recipe=replace(TINY, steps=10, validate_every=5)))
    seen = accumulators.EventAccumulator(str(run.folder / "tensorboard"))
    seen.Reload()
    assert {"loss/generator", "loss/pixel", "score/ssim"} <= set(seen.Tags()["scalars"])
    assert [event.step for event in seen.Images("samples")] == [5, 10]


def test_without_tensorboard_one_note(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    notes: list[str] = []
    train(replace(run, watch=Watch(note=notes.append)))
    assert len(notes) == 1 and "idesketch[tensorboard]" in notes[0]


def test_losses_that_are_no_numbers_stop_the_run_and_name_the_last_good_checkpoint(run: Run) -> None:
    train(replace(run, recipe=replace(TINY, steps=2)))
    state = (run.folder / "state.safetensors").read_bytes()
    original = Trainer.step

    def overflowing(self: Trainer, *arguments: object) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            next(self.generator.parameters()).fill_(float("inf"))
        return original(self, *arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", overflowing)
        with pytest.raises(InputError, match=r"no longer a number at step 3; the last good checkpoint is .*\(step 2\)"):
            train(replace(run, resume=True))
    assert (run.folder / "state.safetensors").read_bytes() == state
    assert train(replace(run, resume=True)).steps == 6


def test_weights_that_are_no_numbers_are_never_saved(run: Run) -> None:
    with pytest.raises(InputError, match="nothing was saved yet; start anew with a lower rate"):
        train(replace(run, recipe=replace(TINY, rate=1e38, validation=0)))
    assert not (run.folder / "last.safetensors").exists()


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
    assert same_files(train(replace(run, resume=True)), never_stopped)
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
    assert same_files(train(replace(run, resume=True)), never_stopped)


def test_a_log_that_cannot_grow_is_named(tmp_path: Path) -> None:
    folder = run_folder.RunFolder(tmp_path)
    folder.log.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: .*log\.jsonl"):
        folder.append({"step": 1})


def test_a_log_line_cut_short_is_dropped(run: Run, never_stopped: Trained) -> None:
    train(replace(run, recipe=replace(TINY, steps=2)))
    with (run.folder / "log.jsonl").open("a") as log:
        log.write('{"step": 4, "losses": {}}\n{"step": 2, "sco')
    assert train(replace(run, resume=True)).last_file.read_bytes() == never_stopped.last_file.read_bytes()
    assert [entry["step"] for entry in entries(run, "step")] == [0, 2, 4, 6]


@pytest.mark.parametrize("name", ["state.safetensors", "run.json"])
@pytest.mark.parametrize("damage", [halved, lambda content: b"", lambda content: b"\0" * 64])
def test_a_damaged_run_is_one_line(run: Run, name: str, damage: Callable[[bytes], bytes]) -> None:
    train(replace(run, recipe=replace(TINY, steps=2)))
    file = run.folder / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match="damaged"):
        train(replace(run, resume=True))


def test_what_a_run_refuses(run: Run, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no training run"):
        train(replace(run, resume=True))
    train(replace(run, recipe=replace(TINY, steps=2)))
    with pytest.raises(InputError, match="go on with --resume"):
        train(run)
    with pytest.raises(InputError, match="another seed"):
        train(replace(run, resume=True, seed=3))
    with pytest.raises(InputError, match="another recipe"):
        train(replace(run, resume=True, recipe=replace(TINY, rate=0.1)))
    with pytest.raises(InputError, match="another data"):
        other = tmp_path / "other"
        for side in ("photo", "sketch"):
            (other / side).mkdir(parents=True)
            for number in range(4):
                (other / side / f"{number}.png").write_bytes((pairs / side / f"{number}.png").read_bytes())
        train(replace(run, resume=True, pairs=other))
    with pytest.raises(InputError, match="7 pairs aside for validation, of 7"):
        train(replace(run, folder=tmp_path / "b", recipe=replace(TINY, validation=7)))
    with pytest.raises(InputError, match="crops of 48 do not fit"):
        train(replace(run, folder=tmp_path / "c", recipe=replace(TINY, crop=48)))


def test_a_perceptual_loss_says_which_file_it_wants(run: Run) -> None:
    with pytest.raises(InputError, match=r"--vgg19 FILE, torchvision's vgg19 \(vgg19-dcbb9e9d.pth"):
        train(replace(run, recipe=replace(TINY, losses=LossWeights())))
    assert not run.folder.exists()


@pytest.fixture
def papers_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The recipe paper with every part of it, but few features: perceptual loss and the VGG discriminator included."""
    photos, sketches = drawn_faces(3, 128, 130)
    for side, images in (("photo", photos), ("sketch", sketches)):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        for number, image in enumerate(images):
            write_image(tmp_path / "pairs" / side / f"{number}.png", image)
    write_bank(tmp_path / "bank.h5", zip("012", photos, sketches, strict=True), BankSettings(16, 4, radius=1))
    torch.save(vgg_tensors(NARROW), tmp_path / "vgg19.pth")
    monkeypatch.setattr("idemodel.training.loop.load_perceptual", partial(load_perceptual, widths=NARROW))
    few = {"features": 4, "modules": 1, "discriminator_features": 2, "batch": 2, "steps": 3}
    recipe = replace(PAPER, **few, coarse=CoarseSettings("mean", k=2))  # type: ignore[arg-type]
    return Run(tmp_path / "pairs", (tmp_path / "bank.h5",), tmp_path / "run", recipe, vgg19=tmp_path / "vgg19.pth")


def test_the_papers_recipe_trains_stops_and_goes_on(papers_run: Run) -> None:
    """Batch normalisation's running means are part of the state, too."""

    def stop(step: int, total: int, losses: Mapping[str, float]) -> None:
        assert set(losses) == {"pixel", "perceptual", "adversarial", "generator", "discriminator"}
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = train(replace(papers_run, folder=papers_run.folder.with_name("whole")))
    with pytest.raises(Stopped):
        train(replace(papers_run, watch=Watch(stepped=stop)))
    assert same_files(train(replace(papers_run, resume=True)), whole)
    states = [(path.parent / "state.safetensors").read_bytes() for path in (papers_run.folder / "x", whole.last_file)]
    assert states[0] == states[1]
    assert load_generator(whole.last_file).config == MLAConfig(3, 4, 1, 2, 0)


def test_other_weights_for_the_perceptual_loss_are_another_run(papers_run: Run) -> None:
    run = replace(papers_run, recipe=replace(papers_run.recipe, steps=1))
    train(run)
    assert run.vgg19 is not None
    torch.save(vgg_tensors(NARROW, seed=1), run.vgg19)
    with pytest.raises(InputError, match="another data"):
        train(replace(run, resume=True))


def test_two_runs_in_one_folder(run: Run) -> None:
    def second(step: int, total: int, losses: Mapping[str, float]) -> None:
        with pytest.raises(InputError, match="another process trains in this folder"):
            train(replace(run, resume=True))

    train(replace(run, recipe=replace(TINY, steps=1), watch=Watch(stepped=second)))


def test_images_of_another_size(run: Run, tmp_path: Path) -> None:
    for side in ("photo", "sketch"):
        (tmp_path / "other" / side).mkdir(parents=True)
        write_image(tmp_path / "other" / side / "0.png", np.zeros((40, 39), np.uint8))
    with pytest.raises(InputError, match=r"is 40 x 39 .* the bank 40 x 38"):
        train(replace(run, pairs=tmp_path / "other"))


def test_it_learns(run: Run) -> None:
    """More steps of L1 alone come nearer to the sketches than the coarse ones are."""
    losses: list[float] = []
    only_pixels = LossWeights(pixel=1.0, perceptual=0, adversarial=0)
    poor = CoarseSettings("mean", k=50)
    recipe = replace(TINY, losses=only_pixels, steps=80, rate=2e-2, halvings=(), validation=0, coarse=poor)
    train(replace(run, recipe=recipe, watch=Watch(stepped=lambda step, total, found: losses.append(found["pixel"]))))
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:5])


# The data


@pytest.fixture
def faces(pairs: Path, bank_file: Path) -> Faces:
    with open_bank(bank_file) as bank:
        return read_faces(pairs, bank)


def test_cached_coarse_sketches_leave_their_own_pair_out(faces: Faces, bank_file: Path, tmp_path: Path) -> None:
    with open_bank(bank_file) as bank:
        made = cached_coarse_sketches(faces, prepare(bank), TINY.coarse, tmp_path)
        expected = coarse_sketch(list(faces.source), bank, TINY.coarse, exclude=np.arange(7))
    np.testing.assert_array_equal(torch.stack(made).numpy(), expected.pixels)


def test_the_cache_is_read_and_not_made_again(faces: Faces, bank_file: Path, tmp_path: Path) -> None:
    with open_bank(bank_file) as bank:
        cached_coarse_sketches(faces, prepare(bank), TINY.coarse, tmp_path)
        (file,) = tmp_path.iterdir()
        planted = np.full((7, 1, 40, 38), 0.25, np.float32)
        np.save(file, planted)
        again = cached_coarse_sketches(faces, prepare(bank), TINY.coarse, tmp_path)
        assert all(bool((sketch == 0.25).all()) for sketch in again)
        file.write_bytes(file.read_bytes()[:-1])  # cut short: made anew
        whole = cached_coarse_sketches(faces, prepare(bank), TINY.coarse, tmp_path)
    assert not any(bool((sketch == 0.25).all()) for sketch in whole)


def test_the_cache_key_knows_bank_photos_names_and_settings(faces: Faces, bank_file: Path) -> None:
    photos, sketches = drawn_faces(7, 40, 38)
    banks = [
        PatchBank.from_images(photos, sketches, list("0123456"), BankSettings(patch=8, overlap=4, radius=2)),
        PatchBank.from_images(photos, sketches, list("0123456"), BankSettings(patch=8, overlap=4, radius=3)),
        PatchBank.from_images(photos, sketches[::-1], list("0123456"), BankSettings(patch=8, overlap=4, radius=2)),
        PatchBank.from_images(photos, sketches, list("012345x"), BankSettings(patch=8, overlap=4, radius=2)),
    ]
    hashes = [bank_digest(bank) for bank in banks]
    keys = {coarse_cache_key(faces, bank, settings) for bank in hashes for settings in (TINY.coarse, CoarseSettings())}
    keys.add(coarse_cache_key(replace(faces, source=faces.source[::-1]), hashes[0], TINY.coarse))
    keys.add(coarse_cache_key(replace(faces, names=("x", *faces.names[1:])), hashes[0], TINY.coarse))
    assert len(keys) == 2 * 4 + 2
    with open_bank(bank_file) as stored:
        assert bank_digest(stored) == hashes[0]


def test_coarse_sketches_become_tensors_without_a_copy(faces: Faces, bank_file: Path) -> None:
    with open_bank(bank_file) as bank:
        made = coarse_sketch(faces.source[0], bank, TINY.coarse)
    assert torch.from_dlpack(made).data_ptr() == made.pixels.ctypes.data


@pytest.mark.parametrize("step", range(12))
def test_crops_show_the_same_place_in_input_and_truth(faces: Faces, step: int) -> None:
    """With the sketch itself for coarse sketch and photo, the input's guide must be the truth, pixel by pixel."""
    coarse = [torch.from_numpy(sketch)[None] / 255.0 for sketch in faces.target]
    twins = replace(faces, source=np.repeat(faces.target[..., None], 3, axis=3))
    recipe = replace(TINY, transposes=True, flips=True)
    batch = TrainingPairs(twins, coarse, recipe, MLAConfig(1, 4, 1, 2, 8)).batch(0, step, 3)
    assert batch.inputs.shape == (3, 9, 16, 16) and batch.truth.shape == (3, 1, 32, 32)
    torch.testing.assert_close(functional.pixel_shuffle(batch.inputs[:, 1:5], 2), batch.truth)
    torch.testing.assert_close(functional.pixel_shuffle(batch.inputs[:, 5:], 2), batch.truth, atol=1.01 / 255, rtol=0)


def test_crops_of_processes_are_those_of_one(faces: Faces) -> None:
    coarse = [torch.from_numpy(sketch)[None] / 255.0 for sketch in faces.target]
    data = TrainingPairs(faces, coarse, TINY, MLAConfig(1, 4, 1, 2, 8))
    whole = data.batch(5, 9, 4)
    parts = [data.batch(5, 9, 4, part) for part in (slice(0, 2), slice(2, 4))]
    assert torch.equal(whole.inputs, torch.cat([part.inputs for part in parts]))
    assert torch.equal(whole.truth, torch.cat([part.truth for part in parts]))
    assert not torch.equal(data.batch(5, 10, 4).inputs, whole.inputs)


def test_crops_reach_every_place_and_grey_expands(faces: Faces) -> None:
    coarse = [torch.from_numpy(sketch)[None] / 255.0 for sketch in faces.target]
    recipe = replace(TINY, stride=4, transposes=False, flips=False)
    data = TrainingPairs(faces, coarse, recipe, MLAConfig(3, 4, 1, 2, 0))
    seen = {data._draw(np.random.default_rng([0, step])) for step in range(300)}
    assert {(draw.row, draw.column) for draw in seen} == {(row, column) for row in (0, 4, 8) for column in (0, 4, 6)}
    batch = data.batch(0, 0, 2)
    assert batch.inputs.shape == (2, 3, 16, 16) and batch.truth.shape == (2, 3, 32, 32)
    assert torch.equal(batch.truth[:, 0], batch.truth[:, 2])


def test_crops_are_the_sub_images_in_all_eight_orientations(faces: Faces) -> None:
    """Sub-images begin every 4 pixels and at the end; flipped and transposed after they are cut, they stay those."""
    coarse = [torch.from_numpy(sketch)[None] / 255.0 for sketch in faces.target]
    data = TrainingPairs(faces, coarse, replace(TINY, stride=4, transposes=True, flips=True), MLAConfig(1, 4, 1, 2, 8))
    whole = torch.stack([torch.from_numpy(sketch) for sketch in faces.target]) / 255.0
    places = [(row, column) for row in (0, 4, 8) for column in (0, 4, 6)]
    known = {cut[..., r : r + 32, c : c + 32].numpy().tobytes(): (r, c) for cut in whole for r, c in places}
    turns = [lambda x, t=t, f=f: (x.mT if t else x).flip(f) for t in (False, True) for f in ([], [0], [1], [0, 1])]
    seen = set()
    for step in range(60):
        for truth in data.batch(0, step, 4).truth[:, 0]:
            turned = [turn(truth).contiguous().numpy().tobytes() for turn in turns]
            found = [(number, known[crop]) for number, crop in enumerate(turned) if crop in known]
            assert len(found) == 1
            seen.add(found[0])
    assert {number for number, _ in seen} == set(range(8)) and {place for _, place in seen} == set(places)


def test_without_transposing_faces_stay_upright(faces: Faces) -> None:
    coarse = [torch.from_numpy(sketch)[None] / 255.0 for sketch in faces.target]
    data = TrainingPairs(faces, coarse, TINY, MLAConfig(1, 4, 1, 2, 8))
    seen = {data._draw(np.random.default_rng([0, step])) for step in range(50)}
    assert {(draw.flip, draw.upend, draw.transpose) for draw in seen} == {(False, False, False), (True, False, False)}


# The trainer


@pytest.mark.parametrize("recipe", [TINY, replace(TINY, average=0.0), replace(TINY, losses=LossWeights(1, 0, 0))])
def test_state_holds_everything_that_a_step_depends_on(faces: Faces, recipe: Recipe) -> None:
    coarse = [torch.from_numpy(sketch)[None] / 255.0 for sketch in faces.target]
    network = MLAConfig(1, 4, 1, 2, 8)
    data = TrainingPairs(faces, coarse, recipe, network)
    one, other = Trainer(recipe, network, 0), Trainer(recipe, network, 99)
    for step in range(2):
        one.step(data.batch(0, step, 2), step)
    other.load_state(one.state())
    for step in (2, 3):
        found, expected = (trainer.step(data.batch(0, step, 2), step) for trainer in (one, other))
        assert found == expected
    assert all(torch.equal(value, other.state()[name]) for name, value in one.state().items())


def test_the_running_mean_is_one(faces: Faces) -> None:
    coarse = [torch.from_numpy(sketch)[None] / 255.0 for sketch in faces.target]
    network = MLAConfig(1, 4, 1, 2, 8)
    data = TrainingPairs(faces, coarse, TINY, network)
    trainer = Trainer(replace(TINY, average=0.9), network, 0)
    expected = {name: value.clone() for name, value in trainer.generator.state_dict().items()}
    for step in range(3):
        trainer.step(data.batch(0, step, 2), step)
        decay = min(0.9, (1 + step) / (10 + step))
        for name, value in trainer.generator.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    assert trainer.average is not None and trainer.best_generator is trainer.average
    for name, value in trainer.average.state_dict().items():
        torch.testing.assert_close(value, expected[name])


def test_the_discriminator_learns_only_from_its_own_loss(faces: Faces) -> None:
    """The generator's loss leaves no gradient in the discriminator, and the other way about."""
    coarse = [torch.from_numpy(sketch)[None] / 255.0 for sketch in faces.target]
    network = MLAConfig(1, 4, 1, 2, 8)
    data = TrainingPairs(faces, coarse, TINY, network)
    trainer = Trainer(TINY, network, 0)
    assert trainer.discriminator is not None
    batch = data.batch(0, 0, 2)
    before = [value.clone() for value in trainer.discriminator.parameters()]
    fine = trainer.generator(batch.inputs)
    sum(trainer._generator_losses(fine, batch.truth).values()).backward()  # type: ignore[union-attr]
    assert all(value.grad is None for value in trainer.discriminator.parameters())
    assert all(value.grad is not None for value in trainer.generator.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.discriminator.parameters(), strict=True))


def test_weights_of_losses_are_what_is_minimised(faces: Faces) -> None:
    coarse = [torch.from_numpy(sketch)[None] / 255.0 for sketch in faces.target]
    network = MLAConfig(1, 4, 1, 2, 8)
    batch = TrainingPairs(faces, coarse, TINY, network).batch(0, 0, 2)
    found = Trainer(TINY, network, 0).step(batch, 0)
    weights = {name: value for name, value in asdict(TINY.losses).items() if value}
    assert set(found) == {*weights, "generator", "discriminator"}
    expected = sum(value * found[name].item() for name, value in weights.items())
    assert found["generator"].item() == pytest.approx(expected, rel=1e-5)


# Several processes


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_with_the_doubled_batch(run: Run, tmp_path: Path) -> None:
    recipe = tmp_path / "two.toml"
    text = (
        'base = "compact"\nfeatures = 4\nmodules = 1\ndiscriminator_features = 4\nsteps = 10\ncrop = 32\n'
        "validation = 0\nbatch = 2\n[coarse]\nk = 3\n"
    )
    recipe.write_text(text)
    command = ["-m", "idecli", "train", str(run.pairs), str(run.banks[0]), "--recipe", str(recipe), "-o"]
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


def test_a_newer_run_is_refused(run: Run) -> None:
    train(replace(run, recipe=replace(TINY, steps=1)))
    file = run.folder / "run.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "version": run_folder.VERSION + 1}))
    with pytest.raises(InputError, match="is of version 2"):
        train(replace(run, resume=True))
