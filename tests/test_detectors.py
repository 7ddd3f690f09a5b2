"""The real detectors: phantom faces are found where they are drawn, and the bias is what laboratory photos say."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from idemodel.faces.aligner import Aligner, AlignSettings
from idemodel.faces.alignment import Eyes, Similarity, standard_eyes, warp
from idemodel.faces.detectors import DETECTORS, Detector, Dlib
from idemodel.faces.search import find_faces
from idemodel.files.images import read_colour
from idemodel.files.pairs import images_by_stem
from idemodel.phantom import phantom_pairs

PHANTOMS = [pair.photo for pair in phantom_pairs(3, seed=11)]


@pytest.fixture(params=list(DETECTORS))
def detector(request: pytest.FixtureRequest) -> Detector:
    found = DETECTORS[request.param]()
    if why := found.why_missing():
        pytest.skip(f"{request.param}: {why}")
    return found


def off(eyes: Eyes, true: Eyes) -> float:
    """Of the worse eye, in eye distances."""
    return max(abs(eyes.left - true.left), abs(eyes.right - true.right)) / true.distance


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1), (-18, 1.4), (10, 0.5)])
def test_phantoms_are_found_turned_and_scaled(detector: Detector, degrees: float, scale: float) -> None:
    for photo in PHANTOMS:
        turn = complex(scale * np.exp(1j * np.radians(degrees)))
        move = Similarity(turn, 320 + 240j - turn * (100 + 125j))
        (found,) = find_faces(warp(photo, move, 480, 640, "edge"), detector)
        assert off(found.eyes, move.eyes(standard_eyes())) < 0.12


def test_a_picture_on_its_side_and_one_without_a_face(detector: Detector) -> None:
    (found,) = find_faces(np.ascontiguousarray(np.rot90(PHANTOMS[0])), detector)
    assert abs(abs(found.eyes.degrees) - 90) < 8
    assert find_faces(np.full((200, 200, 3), 127, np.uint8), detector) == []


def test_two_faces_are_two_the_larger_first(detector: Detector) -> None:
    small = warp(PHANTOMS[1], Similarity(0.8, 0), 250, 160, "edge")
    found = find_faces(np.hstack([small, PHANTOMS[0]]), detector)
    assert len(found) == 2 and found[0].eyes.distance > found[1].eyes.distance
    assert off(found[0].eyes, Similarity(1, 160).eyes(standard_eyes())) < 0.12


def test_threads_that_look_at_the_same_time_find_the_same(detector: Detector) -> None:
    photos = [pair.photo for pair in phantom_pairs(4, seed=3)]
    alone = [detector.find(photo) for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(detector.find, photos * 3))
    assert together == alone * 3 and any(alone)


def test_dlibs_detector_is_the_same_when_it_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dlib = pytest.importorskip("dlib")
    monkeypatch.setenv("IDESKETCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # what others kept among the temporary files is not found
    photo = next(iter(phantom_pairs(1, seed=3))).photo
    fresh = Dlib().find(photo)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    monkeypatch.setattr(dlib, "get_frontal_face_detector", lambda: pytest.fail("it is unpacked again"))
    assert Dlib().find(photo) == fresh != []


def test_half_a_face_is_refused(detector: Detector) -> None:
    half = np.ascontiguousarray(PHANTOMS[0][:, 78:])
    aligner = Aligner(AlignSettings(), detector)
    with pytest.raises(ValueError, match=r"cut by the border|no face found"):
        aligner.align(Path("half.png"), half, aligner.faces(Path("half.png"), half))


@pytest.mark.data
def test_the_bias_is_what_the_laboratory_photos_say(detector: Detector, shared_data: Path) -> None:
    """Measures ``bias`` again: what a detector adds to the true eyes of aligned photos is nothing after correction."""
    files = [path for part in ("train", "test") for path in images_by_stem(shared_data / part / "photo").values()][::4]
    faces = [find_faces(read_colour(file), detector) for file in files]
    assert [len(found) for found in faces] == [1] * len(files)
    standard = standard_eyes()
    left = np.array([found[0].eyes.left for found in faces]) - standard.left
    right = np.array([found[0].eyes.right for found in faces]) - standard.right
    assert abs(left.mean()) < 0.35 and abs(right.mean()) < 0.35, (left.mean(), right.mean())
    assert np.abs(left).max() < 6 and np.abs(right).max() < 6  # so that --align auto leaves every one alone
