"""Photos made ready for a bank: path, bytes or array alike; aligned, normalised, put back; nothing is printed."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from spots import Spots, no_detector, spots, spotted  # noqa: F401 - fixtures

from benchmarks.alterations import altered
from idekernels import BankSettings, PatchBank
from idekernels.bank import SKETCH_TO_PHOTO
from idekernels.errors import InputError
from idemodel import preparation
from idemodel.faces.aligner import is_standard
from idemodel.faces.alignment import Eyes, Similarity, standard_eyes, warp
from idemodel.faces.detectors import any_detector, open_detector
from idemodel.faces.normalise import Normaliser
from idemodel.files.images import MAX_PIXELS, read_colour, write_image
from idemodel.phantom import phantom_pairs
from idemodel.preparation import PhotoPreparer, PreparationSettings, PreparedPhoto, number_in_bank, read_photo

FILE = Path("photo.png")
PHANTOMS = [pair.photo for pair in phantom_pairs(3)]
PHANTOM = PHANTOMS[0]
FRAME = np.full((600, 800, 3), 128, np.uint8)
ELSEWHERE = Eyes(200 + 200j, 290 + 190j)  # of a spotted photo that must be moved


def bank_of(height: int = 250, width: int = 200, settings: BankSettings | None = None) -> PatchBank:
    blank = np.full((height, width), 90, np.uint8)
    return PatchBank.from_images([blank], [blank], settings=settings)


def preparer(height: int = 250, width: int = 200, align: str = "auto", **others: Any) -> PhotoPreparer:
    return PhotoPreparer(bank_of(height, width), PreparationSettings(align, **{"normalise": "none", **others}))


def phantom_bank(planes: tuple[str, ...] = ("intensity",), direction: str = "photo-to-sketch") -> PatchBank:
    pairs = list(phantom_pairs(6, height=125, width=100, seed=5))
    settings = BankSettings(8, 4, 2, planes, (1,) * len(planes), direction)
    return PatchBank.from_images([p.photo for p in pairs], [p.sketch for p in pairs], settings=settings)


def written(folder: Path, image: np.ndarray) -> Path:
    write_image(folder / "photo.png", image)
    return folder / "photo.png"


def same(one: PreparedPhoto, other: PreparedPhoto) -> None:
    np.testing.assert_array_equal(one.image, other.image)
    assert (one.move, one.face, one.steps, one.warnings) == (other.move, other.face, other.steps, other.warnings)


@pytest.fixture(autouse=True)
def silent(capsys: pytest.CaptureFixture[str]) -> Any:
    """Nothing that is tested here prints."""
    yield
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("spots")
@pytest.mark.parametrize("picture", [spotted(400, 500, ELSEWHERE), spotted(250, 200, standard_eyes())])
def test_path_bytes_and_array_give_the_same_photo(tmp_path: Path, picture: np.ndarray) -> None:
    file = written(tmp_path, picture)
    ready = preparer()
    by_path = ready.prepare(file)
    assert by_path.name == str(file) and by_path.source == file and by_path.image.shape == (250, 200, 3)
    for given in (str(file), file.read_bytes(), picture):
        made = ready.prepare(given)
        same(made, by_path)
        np.testing.assert_array_equal(made.frame(), picture)
        same(pickle.loads(pickle.dumps(made)), by_path)
    assert ready.prepare(picture).name == "the photo" and ready.prepare(picture, name="Ann").name == "Ann"


def test_every_kind_of_file_is_the_same_as_bytes(tmp_path: Path) -> None:
    """Turned, transparent, compressed and grey ones too."""
    turned = Image.Exif()
    turned[0x0112] = 6
    for name, picture, options in (
        ("a.jpg", Image.fromarray(PHANTOM), {"exif": turned}),
        ("b.png", Image.fromarray(PHANTOM).convert("LA"), {}),
        ("c.tif", Image.fromarray(PHANTOM), {"compression": "tiff_lzw", "exif": turned}),
        ("d.bmp", Image.fromarray(PHANTOM).convert("L"), {}),
    ):
        picture.save(tmp_path / name, **options)
        read = read_photo(tmp_path / name)
        np.testing.assert_array_equal(read, read_photo((tmp_path / name).read_bytes()))
        assert read.shape == ((200, 250, 3) if options else (250, 200, 3))


@pytest.mark.usefixtures("no_detector")
def test_grey_arrays_become_colour_and_an_array_that_fits_is_not_copied() -> None:
    ready = preparer()
    made = ready.prepare(PHANTOM)
    assert made.image is PHANTOM and made.frame() is PHANTOM and made.move is made.face is made.eyes is None
    grey = np.ascontiguousarray(PHANTOM[..., 0])
    np.testing.assert_array_equal(ready.prepare(grey).image, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        (np.zeros((250, 200, 3)), TypeError, "Ann: is an array of float64; an image is uint8"),
        (np.zeros((250, 200, 4), np.uint8), ValueError, r"Ann: is an array of shape \(250, 200, 4\)"),
        (np.zeros((0, 200, 3), np.uint8), ValueError, "Ann: is an array of shape"),
        (np.broadcast_to(np.uint8(0), (MAX_PIXELS, 2)), InputError, "Ann: 2 x 64000000 pixels are over the limit"),
        (
            b"",
            InputError,
            r"Ann: not a readable PNG, JPEG, BMP, TIFF, WebP, GIF, AVIF or HEIC image \(cannot identify image file\)$",
        ),
        (
            b"no picture",
            InputError,
            r"Ann: not a readable PNG, JPEG, BMP, TIFF, WebP, GIF, AVIF or HEIC image \(cannot identify image file\)$",
        ),
        ("none.png", InputError, "none.png: no such file; wanted is an image"),
        (bytearray(b"x"), TypeError, "bytearray"),
    ],
)
def test_what_is_no_photo_is_refused_by_name(given: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        preparer(align="never").prepare(given, name="Ann")


def test_bytes_have_the_checks_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    Image.fromarray(PHANTOM).save(content, "PNG")
    good = content.getvalue()
    with pytest.raises(InputError, match="the photo: not a readable PNG"):
        read_photo(good[:-200])
    animated = io.BytesIO()
    Image.fromarray(PHANTOM).save(animated, "PNG", save_all=True, append_images=[Image.fromarray(PHANTOMS[1])])
    with pytest.raises(InputError, match="the photo: holds several frames"):
        read_photo(animated.getvalue())
    monkeypatch.setattr("idemodel.files.images.MAX_PIXELS", 200 * 250 - 1)
    with pytest.raises(InputError, match="the photo: 200 x 250 pixels are over the limit"):
        read_photo(good)
    monkeypatch.setattr("idemodel.files.images.LARGEST", len(good) - 1)
    with pytest.raises(InputError, match=rf"the photo: has {len(good)} bytes, more than the {len(good) - 1} that"):
        read_photo(good)


@pytest.mark.usefixtures("spots")
def test_auto_leaves_an_aligned_photo_alone_and_aligns_another(tmp_path: Path) -> None:
    ready = preparer()
    aligned = spotted(250, 200, standard_eyes())
    made = ready.prepare(written(tmp_path, aligned))
    assert made.move is None
    np.testing.assert_array_equal(made.image, aligned)

    moved = ready.prepare(written(tmp_path, spotted(250, 200, Eyes(60 + 100j, 120 + 110j))))
    assert moved.move is not None and moved.face == 1
    (seen,) = Spots().find(moved.image)
    assert is_standard(seen.eyes, 250, 200)
    assert ready.prepare(written(tmp_path, spotted(400, 500, ELSEWHERE))).image.shape == (250, 200, 3)


@pytest.mark.usefixtures("spots")
def test_auto_takes_a_photo_of_the_size_without_a_usable_face_as_it_is(tmp_path: Path) -> None:
    ready = preparer()
    blank = np.full((250, 200, 3), 90, np.uint8)
    made = ready.prepare(written(tmp_path, blank))
    assert made.move is None and made.notes == ()
    cut = spotted(250, 200, Eyes(6 + 125j, 60 + 125j))
    made = ready.prepare(written(tmp_path, cut))
    np.testing.assert_array_equal(made.image, cut)
    assert made.notes == ()
    with pytest.raises(InputError, match="no face found"):
        ready.prepare(written(tmp_path, np.full((300, 200, 3), 90, np.uint8)))


@pytest.mark.usefixtures("spots")
def test_always_aligns_what_is_aligned_and_never_refuses_another_size(tmp_path: Path) -> None:
    aligned = written(tmp_path, spotted(250, 200, standard_eyes()))
    assert preparer(align="always").prepare(aligned).move is not None
    assert preparer(align="never").prepare(aligned).move is None
    with pytest.raises(InputError, match=r"is 250 x 200 \(rows x columns\), the bank 125 x 100.*drop --align never"):
        preparer(125, 100, "never").prepare(aligned)
    with pytest.raises(ValueError, match="align is one of"):
        preparer(align="sometimes")


@pytest.mark.usefixtures("no_detector")
def test_without_a_detector_the_size_decides_and_the_extra_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, PHANTOM)
    assert any_detector() is None
    assert preparer().prepare(file).move is None
    with pytest.raises(InputError, match=r"250 x 200 .* the bank 125 x 100; pip install 'idesketch\[align\]'"):
        preparer(125, 100).prepare(file)
    for ask in (open_detector, lambda: preparer(align="always"), lambda: preparer().prepare(file, face=1)):
        with pytest.raises(InputError, match=r"nothing here finds faces \(dlib: not installed; mtcnn: .*\[align\]"):
            ask()
    with pytest.raises(InputError, match=r"pip install 'idesketch\[align-mtcnn\]'"):
        open_detector("mtcnn")


@pytest.mark.usefixtures("no_detector")
def test_wrong_sizes_are_told_whole(tmp_path: Path) -> None:
    file = written(tmp_path, PHANTOM)
    size = "is 250 x 200 (rows x columns), the bank 125 x 100; "
    for align, remedy in (
        ("never", "align the photo to the bank's size, or drop --align never"),
        ("auto", "pip install 'idesketch[align]' finds the face and aligns it; or give its eyes to "
                 "idesketch align --eyes FILE.csv"),
    ):  # fmt: skip
        for given, name in ((file, str(file)), (file.read_bytes(), "the photo"), (PHANTOM, "the photo")):
            with pytest.raises(InputError) as caught:
                preparer(125, 100, align).prepare(given)
            assert str(caught.value) == f"{name}: {size}{remedy}"


@pytest.mark.usefixtures("no_detector")
def test_given_eyes_need_no_detector_and_decide() -> None:
    """Also where the photo has the bank's size, and its eyes are already where they should be."""
    ready = preparer()
    made = ready.prepare(spotted(400, 500, ELSEWHERE), eyes=ELSEWHERE)
    assert made.face is None and made.warnings == ()
    assert made.move is not None and made.move(ELSEWHERE.left) == pytest.approx(standard_eyes().left)
    assert made.eyes is not None and made.eyes.right == pytest.approx(ELSEWHERE.right)
    (seen,) = Spots().find(made.image)
    assert is_standard(seen.eyes, 250, 200)
    kept = ready.prepare(PHANTOM, eyes=standard_eyes())
    assert kept.move is not None
    np.testing.assert_array_equal(kept.image, PHANTOM)


