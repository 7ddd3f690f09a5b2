"""The networks of stage 2, read top-down: the MLA-GAN's generator and its discriminators; knows no files, no training.

After Peng, Zhang, Liu, Wang and Gao, "Face photo-sketch synthesis via intra-domain enhancement", Knowledge-Based
Systems 2022. Modules carry the names of the authors' released weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from idekernels import arguments
from idemodel.generator.config import PHASES, TAILS, MLAConfig
from idemodel.generator.convolution import Convolution, biased

MINIMUM = 16  # rows and columns: the pooling of an attention block needs 7 of the halved size
SLOPE = 0.05  # of the generator's leaky ReLUs
POOL, STRIDE = 7, 3  # pixels of an attention block's pooling, and how far apart they begin
_INITIAL_SCALE = 0.1
_REFINED = 16  # channels of the refining tail at full resolution


class MLANet(nn.Module):
    """The generator: coarse sketch to fine sketch by multi-layer feature aggregation, twice the size.

    A 3x3 convolution, ``modules`` feature aggregation modules, and a tail whose output is added to the coarse sketch:
    to its bicubic upsampling, or with the tail ``refine`` to the one of full resolution in the guide. Parameters: see
    :class:`MLAConfig`, kept as ``config``. Initialised with Kaiming normal weights times 0.1, so that it starts near
    the coarse sketch. 3,068,290 parameters at the defaults.
    """

    def __init__(
        self,
        channels: int = 3,
        features: int = 64,
        modules: int = 8,
        upscale: int = 2,
        guide: int = 0,
        tail: str = "shuffle",
    ):
        super().__init__()
        self.config = MLAConfig(channels, features, modules, upscale, guide, tail)
        self.head = nn.Sequential(_WeightNormConv2d(channels + guide, features, 3))
        self.body = nn.Sequential(*(FeatureAggregation(features) for _ in range(modules)))
        self.tail = _TAILS[tail](self.config)
        _initialise(self, _INITIAL_SCALE)

    def forward(self, coarse: Tensor) -> Tensor:
        """Make fine sketches of coarse ones.

        Parameters
        ----------
        coarse : (B, channels + guide, H, W) floating point, values in [0, 1]
            At least 16 x 16, odd sizes too. Grey (B, 1, H, W) is expanded to ``channels`` where there is no guide.

        Returns
        -------
        (B, channels, upscale * H, upscale * W) Tensor
            About [0, 1], not clipped.

        Raises
        ------
        TypeError, ValueError
            Another dtype, number of dimensions or channels, or an image that is too small.
        """
        images = self._checked(coarse)
        fine: Tensor = self.tail(self.body(self.head(_as(self.dtype, images))), images)
        return fine

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights. With float16 ones, what the coarse sketch gives at once stays as exact as it was given."""
        return next(self.parameters()).dtype

    @property
    def folded(self) -> bool:
        """Whether the weight normalisation has been folded away."""
        return not any(isinstance(module, _WeightNormConv2d) for module in self.modules())

    def fold_weight_norm(self) -> MLANet:
        """Replace every weight-normalised convolution by a plain one of equal output; for inference. Returns self."""
        for parent in list(self.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, _WeightNormConv2d):
                    setattr(parent, name, child.folded())
        return self

    def _checked(self, images: Tensor) -> Tensor:
        config = self.config
        _check_images(images, MINIMUM)
        if images.shape[1] == 1 and config.guide == 0:
            return images.expand(-1, config.channels, -1, -1)
        if images.shape[1] != config.channels + config.guide:
            raise ValueError(f"the generator takes {config.channels + config.guide} channels, not {images.shape[1]}")
        return images


class FeatureAggregation(nn.Module):
    """FAM: four attention blocks, their outputs joined two at a time; output s1 * r3 + s2 * x."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.b0, self.b1, self.b2, self.b3 = (Attention(features) for _ in range(4))
        self.reduction1, self.reduction2, self.reduction3 = (
            _WeightNormConv2d(2 * features, features, 1) for _ in range(3)
        )
        self.res_scale, self.x_scale = _Scale(1.0), _Scale(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, features, H, W) of such."""
        x0 = self.b0(x)
        x1 = self.b1(x0) + x0
        x2 = self.b2(x1) + x1
        x3 = self.b3(x2)
        joined = self.reduction1(_interleave(x0, x1))
        joined = self.reduction2(_interleave(joined, x2))
        joined = self.reduction3(_interleave(joined, x3))
        return self.res_scale(joined) + self.x_scale(x)


