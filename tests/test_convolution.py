"""A bias that learns by a matrix product learns what it learns by a sum; on a CPU torch does it, to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from idemodel.generator import convolution
from idemodel.generator.convolution import Convolution, PlusBias, biased


@pytest.mark.parametrize("many", [1, 10**6], ids=["by a product", "by a sum"])
def test_gradients_are_those_of_an_addition(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = torch.Generator().manual_seed(0)
    monkeypatch.setattr(convolution, "_MANY", many)
    features, bias = (torch.rand(*shape, generator=numbers, dtype=torch.float64) for shape in ((2, 3, 4, 5), (3,)))
    given = features.requires_grad_(), bias.requires_grad_()
    assert torch.autograd.gradcheck(lambda one, other: PlusBias.apply(1 * one, other), given)


@pytest.mark.parametrize("last", [False, True], ids=["planes", "channels last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bf16"])
def test_a_bias_learns_the_same(last: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "_MANY", 1)
    numbers = torch.Generator().manual_seed(0)
    layout: Any = torch.channels_last if last else torch.contiguous_format
    found = []
    for plus in (PlusBias.apply, lambda one, other: one + other.to(one.dtype)[:, None, None]):
        numbers.manual_seed(1)
        features = torch.rand(2, 8, 9, 7, generator=numbers).to(dtype).to(memory_format=layout).requires_grad_()
        bias = torch.rand(8, generator=numbers).requires_grad_()
        made = plus(1 * features, bias)
        nn.functional.leaky_relu_(made, 0.2).square().sum().backward()
        found.append((made, features.grad, bias.grad))
    for ours, truth in zip(*found, strict=True):
        assert ours.dtype == truth.dtype
        torch.testing.assert_close(ours, truth, rtol=1e-5 if dtype == torch.float32 else 1e-2, atol=0)


def test_on_a_cpu_it_is_torchs_convolution() -> None:
    torch.manual_seed(0)
    ours = Convolution(3, 4, 3, padding=1)
    truth = nn.Conv2d(3, 4, 3, padding=1)
    truth.load_state_dict(ours.state_dict())
    images = torch.rand(2, 3, 8, 9)
    for each in (ours, truth):
        each(images).square().sum().backward()
    assert torch.equal(ours(images), truth(images))
    assert all(
        torch.equal(one.grad, other.grad) for one, other in zip(ours.parameters(), truth.parameters(), strict=True)
    )


def test_a_bias_is_added_apart_only_where_it_learns_in_bf16_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    apart: list[Tensor] = []
    monkeypatch.setattr(convolution.PlusBias, "apply", lambda made, bias: apart.append(bias) or made)

    class OnADevice:
        is_cuda = True

    def convolved(images: Any, weight: Tensor, bias: Tensor | None) -> Any:
        return None if bias is None else bias

    device: Any = OnADevice()
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind == "cuda")
    learning, fixed, weight = torch.ones(2, requires_grad=True), torch.ones(2), torch.ones(1)
    assert biased(convolved, device, weight, learning) is None and apart == [learning]
    assert biased(convolved, device, weight, fixed) is fixed
    assert biased(convolved, torch.ones(1), weight, learning) is learning
    with torch.no_grad():
        assert biased(convolved, device, weight, learning) is learning
    assert biased(convolved, device, weight, None) is None and len(apart) == 1
    monkeypatch.undo()
    assert biased(convolved, device, weight, learning) is learning  # float32