@pytest.mark.parametrize(
    ("eyes", "told"),
    [
        (Eyes(100 + 100j, 900 + 100j), r"Ann: the eyes given are outside the picture of 800 x 600 \(columns x rows\)"),
        (Eyes(complex(np.nan, 1), 20 + 1j), "outside the picture"),
        (Eyes(complex(np.inf, 1), 20 + 1j), "outside the picture"),
        (Eyes(200 + 100j, 100 + 100j), "Ann: the left eye given is not left of the right one"),
        (Eyes(100 + 100j, 100 + 100j), "not left of"),
        (Eyes(100 + 100j, 101 + 100j), "Ann: the eyes given are 1.0 pixels apart, too near for a face"),
    ],
)
def test_eyes_that_cannot_be_a_faces(eyes: Eyes, told: str) -> None:
    with pytest.raises(InputError, match=told):
        preparer().prepare(FRAME, eyes=eyes, name="Ann")


@pytest.fixture
def two_faces(monkeypatch: pytest.MonkeyPatch) -> tuple[Eyes, Eyes]:
    """The faces that every photo has: a large one and a small one."""
    from idemodel.faces.search import Face

    large, small = Eyes(150 + 200j, 240 + 200j), Eyes(500 + 250j, 520 + 250j)
    monkeypatch.setattr(preparation, "find_faces", lambda *_, **__: [Face(large, 1.0), Face(small, 1.0)])
    return large, small