class Attention(nn.Module):
    """MAB: two convolutions, weighted by spatial attention at a sixth of the size and by a depthwise 5x5 one.

    ``conv01`` runs before ``conv00``, as in the released network.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        few = features // 4
        self.conv01 = nn.Sequential(Convolution(features, features, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True))
        self.conv00 = nn.Sequential(Convolution(features, features, 3, padding=1))
        self.reduce_channels = Convolution(features, few, 1)
        self.reduce_spatial_size = Convolution(few, few, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(POOL, stride=STRIDE)
        self.conv1 = nn.Sequential(Convolution(few, few, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True))
        self.conv2 = nn.Sequential(Convolution(few, few, 3, padding=2, dilation=2), nn.LeakyReLU(SLOPE, inplace=True))
        self.increase_channels = nn.Sequential(Convolution(few, features, 1), nn.ReLU(inplace=True))
        self.bottom11 = nn.Sequential(Convolution(features, features, 1))
        self.bottom11_dw = nn.Sequential(Convolution(features, features, 5, padding=2, groups=features))

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, features, H, W) of such."""
        y = self.conv00(self.conv01(x))
        c = self.reduce_channels(y)
        p = self.pool(self.reduce_spatial_size(c))
        q = self.conv1(p) + self.conv2(p)
        wide = functional.interpolate(q, size=c.shape[2:], mode="nearest") + c
        a = torch.sigmoid(self.increase_channels(wide))
        b = torch.sigmoid(self.bottom11_dw(self.bottom11(y)))
        return a * y * b


class ShuffleTail(nn.Module):
    """The paper's: 3x3 and 5x5 convolutions, each times a learned scalar, pixel-shuffled and summed.

    The sum is added to the bicubic upsampling of the coarse sketch.
    """

    def __init__(self, config: MLAConfig) -> None:
        super().__init__()
        self.channels, phases = config.channels, config.upscale**2
        self.tail_k3 = _WeightNormConv2d(config.features, phases * config.channels, 3)
        self.tail_k5 = _WeightNormConv2d(config.features, phases * config.channels, 5)
        self.scale_k3, self.scale_k5 = _Scale(0.5), _Scale(0.5)
        self.shuffle = nn.PixelShuffle(config.upscale)

    def forward(self, x: Tensor, images: Tensor) -> Tensor:
        """The fine sketch of features ``x`` and the network's input ``images``."""
        return self.added(self.scale_k3(self.tail_k3(x)) + self.scale_k5(self.tail_k5(x)), images)

    def added(self, phases: Tensor, images: Tensor) -> Tensor:
        """The sketch of its phases (B, phases * channels, H, W): shuffled, and the upsampled coarse sketch added."""
        fine: Tensor = self.shuffle(phases)
        base, scale = images[:, : self.channels], float(self.shuffle.upscale_factor)
        return fine + functional.interpolate(base, scale_factor=scale, mode="bicubic", align_corners=False)


class _RefiningTail(nn.Module):
    """Ours: features of half the resolution lead three convolutions over the guide's planes at full resolution.

    Strokes are a pixel or two wide: here they reach the sketch as they are, without a way through fewer pixels and
    back. Features are doubled by repeating them, not by a pixel shuffle: an even input gives an even sketch, without
    the dots of phases that were trained unequally.
    """

    def __init__(self, config: MLAConfig) -> None:
        super().__init__()
        self.channels, planes = config.channels, config.guide // PHASES
        self.lead = Convolution(config.features, _REFINED, 3, padding=1)
        self.shuffle = nn.PixelShuffle(config.upscale)
        self.join = Convolution(_REFINED + planes, _REFINED, 3, padding=1)
        self.refine = Convolution(_REFINED, _REFINED, 3, padding=1)
        self.last = Convolution(_REFINED, config.channels, 3, padding=1)

    def forward(self, x: Tensor, images: Tensor) -> Tensor:
        """The fine sketch of features ``x`` and the network's input ``images``, whose guide begins with the coarse."""
        planes = self.shuffle(images[:, self.channels :])
        doubled = functional.interpolate(self.lead(x), scale_factor=2.0, mode="nearest")
        x = torch.cat((doubled, _as(doubled.dtype, planes)), dim=1)
        x = functional.leaky_relu(self.join(x), SLOPE)
        x = functional.leaky_relu(self.refine(x), SLOPE)
        fine: Tensor = self.last(x) + planes[:, : self.channels]
        return fine


