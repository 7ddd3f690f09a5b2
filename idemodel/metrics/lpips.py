"""LPIPS, the learned perceptual distance: AlexNet or VGG-16 features and linear heads of a weights file."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from idekernels.errors import InputError
from idemodel.files.weights import filled, read_weights, shapes_of, take, without_memory
from idemodel.metrics.arguments import Grey, Plane, as_planes
from idemodel.metrics.kinds import NetworkMetric

if TYPE_CHECKING:
    import torch
    from torch import nn

MINIMUM = 32  # one pixel is left after the poolings
WANTED = (
    "one .safetensors or .pth file with torchvision's alexnet or vgg16 'features.*' and LPIPS 0.1's "
    "'lin0.model.1.weight' to 'lin4.model.1.weight'"
)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the three planes, on the range -1 to 1
EPSILON = 1e-10


def load_lpips(path: str | Path) -> Callable[[Grey, Grey], float]:
    """Load the network of LPIPS 0.1 and give its distance: Zhang et al., CVPR 2018.

    The file holds two sets of tensors under the names that their makers gave them: the convolutions
    ``features.N.weight`` and ``features.N.bias`` of torchvision's ``alexnet`` or ``vgg16`` (which of the two
    is read off the shape of the first), and the heads ``lin0.model.1.weight`` to ``lin4.model.1.weight`` of
    the authors' ``lpips/weights/v0.1/alex.pth`` or ``vgg.pth``. Other names are ignored. Where both are at
    hand::

        tensors = torch.load("alexnet-owt-7be5be79.pth", weights_only=True)
        tensors |= torch.load("alex.pth", weights_only=True)
        torch.save(tensors, "lpips-alex.pth")

    The distance of two (H, W) uint8 images of at least 32 x 32: grey is repeated in three planes, scaled to
    -1 to 1, shifted and scaled; features of five layers are normalised over the channels, their squared
    differences weighted by the heads and averaged over the pixels, the layers summed. In [0, inf) for the
    published, non-negative heads; 0 for identical images; symmetric; smaller is better.

    Raises
    ------
    InputError
        The file is missing, unreadable, or holds something else.
    """
    file = Path(path)
    tensors = read_weights(file, WANTED)
    architecture = _architecture(tensors, file)
    features = without_memory(lambda: _features(architecture))
    heads = {f"lin{layer}.model.1.weight": _head_shape(width) for layer, width in enumerate(architecture.widths)}
    tensors = take(tensors, shapes_of(features, "features.") | heads, file, WANTED)
    features = filled(features, tensors, "features.")
    network = _Lpips(features, architecture.taps, [tensors[name] for name in heads])

    def lpips(synthesised: Grey, truth: Grey) -> float:
        return network.distance(*as_planes("lpips", synthesised, truth, MINIMUM))

    return lpips


class _Convolution(NamedTuple):
    """One convolution, always followed by a ReLU."""

    before: int
    width: int
    kernel: int
    stride: int
    padding: int


_POOL = None  # a max pooling among the layers


@dataclass(frozen=True)
class _Architecture:
    """A torchvision backbone: its layers, which five ReLUs are compared, and their channels."""

    layers: tuple[_Convolution | None, ...]
    pool: tuple[int, int]  # kernel, stride
    taps: tuple[int, ...]
    widths: tuple[int, ...]


def _alexnet() -> _Architecture:
    layers = (
        _Convolution(3, 64, 11, 4, 2),
        _POOL,
        _Convolution(64, 192, 5, 1, 2),
        _POOL,
        _Convolution(192, 384, 3, 1, 1),
        _Convolution(384, 256, 3, 1, 1),
        _Convolution(256, 256, 3, 1, 1),
    )
    return _Architecture(layers, pool=(3, 2), taps=(1, 4, 7, 9, 11), widths=(64, 192, 384, 256, 256))


def _vgg16() -> _Architecture:
    layers: list[_Convolution | None] = []
    before = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers.append(_Convolution(before, width, 3, 1, 1))
            before = width
        layers.append(_POOL)
    taps, widths = (3, 8, 15, 22, 29), (64, 128, 256, 512, 512)
    return _Architecture(tuple(layers[:-1]), pool=(2, 2), taps=taps, widths=widths)


_ARCHITECTURES: dict[tuple[int, ...], Callable[[], _Architecture]] = {  # by the shape of the first convolution
    (64, 3, 11, 11): _alexnet,
    (64, 3, 3, 3): _vgg16,
}


def _architecture(tensors: dict[str, torch.Tensor], path: Path) -> _Architecture:
    first = tensors.get("features.0.weight")
    if first is None or tuple(first.shape) not in _ARCHITECTURES:
        raise InputError(f"{path}: its features.0.weight is missing or of neither network; wanted is {WANTED}")
    return _ARCHITECTURES[tuple(first.shape)]()


def _features(architecture: _Architecture) -> nn.Sequential:
    """The backbone, its layers numbered as torchvision's ``features``."""
    from torch import nn

    layers: list[nn.Module] = []
    for layer in architecture.layers:
        if layer is _POOL:
            layers.append(nn.MaxPool2d(*architecture.pool))
        else:
            layers += [nn.Conv2d(*layer), nn.ReLU()]
    return nn.Sequential(*layers)


def _head_shape(width: int) -> torch.Size:
    import torch

    return torch.Size((1, width, 1, 1))


@dataclass(frozen=True)
class _Lpips:
    """Backbone, the numbers of the layers that are compared, and a (1, C, 1, 1) head for each of them."""

    features: nn.Sequential
    taps: tuple[int, ...]
    heads: list[torch.Tensor]

    def distance(self, synthesised: Plane, truth: Plane) -> float:
        import torch

        with torch.inference_mode():
            images = torch.stack([_scaled(synthesised), _scaled(truth)])
            distance, layer = 0.0, 0
            for index, module in enumerate(self.features):
                images = module(images)
                if index in self.taps:
                    units = images / (images.square().sum(dim=1, keepdim=True).sqrt() + EPSILON)
                    difference = (units[:1] - units[1:]).square()
                    distance += float((difference * self.heads[layer]).sum(dim=1).mean())
                    layer += 1
        return distance


def _scaled(image: Plane) -> torch.Tensor:
    """(3, H, W) float32 with the planes' shift and scale."""
    import torch

    grey = torch.from_numpy(image).float() / 127.5 - 1.0
    return (grey[None] - torch.tensor(SHIFT)[:, None, None]) / torch.tensor(SCALE)[:, None, None]


LPIPS = NetworkMetric(
    name="lpips",
    label="LPIPS",
    higher_is_better=False,
    range=(0.0, math.inf),
    source="Zhang et al. 2018; version 0.1, grey in three planes",
    minimum=MINIMUM,
    weights="lpips",
    wanted=WANTED,
    load=load_lpips,
)
