"""The networks: size, shapes, a functional twin, folding, gradients, and the way from stage 1 without a copy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from idekernels import CoarseSketch
from idemodel.generator.config import MLAConfig
from idemodel.generator.network import MLANet, PatchDiscriminator, VGGDiscriminator

SMALL = {"features": 8, "modules": 2}


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def small_net(seed=0, **changes):
    """A small generator whose weights are far from their start, so that no term hides behind another."""
    torch.manual_seed(seed)
    network = MLANet(**SMALL | changes)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith((".scale", "bias", "weight_g")):
                value.add_(0.3 * torch.randn_like(value))
            else:
                value.mul_(8.0)
    return network


def images(*shape, seed=1, **options):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), **options)


def shuffle(tensor, groups):
    batch, channels, height, width = tensor.shape
    return tensor.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(tensor.shape)


def naive_net(weights, coarse, modules, upscale):
    """The generator as a function of its state dict, after the issue's formulas."""

    def conv(x, name, **options):
        return functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **options)

    def normed(x, name):
        g, v = weights[f"{name}.weight_g"], weights[f"{name}.weight_v"]
        weight = torch.stack([g[i] * v[i] / v[i].square().sum().sqrt() for i in range(len(v))])
        return functional.conv2d(x, weight, weights[f"{name}.bias"], padding=v.shape[-1] // 2)

    def leaky(x):
        return torch.where(x > 0, x, 0.05 * x)

    def attention(x, at):
        y = conv(leaky(conv(x, f"{at}.conv01.0", padding=1)), f"{at}.conv00.0", padding=1)
        c = conv(y, f"{at}.reduce_channels")
        d = conv(c, f"{at}.reduce_spatial_size", stride=2, padding=1)
        p = functional.max_pool2d(d, 7, 3)
        q = leaky(conv(p, f"{at}.conv1.0", padding=1)) + leaky(conv(p, f"{at}.conv2.0", padding=2, dilation=2))
        rows = torch.arange(c.shape[2]) * q.shape[2] // c.shape[2]
        columns = torch.arange(c.shape[3]) * q.shape[3] // c.shape[3]
        a = torch.sigmoid(conv(q[:, :, rows][..., columns] + c, f"{at}.increase_channels.0").clamp(min=0))
        narrow = conv(y, f"{at}.bottom11.0")
        b = torch.sigmoid(conv(narrow, f"{at}.bottom11_dw.0", padding=2, groups=narrow.shape[1]))
        return a * y * b

    x = normed(coarse, "head.0")
    for i in range(modules):
        at = f"body.{i}"
        x0 = attention(x, f"{at}.b0")
        x1 = attention(x0, f"{at}.b1") + x0
        x2 = attention(x1, f"{at}.b2") + x1
        x3 = attention(x2, f"{at}.b3")
        r = normed(shuffle(torch.cat([x0, x1], 1), 2), f"{at}.reduction1")
        r = normed(shuffle(torch.cat([r, x2], 1), 2), f"{at}.reduction2")
        r = normed(shuffle(torch.cat([r, x3], 1), 2), f"{at}.reduction3")
        x = weights[f"{at}.res_scale.scale"] * r + weights[f"{at}.x_scale.scale"] * x
    fine = sum(
        functional.pixel_shuffle(weights[f"tail.scale_{k}.scale"] * normed(x, f"tail.tail_{k}"), upscale)
        for k in ("k3", "k5")
    )
    return fine + functional.interpolate(coarse, scale_factor=upscale, mode="bicubic")


def test_the_papers_generator_has_its_number_of_parameters():
    network = MLANet()
    assert network.config == MLAConfig(channels=3, features=64, modules=8, upscale=2, guide=0)
    assert sum(value.numel() for value in network.parameters()) == 3_068_290


def test_the_papers_generator_runs():
    with torch.inference_mode():
        assert MLANet()(images(1, 3, 16, 17)).shape == (1, 3, 32, 34)


@pytest.mark.parametrize("upscale", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (2, 3, 17, 23), (3, 3, 40, 16), (1, 3, 63, 50)])
def test_equals_the_functional_twin_at_any_size(shape, upscale):
    network, coarse = small_net(upscale=upscale).double(), images(*shape, dtype=torch.float64)
    ref = naive_net(network.state_dict(), coarse, modules=2, upscale=upscale)
    comp = network(coarse)
    assert comp.shape == (*shape[:2], upscale * shape[2], upscale * shape[3])
    torch.testing.assert_close(comp, ref, rtol=0, atol=1e-12 * float(ref.abs().max()))