_TAILS: Mapping[str, type[ShuffleTail | _RefiningTail]] = MappingProxyType(
    dict(zip(TAILS, (ShuffleTail, _RefiningTail), strict=True))
)


class _Scale(nn.Module):
    """Times a learned scalar."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([start]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class _WeightNormConv2d(nn.Module):
    """A same-size convolution whose weight is g v / |v| for each output channel (Salimans and Kingma, NIPS 2016).

    A module of its own, as torch's deprecated ``weight_norm`` gives the authors' names ``weight_g`` and ``weight_v``
    with a warning, and its successor gives others.
    """

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(after, 1, 1, 1))
        self.weight_v = nn.Parameter(torch.empty(after, before, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after))

    def forward(self, x: Tensor) -> Tensor:
        return biased(partial(functional.conv2d, padding=self.weight_v.shape[-1] // 2), x, self._weight(), self.bias)

    def _weight(self) -> Tensor:
        return self.weight_v * (self.weight_g / _norms(self.weight_v))

    def folded(self) -> nn.Conv2d:
        after, before, kernel, _ = self.weight_v.shape
        settings = {"padding": kernel // 2, "device": self.weight_v.device, "dtype": self.weight_v.dtype}
        plain: nn.Conv2d = nn.utils.skip_init(nn.Conv2d, before, after, kernel, **settings)
        with torch.no_grad():
            plain.weight.copy_(self._weight())
            if plain.bias is not None:
                plain.bias.copy_(self.bias)
        return plain.train(self.training)


class Judgement(NamedTuple):
    """What a discriminator gives for B images: its logits (positive is real) and its blocks' activations.

    ``logits``: (B, 1) or (B, 1, h, w). ``layers``: (B, C, h, w) for every block, the largest first.
    """

    logits: Tensor
    layers: list[Tensor]


class VGGDiscriminator(nn.Module):
    """The paper's discriminator, for images of 128 x 128: one logit an image.

    Five pairs of 3x3 stride 1 and 4x4 stride 2 convolutions of 1, 2, 4, 8, 8 times ``features`` channels, batch
    normalisation on all but the first, leaky ReLU 0.2; a linear layer to 100 and one to the logit.
    """

    SIZE = 128

    def __init__(self, channels: int = 3, features: int = 64) -> None:
        super().__init__()
        self.channels = arguments.whole("channels", channels, 1)
        arguments.whole("features", features, 1)
        self.blocks = nn.ModuleList()
        before = channels
        for times in (1, 2, 4, 8, 8):
            after = times * features
            self.blocks.append(_judging(before, after, 3, stride=1, norm=len(self.blocks) > 0))
            self.blocks.append(_judging(after, after, 4, stride=2, norm=True))
            before = after
        side = self.SIZE // 2**5
        self.linear = nn.Sequential(nn.Linear(before * side**2, 100), nn.LeakyReLU(0.2, inplace=True))
        self.logit = nn.Linear(100, 1)
        _initialise(self, 1.0, slope=0.2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 1) of images (B, channels, 128, 128) in [0, 1]; ValueError for another shape."""
        return self.judge(images).logits

    def judge(self, images: Tensor) -> Judgement:
        """Logits (B, 1) and the activations of the ten blocks, the largest first; ValueError as :meth:`forward`."""
        _check_images(images, self.SIZE, self.channels)
        if images.shape[2:] != (self.SIZE, self.SIZE):
            raise ValueError(f"the VGG discriminator takes 128 x 128, not {images.shape[2]} x {images.shape[3]}")
        layers = _activations(self.blocks, images)
        return Judgement(self.logit(self.linear(layers[-1].flatten(1))), layers)


