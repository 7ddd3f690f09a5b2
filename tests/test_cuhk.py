"""The CUHK student pairs, where they are: 88 in the bank, 70 tested, and the SSIM that a plain prototype reached."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from idecli.main import run
from idemodel.files.images import read_grey
from idemodel.metrics import ssim

PROTOTYPE = 0.609  # intensity, K 15, local weights, feathered


@pytest.mark.data
@pytest.mark.slow
def test_mwf_is_no_worse_than_the_prototype(shared_data: Path, tmp_path: Path) -> None:
    bank, out = tmp_path / "bank.h5", tmp_path / "out"
    assert run(["bank", "build", str(shared_data / "train"), str(bank)]) == 0
    photos = str(shared_data / "test" / "photo")
    assert run(["coarse", str(bank), photos, "-o", str(out), "--normalise", "none"]) == 0

    truths = sorted((shared_data / "test" / "sketch").iterdir())
    scores = [ssim(read_grey(out / truth.name), read_grey(truth)) for truth in truths]

    assert len(scores) == 70
    assert np.mean(scores) >= PROTOTYPE
