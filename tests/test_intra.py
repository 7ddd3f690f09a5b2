"""Intra-domain matching, from training to sketches: its bank, its hash, what is left out, and what is missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import NAMES, TINY, changed, same_files, tiny_run

from idekernels import BankSettings, CoarseSettings, coarse_sketch, open_bank, write_bank
from idekernels.bank import SKETCH_TO_PHOTO
from idekernels.errors import InputError
from idemodel.files.images import read_colour, read_grey
from idemodel.generator.checkpoint import read_header
from idemodel.generator.config import guide_channels
from idemodel.generator.enhance import Enhancer
from idemodel.generator.network import MLANet
from idemodel.phantom import phantom_pairs
from idemodel.sketcher import Sketcher
from idemodel.training.loop import Stopped, train
from idemodel.training.run import Observer, Run, Trained

pytestmark = pytest.mark.usefixtures("one_torch_thread")

RECIPE = replace(
    TINY,
    inputs="coarse+photo+quilt+intra",
    tail="refine",
    losses=replace(TINY.losses, texture=1.0),
    quilt=CoarseSettings("top1", k=3),
    intra=CoarseSettings("mwf", k=4),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Trained]:
    run = replace(tiny_run(tmp_path_factory.mktemp("intra")), recipe=RECIPE)
    return run, train(run)


@pytest.fixture
def moved(made: tuple[Run, Trained], tmp_path: Path) -> Path:
    """The model in a folder of its own, without its bank."""
    return Path(shutil.copy(made[1].best_file, tmp_path / "model.safetensors"))


def beside(model: Path) -> Path:
    """The one intra-domain bank in a model's folder."""
    (file,) = model.parent.glob("intra-*.h5")
    return file


def photo_of(run: Run, name: str) -> np.ndarray:
    return read_colour(run.data.pairs / "photo" / f"{name}.png")


def test_the_bank_holds_leave_one_out_coarse_sketches_and_the_true_ones(made: tuple[Run, Trained]) -> None:
    run, done = made
    with open_bank(beside(done.best_file)) as intra, open_bank(*run.data.banks) as bank:
        assert intra.names == bank.names and intra.settings == bank.settings
        for number, name in enumerate(intra.names):
            coarse = coarse_sketch(photo_of(run, name), bank, RECIPE.coarse, exclude=bank.names.index(name))
            assert np.array_equal(intra.source(number, number + 1)[0, 0], coarse.images()[0])
            truth = read_grey(run.data.pairs / "sketch" / f"{name}.png")
            assert np.array_equal(intra.target(number, number + 1)[0, 0], truth)
    assert read_header(done.best_file).intra == read_header(done.last_file).intra != ""


def test_a_stranger_is_sketched_by_bank_and_model_alone(made: tuple[Run, Trained]) -> None:
    run, done = made
    stranger = photo_of(run, "3")[::-1].copy()
    with Sketcher(run.data.banks[0], done.best_file, device="cpu", backend="cpu") as sketcher:
        made_of = sketcher.sketch(stranger)
        assert made_of.quilt is not None and made_of.quilt.pixels.shape == made_of.coarse.pixels.shape
        seen = torch.from_numpy(read_like_intensity(stranger))
        again = sketcher.enhancer.enhance(made_of.coarse, seen, quilt=made_of.quilt)
        assert torch.equal(made_of.fine, again)
        together = sketcher.sketch([stranger, photo_of(run, "1")])
        torch.testing.assert_close(together.fine[:1], made_of.fine, atol=1e-5, rtol=0)


def read_like_intensity(photo: np.ndarray) -> np.ndarray:
    from idekernels.representations import intensity

    return intensity(photo)[None, None].astype(np.float32) / 255.0


def test_a_training_pair_left_out_is_left_out_of_both_banks(made: tuple[Run, Trained]) -> None:
    run, done = made
    with Sketcher(run.data.banks[0], done.best_file, device="cpu", backend="cpu") as sketcher:
        number = sketcher.prepared.bank.names.index("2")
        coarse = sketcher.sketch(photo_of(run, "2"), exclude=number).coarse
        domain = sketcher.enhancer.domain
        assert domain is not None
        planes = torch.from_dlpack(coarse.host())
        with_itself, without = domain.sketches(planes), domain.sketches(planes, [["2"]])
        assert not torch.equal(with_itself, without)
        direct = coarse_sketch(
            list(coarse.images()), domain.prepared, RECIPE.intra, exclude=domain.prepared.bank.names.index("2")
        )
        assert np.array_equal(without.numpy(), direct.pixels)
        assert torch.equal(domain.sketches(planes, [["nobody"]]), with_itself)
        both = sketcher.sketch([photo_of(run, "2"), photo_of(run, "4")], exclude=np.array([number, -1]))
        assert both.fine.shape[0] == 2


