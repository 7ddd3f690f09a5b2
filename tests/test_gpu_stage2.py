"""Stage 2 on a CUDA device, else skipped: graphs equal single launches, runs go on bit for bit, float16 is near."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from test_folding import features_and_sketch, folded, lively
from test_steps import RECIPES, ROOM, made
from training_runs import TINY

from idemodel.files.tensors import as_images
from idemodel.generator.checkpoint import load_generator
from idemodel.generator.enhance import Enhancer, network_for_inference
from idemodel.generator.graphs import graphs_on
from idemodel.generator.network import MLANet
from idemodel.generator.passes import TorchPasses, passes_on
from idemodel.generator.precision import float32_products
from idemodel.generator.weights import PHANTOM
from idemodel.training.lowered import CastOnce
from idemodel.training.resident import as_numbers, resident_pairs
from idemodel.training.steps import Steps
from idemodel.training.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
]

# In a process of its own: cuBLAS reads its configuration when it starts, and torch's switch holds for all of a process.
DETERMINED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from idemodel.training.loop import Stopped, train
from idemodel.training.recipe import DRAWN
from idemodel.training.run import Observer
from training_runs import changed, tiny_run

torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)
folder, device = Path(sys.argv[1]), sys.argv[2]
run = changed(tiny_run(folder), device=device, backend="cpu")
small = {"features": 8, "modules": 1, "discriminator_features": 4, "batch": 2, "crop": 32, "validation": 2}
recipe = replace(DRAWN, **small, steps=14, structure_first=6, halvings=(5, 9), validate_every=7, save_every=100)

def made(name, stop_after=None, **more):
    told = []
    def stepped(step, total, losses):
        if step == stop_after:
            os.kill(os.getpid(), signal.SIGINT)
    ours = replace(changed(run, **more), folder=folder / name, recipe=recipe)
    again = replace(ours, observer=Observer(stepped=stepped, note=told.append))
    try:
        done = train(again)
    except Stopped:
        done = train(changed(replace(again, observer=Observer(note=told.append)), resume=True))
    assert not any("recorded" in line for line in told), told
    return done.last_file.read_bytes(), (folder / name / "state.safetensors").read_bytes()

whole = made("whole")
for stop_after in (2, 5, 8):
    assert made(f"stopped-{stop_after}", stop_after) == whole, f"stopped after {stop_after}"
assert made("singly", graphs=False) == whole, "launched singly"
print("the same")
"""