@pytest.mark.usefixtures("spots")
def test_a_face_is_chosen_by_number_and_warnings_are_returned(two_faces: tuple[Eyes, Eyes]) -> None:
    large, small = two_faces
    first = preparer().prepare(FRAME)
    assert first.face == 1 and first.warnings == ("2 faces, took number 1 counted from the largest",)
    for ready, asked in ((preparer(), {"face": 2}), (preparer(face=2), {})):
        second = ready.prepare(FRAME, **asked)
        assert second.face == 2 and second.eyes is not None and second.eyes.left == pytest.approx(small.left)
        assert (
            second.warnings
            == second.notes
            == (
                "2 faces, took number 2 counted from the largest",
                "the face is only 50 pixels wide and is enlarged 2.5 times: no detail",
            )
        )
    assert preparer(face=2).prepare(FRAME, face=1).face == 1
    assert preparer(face=2).prepare(FRAME, eyes=large).eyes is not None
    with pytest.raises(InputError, match="the photo: has no face 3, only 2"):
        preparer().prepare(FRAME, face=3)


@pytest.mark.usefixtures("two_faces", "spots")
def test_a_face_that_is_asked_for_is_taken_of_a_photo_that_might_stay() -> None:
    aligned = spotted(250, 200, standard_eyes())
    assert preparer(align="auto").prepare(aligned).move is None
    with pytest.raises(InputError, match="cut by the border"):
        preparer().prepare(aligned, face=2)


