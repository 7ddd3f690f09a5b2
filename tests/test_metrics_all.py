"""What holds for every metric that needs no weights: range, identity, symmetry, decided cases, clear errors."""

from __future__ import annotations

import ast
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import gaussian_filter

import idemodel.metrics
from idemodel.metrics import DESCRIPTIONS, METRICS

SYMMETRIC = sorted(set(METRICS) - {"vif"})
PERFECT = {name: 1.0 if metric.higher_is_better else 0.0 for name, metric in METRICS.items()} | {"psnr": 100.0}


def smooth_image(seed, shape=(176, 170)):
    """A random image with structure on several scales."""
    random = np.random.default_rng(seed)
    layers = sum(scale * gaussian_filter(random.normal(size=shape), scale) for scale in (1, 3, 9, 20))
    return np.uint8(255 * (layers - layers.min()) / np.ptp(layers))


def spread_to(block, side):
    """A small hostile pattern laid out as tiles over a square of the metric's least size and a bit."""
    rows, columns = side + 3, side + 4
    return np.tile(block, (-(-rows // block.shape[0]), -(-columns // block.shape[1])))[:rows, :columns]


patterns = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.sampled_from([0, 1, 127, 254, 255])
)


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=12, deadline=None)
@given(first=patterns, second=patterns)
def test_hostile_images_give_finite_scores_in_the_documented_range(name, first, second):
    metric = METRICS[name]
    synthesised, truth = spread_to(first, metric.minimum), spread_to(second, metric.minimum)

    score = metric.function(synthesised, truth)

    assert isinstance(score, float) and math.isfinite(score)
    assert metric.range[0] <= score <= metric.range[1]
    assert metric.function(truth, truth) == pytest.approx(PERFECT[name], abs=1e-12)


@pytest.mark.parametrize("name", SYMMETRIC)
@settings(max_examples=8, deadline=None)
@given(first=patterns, second=patterns)
def test_symmetric_metrics_are_symmetric(name, first, second):
    metric = METRICS[name]
    synthesised, truth = spread_to(first, metric.minimum), spread_to(second, metric.minimum)

    assert metric.function(synthesised, truth) == pytest.approx(metric.function(truth, synthesised), abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("image", [smooth_image(1), *(np.full((161, 161), level, np.uint8) for level in (0, 93, 255))])
def test_an_image_scores_perfectly_against_itself(name, image):
    assert METRICS[name].function(image, image.copy()) == PERFECT[name]


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(("first", "second"), [(0, 255), (255, 0), (100, 101)])
def test_different_constant_images_have_a_score(name, first, second):
    shape = (180, 165)

    score = METRICS[name].function(np.full(shape, first, np.uint8), np.full(shape, second, np.uint8))

    assert METRICS[name].range[0] <= score <= METRICS[name].range[1]


@pytest.mark.parametrize("name", METRICS)
def test_a_constant_image_against_a_real_one_scores_worse_than_itself(name):
    image, flat = smooth_image(2), np.full((176, 170), 128, np.uint8)

    for pair in ((image, flat), (flat, image)):
        score = METRICS[name].function(*pair)
        assert METRICS[name].range[0] <= score <= METRICS[name].range[1]
        assert score != PERFECT[name]


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("shift", [(1, 0), (0, 1), (-1, -1)])
def test_a_shift_by_a_pixel_is_between_identity_and_a_stranger(name, shift):
    image = smooth_image(3)
    stranger = np.random.default_rng(4).integers(0, 256, image.shape, dtype=np.uint8)
    sign = 1.0 if METRICS[name].higher_is_better else -1.0

    shifted = sign * METRICS[name].function(np.roll(image, shift, axis=(0, 1)), image)

    assert sign * METRICS[name].function(stranger, image) < shifted < sign * PERFECT[name]


@pytest.mark.parametrize("name", METRICS)
def test_more_noise_scores_worse(name):
    image = smooth_image(5)
    noise = np.random.default_rng(0).normal(size=image.shape)
    sign = 1.0 if METRICS[name].higher_is_better else -1.0

    scores = [
        sign * METRICS[name].function(np.uint8(np.clip(image + level * noise, 0, 255)), image) for level in (5, 15, 45)
    ]

    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("name", METRICS)
def test_the_least_size_is_scored_and_anything_smaller_refused(name):
    metric = METRICS[name]
    least = smooth_image(6, (metric.minimum, metric.minimum))

    assert math.isfinite(metric.function(least, least[::-1].copy()))
    with pytest.raises(ValueError, match=f"at least {metric.minimum} x {metric.minimum}"):
        metric.function(least[:-1], least[:-1])
    with pytest.raises(ValueError, match=f"at least {metric.minimum} x {metric.minimum}"):
        metric.function(least[:, :-1], least[:, :-1])


@pytest.mark.parametrize("name", METRICS)
def test_wrong_arguments_are_refused_in_words(name):
    image = smooth_image(7)

    with pytest.raises(ValueError, match=r"176 x 169 and the truth 176 x 170"):
        METRICS[name].function(image[:, 1:], image)
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        METRICS[name].function(np.stack([image] * 3, axis=2), image)
    with pytest.raises(TypeError, match="uint8, not float64"):
        METRICS[name].function(image / 255.0, image)
    with pytest.raises(TypeError, match="uint8, not list"):
        METRICS[name].function(image.tolist(), image)


@pytest.mark.parametrize("name", METRICS)
def test_arguments_are_left_as_they_are_and_strides_do_not_matter(name):
    image, other = smooth_image(8), smooth_image(9)
    flipped = image[::-1, ::-1]
    image.setflags(write=False)
    before = other.copy()

    score = METRICS[name].function(flipped, other)

    assert score == METRICS[name].function(np.ascontiguousarray(flipped), other)
    assert np.array_equal(other, before)


def test_table_and_public_names():
    assert list(DESCRIPTIONS) == ["ssim", "ms_ssim", "fsim", "vif", "gmsd", "scoot", "psnr", "lpips", "fid"]
    assert all(name == description.name for name, description in DESCRIPTIONS.items())
    assert {name: description.higher_is_better for name, description in DESCRIPTIONS.items()} == {
        "ssim": True, "ms_ssim": True, "fsim": True, "vif": True, "scoot": True, "psnr": True,
        "gmsd": False, "lpips": False, "fid": False,
    }  # fmt: skip
    for name in METRICS:
        assert METRICS[name].function is getattr(idemodel.metrics, name)
    assert all(hasattr(idemodel.metrics, name) for name in idemodel.metrics.__all__)


def test_metrics_without_weights_never_load_torch():
    code = (
        "import sys, numpy as np, idemodel.metrics as m\n"
        "image = np.arange(161 * 161).reshape(161, 161).astype(np.uint8)\n"
        "[metric.function(image, image.T.copy()) for metric in m.METRICS.values()]\n"
        "sys.exit('torch' in sys.modules or 'torchmetrics' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_kind_has_its_view_of_the_table():
    kinds = (METRICS, idemodel.metrics.NETWORK_METRICS, idemodel.metrics.SET_METRICS)
    assert [name for kind in kinds for name in kind] == list(DESCRIPTIONS)
    assert {**kinds[1], **kinds[2]} == idemodel.metrics.WITH_WEIGHTS


def test_the_command_and_the_reports_know_no_metric_by_name():
    """A metric is its module and its row: a name anywhere else would be a third place to change."""
    root = Path(__file__).parents[1]
    files = [*(root / "idemodel/evaluation").rglob("*.py"), *(root / "cli").glob("*.py")]
    assert len(files) > 20
    for file in files:
        words = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
        assert not words & set(DESCRIPTIONS), file
    for template in ("report.html.jinja", "page.html.jinja"):
        text = (root / "idemodel/evaluation/templates" / template).read_text().replace("#sort=ssim:descending", "")
        assert not {name for name in DESCRIPTIONS if re.search(rf"\b{name}\b", text)}
