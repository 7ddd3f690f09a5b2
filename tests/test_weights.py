"""Weights into networks that were built without memory, and torch's number of threads kept."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from idemodel.files.weights import filled, shapes_of, without_memory
from idemodel.generator.threads import torch_threads_kept


def normalised() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))


def test_a_network_without_memory_takes_tensors_as_its_own() -> None:
    network = without_memory(normalised)
    assert all(value.is_meta for value in network.state_dict().values())
    shapes = shapes_of(network, "net.")
    assert shapes["net.0.weight"] == (3, 2, 3, 3) and "net.1.num_batches_tracked" not in shapes
    tensors = {name: torch.rand(shape).transpose(0, -1).contiguous().transpose(0, -1) for name, shape in shapes.items()}
    again = filled(network, tensors, "net.")
    assert again is network and not network.training
    for name in shapes:
        value = network.state_dict()[name.removeprefix("net.")]
        assert torch.equal(value, tensors[name]) and value.is_contiguous()
        assert value.data_ptr() != tensors[name].data_ptr()
    assert network.state_dict()["1.num_batches_tracked"] == 0


def test_a_missing_name_is_an_error() -> None:
    network = without_memory(normalised)
    with pytest.raises(KeyError, match=r"net\.0\.weight"):
        filled(network, {}, "net.")


def test_the_number_of_threads_is_given_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="stopped"), torch_threads_kept():
        torch.set_num_threads(before + 1)
        raise RuntimeError("stopped")
    assert torch.get_num_threads() == before


def test_keeping_threads_loads_no_torch() -> None:
    code = (
        "import sys; from idemodel.generator.threads import torch_threads_kept as kept\n"
        "with kept(): pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
