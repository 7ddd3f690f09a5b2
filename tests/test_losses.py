"""The loss terms against closed forms, and VGG19's features against a network written out layer by layer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from idekernels.errors import InputError
from idemodel.metrics import ssim
from idemodel.training import losses

NARROW = (4, 6, 8, 10, 12)
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)  # of torchvision's vgg19.features
POOLINGS = (4, 9, 18, 27)


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def pair(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(shape, generator=generator, dtype=dtype) for _ in range(2))


def vgg_tensors(widths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    stages = [width for width, count in zip(widths, (2, 2, 4, 4, 4), strict=True) for _ in range(count)]
    tensors, before = {}, 3
    for index, width in zip(CONVOLUTIONS, stages, strict=True):
        weight = torch.randn((width, before, 3, 3), generator=generator) * (2 / (9 * before)) ** 0.5
        tensors[f"features.{index}.weight"] = weight
        tensors[f"features.{index}.bias"] = 0.1 * torch.randn(width, generator=generator)
        before = width
    return tensors


def naive_features(tensors, images):
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (images - mean[:, None, None]) / deviation[:, None, None]
    for index in range(34):
        if index in CONVOLUTIONS:
            x = functional.conv2d(x, tensors[f"features.{index}.weight"], tensors[f"features.{index}.bias"], padding=1)
        elif index in POOLINGS:
            x = functional.max_pool2d(x, 2)
        else:
            x = x.clamp(min=0)
    return functional.conv2d(x, tensors["features.34.weight"], tensors["features.34.bias"], padding=1)


@pytest.fixture(scope="module")
def narrow_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(vgg_tensors(NARROW) | {"classifier.6.bias": torch.zeros(1000)}, path)
    return path


def test_pixel_loss_is_the_mean_absolute_difference():
    fine, truth = pair(2, 3, 5, 7)
    assert float(losses.pixel_loss(fine, truth)) == pytest.approx(np.abs(fine.numpy() - truth.numpy()).mean())
    assert float(losses.pixel_loss(fine, fine + 0.25)) == pytest.approx(0.25)


@pytest.mark.parametrize("logit", [-3.0, 0.0, 0.5, 4.0])
def test_adversarial_losses_are_cross_entropies(logit):
    logits = torch.full((2, 1, 3, 4), logit, dtype=torch.float64)
    real = 1 / (1 + math.exp(-logit))
    assert float(losses.generator_loss(logits)) == pytest.approx(-math.log(real))
    expected = -math.log(real) - math.log(1 - real)
    assert float(losses.discriminator_loss(logits, logits)) == pytest.approx(expected)
    assert float(losses.discriminator_loss(logits, -logits)) == pytest.approx(-2 * math.log(real))
    cross = functional.binary_cross_entropy_with_logits
    assert float(losses.generator_loss(logits)) == pytest.approx(float(cross(logits, torch.ones_like(logits))))


def test_adversarial_losses_of_huge_logits_are_finite():
    huge = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = losses.generator_loss(huge) + losses.discriminator_loss(huge, huge)
    loss.backward()
    assert loss.item() == pytest.approx(15_000.0)
    assert bool(torch.isfinite(huge.grad).all())


def test_gradient_loss_of_ramps():
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing="ij")
    flat, ramp = torch.zeros(1, 1, 6, 9), (0.1 * rows - 0.02 * columns)[None, None]
    assert float(losses.gradient_loss(ramp, flat)) == pytest.approx(0.12)
    assert float(losses.gradient_loss(ramp, -ramp)) == pytest.approx(0.24)  # a sign is no match
    assert float(losses.gradient_loss(ramp + 0.3, ramp)) == pytest.approx(0.0, abs=1e-6)  # blind to the level
    fine, truth = (value.numpy() for value in pair(2, 3, 5, 7))
    expected = sum(np.abs(np.diff(fine, axis=axis) - np.diff(truth, axis=axis)).mean() for axis in (2, 3))
    assert float(losses.gradient_loss(*map(torch.from_numpy, (fine, truth)))) == pytest.approx(expected)


@pytest.mark.parametrize("size", [(11, 11), (12, 30), (50, 41)])
def test_similarity_is_the_metrics_own(size):
    random = np.random.default_rng(0)
    truth = random.integers(0, 256, (2, 3, *size)).astype(np.uint8)
    noise = random.integers(-40, 41, truth.shape)
    fine = np.clip(truth + noise, 0, 255).astype(np.uint8)
    expected = [
        np.mean([ssim(*planes) for planes in zip(*images, strict=True)]) for images in zip(fine, truth, strict=True)
    ]
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 2e-5)):
        given = [torch.from_numpy(value).to(dtype) / 255 for value in (fine, truth)]
        comp = losses.structural_similarity(*given)
        np.testing.assert_allclose(comp.numpy(), expected, rtol=0, atol=tolerance)
        assert float(losses.ssim_loss(*given)) == pytest.approx(1 - np.mean(expected), abs=tolerance)


def test_similarity_of_flat_and_of_identical_images():
    fine, _ = pair(2, 1, 16, 16)
    assert float(losses.ssim_loss(fine, fine)) == pytest.approx(0.0, abs=1e-12)
    light, dark = torch.full((1, 1, 12, 12), 0.8).double(), torch.full((1, 1, 12, 12), 0.2).double()
    expected = (2 * 0.8 * 0.2 + 1e-4) / (0.8**2 + 0.2**2 + 1e-4)
    assert float(losses.structural_similarity(light, dark)) == pytest.approx(expected)


@pytest.mark.parametrize("term", [losses.pixel_loss, losses.gradient_loss, losses.ssim_loss])
def test_gradients_equal_finite_differences(term):
    fine, truth = pair(1, 2, 12, 13, seed=3)
    fine.requires_grad_()
    assert torch.autograd.gradcheck(lambda image: term(image, truth), (fine,), fast_mode=True)


@pytest.mark.parametrize("term", [losses.pixel_loss, losses.gradient_loss, losses.ssim_loss])
def test_going_down_the_gradient_comes_nearer(term):
    fine, truth = pair(1, 1, 14, 14, seed=5)
    fine.requires_grad_()
    start = term(fine, truth)
    (slope,) = torch.autograd.grad(start, fine)
    assert term(fine - 1e-3 * slope / slope.norm(), truth).item() < start.item()


def test_feature_matching_is_the_mean_over_layers():
    fake = [torch.zeros(2, 3, 4, 4), torch.ones(2, 6, 2, 2)]
    real = [torch.full((2, 3, 4, 4), 0.5), torch.full((2, 6, 2, 2), 3.0)]
    for layer in (*fake, *real):
        layer.requires_grad_()
    loss = losses.feature_matching(fake, real)
    assert loss.item() == pytest.approx((0.5 + 2.0) / 2)
    loss.backward()
    assert all(layer.grad is not None for layer in fake)
    assert all(layer.grad is None for layer in real)


@pytest.mark.parametrize(
    ("fake", "real"),
    [([], []), ([torch.zeros(1)], []), ([torch.zeros(1, 2)], [torch.zeros(1, 3)])],
)
def test_feature_matching_of_unlike_layers_is_an_error(fake, real):
    with pytest.raises(ValueError, match="layers"):
        losses.feature_matching(fake, real)


@pytest.mark.parametrize("term", [losses.pixel_loss, losses.gradient_loss, losses.ssim_loss])
def test_unequal_shapes_are_an_error(term):
    with pytest.raises(ValueError, match="one shape"):
        term(torch.zeros(1, 3, 20, 20), torch.zeros(1, 1, 20, 20))
    with pytest.raises(ValueError, match="one shape"):
        term(torch.zeros(20, 20), torch.zeros(20, 20))


def test_too_small_images_are_an_error(narrow_file):
    for term, least in (
        (losses.ssim_loss, 11),
        (losses.gradient_loss, 2),
        (losses.load_perceptual(narrow_file, widths=NARROW), 16),
    ):
        small = torch.zeros(1, 3, 40, least - 1)
        with pytest.raises(ValueError, match=f"40 x {least - 1} is too small: at least {least} x {least}"):
            term(small, small)


@pytest.mark.parametrize("size", [(16, 16), (35, 50)])
def test_perceptual_loss_equals_the_network_written_out(narrow_file, size):
    fine, truth = pair(2, 3, *size, dtype=torch.float32)
    tensors = vgg_tensors(NARROW)
    expected = (naive_features(tensors, fine) - naive_features(tensors, truth)).abs().mean()
    comp = losses.load_perceptual(narrow_file, widths=NARROW)(fine, truth)
    assert float(expected) > 1e-3
    torch.testing.assert_close(comp, expected, rtol=1e-4, atol=1e-6)


def test_perceptual_loss_expands_grey_and_is_zero_for_equal_images(narrow_file):
    perceptual = losses.load_perceptual(narrow_file, widths=NARROW)
    fine, truth = pair(1, 1, 20, 20, dtype=torch.float32)
    colour = [image.repeat(1, 3, 1, 1) for image in (fine, truth)]
    torch.testing.assert_close(perceptual(fine, truth), perceptual(*colour))
    assert float(perceptual(fine, fine)) == 0.0
    with pytest.raises(ValueError, match="1 or 3 channels, not 2"):
        perceptual(torch.zeros(1, 2, 20, 20), torch.zeros(1, 2, 20, 20))


def test_perceptual_gradient_reaches_the_fine_sketch_alone(narrow_file):
    perceptual = losses.load_perceptual(narrow_file, widths=NARROW)
    fine, truth = (image.requires_grad_() for image in pair(1, 3, 32, 32, dtype=torch.float32))
    perceptual(fine, truth).backward()
    assert float(fine.grad.abs().max()) > 0
    assert truth.grad is None
    assert not any(value.requires_grad for value in perceptual.parameters())


def test_the_default_widths_are_vgg19s(tmp_path):
    """The real architecture, 80 MB of weights, once."""
    tensors = {name: value.fill_(1e-3) for name, value in vgg_shapes().items()}
    assert sum(value.numel() for value in tensors.values()) == 20_024_384
    path = tmp_path / "vgg19.safetensors"
    save_file(tensors, path)
    perceptual = losses.load_perceptual(path)
    assert set(perceptual.state_dict()) == set(tensors)
    assert {name: value.shape for name, value in perceptual.state_dict().items()} == {
        name: value.shape for name, value in tensors.items()
    }
    path.unlink()


def vgg_shapes():
    widths = [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    shapes, before = {}, 3
    for index, width in zip(CONVOLUTIONS, widths, strict=True):
        shapes[f"features.{index}.weight"] = torch.empty(width, before, 3, 3)
        shapes[f"features.{index}.bias"] = torch.empty(width)
        before = width
    return shapes


def refused(path, *parts):
    with pytest.raises(InputError) as caught:
        losses.load_perceptual(path, widths=NARROW)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    for part in ("vgg19", "torchvision", *parts):
        assert part in message


def test_another_file_is_an_error_that_says_which_is_wanted(tmp_path, narrow_file):
    refused(tmp_path / "missing.pth", "no such file")
    refused(tmp_path, "folder")
    tensors = vgg_tensors(NARROW)
    changed = tmp_path / "changed.pth"
    torch.save({name: value for name, value in tensors.items() if name != "features.34.bias"}, changed)
    refused(changed, "has no features.34.bias")
    torch.save(tensors | {"features.5.weight": torch.zeros(6, 4, 1, 1)}, changed)
    refused(changed, "features.5.weight", "6 x 4 x 1 x 1")
    torch.save(tensors | {"features.0.bias": torch.zeros(4, dtype=torch.int64)}, changed)
    refused(changed, "features.0.bias")
    cut = tmp_path / "cut.safetensors"
    save_file(tensors, cut)
    cut.write_bytes(cut.read_bytes()[:-1])
    refused(cut, "not a readable")
    cut.write_bytes(narrow_file.read_bytes())
    refused(cut, "not a readable")


def naive_textures(image, size):
    """Deviation and root of the energy of every window and direction, written out; ``image`` is (H, W)."""
    levels = torch.arange(8.0, dtype=torch.float64)
    edges = [(k / 8, (k + 1) / 8) for k in range(8)]
    above = lambda x, edge: 1 / (1 + math.exp(-(x - edge) / 0.02))  # noqa: E731 - one soft step
    height, width = image.shape
    found = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        for top in range(0, (height - 1) // size * size, size):
            for left in range(1, (width - 2) // size * size + 1, size):
                matrix = torch.zeros(8, 8, dtype=torch.float64)
                for row in range(top, top + size):
                    for column in range(left, left + size):
                        pair = [image[row, column].item(), image[row + down, column + right].item()]
                        steps = [
                            torch.tensor(
                                [(above(x, a) if a else 1.0) - (above(x, b) if b < 1 else 0.0) for a, b in edges]
                            )
                            for x in pair
                        ]
                        matrix += torch.outer(*(step.double() for step in steps)) / size**2
                contrast = (matrix * (levels[:, None] - levels) ** 2).sum()
                found.append([(contrast + 1e-6).sqrt(), matrix.square().sum().sqrt()])
    return torch.tensor(found)


def test_texture_is_the_formula():
    fine, truth = (image[..., :27] for image in pair(1, 1, 26, 30))
    expected = (naive_textures(fine[0, 0], 24) - naive_textures(truth[0, 0], 24)).abs().mean()
    torch.testing.assert_close(losses.texture_loss(fine, truth), expected, rtol=1e-6, atol=1e-8)


def test_texture_asks_for_strokes_wherever_they_lie():
    """Stripes half a period off cost next to nothing; their mean, which the other terms prefer, costs most."""
    truth = (torch.arange(50) % 4 < 2).float().expand(1, 1, 50, 50).contiguous()
    moved, grey = truth.roll(2, dims=3), torch.full_like(truth, 0.5)
    assert losses.texture_loss(truth, truth) == 0
    assert losses.texture_loss(moved, truth) < 0.05 < 0.3 < losses.texture_loss(grey, truth)
    assert losses.pixel_loss(grey, truth) < losses.pixel_loss(moved, truth)


def test_texture_has_a_slope_on_blank_paper_too():
    fine = torch.ones(1, 1, 30, 30, requires_grad=True)
    losses.texture_loss(fine, pair(1, 1, 30, 30, dtype=torch.float32)[0]).backward()
    assert bool(torch.isfinite(fine.grad).all())


def test_texture_needs_a_window():
    with pytest.raises(ValueError, match="at least 25 x 25"):
        losses.texture_loss(*pair(1, 1, 24, 40))
