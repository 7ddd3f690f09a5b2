"""Weights that are cast together: the same sketch and the same gradients as by autocast, to the last bit."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from training_runs import TINY

from idemodel.generator.config import MLAConfig
from idemodel.generator.network import MLANet
from idemodel.training.crops import Batch
from idemodel.training.lowered import CastOnce
from idemodel.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize("config", [MLAConfig(1, 8, 2), MLAConfig(1, 8, 1, 2, 8, "refine")], ids=["paper", "drawn"])
def test_sketch_and_gradients_are_autocasts(config: MLAConfig) -> None:
    torch.manual_seed(0)
    plain = MLANet(**vars(config))
    once = copy.deepcopy(plain)
    inputs = torch.rand(2, config.channels + config.guide, 20, 24)
    found = []
    for network, call in ((plain, plain), (once, CastOnce(once))):
        with torch.autocast("cpu", torch.bfloat16):
            fine = call(inputs)
        fine.float().square().sum().backward()
        found.append([fine, *(value.grad for value in network.parameters())])
    for ours, truth in zip(*found, strict=True):
        assert ours.dtype == truth.dtype and torch.equal(ours, truth) and bool(truth.any())


def test_a_trainer_learns_the_same_by_it() -> None:
    recipe, config = replace(TINY, precision="bf16"), MLAConfig(1, 8, 1)
    assert isinstance(Trainer(recipe, config, 0, recordable=True)._drawing, CastOnce)
    ours, truth = (Trainer(recipe, config, 0) for _ in range(2))
    ours._drawing = CastOnce(ours.generator)
    for number in range(3):
        batch = Batch(torch.rand(2, 1, 16, 16), torch.rand(2, 1, 32, 32))
        for each in (ours, truth):
            each.step(batch, number)
    theirs = truth.state()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.state().items())


def test_float32_and_a_step_that_is_not_recorded_are_left_alone() -> None:
    for recipe, recordable in ((TINY, True), (replace(TINY, precision="bf16"), False)):
        trainer = Trainer(recipe, MLAConfig(1, 8, 1), 0, recordable=recordable)
        assert trainer._drawing is trainer.generator
