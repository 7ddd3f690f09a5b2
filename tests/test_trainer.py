"""The trainer: its state is all that a step depends on, its mean is one, each network learns from its own loss."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from training_runs import TINY, own_sketches, tiny_faces

from idemodel.generator.config import MLAConfig
from idemodel.training.crops import TrainingPairs
from idemodel.training.data import Faces
from idemodel.training.lowered import CastOnce
from idemodel.training.recipe import LossWeights, Recipe
from idemodel.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def faces() -> Faces:
    return tiny_faces()


@pytest.mark.parametrize("recipe", [TINY, replace(TINY, average=0.0), replace(TINY, losses=LossWeights(1, 0, 0))])
def test_state_holds_everything_that_a_step_depends_on(faces: Faces, recipe: Recipe) -> None:
    coarse = own_sketches(faces)
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
    coarse = own_sketches(faces)
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
    coarse = own_sketches(faces)
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
    coarse = own_sketches(faces)
    network = MLAConfig(1, 4, 1, 2, 8)
    batch = TrainingPairs(faces, coarse, TINY, network).batch(0, 0, 2)
    found = Trainer(TINY, network, 0).step(batch, 0)
    weights = {name: value for name, value in asdict(TINY.losses).items() if value}
    assert set(found) == {*weights, "generator", "discriminator"}
    expected = sum(value * found[name].item() for name, value in weights.items())
    assert found["generator"].item() == pytest.approx(expected, rel=1e-5)


def test_structure_first_leaves_the_discriminator_for_later(faces: Faces) -> None:
    recipe = replace(TINY, structure_first=2, losses=replace(TINY.losses, texture=1.0))
    network = MLAConfig(1, 4, 1, 2, 8)
    data = TrainingPairs(faces, own_sketches(faces), recipe, network)
    trainer = Trainer(recipe, network, 0)
    assert trainer.discriminator is not None
    before = [value.clone() for value in trainer.discriminator.parameters()]
    for number in (0, 1):
        assert set(trainer.step(data.batch(0, number, 2), number)) == {"pixel", "gradient", "ssim", "generator"}
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.discriminator.parameters(), strict=True))
    names = {"pixel", "gradient", "ssim", "generator", "texture", "adversarial", "features", "discriminator"}
    assert set(trainer.step(data.batch(0, 2, 2), 2)) == names
    assert not all(torch.equal(old, new) for old, new in zip(before, trainer.discriminator.parameters(), strict=True))


def _laid_out(value: torch.Tensor) -> list[int]:
    """Strides where there is something to stride over."""
    return [stride for stride, size in zip(value.stride(), value.shape, strict=True) if size > 1]


@pytest.mark.parametrize("cast_once", [False, True])
def test_gradients_and_moments_lie_as_the_weights_do_before_and_after_going_on(faces: Faces, cast_once: bool) -> None:
    """Adam's fused kernels refuse anything else."""
    recipe, network = replace(TINY, precision="bf16"), MLAConfig(1, 8, 1, 2, 8)
    data = TrainingPairs(faces, own_sketches(faces), recipe, network)
    one, other = (Trainer(recipe, network, seed) for seed in range(2))
    for number, trainer in enumerate((one, other)):
        if cast_once:
            trainer._drawing = CastOnce(trainer.generator)
        if trainer is other:
            other.load_state(one.state())
        trainer.step(data.batch(0, number, 2), number)
        for _, adam, network_ in trainer._adams():
            for name, weight in network_.named_parameters():
                kept = adam.state[weight]
                assert weight.grad is not None
                for value in (weight.grad, kept["exp_avg"], kept["exp_avg_sq"]):
                    assert _laid_out(value) == _laid_out(weight) and value.dtype == weight.dtype, name
