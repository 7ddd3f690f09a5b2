"""Crops: input and truth of the same place, every place and orientation, the same for any number of processes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional
from training_runs import TINY, own_sketches, tiny_faces

from idemodel.generator.config import MLAConfig
from idemodel.training.crops import TrainingPairs
from idemodel.training.data import Faces

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def faces() -> Faces:
    return tiny_faces()


@pytest.mark.parametrize("step", range(12))
def test_crops_show_the_same_place_in_input_and_truth(faces: Faces, step: int) -> None:
    """With the sketch itself for coarse sketch and photo, the input's guide must be the truth, pixel by pixel."""
    coarse = own_sketches(faces)
    twins = replace(faces, source=np.repeat(faces.target[..., None], 3, axis=3))
    recipe = replace(TINY, transposes=True, flips=True)
    batch = TrainingPairs(twins, coarse, recipe, MLAConfig(1, 4, 1, 2, 8)).batch(0, step, 3)
    assert batch.inputs.shape == (3, 9, 16, 16) and batch.truth.shape == (3, 1, 32, 32)
    torch.testing.assert_close(functional.pixel_shuffle(batch.inputs[:, 1:5], 2), batch.truth)
    torch.testing.assert_close(functional.pixel_shuffle(batch.inputs[:, 5:], 2), batch.truth, atol=1.01 / 255, rtol=0)


def test_crops_of_processes_are_those_of_one(faces: Faces) -> None:
    coarse = own_sketches(faces)
    data = TrainingPairs(faces, coarse, TINY, MLAConfig(1, 4, 1, 2, 8))
    whole = data.batch(5, 9, 4)
    parts = [data.batch(5, 9, 4, part) for part in (slice(0, 2), slice(2, 4))]
    assert torch.equal(whole.inputs, torch.cat([part.inputs for part in parts]))
    assert torch.equal(whole.truth, torch.cat([part.truth for part in parts]))
    assert not torch.equal(data.batch(5, 10, 4).inputs, whole.inputs)


def test_crops_reach_every_place_and_grey_expands(faces: Faces) -> None:
    coarse = own_sketches(faces)
    recipe = replace(TINY, stride=4, transposes=False, flips=False)
    data = TrainingPairs(faces, coarse, recipe, MLAConfig(3, 4, 1, 2, 0))
    seen = {data._draw(np.random.default_rng([0, step])) for step in range(300)}
    assert {(draw.row, draw.column) for draw in seen} == {(row, column) for row in (0, 4, 8) for column in (0, 4, 6)}
    batch = data.batch(0, 0, 2)
    assert batch.inputs.shape == (2, 3, 16, 16) and batch.truth.shape == (2, 3, 32, 32)
    assert torch.equal(batch.truth[:, 0], batch.truth[:, 2])


def test_crops_are_the_sub_images_in_all_eight_orientations(faces: Faces) -> None:
    """Sub-images begin every 4 pixels and at the end; flipped and transposed after they are cut, they stay those."""
    coarse = own_sketches(faces)
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
    coarse = own_sketches(faces)
    data = TrainingPairs(faces, coarse, TINY, MLAConfig(1, 4, 1, 2, 8))
    seen = {data._draw(np.random.default_rng([0, step])) for step in range(50)}
    assert {(draw.flip, draw.upend, draw.transpose) for draw in seen} == {(False, False, False), (True, False, False)}


def test_what_goes_with_the_coarse_sketches_is_cut_at_the_same_place(faces: Faces) -> None:
    coarse = own_sketches(faces)
    beside = {"quilt": [1 - sketch for sketch in coarse], "intra": [sketch / 2 for sketch in coarse]}
    recipe = replace(TINY, transposes=True, flips=True)
    network = MLAConfig(1, 4, 1, 2, 16)
    batch = TrainingPairs(faces, coarse, recipe, network, beside).batch(1, 2, 3)
    planes = functional.pixel_shuffle(batch.inputs[:, 1:], 2)
    torch.testing.assert_close(planes[:, 0:1], batch.truth)
    torch.testing.assert_close(planes[:, 1:2], 1 - batch.truth)
    torch.testing.assert_close(planes[:, 2:3], batch.truth / 2)
    without = TrainingPairs(faces, coarse, recipe, MLAConfig(1, 4, 1, 2, 8)).batch(1, 2, 3)
    assert torch.equal(without.truth, batch.truth)  # the same places, whatever the generator sees
