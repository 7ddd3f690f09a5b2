"""Generator files: round trips, the authors' names, and files that are broken, foreign or hostile."""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from idekernels.errors import InputError
from idemodel.generator.checkpoint import load_generator, load_reference, read_header, save_generator
from idemodel.generator.config import MLAConfig
from idemodel.generator.enhance import Enhancer
from idemodel.generator.network import MLANet

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def authors_shapes(modules, features=64, channels=3, upscale=2):
    """Every name of the released generator with its shape, written from the issue's list."""
    shapes = {}

    def normed(name, after, before, kernel):
        shapes[f"{name}.weight_g"] = (after, 1, 1, 1)
        shapes[f"{name}.weight_v"] = (after, before, kernel, kernel)
        shapes[f"{name}.bias"] = (after,)

    def plain(name, after, before, kernel):
        shapes[f"{name}.weight"] = (after, before, kernel, kernel)
        shapes[f"{name}.bias"] = (after,)

    few = features // 4
    normed("generator.head.0", features, channels, 3)
    for i in range(modules):
        at = f"generator.body.{i}"
        for b in range(4):
            plain(f"{at}.b{b}.reduce_channels", few, features, 1)
            plain(f"{at}.b{b}.reduce_spatial_size", few, few, 3)
            plain(f"{at}.b{b}.increase_channels.0", features, few, 1)
            plain(f"{at}.b{b}.conv1.0", few, few, 3)
            plain(f"{at}.b{b}.conv2.0", few, few, 3)
            plain(f"{at}.b{b}.conv00.0", features, features, 3)
            plain(f"{at}.b{b}.conv01.0", features, features, 3)
            plain(f"{at}.b{b}.bottom11.0", features, features, 1)
            plain(f"{at}.b{b}.bottom11_dw.0", features, 1, 5)
        for r in (1, 2, 3):
            normed(f"{at}.reduction{r}", features, 2 * features, 1)
        shapes[f"{at}.res_scale.scale"] = shapes[f"{at}.x_scale.scale"] = (1,)
    for kernel in (3, 5):
        normed(f"generator.tail.tail_k{kernel}", upscale**2 * channels, features, kernel)
        shapes[f"generator.tail.scale_k{kernel}.scale"] = (1,)
    return shapes


def authors_tensors(modules=1, **sizes):
    generator = torch.Generator().manual_seed(modules)
    shapes = authors_shapes(modules, **sizes)
    return OrderedDict((name, 0.1 * torch.randn(shape, generator=generator)) for name, shape in shapes.items())


def written(path, content):
    torch.save(content, path)
    return path


def small_net(seed=0, **changes):
    torch.manual_seed(seed)
    return MLANet(**{"features": 8, "modules": 2} | changes)


