"""float32 is strict where it is asked for, whatever torch was told before, and torch is left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from idemodel.generator.precision import float32_products

cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
WORDS = hasattr(cudnn, "conv")  # torch 2.9 and later


@pytest.fixture(autouse=True)
def as_torch_begins() -> Iterator[None]:
    with float32_products("cuda"):
        matmul.allow_tf32, cudnn.allow_tf32 = False, True
        yield


def words() -> list[str]:
    return [place.fp32_precision for place in (matmul, cudnn.conv, cudnn.rnn)] if WORDS else []


def test_strict_and_not() -> None:
    assert cudnn.allow_tf32 and not matmul.allow_tf32
    before = words()
    with float32_products("cuda"):
        assert not cudnn.allow_tf32 and not matmul.allow_tf32
        assert set(words()) <= {"ieee"}
        with float32_products("cuda:1", tf32=True):
            assert cudnn.allow_tf32 and matmul.allow_tf32 and set(words()) <= {"tf32"}
        assert not cudnn.allow_tf32
    assert cudnn.allow_tf32 and not matmul.allow_tf32 and words() == before


def test_for_a_cpu_nothing_is_switched() -> None:
    with float32_products("cpu"):
        assert cudnn.allow_tf32


def test_as_before_after_an_error_as_well() -> None:
    with pytest.raises(KeyError), float32_products("cuda"):
        raise KeyError
    assert cudnn.allow_tf32


@pytest.mark.skipif(not WORDS, reason="this torch has no words for it")
@pytest.mark.parametrize(
    "told",
    [
        lambda: setattr(torch.backends, "fp32_precision", "tf32"),  # what is not said of a product is inherited
        lambda: setattr(matmul, "fp32_precision", "tf32"),  # the old switch can no longer be read
        lambda: setattr(cudnn.conv, "fp32_precision", "ieee"),
    ],
)
def test_strict_after_anything_that_was_told_by_words(told: Callable[[], None]) -> None:
    before = torch.backends.fp32_precision
    try:
        told()
        said = words()
        with float32_products("cuda"):
            assert words() == ["ieee"] * 3
        assert words() == said
    finally:
        torch.backends.fp32_precision = before