def test_every_term_weighs_in_the_twin():
    """The comparison above would be empty where a branch hardly changes the output."""
    network, coarse = small_net().double().requires_grad_(False), images(1, 3, 20, 24, dtype=torch.float64)
    whole = network(coarse)
    for name, value in network.state_dict().items():
        if name.endswith(("weight", "weight_v", "scale")):
            kept = value.clone()
            value.mul_(-1.0)
            assert float((network(coarse) - whole).abs().max()) > 1e-6, name
            value.copy_(kept)


def test_starts_near_bicubic_upsampling():
    torch.manual_seed(0)
    network, coarse = MLANet(features=16, modules=2).requires_grad_(False), images(1, 3, 24, 24)
    bicubic = functional.interpolate(coarse, scale_factor=2, mode="bicubic")
    assert float((network(coarse) - bicubic).abs().max()) < 0.1
    for name, value in network.named_parameters():
        if name.endswith("bias"):
            assert not value.any()
    weight = network.body[0].b0.conv00[0].weight
    assert float(weight.std()) == pytest.approx(0.1 * (2 / (16 * 9)) ** 0.5, rel=0.1)
    v, g = network.head[0].weight_v, network.head[0].weight_g
    torch.testing.assert_close(g, v.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
    assert [float(s) for s in (network.tail.scale_k3.scale, network.tail.scale_k5.scale)] == [0.5, 0.5]


def test_images_of_a_batch_do_not_mix():
    network, coarse = small_net(), images(3, 3, 18, 21)
    with torch.inference_mode():
        torch.testing.assert_close(network(coarse)[1:2], network(coarse[1:2]), rtol=1e-5, atol=1e-5)


def test_same_seed_same_network_same_output():
    coarse = images(2, 3, 19, 16)
    with torch.inference_mode():
        first, second = small_net(seed=3)(coarse), small_net(seed=3)(coarse)
        assert torch.equal(first, second)
        assert not torch.equal(first, small_net(seed=4)(coarse))


def test_gradient_flows_to_every_parameter():
    network = small_net()
    network(images(2, 3, 26, 29)).square().mean().backward()
    for name, value in network.named_parameters():
        assert value.grad is not None and float(value.grad.abs().max()) > 0, name


def test_gradient_flows_to_every_parameter_at_the_start():
    torch.manual_seed(0)
    network = MLANet(features=16, modules=2)
    network(images(2, 3, 26, 29)).square().mean().backward()
    assert all(float(value.grad.abs().max()) > 0 for value in network.parameters())


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (2, 3, 21, 33)])
def test_folding_keeps_the_output(shape):
    network, coarse = small_net(), images(*shape)
    with torch.inference_mode():
        before = network(coarse)
    assert not network.folded
    state = torch.get_rng_state()
    assert network.fold_weight_norm() is network and network.folded
    assert torch.equal(torch.get_rng_state(), state)
    with torch.inference_mode():
        torch.testing.assert_close(network(coarse), before, rtol=1e-5, atol=1e-5 * float(before.abs().max()))
    names = set(network.state_dict())
    assert {"head.0.weight", "head.0.bias", "tail.tail_k5.weight"} <= names
    assert not any(name.endswith(("weight_g", "weight_v")) for name in names)
    assert network.fold_weight_norm().state_dict().keys() == names


def test_folding_keeps_dtype_and_mode():
    network = small_net().double().eval().fold_weight_norm()
    assert {value.dtype for value in network.parameters()} == {torch.float64}
    assert not any(module.training for module in network.modules())


def test_a_guide_is_seen_but_not_upsampled():
    network, seen = small_net(guide=2), images(1, 5, 20, 16)
    assert network(seen).shape == (1, 3, 40, 32)
    other = torch.cat([seen[:, :3], 1 - seen[:, 3:]], dim=1)
    assert not torch.equal(network(seen), network(other))
    with torch.no_grad():
        for value in (network.tail.scale_k3.scale, network.tail.scale_k5.scale):
            value.zero_()
        bicubic = functional.interpolate(seen[:, :3], scale_factor=2, mode="bicubic")
        torch.testing.assert_close(network(seen), bicubic)