def refused(load, path, *parts):
    with pytest.raises(InputError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("changes", [{}, {"channels": 1, "upscale": 3, "guide": 2}])
def test_a_generator_comes_back_as_it_was(tmp_path, folded, changes):
    network = small_net(**changes).eval()
    if folded:
        network.fold_weight_norm()
    path, recipe = tmp_path / "model.safetensors", {"name": "compact", "steps": 10, "losses": {"pixel": 0.01}}
    save_generator(path, network, recipe=recipe)
    state = torch.get_rng_state()
    loaded = load_generator(path)
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.config == network.config and loaded.folded is folded and not loaded.training
    assert loaded.state_dict().keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert all(value.requires_grad and value.device.type == "cpu" for value in loaded.parameters())
    seen = torch.rand(1, network.config.channels + network.config.guide, 16, 19)
    assert torch.equal(loaded(seen), network(seen))
    header = read_header(path)
    assert (header.config, header.folded, header.recipe) == (network.config, folded, recipe)


def test_the_direction_comes_back_and_older_files_are_photo_to_sketch(tmp_path):
    path = tmp_path / "model.safetensors"
    save_generator(path, small_net(), direction="sketch-to-photo")
    assert read_header(path).direction == Enhancer.open(path, "cpu").direction == "sketch-to-photo"
    save_file(small_net().state_dict(), path, metadata={"idesketch": header_of()})  # as written before there were two
    assert read_header(path).direction == Enhancer.open(path, "cpu").direction == "photo-to-sketch"


def test_loaded_weights_are_the_networks_own(tmp_path):
    path = tmp_path / "model.safetensors"
    save_generator(path, small_net())
    loaded = load_generator(path)
    with torch.no_grad():
        for value in loaded.parameters():
            value.zero_()
    again, ref = load_generator(path).state_dict(), small_net().state_dict()
    assert all(torch.equal(again[name], ref[name]) for name in ref)


def test_equal_networks_give_equal_bytes(tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    save_generator(first, small_net(), recipe={"a": 1, "b": 2})
    save_generator(second, small_net(), recipe={"b": 2, "a": 1})
    assert first.read_bytes() == second.read_bytes()


def test_any_safetensors_reader_can_read_it(tmp_path):
    path, network = tmp_path / "model.safetensors", small_net()
    save_generator(path, network)
    assert load_file(path).keys() == network.state_dict().keys()
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["idesketch"])["network"]["features"] == 8


def test_half_precision_and_further_memory_layouts_are_saved(tmp_path):
    path = tmp_path / "model.safetensors"
    save_generator(path, small_net().half().to(memory_format=torch.channels_last))
    loaded = load_generator(path)
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded.head[0].weight_v, small_net().head[0].weight_v, rtol=1e-3, atol=1e-4)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_generator(path, small_net(seed=1))
    before = path.read_bytes()

    def full(self, content):
        with self.open("wb") as file:
            file.write(content[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        save_generator(path, small_net(seed=2))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("recipe", [{"a": object()}, {"a": float("nan")}])
def test_a_recipe_beyond_json_is_an_error_before_anything_is_written(tmp_path, recipe):
    with pytest.raises((TypeError, ValueError)):
        save_generator(tmp_path / "model.safetensors", small_net(), recipe=recipe)
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_generator(tmp_path):
    path = tmp_path / "model.safetensors"
    for load in (load_generator, read_header):
        refused(load, tmp_path / "missing.safetensors", "no such file", "idesketch")
        refused(load, tmp_path, "folder")
        for content in (b"", b"x", b"\xff" * 4096, b'{"a": 1}', pickle.dumps({"a": 1})):
            path.write_bytes(content)
            refused(load, path, "not a readable")
        save_file({"a": torch.zeros(2)}, path)
        refused(load, path, "says nothing of a network")


@pytest.mark.parametrize("kept", [4, 100, 3000, -1])
def test_a_truncated_generator(tmp_path, kept):
    path = tmp_path / "model.safetensors"
    save_generator(path, small_net())
    path.write_bytes(path.read_bytes()[:kept])
    refused(load_generator, path, "not a readable")


def header_of(**changes):
    network = {"channels": 3, "features": 8, "modules": 2, "upscale": 2, "guide": 0}
    header = {"format": "idesketch generator", "version": 1, "network": network, "folded": False, "recipe": {}}
    return json.dumps(header | changes)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("not json", "damaged"),
        ("[" * 100_000, "damaged"),
        ("[]", "another format"),
        (header_of(format="other"), "another format"),
        (header_of(version=2), "update idesketch"),
        (header_of(network=None), "damaged"),
        (header_of(folded=1), "damaged"),
        (header_of(recipe=[]), "damaged"),
        (header_of(direction="photo-to-photo"), "damaged"),
        (header_of(direction=["photo-to-sketch"]), "damaged"),
        (header_of(network={"depth": 3}), "cannot be built"),
        (header_of(network={"features": 10**9}), "cannot be built"),
        (header_of(network={"features": "8"}), "cannot be built"),
        (header_of(network={"features": 16, "modules": 2}), "8 x 1 x 1 x 1 where 16 x 1 x 1 x 1 is expected"),
        (header_of(network={"features": 8, "modules": 3}), "has no body.2."),
        (header_of(folded=True), "has no head.0.weight"),
    ],
)
def test_headers_that_do_not_fit(tmp_path, text, part):
    path = tmp_path / "model.safetensors"
    save_file(small_net().state_dict(), path, metadata={"idesketch": text})
    refused(load_generator, path, part)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    path, network = tmp_path / "model.safetensors", small_net()
    with torch.no_grad():
        network.tail.tail_k3.bias[0] = value
    save_generator(path, network)
    refused(load_generator, path, "tail.tail_k3.bias", "finite")


def test_numbers_of_other_widths_load(tmp_path):
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn):
        tensors = {name: value.to(dtype) for name, value in authors_tensors(1, features=8).items()}
        network = load_reference(written(tmp_path / "model.pth", tensors))
        assert {value.dtype for value in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("under", [True, False])
@pytest.mark.parametrize(("modules", "features"), [(1, 8), (3, 16), (8, 64)])
def test_the_authors_weights_load(tmp_path, modules, features, under):
    tensors = authors_tensors(modules, features=features)
    content = {"meta": {"epoch": 3, "iter": 300_000}, "state_dict": tensors} if under else tensors
    network = load_reference(written(tmp_path / "model.pth", content))
    assert network.config == MLAConfig(3, features, modules, 2, 0)
    assert {f"generator.{name}" for name in network.state_dict()} == set(tensors)
    assert all(torch.equal(value, tensors[f"generator.{name}"]) for name, value in network.state_dict().items())
    assert not network.training and not network.folded
    if (modules, features) == (8, 64):
        assert sum(value.numel() for value in tensors.values()) == 3_068_290
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 16, 16)).shape == (1, 3, 32, 32)


def test_old_style_files_other_scales_and_other_networks_beside_it(tmp_path):
    tensors = authors_tensors(2, features=8, channels=1, upscale=3)
    beside = {"discriminator.conv0_0.conv.weight": torch.zeros(2), "perceptual_loss.vgg.mean": torch.zeros(3)}
    path = tmp_path / "model.pth"
    torch.save({"state_dict": {**tensors, **beside}}, path, _use_new_zipfile_serialization=False)
    assert load_reference(path).config == MLAConfig(1, 8, 2, 3, 0)


