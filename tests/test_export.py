"""Export: what another runtime computes is what torch computes, at any size and batch."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from idecli.main import run
from idekernels.errors import InputError
from idemodel.generator.checkpoint import save_generator
from idemodel.generator.enhance import Enhancer
from idemodel.generator.export import export_onnx
from idemodel.generator.network import MLANet

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module", params=[(3, 0), (1, 8)], ids=["paper's inputs", "with a guide"])
def enhancer(request: pytest.FixtureRequest) -> Enhancer:
    channels, guide = request.param
    torch.manual_seed(0)
    network = MLANet(channels, 8, 2, 2, guide)
    for value in network.parameters():  # away from the start, where the network does next to nothing
        value.data.mul_(3.0).add_(0.02 * torch.randn_like(value))
    return Enhancer(network, {"name": "tiny"}, "cpu")


@pytest.fixture(scope="module")
def exported(enhancer: Enhancer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(enhancer, file)
    return file


@pytest.mark.parametrize("size", [(16, 16), (100, 125), (33, 47), (38, 64)])
@pytest.mark.parametrize("batch", [1, 3])
def test_onnxruntime_equals_torch(enhancer: Enhancer, exported: Path, size: tuple[int, int], batch: int) -> None:
    runtime: Any = pytest.importorskip("onnxruntime")
    config = enhancer.network.config
    inputs = torch.rand(batch, config.channels + config.guide, *size)
    expected = enhancer.network(inputs).numpy()
    (found,) = runtime.InferenceSession(exported, providers=["CPUExecutionProvider"]).run(
        ["fine"], {"inputs": inputs.numpy()}
    )
    assert found.shape == expected.shape == (batch, config.channels, 2 * size[0], 2 * size[1])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(expected - expected.mean()).max() > 0.1  # it computes something


def test_the_file_says_what_it_is(enhancer: Enhancer, exported: Path) -> None:
    onnx: Any = pytest.importorskip("onnx")
    (entry,) = onnx.load(exported).metadata_props
    config = enhancer.network.config
    assert json.loads(entry.value) == {
        "channels": config.channels,
        "guide": config.guide,
        "upscale": 2,
        "direction": "photo-to-sketch",
        "recipe": {"name": "tiny"},
        "hand": {"press": 1.0, "paper": 1.0},
    }


def test_a_missing_extra_is_named(enhancer: Enhancer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def missing(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "onnx":
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"pip install 'idesketch\[export\]'"):
        export_onnx(enhancer, tmp_path / "model.onnx")


def test_a_missing_folder(enhancer: Enhancer, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(FileNotFoundError):
        export_onnx(enhancer, tmp_path / "none" / "model.onnx")


def test_a_file_that_is_there_is_replaced_only_when_asked(tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    save_generator(model, MLANet(1, 4, 1, 2, 0))
    target, before = tmp_path / "model.onnx", model.read_bytes()
    target.write_bytes(b"mine")
    assert run(["export", str(model), "--onnx", str(target)]) == 1
    assert "is there already" in capsys.readouterr().err and target.read_bytes() == b"mine"
    assert run(["export", str(model), "--onnx", str(target), "--overwrite"]) == 0
    assert len(target.read_bytes()) > 100
    assert run(["export", str(model), "--onnx", str(model), "--overwrite"]) == 1
    assert model.read_bytes() == before
