"""Inference in another precision and replayed: within a level of float32, and bit for bit what is launched singly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import call, told_once
from recorded import RecordedGraphs
from scipy.ndimage import gaussian_filter
from torch import Tensor
from training_runs import drawn_faces

from idekernels import BankSettings, write_bank
from idekernels.errors import InputError
from idemodel.files.images import write_image
from idemodel.files.tensors import as_images, as_planes
from idemodel.generator import enhance
from idemodel.generator.checkpoint import load_generator, read_header, save_generator
from idemodel.generator.enhance import Enhancer
from idemodel.generator.hand import Hand, hand_of
from idemodel.generator.inputs import fitted, generator_input
from idemodel.generator.network import MLANet
from idemodel.generator.weights import PHANTOM
from idemodel.phantom import phantom_pairs
from idemodel.sketcher import Sketcher

pytestmark = pytest.mark.usefixtures("one_torch_thread")
REMEDY = "the precision float16 is for CUDA devices, a CPU takes longer by it; take float32, or --device cuda"


def network(channels: int = 1, guide: int = 8) -> MLANet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MLANet(channels, 4, 1, 2, guide)


def given(count: int, height: int = 40, width: int = 38) -> tuple[Tensor, Tensor]:
    numbers = torch.Generator().manual_seed(count)
    coarse, photo = (torch.rand(count, 1, height, width, generator=numbers) for _ in range(2))
    return coarse, photo


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> RecordedGraphs:
    stand_in = RecordedGraphs()
    monkeypatch.setattr(enhance, "graphs_on", lambda device: stand_in)
    return stand_in


def test_a_size_that_comes_again_is_replayed_and_gives_the_same(graphs: RecordedGraphs) -> None:
    ours, plain = Enhancer(network(), device="cpu"), Enhancer(network(), device="cpu", graphs=False)
    kept: list[tuple[Tensor, Tensor]] = []
    for count in (1, 3, 1, 3, 3, 1):
        coarse, photo = (torch.rand_like(one) for one in given(count))
        kept.append((ours.enhance(coarse, photo), plain.enhance(coarse, photo)))
    assert graphs.said == ["warmed", "warmed", *["recorded", "replayed"] * 2, "replayed", "replayed"]
    assert all(torch.equal(*both) for both in kept)  # what was given away is not written over by a later replay


def test_what_is_drawn_otherwise_is_recorded_by_itself(graphs: RecordedGraphs) -> None:
    ours, plain = Enhancer(network(), device="cpu"), Enhancer(network(), device="cpu", graphs=False)
    coarse, photo = given(2)
    for size in ("source", "double", "source", "double"):
        assert torch.equal(ours.enhance(coarse, photo, size), plain.enhance(coarse, photo, size))
    ours.hand = plain.hand = Hand(2.0)
    assert torch.equal(ours.enhance(coarse, photo), plain.enhance(coarse, photo))
    assert graphs.said.count("recorded") == 2 and graphs.said[-1] == "warmed"


def test_the_sizes_used_last_are_kept(graphs: RecordedGraphs) -> None:
    ours = Enhancer(network(), device="cpu")
    for height in (32, *range(34, 48), 32):
        ours.enhance(*given(1, height))
    assert ours._repeated is not None and len(ours._repeated) == 8
    assert graphs.said == ["warmed"] * 16  # 32 was forgotten, and is new again


def test_what_cannot_be_recorded_is_launched_singly_and_told_once(
    graphs: RecordedGraphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(enhance, "tell_once", lambda topic, text: told.append(text))
    graphs.full = True
    ours, plain = Enhancer(network(), device="cpu"), Enhancer(network(), device="cpu", graphs=False)
    for _ in range(4):
        assert torch.equal(ours.enhance(*given(2)), plain.enhance(*given(2)))
    assert len(told) == 1 and "CUDA out of memory" in told[0] and "\n" not in told[0]


def test_on_a_cpu_nothing_is_recorded() -> None:
    assert Enhancer(network(), device="cpu")._repeated is None


def drawn(generator: MLANet, hand: Hand, coarse: Tensor, photo: Tensor, quilt: Tensor, intra: Tensor) -> Any:
    config, (height, width) = generator.config, coarse.shape[2:]
    inputs = generator_input(coarse, photo, quilt, intra, channels=config.channels, guide=config.guide)
    with torch.no_grad():
        return as_images(hand.drawn(fitted(generator(inputs), height, width)))


@pytest.mark.parametrize("made", [lambda: load_generator(PHANTOM), lambda: network(3, 0)], ids=["phantom", "paper"])
def test_float16_is_within_a_level_of_float32(made: Callable[[], MLANet]) -> None:
    """By torch's own float16 on the CPU; the products of a device are summed in another order, the rounding is this."""
    pair = next(phantom_pairs(1, height=120, width=100))
    soft = [
        np.clip(gaussian_filter(pair.sketch.astype(float), sigma), 0, 255).astype(np.uint8) for sigma in (2, 1, 1.5)
    ]
    planes = [as_planes(image)[None] for image in (soft[0], pair.photo.mean(2).astype(np.uint8), *soft[1:])]
    hand = hand_of(read_header(PHANTOM).recipe, "photo-to-sketch")
    whole, half = (enhance.network_for_inference(made(), "cpu", precision) for precision in ("float32", "float16"))
    assert half.dtype == torch.float16 and half.head[0].weight.is_contiguous(memory_format=torch.channels_last)
    ours, truth = (drawn(each, hand, *planes).astype(int) for each in (half, whole))
    apart = np.abs(ours - truth)
    assert 0 < np.mean(apart > 0) < 0.2 and apart.max() == 1


