"""Which inputs of a batch become which outputs: content, clashes, links, subfolders, earlier results."""

from __future__ import annotations

import json
import os
import shutil
import threading
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from idecli.batch import Batch, Results
from idecli.main import run
from idecli.options import PATH
from idekernels.errors import InputError
from idemodel.files.images import read_colour, read_grey
from idemodel.files.journal import JOURNAL, Journal, Making, Photo
from idemodel.files.listing import list_images
from idemodel.files.outputs import is_whole

MAKING = Making.of("coarse", k=3)


def picture(path: Path, level: int = 90, kind: str = "PNG", seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 9), level).save(path, format=kind)
    return path


def copied(batch: Batch) -> Batch:
    """Run a batch whose results are the images themselves."""
    batch.run("Copying", 2, read_grey, lambda targets, images: images)
    return batch


def copy(out: Path, *given: Path, making: Making = MAKING, overwrite: bool = False, recursive: bool = False) -> Batch:
    return copied(Batch.find(given, Results(out, making, overwrite), recursive))


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if not path.name.startswith("."))


def test_images_are_told_by_content_and_the_rest_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = tmp_path / "in"
    for name, kind in (("a.jpg", "JPEG"), ("b.webp", "WEBP"), ("c.jfif", "JPEG"), ("d", "PNG"), ("e.dat", "GIF")):
        picture(photos / name, kind=kind)
    (photos / "notes.txt").write_text("BM is how my notes begin")
    (photos / "x.lnk").symlink_to("gone")
    (photos / "sub").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(photos / "pipe.png")
    batch = copy(tmp_path / "out", photos)
    assert names(tmp_path / "out") == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    told = capsys.readouterr().err
    assert "notes.txt (no image)" in told and "x.lnk (a link to nothing)" in told
    assert "1 subfolder was not searched (--recursive searches them)" in told
    assert batch.exit_code == 0


def test_many_files_that_are_passed_over_are_counted(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for number in range(30):
        (tmp_path / f"{number:02}.txt").write_text("x")
    assert list_images(tmp_path).told().endswith("04.txt (no image) and 25 more")


def test_recursive_keeps_folders_and_follows_no_links_to_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "in"
    for name in ("a.png", "x/a.png", "x/y/b.png", ".hidden/c.png"):
        picture(photos / name)
    (photos / "x" / "back").symlink_to(photos)
    copy(photos / "out", photos, recursive=True)
    assert names(photos / "out") == ["a.png", "x/a.png", "x/y/b.png"]
    assert "x/back (a link to a folder)" in capsys.readouterr().err
    assert copy(photos / "out", photos, recursive=True).skipped == 3  # the results in there are no inputs


def test_two_images_of_one_name_cost_the_second(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.jpg", "a.png", "b.png", "B.jpg"):
        picture(tmp_path / "in" / name, kind="PNG")
    batch = copy(tmp_path / "out", tmp_path / "in")
    assert (batch.made, batch.failed, batch.exit_code) == (2, 2, 1)
    assert "a.png: would be written to the same a.png as" in capsys.readouterr().err


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_input_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str], overwrite: bool) -> None:
    photos = tmp_path / "in"
    picture(photos / "a.png", 10)
    picture(photos / "b.jpg", 20, "JPEG")
    picture(photos / "c.PNG", 30)
    (tmp_path / "link").symlink_to(photos)
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    for out in (photos, tmp_path / "link", photos / ".." / "in"):
        batch = copy(out, photos, overwrite=overwrite)
        assert batch.failed == 2
        told = capsys.readouterr().err
        assert "a.png: its result" in told and "c.PNG: its result" in told and "over an input" in told
    assert {path.name: path.read_bytes() for path in photos.iterdir() if path.name in before} == before
    assert read_grey(photos / "b.png").shape == (9, 8)


