"""Layouts of data sets on small archives of their structure: who pairs with whom, where the eyes land, what is told."""

from __future__ import annotations

import csv
import dataclasses
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from dataset_archives import EYES, cufs_archives, cufsf_archive, encoded, face, fs2k_archive, original, unpacked, zipped

from idecli.data import data
from idecli.main import run
from idemodel.datasets import LAYOUTS, Layout
from idemodel.datasets.cufs import EXPECTED, official_key
from idemodel.datasets.cufsf import shot
from idemodel.files.images import read_colour, read_grey
from idemodel.files.pairs import list_pairs


def bring(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run(["data", "import", *map(str, arguments)])
    told = capsys.readouterr()
    return code, told.out, told.err


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "import.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"] or row["photo"]: row for row in csv.DictReader(file)}


def names(folder: Path) -> list[str]:
    return [pair.name for pair in list_pairs(folder)]


def assert_in_place(found: np.ndarray, true: np.ndarray) -> None:
    """Nearer to the truth than to the truth moved by a pixel in any direction."""
    assert found.shape == true.shape
    away = {
        (down, across): np.abs(found.astype(int) - np.roll(true, (down, across), (0, 1))).mean()
        for down in (-1, 0, 1)
        for across in (-1, 0, 1)
    }
    assert min(away, key=lambda move: away[move]) == (0, 0) and away[0, 0] < 6, away


@pytest.mark.parametrize(
    ("photo", "sketch", "part"),
    [
        ("f-005-01", "F2-005-01-sz1", "cuhk"),
        ("f1-001-01", "f1-001-01-sz1", "cuhk"),
        ("f-039-01", "f-039-01-sz1", "cuhk"),
        ("m-008-01", "M2-008-01-sz1", "cuhk"),
        ("m-002-1", "Mp-002-1-sz1", "ar"),
        ("w-001-1", "Wp-001-1-sz1", "ar"),
        ("000_1_1", "000_1_1_sz1", "xm2vts"),
        ("000_1_1_f02", "000_1_1_sz1", "xm2vts"),
    ],
)
def test_official_names_of_photo_and_sketch_have_one_key(photo: str, sketch: str, part: str) -> None:
    assert official_key(photo) == official_key(sketch)
    assert official_key(photo)[0] == part


def test_series_of_cuhk_are_different_people() -> None:
    assert len({official_key(name) for name in ("f-005-01", "f1-005-01", "m-005-01", "m1-005-01")}) == 4


def test_the_splits_of_cufs_are_those_of_the_literature() -> None:
    assert [sum(counts) for counts in zip(*EXPECTED.values(), strict=True)] == [268, 338]


def test_cufs_from_its_downloads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, errors = bring(capsys, "cufs", cufs_archives(tmp_path / "downloads"), tmp_path / "out")
    assert (code, errors) == (0, "")
    assert names(tmp_path / "out" / "train") == ["cuhk-f-005-01", "cuhk-m1-001-01"]
    assert names(tmp_path / "out" / "test") == ["cuhk-m-063-01"]
    assert names(tmp_path / "out") == ["ar-m-002-1"]
    assert "606 pairs expected, 4 found, 4 imported (0 of them there already), 1 skipped" in said
    assert "cuhk: 88 train and 100 test expected, 2 train and 1 test imported" in said
    assert "skipped, no photo: 1 (xm2vts-000_1_1)" in said
    assert "no split known for 1 pairs" in said
    assert table(tmp_path / "out")["xm2vts-000_1_1"]["reason"] == "no photo"
    # originals were moved so that the eyes are in place, the cropped ones are as they were
    for number, place in enumerate(("train/{}/cuhk-f-005-01", "train/{}/cuhk-m1-001-01", "test/{}/cuhk-m-063-01")):
        photo, sketch = face(number)
        assert_in_place(read_colour(tmp_path / "out" / f"{place.format('photo')}.png"), photo)
        assert_in_place(read_grey(tmp_path / "out" / f"{place.format('sketch')}.png"), sketch)


def test_a_part_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = bring(capsys, "cufs", cufs_archives(tmp_path / "in"), tmp_path / "out", "--part", "ar")
    assert code == 0 and "123 pairs expected" in said and "xm2vts:" not in said
    assert "skipped, not asked for: 4" in said
    assert names(tmp_path / "out") == ["ar-m-002-1"] and not (tmp_path / "out" / "train").exists()


