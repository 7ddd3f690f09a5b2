"""A folded generator is the generator: by torch, and by Triton's kernels where that is installed."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from idemodel.generator import passes
from idemodel.generator.checkpoint import load_generator
from idemodel.generator.folding import folded_for_inference
from idemodel.generator.network import MLANet
from idemodel.generator.passes import Passes, TorchPasses, passes_on
from idemodel.generator.weights import PHANTOM

pytestmark = pytest.mark.usefixtures("one_torch_thread")
NETWORKS = {"paper": (3, 64, 1), "compact": (1, 32, 2), "guided": (1, 16, 1, 2, 8), "odd": (3, 12, 1)}
TRITON = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")

INTERPRETED = """
import sys
import torch
from idemodel.generator.passes import TorchPasses
from idemodel.generator.passes_triton import TritonPasses
from test_folding import NETWORKS, assert_alike, folded, lively

torch.set_num_threads(1)
for name, dtype, bound in (
    ("odd", torch.float32, 2e-6), ("guided", torch.float32, 2e-6), ("guided", torch.float16, 4e-3)
):
    by_torch, by_triton = (folded(lively(name), kind()).to(dtype) for kind in (TorchPasses, TritonPasses))
    assert_alike(by_triton, by_torch, bound, 17, 20)
print("the same")
"""

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from idemodel.generator import passes_triton as ours

NUMBERS = {"pixels", "height", "width", "rows_made", "columns_made", "small_height", "small_width"}
CONSTANTS = {"MANY": 64, "FEW": 16, "WIDE": 64, "NARROW": 16, "POOL": 7, "STRIDE": 3, "SLOPE": 0.05, "RESIDUAL": True}
kernels = [value for name, value in vars(ours).items() if name.endswith("_kernel")]
assert len(kernels) == 5
for kernel in kernels:
    kinds = {name: "i32" if name in NUMBERS else "fp32" if name in ("down", "across") else "*fp16"
             for name in kernel.arg_names}
    constants = {name: value for name, value in (CONSTANTS | {"ROWS": 64}).items() if name in kinds}
    kinds |= dict.fromkeys(constants, "constexpr")
    for capability in (80, 90):
        made = triton.compile(ASTSource(kernel, kinds, constants), target=GPUTarget("cuda", capability, 32))
        assert made.asm["cubin"]
print("the same")
"""


def lively(name: str) -> MLANet:
    """A network whose blocks matter: weights as large as trained ones, biases and scalars too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = MLANet(*NETWORKS[name])
        with torch.no_grad():
            for value in network.parameters():
                one = value.numel() == 1
                value.normal_(1.0, 0.3) if one else value.normal_(0.0, 0.5 * value[0].numel() ** -0.5)
    return network.eval()


def folded(network: MLANet, passes: Passes) -> MLANet:
    made = folded_for_inference(network, passes)
    return nn.Module.to(made, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def features_and_sketch(network: MLANet, images: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return network.body(network.head(images.to(network.dtype))).double(), network(images).double()


def assert_alike(one: MLANet, other: MLANet, bound: float, height: int = 33, width: int = 20) -> None:
    """Features and sketches, relative to the largest."""
    channels = one.config.channels + one.config.guide
    images = torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(1))
    images = images.to(torch.promote_types(other.dtype, torch.float32))
    for ours, truth in zip(*(features_and_sketch(network, images) for network in (one, other)), strict=True):
        assert torch.isfinite(truth).all() and truth.std() > 0.01
        torch.testing.assert_close(ours, truth, rtol=0, atol=bound * float(truth.abs().max()))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(16, 16), (33, 20)])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 2e-6)], ids=["double", "float"])
def test_folding_keeps_features_and_sketches(
    name: str, size: tuple[int, int], dtype: torch.dtype, bound: float
) -> None:
    network = lively(name).to(dtype)
    assert_alike(folded(copy.deepcopy(network), TorchPasses()), network, bound, *size)


def test_folding_keeps_what_the_shipped_generator_draws() -> None:
    network = load_generator(PHANTOM).eval()
    assert_alike(folded(copy.deepcopy(network), TorchPasses()), network, 1e-6)


def test_every_block_and_scalar_counts() -> None:
    """What the comparison above would not see if features hid behind the coarse sketch."""
    truth, _ = features_and_sketch(lively("compact"), torch.full((1, 1, 20, 20), 0.5))
    for name in ("body.1.x_scale.scale", "body.1.res_scale.scale", "body.0.b3.conv00.0.bias", "body.1.b0.conv2.0.bias"):
        network = lively("compact")
        with torch.no_grad():
            network.get_parameter(name).add_(0.5)
        found, _ = features_and_sketch(network, torch.full((1, 1, 20, 20), 0.5))
        assert float((found - truth).abs().max()) > 1e-4 * float(truth.abs().max()), name


def test_the_weights_of_a_folded_network_are_of_its_dtype_and_take_no_sketch_apart() -> None:
    made = folded(lively("odd").half(), TorchPasses())
    assert {value.dtype for value in made.parameters()} == {torch.float16} and made.folded


def test_on_a_cpu_torch_does_it() -> None:
    assert isinstance(passes_on("cpu", 64), TorchPasses)


def test_where_triton_fails_torch_does_it_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(passes, "tell_once", lambda topic, text: told.append(text))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(passes, "find_spec", lambda name: None)
    assert isinstance(passes_on("cuda", 64), TorchPasses)
    monkeypatch.setattr(passes, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "idemodel.generator.passes_triton", raising=False)
    assert isinstance(passes_on("cuda", 64), TorchPasses)
    assert [text.partition(": ")[2] for text in told] == [
        "Triton is not installed",
        "import of triton halted; None in sys.modules",
    ]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert isinstance(passes_on("cuda", 64), TorchPasses) and len(told) == 2
    assert isinstance(passes_on("cuda", 132), TorchPasses) and len(told) == 2


def ran(script: str, tmp_path: Path, **more: str) -> None:
    """A process of its own: Triton decides at its import whether it interprets."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TRITON_CACHE_DIR": str(tmp_path), **more}
    file = tmp_path / "script.py"
    file.write_text(script)
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and done.stdout == "the same\n", done.stderr[-2000:]


@TRITON
@pytest.mark.slow
def test_tritons_kernels_give_what_torch_gives(tmp_path: Path) -> None:
    ran(INTERPRETED, tmp_path, TRITON_INTERPRET="1")


@TRITON
@pytest.mark.slow
def test_tritons_kernels_compile_for_cards(tmp_path: Path) -> None:
    ran(COMPILED, tmp_path)