def test_the_largest_share_of_a_banked_coarse_sketch_is_its_own_truth(made: tuple[Run, Trained]) -> None:
    """Nothing left out, the nearest candidate of a banked coarse sketch is itself: top1 gives the artist's sketch."""
    run, done = made
    domain = Enhancer.open(done.best_file, "cpu").domain
    assert domain is not None
    bank = domain.prepared.bank
    coarse = torch.from_numpy(bank.source(0, 3)[:, :1].astype(np.float32)) / 255.0
    made_of = replace(domain, settings=CoarseSettings("top1", k=1)).sketches(coarse)
    truth = np.stack([read_grey(run.data.pairs / "sketch" / f"{name}.png") for name in NAMES[:3]])
    assert np.abs(made_of[:, 0].numpy() * 255 - truth).max() < 0.01


def test_stopped_and_resumed_is_never_stopped(made: tuple[Run, Trained], tmp_path: Path) -> None:
    run, done = made
    other = replace(run, folder=tmp_path / "run")

    def stop(step: int, *_: object) -> None:
        if step == 3:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(replace(other, observer=Observer(stepped=stop)))
    beside(other.folder / "state.safetensors").unlink()  # lost between the two: it is made again
    resumed = train(changed(other, resume=True))
    assert same_files(done, resumed)
    assert beside(other.folder / "best.safetensors").exists()


def test_without_its_bank_a_model_says_what_is_missing(moved: Path) -> None:
    with pytest.raises(InputError, match=r"model\.safetensors: needs intra-[0-9a-f]{16}\.h5"):
        Enhancer.open(moved, "cpu")


@pytest.mark.parametrize("other", ["a bank", "rubbish", "a folder"])
def test_another_bank_is_refused(made: tuple[Run, Trained], moved: Path, other: str) -> None:
    file = moved.with_name(beside(made[1].best_file).name)
    puts: dict[str, Callable[[], object]] = {
        "a bank": lambda: shutil.copy(made[0].data.banks[0], file),
        "rubbish": lambda: file.write_bytes(b"rubbish"),
        "a folder": file.mkdir,
    }
    puts[other]()
    with pytest.raises(InputError, match=r"intra-[0-9a-f]{16}\.h5: is damaged; copy it"):
        Enhancer.open(moved, "cpu")


def test_a_bank_that_comes_out_otherwise_leaves_the_old_one_to_its_models(
    made: tuple[Run, Trained], tmp_path: Path
) -> None:
    """Resumed where coarse sketches differ (another backend, say): the best model of before keeps its bank."""
    run, done = made
    folder = Path(shutil.copytree(done.best_file.parent, tmp_path / "run"))
    for file in folder.glob("coarse/*/*.npy"):
        cached = np.load(file)
        np.save(file, np.clip(cached + np.float32(3 / 255), 0, 1))
    train(changed(replace(run, folder=folder), resume=True, recipe=replace(RECIPE, steps=RECIPE.steps + 2)))
    assert len(list(folder.glob("intra-*.h5"))) == 2
    for name in ("best.safetensors", "last.safetensors"):
        Enhancer.open(folder / name, "cpu")


def test_a_network_that_needs_a_bank_is_refused_without(made: tuple[Run, Trained]) -> None:
    with pytest.raises(InputError, match="needs its intra-domain bank"):
        Enhancer(MLANet(1, 4, 1, 2, guide_channels(RECIPE.inputs, 1), "refine"), device="cpu")


def test_a_bank_of_another_size_is_refused(made: tuple[Run, Trained], tmp_path: Path) -> None:
    pairs = phantom_pairs(4, height=64, width=64, seed=4)
    write_bank(tmp_path / "bank.h5", [(p.name, p.photo, p.sketch) for p in pairs], BankSettings(radius=2))
    with pytest.raises(InputError, match="was trained on 40 x 38, the bank is of 64 x 64"):
        Sketcher(tmp_path / "bank.h5", made[1].best_file, device="cpu")


def test_photos_of_sketches_too_in_colour(tmp_path: Path) -> None:
    pairs = list(phantom_pairs(6, height=64, width=48, seed=4))
    from idemodel.files.images import write_image

    for side in ("photo", "sketch"):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        for pair in pairs:
            write_image(tmp_path / "pairs" / side / f"{pair.name}.png", getattr(pair, side))
    settings = BankSettings(patch=8, overlap=4, radius=2, direction=SKETCH_TO_PHOTO)
    write_bank(tmp_path / "bank.h5", [(p.name, p.photo, p.sketch) for p in pairs], settings)
    run = tiny_run(tmp_path / "other")
    run = changed(run, pairs=tmp_path / "pairs", banks=(tmp_path / "bank.h5",), recipe=replace(RECIPE, steps=1))
    done = train(run)
    with Sketcher(tmp_path / "bank.h5", done.last_file, device="cpu", backend="cpu") as painter:
        assert painter.sketch(pairs[0].sketch).images().shape == (1, 64, 48, 3)