@pytest.mark.usefixtures("spots")
def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        preparer().prepare(FRAME, eyes=ELSEWHERE, face=1)
    with pytest.raises(ValueError, match="align='never'"):
        preparer(align="never").prepare(PHANTOM, eyes=standard_eyes())
    with pytest.raises(ValueError, match="align='never'"):
        preparer(align="never").prepare(PHANTOM, face=1)
    with pytest.raises(ValueError, match="align='never'"):
        PreparationSettings("never", face=2)
    with pytest.raises(ValueError, match="face must be 1 or more"):
        preparer().prepare(PHANTOM, face=0)
    for wrong in ({"face": "all"}, {"face": 1.5}, {"pad": "black"}, {"normalise": "magic"}):
        with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
            PreparationSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_detector")
def test_the_padding_is_the_settings() -> None:
    eyes = Eyes(20 + 20j, 110 + 20j)
    white = preparer(pad="white").prepare(np.zeros((250, 200, 3), np.uint8), eyes=eyes).image
    assert white[0, 0].tolist() == [255] * 3 and preparer(pad="edge").prepare(white * 0, eyes=eyes).image.max() == 0


def test_a_sketch_goes_back_into_the_frame_of_its_photo(tmp_path: Path) -> None:
    move = Similarity.between(Eyes(300 + 250j, 380 + 260j), standard_eyes())
    photo = PreparedPhoto(warp(FRAME, move, 250, 200), written(tmp_path, FRAME), "photo.png", move)
    for factor in (1, 2):
        back = photo.paste_back(np.zeros((250 * factor, 200 * factor), np.uint8))
        assert back.shape == (600, 800)
        middle = move.inverse(100 + 125j)
        assert back[round(middle.imag), round(middle.real)] == 0 and back[0, 0] == back[-1, -1] == 128


def test_a_doubled_sketch_of_a_photo_that_stayed_comes_back_in_its_size() -> None:
    photo = PreparedPhoto(PHANTOM, FILE)
    sketch = np.array(PHANTOM[..., 0])
    np.testing.assert_array_equal(photo.paste_back(sketch), sketch)
    doubled = np.repeat(np.repeat(sketch, 2, axis=0), 2, axis=1)
    back = photo.paste_back(doubled)
    assert back.shape == sketch.shape and np.abs(back.astype(int) - sketch).mean() < 8


