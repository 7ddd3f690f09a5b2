"""FID, the Fréchet distance of two sets of images: features by a weights file, the distance without sqrtm."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.linalg

from idemodel.files.weights import filled, read_weights, shapes_of, take, without_memory
from idemodel.metrics.arguments import Grey, as_plane
from idemodel.metrics.kinds import Features, SetMetric

SIDE = 299  # pixels of the network's input
MINIMUM = 1
WANTED = (
    "pytorch-fid's pt_inception-2015-12-05-6726825d.pth (or the same tensors as .safetensors): "
    "Inception-v3 under torchvision's names"
)


def load_inception(path: str | Path) -> Callable[[Grey], Features]:
    """Load Inception-v3 as the FID uses it, and give the function image -> features.

    The file is pytorch-fid's ``pt_inception-2015-12-05-6726825d.pth``, for figures that compare with the
    literature's; torchvision's ``inception_v3`` has the same names and is read too, its figures differ. Names
    that are not needed (``fc.*``, ``AuxLogits.*``) are ignored.

    The function takes (H, W) uint8, repeats grey in three planes, scales to 299 x 299 (bilinear, no
    antialiasing, as pytorch-fid) and to -1 to 1, and returns (2048,) float64.

    Raises
    ------
    InputError
        The file is missing, unreadable, or holds something else.
    """
    import torch
    from torch.nn import functional

    from idemodel.metrics.inception import Inception

    file = Path(path)
    empty = without_memory(Inception)
    network = filled(empty, take(read_weights(file, WANTED), shapes_of(empty), file, WANTED))

    def features(image: Grey) -> Features:
        grey = torch.from_numpy(as_plane("fid", image, MINIMUM)).float() / 127.5 - 1.0
        planes = grey[None, None].expand(1, 3, -1, -1)
        with torch.inference_mode():
            scaled = functional.interpolate(planes, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
            return network(scaled)[0].double().numpy()

    return features


def frechet_distance(synthesised: Features, truth: Features) -> float:
    """Fréchet distance of two sets of features: Heusel et al., NeurIPS 2017, equation 6.

    ``|m_1 - m_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))`` with unbiased covariances. With A_1, A_2 the centred
    features over ``sqrt(n - 1)``, S = A^T A, and the eigenvalues of S_1 S_2 are the squared singular values
    of ``A_1 A_2^T``; so the trace of the root is the sum of those singular values. That is exact for singular
    covariances too (fewer images than features), where a matrix square root fails. Symmetric; smaller is
    better.

    Parameters
    ----------
    synthesised, truth
        (n_1, d) and (n_2, d) float64, at least two rows each.

    Returns
    -------
    float
        In [0, inf); 0 for equal sets.

    Raises
    ------
    ValueError
        Not two-dimensional, different d, fewer than two rows, or values that are not finite.
    """
    sets = np.asarray(synthesised, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    for features in sets:
        if features.ndim != 2 or features.shape[0] < 2 or features.shape[1] != sets[0].shape[1]:
            raise ValueError(
                f"fid: two sets of features are (n, d) with n >= 2 and one d, not {sets[0].shape} and {sets[1].shape}"
            )
        if not np.isfinite(features).all():
            raise ValueError("fid: features that are not finite; is this the right weights file?")
    first, second = (_root(features) for features in sets)
    mean = float(np.sum((sets[0].mean(axis=0) - sets[1].mean(axis=0)) ** 2))
    spread = float(np.sum(first**2) + np.sum(second**2))
    return max(0.0, mean + spread - 2.0 * float(scipy.linalg.svdvals(first @ second.T).sum()))


def _root(features: Features) -> Features:
    """A with A^T A the covariance, at most d rows."""
    centred = (features - features.mean(axis=0)) / np.sqrt(features.shape[0] - 1)
    if centred.shape[0] > centred.shape[1]:
        return scipy.linalg.qr(centred, mode="r")[0][: centred.shape[1]]
    return centred


FID = SetMetric(
    name="fid",
    label="FID",
    higher_is_better=False,
    range=(0.0, math.inf),
    source="Heusel et al. 2017; pool3 of pytorch-fid's Inception-v3, grey in three planes",
    minimum=MINIMUM,
    weights="inception",
    wanted=WANTED,
    load=load_inception,
    compare=frechet_distance,
)
