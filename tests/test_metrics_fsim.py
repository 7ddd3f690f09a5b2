"""FSIM against a twin written loop by loop from the authors' description, and what phase congruency must do."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from test_metrics_all import smooth_image
from test_metrics_gmsd import conv2_same

from idemodel.metrics import fsim
from idemodel.metrics.fsim import phase_congruency


def naive_frequency(side):
    half = (side - 1) / 2 if side % 2 else side / 2
    values = [(i - half) / (side - 1 if side % 2 else side) for i in range(side)]
    return np.fft.ifftshift(values)


@functools.cache
def naive_filter(shape, scale, orientation):
    """One log-Gabor filter, value by value."""
    rows, columns = naive_frequency(shape[0]), naive_frequency(shape[1])
    centre, angle = 1 / (6 * 2**scale), orientation * math.pi / 4
    result = np.zeros(shape)
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            if i == j == 0:
                continue
            radius, theta = math.hypot(x, y), math.atan2(-y, x)
            radial = math.exp(-(math.log(radius / centre) ** 2) / (2 * math.log(0.55) ** 2))
            radial /= 1 + (radius / 0.45) ** 30
            ds = math.sin(theta) * math.cos(angle) - math.cos(theta) * math.sin(angle)
            dc = math.cos(theta) * math.cos(angle) + math.sin(theta) * math.sin(angle)
            sigma = math.pi / 4 / 1.2
            result[i, j] = radial * math.exp(-(abs(math.atan2(ds, dc)) ** 2) / (2 * sigma**2))
    return result


def naive_phase_congruency(image):
    spectrum = np.fft.fft2(image)
    energy_all, amplitude_all = np.zeros(image.shape), np.zeros(image.shape)
    for orientation in range(4):
        filters = [naive_filter(image.shape, scale, orientation) for scale in range(4)]
        impulses = [np.real(np.fft.ifft2(each)) * math.sqrt(image.size) for each in filters]
        responses = [np.fft.ifft2(spectrum * each) for each in filters]
        even, odd = sum(np.real(each) for each in responses), sum(np.imag(each) for each in responses)
        length = np.sqrt(even**2 + odd**2) + 1e-4
        mean_even, mean_odd = even / length, odd / length
        energy = np.zeros(image.shape)
        for each in responses:
            e, o = np.real(each), np.imag(each)
            energy += e * mean_even + o * mean_odd - np.abs(e * mean_odd - o * mean_even)
        power = -np.median(np.abs(responses[0]) ** 2) / math.log(0.5) / np.sum(filters[0] ** 2)
        squares = sum(np.sum(impulse**2) for impulse in impulses)
        products = sum(np.sum(impulses[i] * impulses[j]) for i in range(3) for j in range(i + 1, 4))
        tau = math.sqrt((2 * power * squares + 4 * power * products) / 2)
        threshold = (tau * math.sqrt(math.pi / 2) + 2 * math.sqrt((2 - math.pi / 2) * tau**2)) / 1.7
        energy_all += np.maximum(energy - threshold, 0)
        amplitude_all += sum(np.abs(each) for each in responses)
    return energy_all / amplitude_all


def naive_fsim(first, second):
    factor = max(1, int(np.floor(min(first.shape) / 256 + 0.5)))
    scharr = np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]]) / 16
    pcs, gradients = [], []
    for image in (first.astype(np.float64), second.astype(np.float64)):
        small = conv2_same(image, np.full((factor, factor), 1 / factor**2))[::factor, ::factor]
        pcs.append(naive_phase_congruency(small))
        gradients.append(np.sqrt(conv2_same(small, scharr) ** 2 + conv2_same(small, scharr.T) ** 2))
    pc = (2 * pcs[0] * pcs[1] + 0.85) / (pcs[0] ** 2 + pcs[1] ** 2 + 0.85)
    gradient = (2 * gradients[0] * gradients[1] + 160) / (gradients[0] ** 2 + gradients[1] ** 2 + 160)
    weight = np.maximum(pcs[0], pcs[1])
    return np.sum(pc * gradient * weight) / np.sum(weight)


@pytest.mark.parametrize("shape", [(16, 16), (40, 33), (31, 45)])
def test_fsim_equals_its_definition(shape):
    first, second = smooth_image(1, shape), smooth_image(2, shape)

    assert fsim(first, second) == pytest.approx(naive_fsim(first, second), abs=1e-9)


def test_large_images_are_reduced_first():
    first, second = smooth_image(1, (384, 384)), smooth_image(2, (384, 384))

    assert fsim(first, second) == pytest.approx(naive_fsim(first, second), abs=1e-9)


def test_phase_congruency_lies_between_0_and_1_and_finds_the_edge():
    image = np.zeros((64, 64))
    image[:, 32:] = 200.0

    congruency = phase_congruency(image)

    assert congruency.min() >= 0.0 and congruency.max() <= 1.0 + 1e-12
    row = congruency[32, 8:56]  # the border is an edge too, the transform being periodic
    assert row.argmax() + 8 in (31, 32)
    assert row.max() > 2 * np.median(row)


def test_phase_congruency_does_not_depend_on_contrast():
    image = smooth_image(3, (48, 48)).astype(np.float64)

    np.testing.assert_allclose(phase_congruency(image), phase_congruency(0.25 * image + 40), atol=1e-3)


def test_a_constant_image_has_no_phase_congruency():
    assert not phase_congruency(np.full((20, 21), 255.0)).any()