def test_the_aligned_release_with_numbers_that_start_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {}
    for part, split, number in (("CUHK", "train", 0), ("CUHK", "test", 1), ("AR", "train", 2)):
        photo, sketch = face(number)
        files[f"CUFS/{part}/{split}/photos/001.png"] = encoded(photo)
        files[f"CUFS/{part}/{split}/sketches/001.PNG"] = encoded(sketch)
    code, said, _ = bring(capsys, "cufs", unpacked(tmp_path / "in", files), tmp_path / "out")
    assert code == 0 and "3 imported" in said
    assert names(tmp_path / "out" / "train") == ["ar-001", "cuhk-001"] and names(tmp_path / "out" / "test") == [
        "cuhk-001"
    ]
    np.testing.assert_array_equal(read_colour(tmp_path / "out/train/photo/ar-001.png"), face(2)[0])
    np.testing.assert_array_equal(read_colour(tmp_path / "out/test/photo/cuhk-001.png"), face(1)[0])


def test_lists_named_train_and_test_are_a_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, sketch = encoded(face(0)[0]), encoded(face(0)[1])
    files = {f"AR/photos/m-00{n}-1.png": photo for n in (2, 3)} | {
        f"AR/sketches/Mp-00{n}-1-sz1.png": sketch for n in (2, 3)
    }
    lists = {"list_train.txt": "photos/m-002-1.png sketches/Mp-002-1-sz1.png\n", "list_test.txt": "m-003-1\n"}
    assert bring(capsys, "cufs", unpacked(tmp_path / "in", files | lists), tmp_path / "out")[0] == 0
    assert names(tmp_path / "out/train") == ["ar-m-002-1"] and names(tmp_path / "out/test") == ["ar-m-003-1"]


def test_an_original_frame_without_points_is_broken_not_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"photo/m-002-1.png": encoded(original(face(0)[0])), "photo/m-003-1.png": encoded(face(0)[0])}
    files |= {"sketch/Mp-002-1-sz1.png": encoded(face(0)[1]), "sketch/Mp-003-1-sz1.png": encoded(face(0)[1])}
    code, said, errors = bring(capsys, "cufs", unpacked(tmp_path / "in", files), tmp_path / "out")
    assert code == 1 and "1 imported" in said
    assert "ar-m-002-1: photo/m-002-1.png: is 700 x 560, not 250 x 200, and has no eye coordinates" in errors


@pytest.mark.parametrize("name", ["00043fb001d_931230", "00043_931230_fb", "00043_931230_fb_a"])
def test_names_of_one_shot_of_feret(name: str) -> None:
    assert shot(name) == ("00043", "fb", "931230")


def test_cufsf_with_feret_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = bring(capsys, "cufsf", cufsf_archive(tmp_path), tmp_path / "out")
    assert code == 0 and "1194 pairs expected, 2 found, 2 imported" in said
    assert names(tmp_path / "out") == ["00043", "00044"]
    for name in ("00043", "00044"):
        assert_in_place(read_colour(tmp_path / "out/photo" / f"{name}.png"), face(1)[0])
        assert_in_place(read_grey(tmp_path / "out/sketch" / f"{name}.png"), face(1)[1])
    rows = table(tmp_path / "out")
    assert rows["00045"]["reason"] == "no photo: FERET's 00045fa010_930831"
    assert "not the photo that was drawn" in rows["cufsf/FERET/00043/00043fa001d_931230.ppm.bz2"]["reason"]