def test_an_input_under_another_name_is_not_written_over(tmp_path: Path) -> None:
    original = picture(tmp_path / "originals" / "x.png", 10)
    photo = picture(tmp_path / "in" / "a.jpg", 20, "JPEG")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").hardlink_to(original)
    batch = copy(tmp_path / "out", photo, original, overwrite=True)
    assert batch.failed == 1 and batch.made == 1
    assert read_grey(original)[0, 0] == 10


def test_files_that_are_read_besides_are_not_written_over(tmp_path: Path) -> None:
    beside = picture(tmp_path / "photos" / "a.png", 10)
    photo = picture(tmp_path / "in" / "a.png", 20)
    batch = copied(Batch.find([photo], Results(tmp_path / "photos", MAKING, overwrite=True), others=[beside]))
    assert batch.failed == 1 and read_grey(beside)[0, 0] == 10


def test_no_table_and_no_bank_is_written_over_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "pairs" / "photo" / "a.png"
    for side in ("photo", "sketch"):
        picture(tmp_path / "pairs" / side / "a.png")
    before, folders = photo.read_bytes(), [str(tmp_path / "pairs" / side) for side in ("photo", "sketch")]
    (tmp_path / "link").symlink_to(photo)
    for target in (photo, tmp_path / "link"):
        out = ["-o", str(tmp_path / "out"), "--metrics", "gmsd", f"--json={target}"]
        assert run(["evaluate", *folders, *out]) == 1
        assert run(["bank", "build", str(tmp_path / "pairs"), str(target), "--patch", "4", "--overlap", "2"]) == 1
        assert capsys.readouterr().err.count("would be written over") == 2
    assert photo.read_bytes() == before


@pytest.mark.parametrize("folder", ["in", "in/report"])
def test_align_writes_neither_further_faces_nor_its_report_over_an_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    photos = tmp_path / folder
    for name, kind in (("a.jpg", "JPEG"), ("a-2.png", "PNG")):
        Image.effect_noise((300, 300), 50).save(picture(photos / name), format=kind)
    before = {path: path.read_bytes() for path in photos.iterdir()}
    rows = ["a.jpg,50,60,110,60", "a.jpg,150,160,210,160", "a-2.png,50,60,110,60"]
    (tmp_path / "eyes.csv").write_text("\n".join(["file,left_x,left_y,right_x,right_y", *rows]))
    options = ["-o", str(tmp_path / "in"), "--face", "all", "--eyes", str(tmp_path / "eyes.csv"), "--report"]
    assert run(["align", str(photos), *options]) == 1
    told = capsys.readouterr()
    assert "1 made, 0 there already, 1 failed" in told.out
    assert "a-2.png" in told.err and "is an input and would be written over" in told.err
    assert {path: path.read_bytes() for path in before} == before


def test_own_results_are_no_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = picture(tmp_path / "a.jpg", kind="JPEG")
    assert copy(tmp_path, tmp_path).made == 1
    again = copy(tmp_path, tmp_path)
    assert (again.made, again.skipped, again.failed) == (0, 1, 0)
    assert "a.png (made by idesketch coarse)" in capsys.readouterr().err
    again = copy(tmp_path, photo, tmp_path / "a.png")  # as the shell writes out a pattern
    assert (again.made, again.skipped, again.failed) == (0, 1, 0)
    again = copy(tmp_path, tmp_path, overwrite=True)
    assert (again.made, again.failed) == (1, 0)
    elsewhere = copy(tmp_path / "elsewhere", tmp_path)
    assert (elsewhere.made, elsewhere.failed) == (1, 0)
    picture(tmp_path / "a.png", 200)  # a person's own picture in the place of the result
    again = copy(tmp_path, tmp_path, overwrite=True)
    assert again.failed == 2 and read_grey(tmp_path / "a.png")[0, 0] == 200


