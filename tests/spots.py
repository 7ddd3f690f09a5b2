"""A detector that sees painted spots as eyes, photos for it, and fixtures that put it in the real ones' place."""

from __future__ import annotations

import numpy as np
import pytest

from idemodel.faces import detectors
from idemodel.faces.alignment import Eyes, standard_eyes
from idemodel.faces.detectors import Sighting


class Spots:
    """A detector that sees eyes where a picture is red and green; blind when ``blind``."""

    name, extra, bias = "spots", "spots", standard_eyes()

    def find(self, image: np.ndarray) -> list[Sighting]:
        levels = image.astype(int)
        found = [self._centre(levels[..., channel] - levels[..., 1 - channel]) for channel in (0, 1)]
        if None in found:
            return []
        left, right = found
        return [Sighting(Eyes(left, right), (left + right) / 2, (0.0, 0.0, 9.0, 9.0), 1.0)]

    def why_missing(self) -> None:
        return None

    @staticmethod
    def _centre(difference: np.ndarray) -> complex | None:
        rows, columns = np.nonzero(difference > 128)
        return complex(columns.mean(), rows.mean()) if len(rows) else None


def spotted(height: int, width: int, eyes: Eyes, radius: float = 3) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    picture = np.zeros((height, width, 3), np.uint8)
    for channel, eye in enumerate((eyes.left, eyes.right)):
        picture[..., channel][np.hypot(columns - eye.real, rows - eye.imag) <= radius] = 255
    return picture


@pytest.fixture
def spots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors, "DETECTORS", {"spots": Spots})


@pytest.fixture
def no_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(module: str) -> str:
        return "not installed"

    monkeypatch.setattr(detectors, "_why_not_importable", not_installed)