def test_cufsf_without_a_list_takes_no_photo_at_random(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, sketch = encoded(face(0)[0]), encoded(face(0)[1])
    files = {"sketch/00001.png": sketch, "sketch/00002.png": sketch, "photo/00001fa010_930831.png": photo}
    files |= {"photo/00002fa010_930831.png": photo, "photo/00002fb010_930831.png": photo}
    code, said, _ = bring(capsys, "cufsf", unpacked(tmp_path / "in", files), tmp_path / "out")
    assert code == 0 and names(tmp_path / "out") == ["00001"]
    assert table(tmp_path / "out")["00002"]["reason"] == "no photo: 2 photos and no list"


def test_fs2k_follows_its_annotation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, errors = bring(capsys, "fs2k", fs2k_archive(tmp_path), tmp_path / "out")
    assert code == 1 and "photo1_image0003: annotated, but its sketch is not there" in errors
    assert "2104 pairs expected, 3 found, 3 imported (0 of them there already), 1 skipped" in said
    assert names(tmp_path / "out" / "train") == ["photo1_image0000", "photo2_image0001"]
    assert names(tmp_path / "out" / "test") == ["photo3_image0002"]
    np.testing.assert_array_equal(read_grey(tmp_path / "out/train/sketch/photo2_image0001.png"), face(1)[1])
    assert table(tmp_path / "out")["FS2K/FS2K/photo/photo1/image0999.jpg"]["status"] == "unused"


def test_fs2k_one_style(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = bring(capsys, "fs2k", fs2k_archive(tmp_path), tmp_path / "out", "--style", 2)
    assert code == 0 and names(tmp_path / "out" / "train") == ["photo2_image0001"]
    assert "style2: 351 train and 381 test expected, 1 train imported" in said


def test_eyes_from_a_table_align_what_comes_without_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, sketch = face(0)
    files = {"photo/a.png": encoded(original(photo)), "sketch/a.png": encoded(original(sketch))}
    eyes = tmp_path / "eyes.csv"
    eyes.write_text("file,left_x,left_y,right_x,right_y\na.png," + ",".join(str(v) for eye in EYES for v in eye))
    assert bring(capsys, "pairs", unpacked(tmp_path / "in", files), tmp_path / "out", "--eyes", eyes)[0] == 0
    assert_in_place(read_colour(tmp_path / "out/photo/a.png"), photo)
    assert_in_place(read_grey(tmp_path / "out/sketch/a.png"), sketch)


def two_folders(root: Path) -> Path:
    files = {f"A/p{number}_x.png": encoded(face(number)[0]) for number in range(3)}
    files |= {f"B/drawn-{number}.png": encoded(face(number)[1]) for number in range(2)}
    return unpacked(root, files)


def test_pairs_by_a_pattern(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = two_folders(tmp_path / "in")
    code, said, _ = bring(
        capsys, "pairs", folder, tmp_path / "out", "--photos", "A", "--sketches", "B", "--match", r"(\d+)"
    )
    assert code == 0 and "3 pairs expected, 2 found, 2 imported" in said and "skipped, no sketch: 1 (2)" in said
    assert names(tmp_path / "out") == ["0", "1"]
    np.testing.assert_array_equal(read_grey(tmp_path / "out/sketch/1.png"), face(1)[1])


def test_pairs_by_a_table_from_folders_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = two_folders(tmp_path / "in")
    rows = (
        "photo,sketch,name,split\np0_x.png,drawn-1.png,swapped,train\np1_x.png,drawn-0.png,,test\np2_x.png,none.png,,\n"
    )
    (tmp_path / "match.csv").write_text(rows)
    code, _, errors = bring(
        capsys, "pairs", folder / "A", tmp_path / "out", "--sketches", folder / "B", "--match", tmp_path / "match.csv"
    )
    assert code == 1 and "p2_x: sketch 'none.png' is not there" in errors
    np.testing.assert_array_equal(read_grey(tmp_path / "out/train/sketch/swapped.png"), face(1)[1])
    np.testing.assert_array_equal(read_colour(tmp_path / "out/test/photo/p1_x.png"), face(1)[0])


def plain(root: Path, count: int = 3) -> Path:
    files = {
        f"{side}/{n}.png": encoded(face(n)[side == "sketch"]) for n in range(count) for side in ("photo", "sketch")
    }
    return unpacked(root, files)


def test_a_split_by_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "split.csv").write_text("name,split\n0,train\n1,test\n")
    _, said, _ = bring(capsys, "pairs", plain(tmp_path / "in"), tmp_path / "out", "--split", tmp_path / "split.csv")
    assert names(tmp_path / "out/train") == ["0"] and names(tmp_path / "out/test") == ["1"]
    assert "skipped, not asked for: 1 (2)" in said


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", ""])
def test_tar_archives_in_every_packing(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    archive = tmp_path / f"set.tar{'.' * bool(kind)}{kind}"
    with tarfile.open(archive, f"w:{kind}") as packed:
        packed.add(plain(tmp_path / "in", 2), "top")
    assert bring(capsys, "pairs", archive, tmp_path / "out")[0] == 0
    np.testing.assert_array_equal(read_colour(tmp_path / "out/photo/1.png"), face(1)[0])


def test_an_import_taken_up_again_makes_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = plain(tmp_path / "in"), tmp_path / "out"
    assert bring(capsys, "pairs", source, out)[0] == 0
    first = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "sketch/1.png").unlink()
    (out / "photo/.2.png.host.1.partial").touch()  # of a process that was killed
    untouched = (out / "photo/0.png").stat().st_mtime_ns
    code, said, _ = bring(capsys, "pairs", source, out)
    assert code == 0 and "3 imported (2 of them there already)" in said
    assert {path: path.read_bytes() for path in first} == first
    assert (out / "photo/0.png").stat().st_mtime_ns == untouched


def test_an_import_makes_empty_and_broken_pictures_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = plain(tmp_path / "in"), tmp_path / "out"
    assert bring(capsys, "pairs", source, out)[0] == 0
    first = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "photo/0.png").write_bytes(b"")
    (out / "sketch/1.png").write_bytes(first[out / "sketch/1.png"][:-5])
    code, said, _ = bring(capsys, "pairs", source, out)
    assert code == 0 and "3 imported (1 of them there already)" in said
    assert {path: path.read_bytes() for path in first} == first


def test_an_import_does_not_mix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = plain(tmp_path / "in"), tmp_path / "out"
    assert bring(capsys, "pairs", source, out)[0] == 0
    assert "other pairs or settings" in bring(capsys, "pairs", plain(tmp_path / "two", 2), out)[2]
    assert "other pairs or settings" in bring(capsys, "pairs", source, out, "--size", "100x80")[2]
    (out / "photo/own.png").write_bytes(encoded(face(0)[0]))
    assert "own.png: is not of this import" in bring(capsys, "pairs", source, out)[2]
    assert "holds other files" in bring(capsys, "pairs", source, tmp_path / "two")[2]
    assert "lies within" in bring(capsys, "pairs", source, source / "out")[2]


def test_a_broken_picture_is_told_and_the_rest_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = plain(tmp_path / "in")
    (source / "photo/1.png").write_bytes(encoded(face(1)[0])[:900])
    code, said, errors = bring(capsys, "pairs", source, tmp_path / "out")
    assert code == 1 and "2 imported" in said and "1 skipped" in said
    assert errors.count("Error:") == 1 and "photo/1.png: not a readable" in errors
    assert names(tmp_path / "out") == ["0", "2"]
    assert table(tmp_path / "out")["1"]["status"] == "skipped"


def test_nothing_to_import_says_what_was_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = zipped(tmp_path / "in.zip", {"holiday/beach.png": encoded(face(0)[0])})
    code, _, errors = bring(capsys, "cufs", source, tmp_path / "out")
    assert code == 1 and "no whole pair found" in errors and "beach.png" in errors and not (tmp_path / "out").exists()
    assert run(["data", "import", "fs2k", str(source), str(tmp_path / "out"), "--part", "ar"]) == 2


@pytest.mark.data
def test_the_real_pairs(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = bring(capsys, "pairs", shared_data, tmp_path / "out")
    assert code == 0 and "0 skipped" in said
    for split in ("train", "test"):
        true = list_pairs(shared_data / split)
        assert names(tmp_path / "out" / split) == [pair.name for pair in true]
    np.testing.assert_array_equal(read_colour(tmp_path / "out/train/photo" / f"{names(shared_data / 'train')[0]}.png"),
                                  read_colour(list_pairs(shared_data / "train")[0].photo))  # fmt: skip


def test_the_command_offers_every_layout() -> None:
    assert data.commands["import"].params[0].type.choices == tuple(LAYOUTS)


def test_settings_that_layouts_share_are_told_in_the_same_words() -> None:
    told: dict[str, set[object]] = {}
    for layout in LAYOUTS.values():
        for name, setting in layout.settings().items():
            told.setdefault(name, set()).add(setting)
    assert set(told) == {"part", "style", "match", "photos", "sketches"}
    assert all(len(settings) == 1 for settings in told.values())


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_is_frozen_and_starts_with_the_defaults_it_tells_of(layout: type[Layout]) -> None:
    made = layout()
    assert {name: getattr(made, name) for name in layout.settings()} == {
        name: setting.default for name, setting in layout.settings().items()
    }
    assert made.folders == () and layout.name in LAYOUTS and "\n" not in layout.about
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.photos = "elsewhere"


NEW_LAYOUT = """
import sys
from dataclasses import dataclass

import idemodel.datasets
from idemodel.datasets.layout import LayoutWithFolders, setting
from idemodel.datasets.pairs import Pairs


@dataclass(frozen=True)
class Mine(LayoutWithFolders):
    name = "mine"
    about = "pictures of my own"
    only_first: int = setting("Only the first so many", values=range(1, 10), default=9)

    def find(self, source):
        listing = Pairs().find(source)
        del listing.pairs[self.only_first:]
        return listing


idemodel.datasets.LAYOUTS = {**idemodel.datasets.LAYOUTS, "mine": Mine}
from idecli.main import run

run(["data", "import", "--help"])
sys.exit(run(["data", "import", "mine", *sys.argv[1:]]))
"""


def test_a_new_layout_needs_no_more_than_its_row(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        NEW_LAYOUT,
        str(plain(tmp_path / "in")),
        str(tmp_path / "out"),
        "--only-first",
        "2",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for told in ("{cufs|cufsf|fs2k|pairs|mine}", "mine   pictures of my own", "Only the first so many (mine). [9]"):
        assert told in done.stdout
    assert names(tmp_path / "out") == ["0", "1"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tables_of_pairs_and_splits_are_read_as_spreadsheets_write_them(tmp_path, encoding):
    from idemodel.datasets.pairs import read_table

    text = "Photo;SKETCH;Name;Split\r\nx\\1.png;y/1s.png;Zoë;train\r\n;;;\r\n\r\n"
    (tmp_path / "table.csv").write_bytes(text.encode(encoding))
    expected = [{"photo": "x/1.png", "sketch": "y/1s.png", "name": "Zoë", "split": "train"}]
    assert read_table(tmp_path / "table.csv", ("photo", "sketch")) == expected