@pytest.mark.parametrize("size", [(15, 40), (40, 15), (1, 1), (0, 16)])
def test_too_small_an_image_is_an_error_that_says_both_sizes(size):
    with pytest.raises(ValueError, match=rf"{size[0]} x {size[1]} is too small: at least 16 x 16"):
        small_net()(torch.zeros(1, 3, *size))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (torch.zeros(3, 20, 20), ValueError, "B, channels, H, W"),
        (torch.zeros(1, 4, 20, 20), ValueError, "takes 3 channels, not 4"),
        (torch.zeros(1, 3, 20, 20, dtype=torch.uint8), TypeError, "not torch.uint8"),
        (np.zeros((1, 3, 20, 20), np.float32), TypeError, "not ndarray"),
    ],
)
def test_other_input_is_an_error(given, error, message):
    with pytest.raises(error, match=message):
        small_net()(given)


def test_grey_is_no_guess_where_there_is_a_guide():
    with pytest.raises(ValueError, match="takes 4 channels, not 1"):
        small_net(guide=1)(torch.zeros(1, 1, 16, 16))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"channels": 0}, ValueError),
        ({"features": 6}, ValueError),
        ({"modules": 0}, ValueError),
        ({"modules": 65}, ValueError),
        ({"upscale": 9}, ValueError),
        ({"guide": -1}, ValueError),
        ({"upscale": 2.0}, TypeError),
    ],
)
def test_a_size_out_of_range_is_an_error(changes, error):
    with pytest.raises(error, match=next(iter(changes))):
        MLANet(**changes)


def test_a_coarse_sketch_reaches_the_network_without_a_copy():
    pixels = np.random.default_rng(0).random((2, 1, 20, 18), dtype=np.float32)
    coarse = CoarseSketch(pixels, np.zeros(2))
    shared = torch.from_dlpack(coarse)
    assert shared.data_ptr() == pixels.ctypes.data
    assert shared.shape == pixels.shape and shared.dtype == torch.float32
    seen = []
    network = small_net()
    network.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.inference_mode():
        fine = network(shared)
        torch.testing.assert_close(fine, network(shared.repeat(1, 3, 1, 1)))
    assert seen[0].shape == (2, 3, 20, 18) and seen[0].data_ptr() == pixels.ctypes.data
    assert fine.shape == (2, 3, 40, 36)


def test_vgg_discriminator():
    network = VGGDiscriminator(features=8)
    logits, layers = network.judge(images(2, 3, 128, 128))
    assert logits.shape == (2, 1)
    assert torch.equal(network.eval()(images(2, 3, 128, 128)), network.judge(images(2, 3, 128, 128)).logits)
    shapes = [(8, 128), (8, 64), (16, 64), (16, 32), (32, 32), (32, 16), (64, 16), (64, 8), (64, 8), (64, 4)]
    assert [tuple(layer.shape) for layer in layers] == [(2, f, side, side) for f, side in shapes]
    normed = [any(isinstance(m, torch.nn.BatchNorm2d) for m in block) for block in network.blocks]
    assert normed == [False] + [True] * 9


def test_vgg_discriminator_of_the_paper():
    with torch.device("meta"):
        network = VGGDiscriminator()
    pairs = [(3, 64, 3), (64, 64, 4), (64, 128, 3), (128, 128, 4), (128, 256, 3), (256, 256, 4), (256, 512, 3)]
    pairs += [(512, 512, 4), (512, 512, 3), (512, 512, 4)]
    convolutions = sum(before * after * kernel**2 for before, after, kernel in pairs) + 64
    norms = 2 * sum(after for _, after, _ in pairs[1:])
    linear = 512 * 16 * 100 + 100 + 100 + 1
    assert sum(value.numel() for value in network.parameters()) == convolutions + norms + linear


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 3, 128, 130), (1, 1, 128, 128), (3, 128, 128)])
def test_vgg_discriminator_takes_one_size(shape):
    with pytest.raises(ValueError):
        VGGDiscriminator(features=2)(torch.zeros(shape))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (32, 24), (37, 51), (250, 200)])
