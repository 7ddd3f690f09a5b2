"""Tensors in [0, 1] to 8-bit images and back, in one rounding; knows no files and no networks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def as_images(planes: Tensor) -> NDArray[np.uint8]:
    """(B, 1 or 3, H, W) in [0, 1] to (B, H, W) or (B, H, W, 3) uint8, rounded, values outside clipped."""
    levels = (planes.detach().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu()
    images = levels[:, 0] if levels.shape[1] == 1 else levels.permute(0, 2, 3, 1)
    return np.ascontiguousarray(images.numpy())


def as_planes(image: NDArray[np.uint8]) -> Tensor:
    """(H, W) or (H, W, C) uint8 to (C, H, W) float32 in [0, 1]."""
    levels = torch.from_numpy(image)
    planes = levels[None] if levels.ndim == 2 else levels.permute(2, 0, 1)
    return planes.to(torch.float32) / 255.0