def test_the_results_of_one_command_are_the_inputs_of_the_next(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png")
    assert copy(tmp_path / "one", tmp_path / "in").made == 1
    assert copy(tmp_path / "two", tmp_path / "one", making=Making.of("enhance")).made == 1
    assert copy(tmp_path / "back", tmp_path / "one", making=Making.of("coarse", direction="back")).made == 1
    assert copy(tmp_path / "two", tmp_path / "two", making=Making.of("align")).failed == 1


def test_results_made_otherwise_are_named_and_counted_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "b.png"):
        picture(photos / name)
    copy(out, photos)
    os.utime(photos / "a.png", (1, 1))  # touched, but the same
    assert copy(out, photos).summary(out).endswith("0 made, 2 there already, 0 failed")
    picture(photos / "a.png", 7)
    assert copy(out, photos).summary(out).endswith("0 made, 1 there already, 0 failed, 1 there but made otherwise")
    told = capsys.readouterr().err
    assert "--overwrite makes them anew: a.png" in told
    other = Making.of("coarse", k=5)
    assert len(copy(out, photos, making=other).otherwise) == 2
    assert copy(out, photos, making=other, overwrite=True).made == 2
    assert copy(out, photos, making=other).skipped == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes(300)),
        lambda path: path.write_bytes(path.read_bytes()[:4]),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
    ],
)
@pytest.mark.parametrize("noted", [True, False])
def test_an_empty_or_broken_result_is_made_again(tmp_path: Path, spoil: Callable[[Path], object], noted: bool) -> None:
    photo, out = picture(tmp_path / "a.jpg", kind="JPEG"), tmp_path / "out"
    copy(out, photo)
    spoil(out / "a.png")
    if not noted:
        (out / JOURNAL).unlink()
    assert copy(out, photo).made == 1 and is_whole(out / "a.png")


def test_results_without_a_journal_are_there_already(tmp_path: Path) -> None:
    photo = picture(tmp_path / "a.jpg", kind="JPEG")
    copy(tmp_path / "out", photo)
    (tmp_path / "out" / JOURNAL).unlink()
    assert copy(tmp_path / "out", photo, making=Making.of("coarse", k=99)).skipped == 1


@pytest.mark.parametrize("content", [b"\0" * 99, b"[" * 9000, b'{"name": 3}\n{"name"', b"\xff\xfe", b'"x"\nnull\n'])
def test_a_damaged_journal_costs_only_what_it_would_have_told(tmp_path: Path, content: bytes) -> None:
    photo, out = picture(tmp_path / "a.jpg", kind="JPEG"), tmp_path / "out"
    copy(out, photo)
    (out / JOURNAL).write_bytes(content)
    assert copy(out, photo).skipped == 1
    assert copy(out, photo, overwrite=True).made == 1
    assert len(copy(out, photo, making=Making.of("coarse", k=9)).otherwise) == 1  # what was added is read


def test_a_journal_that_cannot_be_written_costs_no_picture(tmp_path: Path) -> None:
    photo, out = picture(tmp_path / "a.jpg", kind="JPEG"), tmp_path / "out"
    (out / JOURNAL).mkdir(parents=True)
    assert copy(out, photo).made == 1


def test_a_journals_link_is_not_followed(tmp_path: Path) -> None:
    photo, out = picture(tmp_path / "a.jpg", kind="JPEG"), tmp_path / "out"
    out.mkdir()
    (tmp_path / "mine").write_text("mine")
    (out / JOURNAL).symlink_to(tmp_path / "mine")
    assert copy(out, photo).made == 1 and (tmp_path / "mine").read_text() == "mine"


def test_many_writers_of_one_journal_leave_whole_lines(tmp_path: Path) -> None:
    photo = Photo.of(picture(tmp_path / "p.png"))

    def add(number: int) -> None:
        for each in range(25):
            path = picture(tmp_path / f"{number}-{each}.png")
            Journal(tmp_path).add(path, photo, MAKING)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (tmp_path / JOURNAL).read_text().splitlines()
    assert len({json.loads(line)["name"] for line in lines}) == len(lines) == 100