def test_float16_keeps_what_the_coarse_sketch_gives_at_once() -> None:
    """A generator that adds nothing gives the coarse sketch itself, to the last bit of float32."""
    coarse = torch.rand(1, 3, 20, 24)
    plain, half = network(3, 0), network(3, 0).half()
    for each in (plain, half):
        with torch.no_grad():
            each.tail.scale_k3.scale.zero_()
            each.tail.scale_k5.scale.zero_()
    with torch.no_grad():
        assert half(coarse).dtype == torch.float32 and torch.equal(half(coarse), plain(coarse))


def test_float16_on_a_cpu_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_generator(file, network(1, 0))
    for refused in (
        lambda: Enhancer(network(), device="cpu", precision="float16"),
        lambda: Enhancer.open(file, "cpu", precision="float16"),
        lambda: Sketcher(object(), file, device="cpu", precision="float16"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError) as caught:
            refused()
        assert str(caught.value) == REMEDY
    with pytest.raises(ValueError, match="precision must be one of float32, float16"):
        Enhancer(network(), device="cpu", precision="half")


def test_commands_refuse_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, image = tmp_path / "model.safetensors", tmp_path / "coarse.png"
    save_generator(file, network(1, 0))
    write_image(image, np.full((40, 38), 99, np.uint8))
    options = ("--out", tmp_path / "out", "--device", "cpu", "--precision", "float16")
    bank = tmp_path / "bank.h5"
    photos, sketches = drawn_faces(2, 40, 38)
    write_bank(bank, zip("01", photos, sketches, strict=True), BankSettings(8, 4, radius=2))
    for inputs in (
        ("enhance", file, image),
        ("synth", bank, file, image),
        ("sketch", image, "--bank", bank, "--model", file),
    ):
        assert told_once(capsys, *inputs, *options) == f"Error: {REMEDY}"
    assert not list(tmp_path.glob("out/*"))
    assert call("enhance", file, image, *options[:4], "--precision", "float32") == 0


def test_the_journal_of_float32_is_that_of_older_versions() -> None:
    from idecli.options import precision_told

    assert precision_told("float32") == {} and precision_told("float16") == {"precision": "float16"}