def test_a_run_goes_on_bit_for_bit_under_deterministic_algorithms(tmp_path: Path) -> None:
    """Stopped in both phases, before and after the step was recorded; and as if it had never been recorded."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    command = [sys.executable, "-c", DETERMINED, str(tmp_path), "cuda"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and done.stdout.endswith("the same\n"), done.stderr[-2000:]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_a_replayed_step_learns_what_single_launches_learn(recipe: object) -> None:
    pairs, network = made(recipe)  # type: ignore[arg-type]
    told: list[str] = []
    trainers = [Trainer(recipe, network, 0, device="cuda") for _ in range(2)]  # type: ignore[arg-type]
    resident = resident_pairs(pairs, "cuda", ROOM)
    both = (
        Steps(pairs, trainers[0], resident),
        Steps(pairs, trainers[1], resident, graphs_on("cuda"), told=told.append),
    )
    with float32_products("cuda"):
        for number in range(pairs.recipe.steps):
            singly, replayed = (steps.take(3, number, pairs.recipe.batch) for steps in both)
            for name, value in singly.items():
                assert replayed[name].item() == pytest.approx(value.item(), rel=2e-2, abs=1e-4), (number, name)
    assert not told


def test_bf16_gradients_with_weights_cast_together_point_where_float32s_do() -> None:
    """At a size where biases learn by products; near 1 for all weights together, and for biases by themselves."""
    torch.manual_seed(0)
    whole = MLANet(1, 16, 1).cuda()
    lower = copy.deepcopy(whole)
    inputs = torch.rand(20, 1, 64, 64, device="cuda")
    with float32_products("cuda"):
        whole(inputs).square().sum().backward()
    with torch.autocast("cuda", torch.bfloat16):
        fine = CastOnce(lower)(inputs)
    fine.float().square().sum().backward()
    for wanted in ("", "bias"):
        ours, truth = (
            torch.cat([value.grad.flatten() for name, value in each.named_parameters() if name.endswith(wanted)])
            for each in (lower, whole)
        )
        assert torch.nn.functional.cosine_similarity(ours, truth, dim=0) > 0.99


def test_crops_on_the_device_are_the_hosts_bit_for_bit() -> None:
    pairs, _ = made(replace(TINY, transposes=True))
    resident = resident_pairs(pairs, "cuda", ROOM)
    assert resident is not None
    for step in range(20):
        expected, found = pairs.batch(1, step, 3), resident.cut(as_numbers(pairs.draws(1, step, 3)).cuda())
        assert torch.equal(found.inputs.cpu(), expected.inputs) and torch.equal(found.truth.cpu(), expected.truth)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_sketches_are_within_a_level_of_the_cpus_alone_and_replayed(precision: str) -> None:
    torch.manual_seed(0)
    networks = [MLANet(3, 16, 2) for _ in range(3)]
    for other in networks[1:]:
        other.load_state_dict(networks[0].state_dict())
    truth = Enhancer(networks[0], device="cpu")
    replayed = Enhancer(networks[1], device="cuda", precision=precision)
    singly = Enhancer(networks[2], device="cuda", precision=precision, graphs=False)
    kept = []
    for count in (1, 3, 1, 3, 1):
        coarse = torch.rand(count, 3, 60, 52)
        kept.append([each.enhance(coarse) for each in (truth, replayed, singly)])
    for expected, again, once in kept:
        apart = np.abs(as_images(again).astype(int) - as_images(expected))
        assert apart.max() <= 1
        torch.testing.assert_close(again, once, atol=1e-5 if precision == "float32" else 2e-3, rtol=0)


def test_the_shipped_generator_by_float16_is_within_a_level_of_strict_float32() -> None:
    whole, half = (
        network_for_inference(load_generator(PHANTOM), "cuda", precision) for precision in ("float32", "float16")
    )
    inputs = torch.rand(4, whole.config.channels + whole.config.guide, 125, 100, device="cuda")
    with torch.no_grad(), float32_products("cuda"):
        apart = np.abs(as_images(half(inputs)).astype(int) - as_images(whole(inputs)))
    assert apart.max() <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["float32", "float16"])
@pytest.mark.parametrize("name", ["paper", "odd"])
def test_tritons_passes_give_what_torchs_give(name: str, dtype: torch.dtype) -> None:
    by_triton = passes_on("cuda", 64)
    if torch.cuda.get_device_capability() >= (8, 0) and find_spec("triton"):
        assert type(by_triton).__name__ == "TritonPasses"
    ours, truth = (folded(lively(name), each).to("cuda", dtype) for each in (by_triton, TorchPasses()))
    images = torch.rand(3, 3, 61, 50, device="cuda")
    with float32_products("cuda"):
        for one, other in zip(*(features_and_sketch(each, images) for each in (ours, truth)), strict=True):
            bound = 4e-6 if dtype == torch.float32 else 1e-2
            torch.testing.assert_close(one, other, rtol=0, atol=bound * float(other.abs().max()))


def test_strict_float32_is_nearer_to_float64_than_tf32() -> None:
    network = network_for_inference(MLANet(3, 16, 2), "cuda", "float32")
    inputs = torch.rand(2, 3, 60, 52, device="cuda")
    exact = network_for_inference(MLANet(3, 16, 2), "cpu", "float32").double()
    exact.load_state_dict(network.state_dict())
    with torch.no_grad():
        truth = exact(inputs.cpu().double())
        found = []
        for tf32 in (False, True):
            with float32_products("cuda", tf32):
                found.append((network(inputs).cpu() - truth).abs().max().item())
    assert found[0] < 1e-5 and found[0] <= found[1]
