"""The terms of a training loss, each a mean over pixels and batch; the recipe says which are used, and their weights.

Images are (B, C, H, W) floating point in [0, 1], C = 1 or 3; each term is a scalar tensor that can be differentiated.
The paper's terms (Peng et al., KBS 2022) come first, then those of the compact recipe.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from idemodel.files.weights import filled, read_weights, shapes_of, take, without_memory

WANTED = (
    "torchvision's vgg19 (vgg19-dcbb9e9d.pth, or the same as .safetensors), with 'features.0.weight' to "
    "'features.34.bias'"
)
VGG19_WIDTHS = (64, 128, 256, 512, 512)  # channels of the five stages
_VGG19_COUNTS = (2, 2, 4, 4, 4)  # convolutions of the five stages
_VGG19_MINIMUM = 16  # one pixel is left after four poolings
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, R G B

_SSIM_WINDOW, _SSIM_SIGMA = 11, 1.5
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2  # of the range 1

_LEVELS = 8  # of grey, in the texture loss
_SOFTNESS = 0.02  # grey levels over which one step passes into the next, of the range 1
_TEXTURE_WINDOWS = (24, 48)  # pixels
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # rows, columns
_TINY = 1e-6  # keeps the slope of the root finite where a window has one level


def pixel_loss(fine: Tensor, truth: Tensor) -> Tensor:
    """L1: mean of |fine - truth|; in [0, 1] for images. ValueError for unequal shapes."""
    _check_pair(fine, truth)
    return (fine - truth).abs().mean()


class PerceptualLoss(nn.Module):
    """L1 between VGG19 features of ImageNet-normalised images: conv5_4 before its ReLU (``features[34]``).

    As in Wang et al., "ESRGAN", ECCV workshops 2018, and in the paper with weight 1. Made by
    :func:`load_perceptual`; its own weights take no gradient. Grey is expanded to three channels.
    """

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = features.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1), persistent=False)
        self.mean: Tensor
        self.deviation: Tensor

    @property
    def digest(self) -> str:
        """SHA-256 of the weights: the same for the same weights in another kind of file."""
        digest = hashlib.sha256()
        for value in self.features.state_dict().values():
            digest.update(value.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def forward(self, fine: Tensor, truth: Tensor) -> Tensor:
        """The loss of images (B, 1 or 3, H, W) in [0, 1] of at least 16 x 16; the truth takes no gradient.

        Raises
        ------
        ValueError
            Unequal shapes, a number of channels other than 1 or 3, or an image that is too small.
        """
        _check_pair(fine, truth, _VGG19_MINIMUM)
        if fine.shape[1] not in (1, 3):
            raise ValueError(f"the perceptual loss takes 1 or 3 channels, not {fine.shape[1]}")
        with torch.no_grad():
            expected = self._of(truth)
        return (self._of(fine) - expected).abs().mean()

    def _of(self, images: Tensor) -> Tensor:
        features: Tensor = self.features((images.expand(-1, 3, -1, -1) - self.mean) / self.deviation)
        return features.float()  # under autocast, too


def load_perceptual(path: str | Path, *, widths: Sequence[int] = VGG19_WIDTHS) -> PerceptualLoss:
    """Load VGG19 from a file and give the perceptual loss.

    Parameters
    ----------
    path
        A ``.pth`` or ``.safetensors`` file with the tensors ``features.N.weight`` and ``features.N.bias`` of
        torchvision's ``vgg19``, N up to 34; other names (the classifier) are ignored. Nothing is downloaded.
    widths
        Channels of the five stages; others than VGG19's are for tests.

    Raises
    ------
    InputError
        The file is missing, unreadable, or holds something else; the message says which file is wanted.
    """
    file = Path(path)
    features = vgg19_features(widths)
    tensors = take(read_weights(file, WANTED), shapes_of(features, "features."), file, WANTED)
    return PerceptualLoss(filled(features, tensors, "features."))


def vgg19_features(widths: Sequence[int]) -> nn.Sequential:
    """Layers 0 to 34 of VGG19 without memory for weights (on "meta"), numbered as torchvision's ``features``.

    (B, 3, H, W) -> (B, ``widths[4]``, H // 16, W // 16); ``widths`` are the channels of the five stages, ValueError for
    another number of them.
    """
    return without_memory(lambda: nn.Sequential(*_vgg19_layers(widths)))


def _vgg19_layers(widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = 3
    for width, count in zip(widths, _VGG19_COUNTS, strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
            before = width
        layers.append(nn.MaxPool2d(2, 2))
    return layers[:-2]  # without the last ReLU and pooling


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Vanilla GAN, the generator's side: mean of -log sigmoid(logit), the fine sketches taken for real.

    The non-saturating loss of Goodfellow et al., NIPS 2014, on logits of any shape.
    """
    return functional.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Vanilla GAN, the discriminator's side: mean of -log sigmoid(real) plus mean of -log(1 - sigmoid(fake))."""
    return functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()


def gradient_loss(fine: Tensor, truth: Tensor) -> Tensor:
    """Gradient difference: mean |dx fine - dx truth| + mean |dy fine - dy truth|, forward differences.

    After Mathieu, Couprie and LeCun, ICLR 2016, with exponent 1; signed, unlike theirs, so that a line that is light
    where it should be dark is no match. In [0, 4].

    Raises
    ------
    ValueError
        Unequal shapes, or fewer than 2 rows or columns.
    """
    _check_pair(fine, truth, 2)
    difference = fine - truth
    down = difference[..., 1:, :] - difference[..., :-1, :]
    across = difference[..., 1:] - difference[..., :-1]
    return down.abs().mean() + across.abs().mean()


def structural_similarity(fine: Tensor, truth: Tensor) -> Tensor:
    """SSIM of every image, (B,) in [-1, 1], the mean over its channels.

    The variant of :func:`idemodel.metrics.ssim` on the range 1: Gaussian window of 11 x 11 with sigma 1.5, population
    covariance, K1 = 0.01, K2 = 0.03, mean over the pixels whose window lies inside the image.

    Raises
    ------
    ValueError
        Unequal shapes, or fewer than 11 rows or columns.
    """
    _check_pair(fine, truth, _SSIM_WINDOW)
    batch, channels = fine.shape[:2]
    mean_x, mean_y, square_x, square_y, product = (
        _blurred(image) for image in (fine, truth, fine * fine, truth * truth, fine * truth)
    )
    variances = square_x - mean_x * mean_x + square_y - mean_y * mean_y
    covariance = product - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _SSIM_C1) / (mean_x * mean_x + mean_y * mean_y + _SSIM_C1)
    structure = (2 * covariance + _SSIM_C2) / (variances + _SSIM_C2)
    return (luminance * structure).view(batch, channels, -1).mean(dim=(1, 2))