def test_patch_discriminator_takes_any_size(height, width):
    network = PatchDiscriminator(features=4)
    logits, layers = network.judge(images(2, 3, height, width))
    assert logits.shape == (2, 1, height // 8, width // 8)
    assert [layer.shape[1] for layer in layers] == [4, 8, 16, 16]
    assert torch.equal(network(images(2, 3, height, width)), logits)
    assert not list(network.buffers())


def test_patch_discriminator_judges_each_image_alone_and_by_patches():
    torch.manual_seed(0)
    network, seen = PatchDiscriminator(features=4).double(), images(2, 3, 96, 96, dtype=torch.float64)
    torch.testing.assert_close(network(seen)[1:], network(seen[1:]), rtol=0, atol=1e-12)
    seen.requires_grad_()
    (reached,) = torch.autograd.grad(network(seen)[0, 0, 6, 6], seen)
    rows = reached[0].abs().sum(dim=(0, 2)).nonzero().flatten()
    assert int(rows[-1] - rows[0]) + 1 == 54
    assert not reached[1].any()


def test_patch_discriminator_logits_start_of_order_one():
    torch.manual_seed(0)
    spread = float(PatchDiscriminator(features=16)(images(2, 3, 64, 64)).detach().std())
    assert 0.05 < spread < 5


@pytest.mark.parametrize("build", [VGGDiscriminator, PatchDiscriminator])
def test_discriminator_gradients_reach_every_parameter_and_the_image(build):
    torch.manual_seed(0)
    network, seen = build(features=4), images(2, 3, 128, 128).requires_grad_()
    judged = network.judge(seen)
    (judged.logits.mean() + sum(layer.mean() for layer in judged.layers)).backward()
    assert all(float(value.grad.abs().max()) > 0 for value in network.parameters())
    assert float(seen.grad.abs().max()) > 0


def test_patch_discriminator_errors():
    with pytest.raises(ValueError, match="at least 8 x 8"):
        PatchDiscriminator(features=2)(torch.zeros(1, 3, 7, 40))
    with pytest.raises(ValueError, match="stages"):
        PatchDiscriminator(stages=0)


def test_importing_idemodel_loads_no_torch():
    code = "import idemodel, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def refining(guide=16, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MLANet(1, 4, 1, 2, guide, "refine")


def full_size(network, planes):
    """The network's input of planes of full resolution, the coarse sketch first, as the generator's input has them."""
    half = functional.interpolate(planes[:, :1], scale_factor=0.5, mode="area")
    return torch.cat([half, functional.pixel_unshuffle(planes, 2)], dim=1)


def test_the_refining_tail_starts_near_the_coarse_sketch_in_full():
    network, planes = refining(), images(2, 4, 40, 36)
    fine = network(full_size(network, planes))
    assert fine.shape == (2, 1, 40, 36)
    torch.testing.assert_close(fine, planes[:, :1], atol=0.02, rtol=0)
    with torch.no_grad():
        network.tail.last.weight.zero_()
    assert torch.equal(network(full_size(network, planes)), planes[:, :1])


@pytest.mark.parametrize("seed", range(3))
def test_an_even_input_gives_no_pattern_through_the_refining_tail(seed):
    """Whatever its weights, an even sketch has nothing at the corners of its spectrum; one by pixel shuffle has."""
    levels = torch.tensor([0.9, 0.3, 0.5, 0.7]).view(1, 4, 1, 1).expand(1, 4, 96, 96)
    for network, even in ((refining(seed=seed), True), (MLANet(1, 4, 1, 2, 16), False)):
        with torch.no_grad():
            for value in network.parameters():
                value.add_(0.2 * torch.randn_like(value))
            inner = network(full_size(network, levels))[0, 0, 32:64, 32:64]
        assert (period_two(inner) < 1e-4) == even


def period_two(image):
    """The largest of the three amplitudes of period two, along rows, columns and both."""
    spectrum = torch.fft.fft2(image - image.mean()).abs() / image.numel()
    rows, columns = (side // 2 for side in image.shape)
    return max(spectrum[rows, 0], spectrum[0, columns], spectrum[rows, columns])


def test_gradient_flows_to_every_parameter_of_the_refining_tail():
    network = refining()
    network(full_size(network, images(1, 4, 40, 36))).square().mean().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in network.parameters())


@pytest.mark.parametrize("changes", [{"guide": 0}, {"guide": 18}, {"upscale": 4, "guide": 16}, {"guide": 4}])
def test_the_refining_tail_needs_planes_of_full_resolution(changes):
    with pytest.raises(ValueError, match="'refine' doubles and needs a guide"):
        MLANet(**{"channels": 3, "guide": 16, "tail": "refine", **changes})
