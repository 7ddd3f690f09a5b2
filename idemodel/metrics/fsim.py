"""FSIM, the feature similarity: phase congruency by a log-Gabor bank (kept per size), and gradients."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from idemodel.metrics.arguments import Grey, Plane, as_planes
from idemodel.metrics.filters import block_means, gradient_magnitude, ratio_similarity
from idemodel.metrics.kinds import Metric

MINIMUM = 16
SCALES, ORIENTATIONS = 4, 4
SHORTEST_WAVELENGTH, WAVELENGTH_RATIO = 6.0, 2.0  # pixels; each scale's to the one before
BANDWIDTH = 0.55  # sigma over the centre frequency, on the log axis
ANGULAR_SIGMA = np.pi / ORIENTATIONS / 1.2
LOW_PASS_CUTOFF, LOW_PASS_ORDER = 0.45, 15  # Butterworth, cycles per pixel
NOISE_DEVIATIONS, NOISE_DIVISOR = 2.0, 1.7  # k, and the empirical rescaling of the threshold in the original
EPSILON = 1e-4
T1, T2 = 0.85, 160.0  # stability of the two similarities
SCHARR = (3 / 16, 10 / 16, 3 / 16)


def fsim(synthesised: Grey, truth: Grey) -> float:
    """Feature similarity of grey images: Zhang, Zhang, Mou and Zhang, IEEE TIP 20(8), 2011.

    The authors' ``FeatureSIM`` for luminance: images whose shorter side is S are reduced by block means of
    max(1, round(S / 256)) pixels; phase congruency after Kovesi (4 scales, 4 orientations, shortest
    wavelength 6, ratio 2, k = 2); Scharr gradients over a border of zeros; T1 = 0.85, T2 = 160; the mean of
    the product of both similarities, weighted by the larger phase congruency. Symmetric.

    Where neither image has any phase congruency (both constant), all weights are 0. Decided: the weights are
    then equal, so that identical images score 1.

    Parameters
    ----------
    synthesised, truth
        (H, W) uint8, at least 16 x 16.

    Returns
    -------
    float
        In (0, 1]; 1 for identical images, constant ones too.

    Raises
    ------
    TypeError, ValueError
        See :func:`idemodel.metrics.arguments.as_planes`.
    """
    return _fsim(*as_planes("fsim", synthesised, truth, MINIMUM))


def _fsim(synthesised: Plane, truth: Plane) -> float:
    factor = max(1, int(min(truth.shape) / 256 + 0.5))
    first, second = block_means(synthesised, factor), block_means(truth, factor)
    congruency = phase_congruency(first), phase_congruency(second)
    gradients = gradient_magnitude(first, SCHARR), gradient_magnitude(second, SCHARR)
    similarity = ratio_similarity(*congruency, T1) * ratio_similarity(*gradients, T2)
    weights = np.maximum(*congruency)
    total = float(weights.sum())
    score = float((similarity * weights).sum()) / total if total > 0.0 else float(similarity.mean())
    return min(1.0, score)


def phase_congruency(image: Plane) -> Plane:
    """Phase congruency of Kovesi's ``phasecong2``, as in the authors' FSIM.

    Parameters
    ----------
    image
        (H, W) float64 in [0, 255].

    Returns
    -------
    (H, W) float64 in [0, 1]; 0 everywhere for a constant image
    """
    if image.min() == image.max():
        return np.zeros_like(image)
    bank = log_gabor_bank(*image.shape)
    spectrum = scipy.fft.fft2(image)
    energy_sum, amplitude_sum = np.zeros_like(image), np.zeros_like(image)
    for filters, noise_gain in zip(bank.filters, bank.noise_gain, strict=True):
        response = scipy.fft.ifft2(spectrum * filters)  # (SCALES, H, W): even part real, odd part imaginary
        amplitude = np.abs(response)
        mean = response.sum(axis=0)
        mean /= np.abs(mean) + EPSILON
        aligned = response * mean.conj()  # along the mean phase: real part; across it: imaginary part
        energy = (aligned.real - np.abs(aligned.imag)).sum(axis=0)
        noise_energy = float(np.median(amplitude[0] ** 2)) / np.log(2.0) * noise_gain
        energy_sum += np.maximum(energy - _noise_threshold(noise_energy), 0.0)
        amplitude_sum += amplitude.sum(axis=0)
    return np.divide(energy_sum, amplitude_sum, out=np.zeros_like(image), where=amplitude_sum > 0.0)


def _noise_threshold(noise_energy: float) -> float:
    """Mean and k deviations of the Rayleigh distribution of the noise, tau^2 = ``noise_energy``."""
    spread = np.sqrt(np.pi / 2.0) + NOISE_DEVIATIONS * np.sqrt(2.0 - np.pi / 2.0)
    return float(np.sqrt(noise_energy) * spread / NOISE_DIVISOR)


@dataclass(frozen=True)
class LogGaborBank:
    """The filters of one image size in the Fourier domain, and what the noise estimate needs of them.

    ``filters`` (ORIENTATIONS, SCALES, H, W) float64; ``noise_gain`` (ORIENTATIONS,) float64 is
    ``H W sum (sum_s a_s)^2 / sum f^2``: a_s the real part of the inverse transform of filter s (together the
    original's ``sum a_i^2 + 2 sum_(i<j) a_i a_j``), f the finest filter.
    """

    filters: NDArray[np.float64]
    noise_gain: NDArray[np.float64]


@functools.lru_cache(maxsize=4)
def log_gabor_bank(height: int, width: int) -> LogGaborBank:
    """The log-Gabor bank of FSIM for images of ``height`` x ``width``."""
    row, column = np.meshgrid(_frequencies(height), _frequencies(width), indexing="ij")
    radius, angle = np.hypot(row, column), np.arctan2(-row, column)
    low_pass = 1.0 / (1.0 + (radius / LOW_PASS_CUTOFF) ** (2 * LOW_PASS_ORDER))
    radius[0, 0] = 1.0  # the logarithm of 0; the filters are 0 there
    wavelengths = SHORTEST_WAVELENGTH * WAVELENGTH_RATIO ** np.arange(SCALES)
    radial = np.exp(-(np.log(radius * wavelengths[:, None, None]) ** 2) / (2.0 * np.log(BANDWIDTH) ** 2)) * low_pass
    radial[:, 0, 0] = 0.0
    turned = angle - (np.arange(ORIENTATIONS) * np.pi / ORIENTATIONS)[:, None, None]
    distance = np.abs(np.arctan2(np.sin(turned), np.cos(turned)))
    angular = np.exp(-(distance**2) / (2.0 * ANGULAR_SIGMA**2))
    filters = angular[:, None] * radial
    impulse = scipy.fft.ifft2(filters).real.sum(axis=1)
    gain = height * width * (impulse**2).sum(axis=(1, 2)) / (filters[:, 0] ** 2).sum(axis=(1, 2))
    return LogGaborBank(filters, gain)


def _frequencies(side: int) -> NDArray[np.float64]:
    """Cycles per pixel, zero first; an odd side is scaled by ``side - 1`` as in the original."""
    return scipy.fft.ifftshift(np.arange(side) - side // 2) / (side - side % 2)


FSIM = Metric(
    name="fsim",
    label="FSIM",
    higher_is_better=True,
    range=(0.0, 1.0),
    source="Zhang et al. 2011; luminance, the authors' constants",
    minimum=MINIMUM,
    function=fsim,
)