def ssim_loss(fine: Tensor, truth: Tensor) -> Tensor:
    """1 - SSIM, the mean over the batch; in [0, 2], 0 for identical images. ValueError as the similarity."""
    return 1.0 - structural_similarity(fine, truth).mean()


def texture_loss(fine: Tensor, truth: Tensor) -> Tensor:
    """Difference of the textures in windows of 24 and of 48 pixels: how often which grey levels lie side by side.

    Of every window, the grey levels in 8 soft steps make a co-occurrence matrix for each of four directions at the
    distance of one pixel (Haralick, Shanmugam and Dinstein, IEEE Trans. SMC 1973). Its deviation
    ``sqrt(sum (i - j)^2 p_ij)``, large where strokes are, and ``sqrt(sum p_ij^2)``, large where paper is clean, are
    compared by L1, the mean over windows, directions and sizes. It does not matter where in a window a stroke lies, so
    that strokes pay where the other terms prefer their mean. Incomplete windows at the edges are left out.

    Scoot (:func:`idemodel.metrics.scoot`) measures co-occurrence too, with hard levels, other steps and blocks: a
    generator that was trained by this term is to be judged by further metrics, and by eye.

    Raises
    ------
    ValueError
        Unequal shapes, or fewer than 25 rows or columns.
    """
    _check_pair(fine, truth, _TEXTURE_WINDOWS[0] + 1)
    with torch.no_grad():
        expected = _textures(truth)
    terms = [(one - other).abs().mean() for one, other in zip(_textures(fine), expected, strict=True)]
    return torch.stack(terms).mean()


