"""Every column of the golden figures, which public libraries computed."""

from __future__ import annotations

import pytest

from idemodel.files.images import read_grey
from idemodel.metrics import METRICS

TOLERANCE = {"scoot": 1e-5}
GOLDEN = [name for name in METRICS if name != "psnr"]  # a line of arithmetic, held to scikit-image in its own test


@pytest.mark.data
@pytest.mark.parametrize("name", GOLDEN)
def test_metric_meets_the_golden_column(name, shared_data, golden_metrics):
    for pair in golden_metrics["pairs"]:
        synthesised, truth = (read_grey(shared_data / pair[side]) for side in ("synthesised", "truth"))

        comp = METRICS[name].function(synthesised, truth)

        assert comp == pytest.approx(pair[name], abs=TOLERANCE.get(name, 1e-4)), pair


@pytest.mark.data
def test_every_golden_column_has_a_metric(golden_metrics):
    assert {key for pair in golden_metrics["pairs"] for key in pair} - {"synthesised", "truth"} == set(GOLDEN)