@pytest.mark.parametrize("sketch", [PHANTOM[..., 0].copy(), PHANTOM, np.repeat(PHANTOM, 2, axis=0).repeat(2, axis=1)])
def test_pasting_back_needs_no_file(tmp_path: Path, sketch: np.ndarray) -> None:
    move = Similarity(1.3 * np.exp(0.15j), 150 + 60j)
    picture = warp(PHANTOM, move, 480, 640, "edge")
    ready, eyes = preparer(), move.eyes(standard_eyes())
    file = written(tmp_path, picture)
    by_path, by_bytes, by_array = (ready.prepare(given, eyes=eyes) for given in (file, file.read_bytes(), picture))
    expected = by_path.paste_back(sketch)
    assert expected.shape == (480, 640, 3)[: sketch.ndim] and not np.array_equal(expected, picture[..., 0])
    np.testing.assert_array_equal(by_bytes.paste_back(sketch), expected)
    np.testing.assert_array_equal(by_array.paste_back(sketch), expected)
    file.unlink()
    np.testing.assert_array_equal(by_path.paste_back(sketch, picture), expected)
    with pytest.raises(InputError, match=r"photo.png: no such file"):
        by_path.paste_back(sketch)


def test_only_an_array_is_kept_as_pixels(tmp_path: Path) -> None:
    """A batch of files or of bytes holds no frame: each is decoded again when it is asked for."""
    file = written(tmp_path, FRAME)
    for given in (file, file.read_bytes()):
        made = preparer().prepare(given, eyes=Eyes(300 + 250j, 380 + 260j))
        assert made.source == given and made.frame() is not made.frame()
        assert not any(isinstance(value, np.ndarray) and value.shape == FRAME.shape for value in vars(made).values())


@pytest.mark.usefixtures("no_detector")
def test_what_is_unlike_the_bank_is_normalised_and_said() -> None:
    bank = phantom_bank()
    photo = next(phantom_pairs(1, height=125, width=100, seed=5)).photo
    spoilt = altered(photo, "brightness x 0.5")
    expected = Normaliser.of(bank).normalise(spoilt)
    made = PhotoPreparer(bank).prepare(spoilt)
    np.testing.assert_array_equal(made.image, expected.photo)
    assert made.steps == expected.steps != () and made.warnings == ()
    assert made.notes == (f"normalised ({', '.join(expected.steps)})",)
    usual = PhotoPreparer(bank).prepare(photo)
    assert usual.image is photo and usual.notes == ()
    assert PhotoPreparer(bank, PreparationSettings(normalise="none")).prepare(spoilt).image is spoilt
    assert PhotoPreparer(bank, PreparationSettings(normalise="levels")).prepare(photo).steps == ("levels",)


@pytest.mark.usefixtures("no_detector")
def test_whether_photos_are_normalised_is_the_banks_to_say() -> None:
    (note,) = PhotoPreparer(phantom_bank(("gradient",))).notes
    assert note == "photos are taken as they are: the bank has no plane of grey levels to normalise them by"
    assert PhotoPreparer(phantom_bank()).notes == ()
    assert PhotoPreparer(phantom_bank(("gradient",)), PreparationSettings(normalise="none")).notes == ()
    with pytest.raises(InputError, match="build it with --plane intensity, or use --normalise none"):
        PhotoPreparer(phantom_bank(("gradient",)), PreparationSettings(normalise="levels"))
    sketches = phantom_bank(direction=SKETCH_TO_PHOTO)
    with pytest.raises(InputError, match="--normalise is for photos, and this bank makes photos of sketches"):
        PhotoPreparer(sketches, PreparationSettings(normalise="all"))
    dark = np.full((125, 100, 3), 10, np.uint8) + PHANTOM[:125, :100] // 8
    for planes in (sketches, phantom_bank(("gradient",))):
        assert PhotoPreparer(planes).prepare(dark).image is dark
    with pytest.raises(InputError, match="an aligned photo of 12 x 12 cannot be made"):
        PhotoPreparer(bank_of(12, 12, BankSettings(4, 2, 1)))