def _textures(images: Tensor) -> list[Tensor]:
    """Deviation and root of the energy of every window, (2, windows) for each direction and size."""
    levels = _soft_levels(images.reshape(-1, 1, *images.shape[2:]))
    height, width = images.shape[2:]
    found = []
    for down, right in _DIRECTIONS:
        here = levels[..., : height - 1, 1 : width - 1]
        there = levels[..., down : height - 1 + down, 1 + right : width - 1 + right]
        sizes = [size for size in _TEXTURE_WINDOWS if size < min(height, width - 1)]
        found += [_deviation_and_energy(_windows(here, size), _windows(there, size)) for size in sizes]
    return found


def _soft_levels(images: Tensor) -> Tensor:
    """How much each pixel (N, 1, H, W) belongs to each level, (N, 8, H, W), sums of 1: soft steps between them."""
    between = torch.arange(1, _LEVELS, dtype=images.dtype, device=images.device).view(1, -1, 1, 1) / _LEVELS
    above = torch.sigmoid((images - between) / _SOFTNESS)
    one = torch.ones_like(above[:, :1])
    return torch.cat((one, above), dim=1) - torch.cat((above, torch.zeros_like(one)), dim=1)


def _windows(planes: Tensor, size: int) -> Tensor:
    """The whole windows of (N, L, H, W), (N * windows, L, size * size)."""
    count, levels, height, width = planes.shape
    down, across = height // size, width // size
    cut = planes[..., : down * size, : across * size].reshape(count, levels, down, size, across, size)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, levels, size * size)


def _deviation_and_energy(here: Tensor, there: Tensor) -> Tensor:
    """Of the co-occurrence matrices of windows (windows, L, pixels) with their neighbours, as (2, windows)."""
    matrix = here @ there.transpose(1, 2) / here.shape[2]
    level = torch.arange(_LEVELS, dtype=here.dtype, device=here.device)
    contrast = (matrix * (level[:, None] - level) ** 2).sum(dim=(1, 2))
    energy = matrix.square().sum(dim=(1, 2))
    return torch.stack(((contrast + _TINY).sqrt(), energy.sqrt()))


def feature_matching(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean over a discriminator's layers of the L1 between its activations; those of the real images take no gradient.

    After Wang et al., "pix2pixHD", CVPR 2018. ``fake`` and ``real`` are the ``layers`` of two
    :class:`idemodel.generator.network.Judgement` of equally many images of one size.

    Raises
    ------
    ValueError
        No layers, or layers of unequal number or shapes.
    """
    if not fake or len(fake) != len(real):
        raise ValueError(f"feature matching takes equally many layers, at least one, not {len(fake)} and {len(real)}")
    for one, other in zip(fake, real, strict=True):
        if one.shape != other.shape:
            raise ValueError(f"layers of {tuple(one.shape)} and {tuple(other.shape)} cannot be matched")
    terms = [(one - other.detach()).abs().mean() for one, other in zip(fake, real, strict=True)]
    return torch.stack(terms).mean()


def _blurred(images: Tensor) -> Tensor:
    """Gaussian mean of every window that lies inside, (B * C, 1, H - 10, W - 10)."""
    window = _ssim_window(images.dtype, images.device)
    planes = images.reshape(-1, 1, *images.shape[2:])
    return functional.conv2d(functional.conv2d(planes, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))


@functools.cache
def _ssim_window(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The window's weights along one axis, sent to the device once: a copy from the host cannot be recorded."""
    reach = _SSIM_WINDOW // 2
    weights = [math.exp(-((x / _SSIM_SIGMA) ** 2) / 2) for x in range(-reach, reach + 1)]
    return torch.tensor(weights, dtype=dtype, device=device) / sum(weights)


def _check_pair(fine: Tensor, truth: Tensor, minimum: int = 1) -> None:
    if fine.shape != truth.shape or fine.ndim != 4:
        raise ValueError(f"images must be (B, C, H, W) of one shape, not {tuple(fine.shape)} and {tuple(truth.shape)}")
    height, width = fine.shape[2:]
    if min(height, width) < minimum:
        raise ValueError(f"an image of {height} x {width} is too small: at least {minimum} x {minimum} is needed")
