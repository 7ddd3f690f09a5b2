"""SSIM, the structural similarity of one scale; owns the variant, scikit-image does the arithmetic."""

from __future__ import annotations

from idemodel.metrics.arguments import Grey, Plane, as_planes
from idemodel.metrics.kinds import Metric

MINIMUM = 11  # the Gaussian window


def ssim(synthesised: Grey, truth: Grey) -> float:
    """Structural similarity: Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 13(4), 2004.

    The variant of the authors' code: Gaussian window of 11 x 11 pixels with sigma 1.5, population covariance,
    K1 = 0.01, K2 = 0.03, range 255, mean over the pixels whose window lies inside the image, no downsampling
    first. Symmetric in its arguments.

    Parameters
    ----------
    synthesised, truth
        (H, W) uint8, at least 11 x 11.

    Returns
    -------
    float
        In [-1, 1]; 1 for identical images, constant ones too.

    Raises
    ------
    TypeError, ValueError
        See :func:`idemodel.metrics.arguments.as_planes`.
    """
    return _ssim(*as_planes("ssim", synthesised, truth, MINIMUM))


def _ssim(synthesised: Plane, truth: Plane) -> float:
    from skimage.metrics import structural_similarity  # half a second to import: only when it runs

    similarity = structural_similarity(
        synthesised, truth, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return min(1.0, max(-1.0, float(similarity)))


SSIM = Metric(
    name="ssim",
    label="SSIM",
    higher_is_better=True,
    range=(-1.0, 1.0),
    source="Wang et al. 2004; Gaussian 11 x 11, sigma 1.5, population covariance",
    minimum=MINIMUM,
    function=ssim,
)