class PatchDiscriminator(nn.Module):
    """A fully convolutional discriminator without normalisation, for images of any size: one logit a patch.

    ``stages`` 4x4 stride 2 convolutions of 1, 2, 4, 8, 8, ... times ``features`` channels, a 3x3 convolution, leaky
    ReLU 0.2, and a 3x3 convolution to the logit; with 3 stages a logit sees 54 x 54 pixels (after Isola et al., CVPR
    2017). As nothing mixes the images of a batch, each is judged alike in any batch.
    """

    def __init__(self, channels: int = 3, features: int = 64, stages: int = 3) -> None:
        super().__init__()
        self.channels = arguments.whole("channels", channels, 1)
        arguments.whole("features", features, 1)
        self.minimum = 2 ** arguments.whole("stages", stages, 1, 6)
        self.blocks = nn.ModuleList()
        before = channels
        for stage in range(stages):
            after = features * min(8, 2**stage)
            self.blocks.append(_judging(before, after, 4, stride=2))
            before = after
        self.blocks.append(_judging(before, before, 3, stride=1))
        self.logit = Convolution(before, 1, 3, padding=1)
        _initialise(self, 1.0, slope=0.2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 1, H // 2^stages, W // 2^stages) of images (B, channels, H, W) in [0, 1].

        Raises ValueError for another number of channels and for fewer than 2^stages rows or columns.
        """
        return self.judge(images).logits

    def judge(self, images: Tensor) -> Judgement:
        """Logits and the activations of the blocks, the largest first; ValueError as :meth:`forward`."""
        _check_images(images, self.minimum, self.channels)
        layers = _activations(self.blocks, images)
        return Judgement(self.logit(layers[-1]), layers)


def _judging(before: int, after: int, kernel: int, *, stride: int, norm: bool = False) -> nn.Sequential:
    convolution = Convolution(before, after, kernel, stride=stride, padding=1, bias=not norm)
    normalisation = [nn.BatchNorm2d(after)] if norm else []
    return nn.Sequential(convolution, *normalisation, nn.LeakyReLU(0.2, inplace=True))


def _activations(blocks: nn.ModuleList, images: Tensor) -> list[Tensor]:
    layers = []
    for block in blocks:
        images = block(images)
        layers.append(images)
    return layers


def _interleave(first: Tensor, second: Tensor) -> Tensor:
    """Concatenate and shuffle with two groups: the channels first[0], second[0], first[1], ..."""
    if first.is_contiguous(memory_format=torch.channels_last):  # pairs lie side by side: nothing is moved afterwards
        last = [images.permute(0, 2, 3, 1) for images in (first, second)]
        return torch.stack(last, dim=-1).flatten(3).permute(0, 3, 1, 2)
    return torch.stack((first, second), dim=2).flatten(1, 2)


def _as(dtype: torch.dtype, images: Tensor) -> Tensor:
    """The images in another precision; as they are, without a step of their own in an export, where they have it."""
    return images if images.dtype == dtype else images.to(dtype)


def _norms(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=(1, 2, 3), keepdim=True)


@torch.no_grad()
def _initialise(network: nn.Module, scale: float, slope: float = 0.0) -> None:
    """Kaiming normal weights times ``scale``, biases zero; on the device "meta", without memory, nothing is done."""
    if next(network.parameters()).is_meta:
        return
    for module in network.modules():
        if isinstance(module, _WeightNormConv2d):
            nn.init.kaiming_normal_(module.weight_v, a=slope).mul_(scale)
            module.weight_g.copy_(_norms(module.weight_v))
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, a=slope).mul_(scale)
            if module.bias is not None:
                module.bias.zero_()


def _check_images(images: Tensor, minimum: int, channels: int | None = None) -> None:
    if not isinstance(images, Tensor) or not images.is_floating_point():
        given = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"images must be a floating point tensor, not {given}")
    if images.ndim != 4 or (channels is not None and images.shape[1] != channels):
        raise ValueError(f"images must be (B, {channels or 'channels'}, H, W), not {tuple(images.shape)}")
    if min(images.shape[2:]) < minimum:
        height, width = images.shape[2:]
        raise ValueError(f"an image of {height} x {width} is too small: at least {minimum} x {minimum} is needed")