def test_a_reference_can_be_saved_as_ones_own(tmp_path):
    network = load_reference(written(tmp_path / "model.pth", authors_tensors(1, features=8)))
    save_generator(tmp_path / "own.safetensors", network.fold_weight_norm())
    seen = torch.rand(1, 3, 16, 20)
    assert torch.equal(load_generator(tmp_path / "own.safetensors")(seen), network(seen))


def test_a_reference_that_lacks_any_one_name_is_refused(tmp_path):
    tensors, path = authors_tensors(1, features=8), tmp_path / "model.pth"
    for name in (name for name in tensors if not re.search(r"\.b[013]\.", name)):  # the blocks are alike
        refused(load_reference, written(path, {n: v for n, v in tensors.items() if n != name}), f"has no {name};")
    without = {n: v for n, v in authors_tensors(3, features=8).items() if ".body.1." not in n}
    refused(load_reference, written(path, without), "has no generator.body.1.")
    refused(load_reference, written(path, {n.removeprefix("generator."): v for n, v in tensors.items()}), "has no")


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("generator.body.0.b1.conv2.0.weight", torch.zeros(2, 2, 5, 5), "2 x 2 x 5 x 5 where 2 x 2 x 3 x 3"),
        ("generator.body.0.res_scale.scale", torch.zeros(2), "2 where 1 is expected"),
        ("generator.head.0.weight_v", torch.zeros(8), "no convolution's"),
        ("generator.head.0.weight_v", torch.zeros(6, 3, 3, 3), "multiple of 4"),
        ("generator.head.0.weight_v", torch.zeros(8, 0, 3, 3), "channels must be"),
        ("generator.tail.tail_k3.weight_v", torch.zeros(11, 8, 3, 3), "12"),
        ("generator.body.9999.b0.conv1.0.weight", torch.zeros(1), "modules must be"),
        ("generator.skip.weight", torch.zeros(1), "'generator.skip.weight' is unknown"),
        ("generator.head.0.bias", "text", "no tensor"),
        ("generator.head.0.bias", torch.zeros(8, dtype=torch.int64), "finite numbers"),
        ("generator.head.0.bias", torch.full((8,), float("nan")), "generator.head.0.bias holds something other"),
        ("generator.head.0.bias", torch.full((8,), 1e300, dtype=torch.float64), "finite numbers"),  # past float32
        ("generator.head.0.bias", torch.zeros(8, dtype=torch.complex64), "finite numbers"),
        ("generator.head.0.bias", torch.zeros(8).to_sparse(), "not a readable weights file"),
        ("generator.head.0.bias", torch.zeros(8, device="meta"), "not a readable weights file"),
        ("generator.head.0.weight_v", torch.zeros(8, 3, 3, 3), "filter of zeros"),
        ("generator.a\n\x1b[31m", torch.zeros(1), r"'generator.a\n\x1b[31m' is unknown"),
    ],
)
def test_a_reference_with_one_wrong_tensor_is_refused(tmp_path, name, value, part):
    tensors = authors_tensors(1, features=8) | {name: value}
    refused(load_reference, written(tmp_path / "model.pth", {"state_dict": tensors}), part, "authors'")


class Hostile:
    """Unpickled carelessly, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_is_executed(tmp_path, zipped):
    path, trace = tmp_path / "model.pth", tmp_path / "trace"
    content = authors_tensors(1, features=8) | {"extra": Hostile(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    refused(load_reference, path, "not a readable weights file")
    path.write_bytes(pickle.dumps(Hostile(trace)))
    refused(load_reference, path, "not a readable weights file")
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"x", b"PK\x03\x04", b"\x80\x02.", b"\x80\x02}.", b"0" * 9999, b"S'\\q'\n.",
        *(np.random.default_rng(seed).bytes(2000) for seed in range(5)),
    ],
)  # fmt: skip
def test_files_that_are_no_checkpoint(tmp_path, content):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    refused(load_reference, path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_checkpoint(tmp_path, zipped):
    path = tmp_path / "model.pth"
    torch.save({"state_dict": authors_tensors(1, features=8)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for kept in (1, 30, 700, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        refused(load_reference, path, "not a readable weights file")


def test_checkpoints_of_other_things(tmp_path):
    path = tmp_path / "model.pth"
    refused(load_reference, tmp_path / "missing.pth", "no such file", "generator.head.0.weight_v")
    refused(load_reference, tmp_path, "folder")
    refused(load_reference, written(path, torch.zeros(3)), "no mapping")
    refused(load_reference, written(path, {"state_dict": [1, 2]}), "no mapping")
    refused(load_reference, written(path, {}), "has no generator.head.0.weight_v")
    refused(load_reference, written(path, {3: torch.zeros(2)}), "has no generator.head.0.weight_v")
    save_generator(path, small_net())
    refused(load_reference, path, "not a readable weights file")