@pytest.mark.parametrize("bad", ["n" * 300, "no-such.png", "half\udcff.png"])
def test_one_bad_argument_costs_one_photo(tmp_path: Path, bad: str) -> None:
    good = picture(tmp_path / "a.jpg", kind="JPEG")
    batch = copy(tmp_path / "out", tmp_path / bad, good)
    assert (batch.made, batch.failed) == (1, 1)


def test_a_folder_that_may_not_be_listed_costs_one_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, closed = picture(tmp_path / "a.jpg", kind="JPEG"), tmp_path / "closed"
    closed.mkdir()
    real = Path.iterdir

    def refuse(path: Path):
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    batch = copy(tmp_path / "out", closed, good)
    assert (batch.made, batch.failed) == (1, 1)


@pytest.mark.parametrize("stem", ["人" * 81, "a" * 235, "{stem}", "%s", "\udcff", "tab\t", " "])
def test_strange_stems_are_written(tmp_path: Path, stem: str) -> None:
    photo = picture(tmp_path / "in" / f"{stem}.png")
    assert copy(tmp_path / "out", photo).made == 1 and (tmp_path / "out" / f"{stem}.png").is_file()


def test_strange_stems_are_scored_and_paired(tmp_path: Path) -> None:
    for side in ("synth", "truth"):
        for stem in ("half \udcff", "tab\t", "{y}", "<b>&amp;", "plain"):
            path = picture(tmp_path / side / f"{stem}.png")
            Image.new("L", (170, 170), 9).save(path)
    arguments = [str(tmp_path / "synth"), str(tmp_path / "truth"), "-o", str(tmp_path / "out"), "--metrics", "gmsd"]
    assert run(["evaluate", *arguments]) == 0
    assert len(json.loads((tmp_path / "out" / "scores.json").read_text())["images"]) == 5


def test_a_result_whose_name_is_too_long_costs_one_photo(tmp_path: Path) -> None:
    long, good = picture(tmp_path / f"{'a' * 253}.x"), picture(tmp_path / "b.x")
    batch = copy(tmp_path / "out", long, good)
    assert (batch.made, batch.failed) == (1, 1)


def test_a_picture_that_cannot_be_made_costs_one_photo(tmp_path: Path) -> None:
    good, bad = picture(tmp_path / "a.png", 1), picture(tmp_path / "b.png", 2)
    batch = Batch.find([good, bad], Results(tmp_path / "out", MAKING))
    batch.run("x", 2, read_grey, lambda _, images: [InputError("b.png: gone") if i[0, 0] == 2 else i for i in images])
    assert (batch.made, batch.failed) == (1, 1)


def test_a_file_where_the_results_should_go_is_called_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, file = picture(tmp_path / "a.png"), picture(tmp_path / "out")
    with pytest.raises(InputError, match="is a file; give a folder"):
        copy(file, photo)
    assert run(["evaluate", str(tmp_path), str(tmp_path), "-o", str(file)]) == 1
    told = capsys.readouterr().err
    assert "out: is a file; give a folder" in told and "exists already" not in told


def test_partners_are_found_in_either_form_of_unicode(tmp_path: Path) -> None:
    name = "Zoë"
    for side, form in (("photo", "NFD"), ("sketch", "NFC")):
        for each in ("a", name):
            path = tmp_path / "pairs" / side / f"{unicodedata.normalize(form, each)}.png"
            picture(path)
            Image.new("L", (170, 170), 40 if side == "photo" else 60).save(path)
    photos, sketches = tmp_path / "pairs" / "photo", tmp_path / "pairs" / "sketch"
    bank = tmp_path / "bank.h5"
    assert run(["bank", "build", str(tmp_path / "pairs"), str(bank)]) == 0
    assert run(["data", "import", "pairs", str(tmp_path / "pairs"), str(tmp_path / "imported")]) == 0
    assert len(list((tmp_path / "imported" / "photo").iterdir())) == 2
    assert run(["evaluate", str(photos), str(sketches), "-o", str(tmp_path / "report")]) == 0
    assert len(json.loads((tmp_path / "report" / "scores.json").read_text())["images"]) == 2
    out = ["-o", str(tmp_path / "out"), "--k", "1", "--leave-one-out"]
    assert run(["coarse", str(bank), str(photos), *out]) == 0


