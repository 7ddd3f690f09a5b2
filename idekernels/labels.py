"""Weights of candidates that belief propagation chose or believes in, of NumPy's arrays or a device's."""

from __future__ import annotations

from typing import Any

import numpy as np

from idekernels.arguments import namespace

Array = Any


def weights_of(labels: Array, beliefs: Array, temperature: float) -> Array:
    """Weights (B, N, K) float32: one at the label, or where ``temperature`` is above 0 softmax(-beliefs / temperature).

    labels : (B, N) int32. beliefs : (B, N, K) float32.
    """
    xp = namespace(labels)
    if temperature > 0:
        likely = xp.exp((beliefs.min(axis=-1, keepdims=True) - beliefs).astype(np.float64) / temperature)
        return (likely / likely.sum(axis=-1, keepdims=True)).astype(np.float32)
    return (xp.arange(beliefs.shape[-1]) == labels[..., None]).astype(np.float32)
