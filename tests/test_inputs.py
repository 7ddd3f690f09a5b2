"""The generator's input and the sizes of its output: nothing of the images is lost, every size comes back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from idemodel.generator.config import guide_channels
from idemodel.generator.inputs import fitted, generator_input
from idemodel.generator.network import MLANet

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_halving_is_pillows_antialiased_bicubic() -> None:
    ramp = np.linspace(0, 1, 26 * 30, dtype=np.float32).reshape(26, 30) ** 2
    half = generator_input(torch.from_numpy(ramp)[None, None], channels=1)
    expected = np.asarray(Image.fromarray(ramp).resize((15, 13), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(half[0, 0].numpy(), expected, atol=2e-6)


@given(st.integers(32, 45), st.integers(32, 45), st.sampled_from(["source", "double"]), st.sampled_from([1, 3]))
def test_every_size_comes_back(height: int, width: int, size: str, channels: int) -> None:
    guide = guide_channels("coarse+photo", channels)
    coarse, photo = torch.rand(2, 1, height, width), torch.rand(2, 1, height, width)
    inputs = generator_input(coarse, photo, channels=channels, guide=guide, size=size)
    assert inputs.shape[1] == channels + guide
    fine = fitted(MLANet(channels, 4, 1, 2, guide)(inputs), height, width, size)
    times = 1 if size == "source" else 2
    assert fine.shape == (2, channels, times * height, times * width)
    assert fine.min() >= 0 and fine.max() <= 1


def test_the_guide_holds_every_pixel() -> None:
    coarse, photo = torch.rand(1, 1, 8, 10), torch.rand(1, 1, 8, 10)
    inputs = generator_input(coarse, photo, channels=1, guide=8)
    assert torch.equal(functional.pixel_shuffle(inputs[:, 1:5], 2), coarse)
    assert torch.equal(functional.pixel_shuffle(inputs[:, 5:], 2), photo)


def test_coarse_alone_doubled_is_not_copied() -> None:
    coarse = torch.rand(1, 1, 20, 20)
    assert generator_input(coarse, channels=3, size="double").data_ptr() == coarse.data_ptr()


@pytest.mark.parametrize(
    ("coarse", "photo", "said"),
    [
        ((1, 2, 20, 20), (1, 1, 20, 20), "must be"),
        ((1, 20, 20), (1, 1, 20, 20), "must be"),
        ((1, 1, 20, 20), None, "give it the photo"),
        ((1, 1, 20, 20), (1, 1, 20, 21), "the photo must be"),
        ((1, 1, 20, 20), (2, 1, 20, 20), "the photo must be"),
    ],
)
def test_what_does_not_fit(coarse: tuple[int, ...], photo: tuple[int, ...] | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        generator_input(torch.zeros(coarse), None if photo is None else torch.zeros(photo), channels=1, guide=8)


def test_an_unknown_size() -> None:
    with pytest.raises(ValueError, match="size must be one of source, double"):
        generator_input(torch.zeros(1, 1, 20, 20), channels=1, size="half")
