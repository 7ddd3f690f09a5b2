"""The CUHK student pairs, where they are: 88 in the bank, 70 tested, and the SSIM that a plain prototype reached."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idecli.main import run
from idekernels import PatchBank, blend, coarse_sketch, compatibility, compose, evidence, gather, match, prepare, weigh
from idemodel.files.images import read_colour, read_grey
from idemodel.metrics import ssim

PROTOTYPE = 0.609  # intensity, K 15, local weights, feathered


@pytest.mark.data
@pytest.mark.slow
def test_mwf_is_no_worse_than_the_prototype(shared_data: Path, tmp_path: Path) -> None:
    bank, out = tmp_path / "bank.h5", tmp_path / "out"
    assert run(["bank", "build", str(shared_data / "train"), str(bank)]) == 0
    photos = str(shared_data / "test" / "photo")
    assert run(["coarse", str(bank), photos, "-o", str(out), "--normalise", "none"]) == 0

    truths = sorted((shared_data / "test" / "sketch").iterdir())
    scores = [ssim(read_grey(out / truth.name), read_grey(truth)) for truth in truths]

    assert len(scores) == 70
    assert np.mean(scores) >= PROTOTYPE


@pytest.fixture
def bank(shared_data: Path) -> PatchBank:
    sides = [
        [read_colour(file) for file in sorted((shared_data / "train" / side).iterdir())] for side in ("photo", "sketch")
    ]
    return PatchBank.from_images(*sides)


@pytest.mark.data
@pytest.mark.slow
def test_every_photo_settles_soon_and_to_the_same_bits_in_any_batch(shared_data: Path, bank: PatchBank) -> None:
    """Not more than 45 sweeps for any of the 70, hard ones (flat corners) among them."""
    photos = [read_colour(file) for file in sorted((shared_data / "test" / "photo").iterdir())]
    prepared, grid = prepare(bank, "cpu"), bank.grid()
    for start in range(0, 70, 10):
        batch = photos[start : start + 10]
        query = np.stack([bank.query(photo) for photo in batch])
        patches = gather(match(query, prepared), prepared)
        gram, tables = evidence(query, patches, grid), compatibility(patches, grid)
        for method in ("mwf", "lle"):
            assert weigh(gram, tables, grid, method=method).sweeps.max() <= 45
        together = coarse_sketch(batch, prepared).pixels
        for number in (0, 9):
            np.testing.assert_array_equal(together[number], coarse_sketch(batch[number], prepared).pixels[0])


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("number", [4, 27, 69])
def test_float32_is_within_a_grey_level_of_the_reference(shared_data: Path, bank: PatchBank, number: int) -> None:
    """On the photos whose corners are flat: the same rule in float64, from the same tables."""
    photo = read_colour(sorted((shared_data / "test" / "photo").iterdir())[number])
    query, prepared, grid = bank.query(photo)[None], prepare(bank, "cpu"), bank.grid()
    patches = gather(match(query, prepared), prepared)
    gram, tables = evidence(query, patches, grid).gram, compatibility(patches, grid)
    ours = weigh(gram, tables, grid)
    truth = weigh(gram, replace(tables, backend=None), grid, backend="reference")
    pictures = [blend(compose(patches.target, found.weights, backend="cpu"), grid).pixels for found in (ours, truth)]

    assert np.abs(pictures[0] - pictures[1]).max() <= 1
    np.testing.assert_allclose(ours.objective, truth.objective, rtol=1e-6)