@pytest.mark.usefixtures("spots")
def test_many_threads_prepare_at_once_and_measure_the_bank_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    original = Normaliser.of.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Normaliser], *arguments: Any) -> Normaliser:
        measured.append(1)
        made: Normaliser = original(cls, *arguments)
        return made

    monkeypatch.setattr(Normaliser, "of", classmethod(counted))
    spread = [Similarity(1, complex(3 * step, 2 * step)).eyes(ELSEWHERE) for step in range(24)]
    photos = [altered(spotted(400, 500, eyes), "gamma 2.2") for eyes in spread]
    ready = PhotoPreparer(phantom_bank(), PreparationSettings("always", "all"))
    assert not measured
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ready.prepare, photos))
    assert measured == [1]
    for photo, made in zip(photos, together, strict=True):
        same(made, ready.prepare(photo))
        assert made.move is not None


def test_a_real_detector_may_be_asked_by_many_threads() -> None:
    pytest.importorskip("dlib")
    photos = [warp(photo, Similarity(1.2, 100 + 40j), 420, 500, "edge") for photo in PHANTOMS]
    ready = preparer()
    expected = [ready.prepare(photo) for photo in photos]
    with ThreadPoolExecutor(6) as pool:
        for made, alone in zip(pool.map(ready.prepare, photos * 2), expected * 2, strict=True):
            same(made, alone)


def test_a_bank_that_cannot_be_measured_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = phantom_bank()
    ready = PhotoPreparer(bank, PreparationSettings("never"))
    photo = next(phantom_pairs(1, height=125, width=100)).photo
    with monkeypatch.context() as patch:
        patch.setattr(bank, "source", lambda *_: (_ for _ in ()).throw(InputError("bank.h5: damaged")))
        for _ in range(2):
            with pytest.raises(InputError, match="damaged"):
                ready.prepare(photo)
    assert ready.prepare(photo).image.shape == photo.shape


def test_the_own_pair_of_a_photo() -> None:
    names = ("a", "b", "0001")
    assert [number_in_bank(photo, names) for photo in (Path("x/0001.png"), "b.jpg", "a")] == [2, 1, 0]
    with pytest.raises(InputError, match=r"^x/c.png: no pair 'c' in the bank to leave out; drop --leave-one-out for"):
        number_in_bank(Path("x/c.png"), names)


def test_preparing_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from idekernels import PatchBank; from idemodel.preparation import PhotoPreparer\n"
        "grey = np.zeros((64, 48), np.uint8)\n"
        "PhotoPreparer(PatchBank.from_images([grey], [grey])).prepare(grey)\n"
        "print([name for name in ('torch', 'click', 'rich', 'numba') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_a_file_is_read_as_before(tmp_path: Path) -> None:
    file = written(tmp_path, PHANTOM)
    np.testing.assert_array_equal(read_photo(str(file)), read_colour(file))


def test_a_sketch_is_pasted_into_its_own_photo_alone(tmp_path: Path) -> None:
    file = tmp_path / "me.png"
    write_image(file, spotted(400, 500, ELSEWHERE))
    ready = preparer().prepare(file, eyes=ELSEWHERE)
    rows, columns = ready.image.shape[:2]
    sketch = np.zeros((rows, columns), np.uint8)
    with pytest.raises(ValueError, match="nor a multiple of it"):
        ready.paste_back(sketch[:, :-1])
    with pytest.raises(ValueError, match=r"400 x 500 .* 50 x 50 in the frame"):
        ready.paste_back(sketch, np.zeros((50, 50, 3), np.uint8))
    write_image(file, spotted(500, 400, ELSEWHERE))
    with pytest.raises(InputError, match=r"me\.png: was 400 x 500 .* is 500 x 400 now; sketch it anew"):
        ready.paste_back(sketch)


def test_a_prepared_photo_is_shown_without_its_pixels() -> None:
    ready = preparer().prepare(spotted(400, 500, ELSEWHERE), eyes=ELSEWHERE)
    assert len(repr(ready)) < 400 and ready == ready and ready in {ready}