def test_import_does_not_write_into_the_folders_that_it_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("photo", "sketch"):
        picture(tmp_path / "src" / side / "a.png")
        picture(tmp_path / "other" / side / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "src")
    before = (tmp_path / "src/photo/a.png").read_bytes()
    for arguments in (
        [tmp_path / "src", tmp_path / "link"],
        [tmp_path / "link", tmp_path / "src" / "new"],
        [tmp_path / "src", tmp_path / "other", "--photos", tmp_path / "other/photo"],
        [tmp_path / "src", tmp_path / "other/photo/new", "--photos", tmp_path / "other/photo"],
    ):
        assert run(["data", "import", "pairs", *map(str, arguments)]) == 1
        assert "choose a" in capsys.readouterr().err
    assert (tmp_path / "src/photo/a.png").read_bytes() == before and names(tmp_path / "other/photo") == ["a.png"]


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(tmp_path)
    assert run(["data", "phantom", "~/x", "--pairs", "2", "--size", "64x48"]) == 0
    assert run(["bank", "build", "~/x", "~/b.h5", "--patch", "8", "--overlap", "4", "--radius", "2"]) == 0
    assert run(["coarse", "~/b.h5", "~/x/photo", "--out=~/o", "--k", "2"]) == 0
    assert read_colour(home / "o" / "0000.png").shape == (64, 48, 3)
    options = ["--metrics", "gmsd", "--against=other=~/x/photo", "--json=~/scores.json"]
    assert run(["evaluate", "~/o", "~/x/sketch", "--out=~/r", *options]) == 0
    assert (home / "scores.json").is_file() and (home / "r" / "report.html").is_file()
    assert not (tmp_path / "~").exists()
    shutil.rmtree(home)


def test_results_beside_their_photos_are_no_inputs_of_other_commands(tmp_path: Path) -> None:
    picture(tmp_path / "b.jpg", kind="JPEG")
    assert copy(tmp_path, tmp_path).made == 1
    found = copy(tmp_path / "aligned", tmp_path, making=Making.of("align"))
    assert (found.made, found.failed) == (1, 0)
    assert copy(tmp_path / "named", tmp_path / "b.png", making=Making.of("align")).made == 1  # a person means it


def test_another_photo_of_equal_size_and_date_is_another_photo(tmp_path: Path) -> None:
    for folder, level in (("one", 90), ("two", 200)):
        os.utime(picture(tmp_path / folder / "x.bmp", level, kind="BMP"), (1, 1))
    assert copy(tmp_path / "out", tmp_path / "one").made == 1
    found = copy(tmp_path / "out", tmp_path / "two")
    assert found.skipped == 0 and len(found.otherwise) == 1


def test_the_table_of_eyes_is_not_written_over_by_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, table = picture(tmp_path / "a.png"), tmp_path / "out" / "report" / "eyes.csv"
    table.parent.mkdir(parents=True)
    table.write_text("file,left_x,left_y,right_x,right_y,who\na.png,20,30,40,30,Anna\n")
    before = table.read_bytes()
    assert run(["align", str(photo), "--eyes", str(table), "-o", str(tmp_path / "out"), "--report"]) == 1
    assert "would be written over by the report" in capsys.readouterr().err
    assert table.read_bytes() == before


def test_a_path_that_may_not_be_read_is_no_mistake_of_usage() -> None:
    """Click's own check would end the command; root, as which tests may run, reads everything."""
    assert PATH.readable is False
