"""Hostile and broken archives, lists, tables, points and patterns: one line or a reason, never a crash."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from dataset_archives import encoded, face, unpacked, zipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from idecli.main import run
from idekernels import InputError
from idemodel.datasets import LAYOUTS, archives, patterns
from idemodel.datasets.pairs import Pairs, read_table
from idemodel.datasets.points import read_points
from idemodel.datasets.sources import Member, open_source

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PICTURE = encoded(face(0)[0][:20, :16])


def refused(path: Path, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught, open_source(path):
        pass
    assert "\n" not in str(caught.value)


def tarred(path: Path, *members: tuple[tarfile.TarInfo, bytes], kind: str = "") -> Path:
    with tarfile.open(path, f"w:{kind}") as packed:
        for info, content in members:
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return path


def everything_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


ESCAPES = [
    "../out.png",
    "a/../../out.png",
    "/tmp/out.png",
    "..\\out.png",
    "C:\\out.png",
    "c:out.png",
    "\\\\host\\x.png",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    before = everything_below(tmp_path.parent)
    bad = zipped(tmp_path / "bad.zip", {"photo/a.png": PICTURE, name: PICTURE})
    refused(bad, "leads out of the archive")
    refused(tarred(tmp_path / "bad.tar", (tarfile.TarInfo(name), PICTURE)), "leads out of the archive")
    assert everything_below(tmp_path.parent) - before == {bad, tmp_path / "bad.tar"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_left_out_and_told(tmp_path: Path, kind: bytes) -> None:
    link = tarfile.TarInfo("photo/a.png")
    link.type, link.linkname = kind, "/etc/passwd"
    with open_source(tarred(tmp_path / "in.tar", (link, b""), (tarfile.TarInfo("photo/b.png"), PICTURE))) as source:
        assert [member.name for member in source.members] == ["in/photo/b.png"]
        assert source.left_out == [("in/photo/a.png", "a link or device, which is not followed")]


def test_links_in_a_zip_and_a_folder_are_left_out_and_told(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("photo/a.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        packed.writestr(link, "/etc/passwd")
    with open_source(tmp_path / "in.zip") as source:
        assert not source.members and "link" in source.left_out[0][1]
    folder = unpacked(tmp_path / "in", {"photo/b.png": PICTURE})
    (folder / "photo/a.png").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to(folder)
    with open_source(folder) as source:
        assert [member.name for member in source.members] == ["photo/b.png"]
        assert {name for name, _ in source.left_out} == {"photo/a.png", "loop"}


def test_bombs_are_refused_before_they_fill_the_disk(tmp_path: Path) -> None:
    zeros = bytes(archives.SLACK * 12)
    refused(zipped(tmp_path / "bomb.zip", {"photo/a.bmp": zeros}), "unpacks to more than 200 times its size")
    refused(tarred(tmp_path / "bomb.tar.gz", (tarfile.TarInfo("a.bmp"), zeros), kind="gz"), "unpacks to more than")
    refused(tarred(tmp_path / "bomb.tar.xz", (tarfile.TarInfo("skipped.mov"), zeros), kind="xz"), "unpacks to more")


def test_a_zip_that_lies_about_its_sizes_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "liar.zip", {"photo/a.bmp": bytes(4000)})
    data = path.read_bytes()
    path.write_bytes(data.replace((4000).to_bytes(4, "little"), (40).to_bytes(4, "little")))
    refused(path, "not a whole .zip or .tar archive")


def test_limits_on_files_and_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "in.zip", {f"photo/{n}.png": PICTURE for n in range(4)})
    tar = tarred(tmp_path / "in.tar", *((tarfile.TarInfo(f"photo/{n}.png"), PICTURE) for n in range(4)))
    folder = unpacked(tmp_path / "in", {f"photo/{n}.png": PICTURE for n in range(4)})
    for module in ("archives", "sources"):
        monkeypatch.setattr(f"idemodel.datasets.{module}.MAX_MEMBERS", 3)
    refused(archive, "holds 4 files, over the limit of 3")
    refused(tar, "holds more than 3 files")
    refused(folder, "holds more than 3 files")
    monkeypatch.undo()
    monkeypatch.setattr("idemodel.datasets.archives.MAX_MEMBER_BYTES", 100)
    refused(archive, "unpacks to more than")
    refused(tar, "is over")


def test_a_packed_picture_is_a_bomb_for_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idemodel.datasets.archives.MAX_MEMBER_BYTES", 5000)
    folder = unpacked(
        tmp_path / "in", {"photo/a.png.gz": gzip.compress(bytes(10_000)), "photo/b.png.gz": b"\x1f\x8b\x08"}
    )
    with open_source(folder) as source:
        for member in source.members:
            with pytest.raises(InputError, match=r"unpacks to more|is damaged"), source.plain_file(member):
                pass


def test_names_that_differ_in_case_alone_do_not_meet_on_the_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"{side}/{name}.png": PICTURE for side in ("photo", "sketch") for name in ("Ann", "ANN")}
    assert run(["data", "import", "pairs", str(zipped(tmp_path / "in.zip", files)), str(tmp_path / "out")]) == 1
    assert "another pair is called Ann (capitals aside)" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out/photo").iterdir()] == ["ANN.png"]


def test_names_that_cannot_be_printed_are_left_out_and_told(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "in", {"photo/a.png": PICTURE, "photo/\x1b[2Jb.png": PICTURE})
    (folder / "photo" / os.fsdecode(b"\xff.png")).write_bytes(PICTURE)
    with open_source(folder) as source:
        assert [member.name for member in source.members] == ["photo/a.png"]
        assert len(source.left_out) == 2 and all(name.isprintable() for name, _ in source.left_out)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_name_twice_in_an_archive_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        packed.writestr("photo/a.png", PICTURE)
        packed.writestr("photo/a.png", b"other")
    with open_source(tmp_path / "in.zip") as source:
        assert [member.path.read_bytes() for member in source.members] == [PICTURE]
        assert source.left_out == [("in/photo/a.png", "the archive holds two files of this name")]


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz"])
def test_archives_cut_off_anywhere_are_refused(tmp_path: Path, kind: str) -> None:
    content = os.urandom(3000)
    whole = tarred(
        tmp_path / "whole", *((tarfile.TarInfo(f"{n}.png"), content) for n in range(3)), kind=kind
    ).read_bytes()
    cut = tmp_path / f"cut.tar{kind}"
    used = whole.rstrip(b"\0")
    for size in (0, 1, 600, len(used) // 2, len(used) - 1, 3584, 7168):  # the last two end between two members
        cut.write_bytes(whole[: min(size, len(used) - 1)])
        refused(cut, "fetch it again")
    packed = zipped(tmp_path / "whole.zip", {"photo/a.png": content}).read_bytes()
    for size in (1, 100, len(packed) - 1):
        cut.write_bytes(packed[:size])
        refused(cut, "fetch it again")


@FEW
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08\x00", b"BZh9", b"\xfd7zXZ\0"]),
)
def test_noise_is_no_archive(tmp_path: Path, noise: bytes, magic: bytes) -> None:
    path = tmp_path / "noise.zip"
    path.write_bytes(magic + noise)
    try:
        with open_source(path) as source:
            assert not source.members
    except InputError as error:
        assert "\n" not in str(error)


@FEW
@given(st.integers(0, 10_000), st.integers(0, 255), st.sampled_from(["zip", "tar"]))
def test_an_altered_archive_is_read_or_refused(tmp_path: Path, where: int, value: int, kind: str) -> None:
    path = tmp_path / f"altered.{kind}"
    if kind == "zip":
        zipped(path, {"photo/a.png": PICTURE, "b.txt": "x"})
    else:
        tarred(path, (tarfile.TarInfo("photo/a.png"), PICTURE), (tarfile.TarInfo("b.txt"), b"x"))
    data = bytearray(path.read_bytes())
    data[where % len(data)] = value
    path.write_bytes(data)
    try:
        with open_source(path) as source:
            assert all(member.path.is_relative_to(source.spare) for member in source.members)
    except InputError as error:
        assert "\n" not in str(error)


def member(tmp_path: Path, content: bytes | str, name: str = "a.dat") -> Member:
    path = tmp_path / "member"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return Member(name, path)


@pytest.mark.parametrize(
    "text", ["75 125\n125 125", "125,125\n75,125\n100 180", "75 125 125 125", "\ufeff75\t125\r\n125\t125\r\n\r\n"]
)
def test_points_in_every_writing(tmp_path: Path, text: str) -> None:
    eyes = read_points(member(tmp_path, text))
    assert (eyes.left, eyes.right) == (75 + 125j, 125 + 125j)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "0 points"), ("1 2", "1 points"), ("1 2\n3 4\n" * 4, "8 points"), ("1 2 3\n4 5 6", "not a point file"),
        ("nan 1\n2 2", "not a position"), ("inf 1\n2 2", "not a position"), ("1e9 1\n2 2", "not a position"),
        ("a b\nc d", "not a position"), ("5 5\n5 5", "side by side"), ("5 5\n5 90", "side by side"),
        (b"\xff\xfe\x00", "not text"), ("1 2\n" * 20_000, "too long"),
    ],
)  # fmt: skip
def test_points_that_are_none(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_points(member(tmp_path, text))


@FEW
@given(st.one_of(st.binary(max_size=200), st.text("0123456789.-einf \n,", max_size=120).map(str.encode)))
def test_any_point_file_is_eyes_or_one_line(tmp_path: Path, content: bytes) -> None:
    try:
        eyes = read_points(member(tmp_path, content))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert eyes.left.real < eyes.right.real


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.sampled_from(["photo1/image0001", "../x", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["image_name", "style", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@FEW
@given(st.one_of(JSON.map(json.dumps), st.text(max_size=50), st.just("[" * 100_000), st.just("[" + "9" * 9000 + "]")))
def test_any_annotation_is_listed_or_one_line(tmp_path: Path, text: str) -> None:
    folder = unpacked(tmp_path / "in", {"anno_train.json": text.encode("utf-8", "surrogatepass")})
    with open_source(folder) as source:
        try:
            listing = LAYOUTS["fs2k"]().find(source)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert all(pair.problem for pair in listing.pairs)


@FEW
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text('photo,sketch"\n\r\0é', max_size=120).map(lambda t: f"photo,sketch\n{t}".encode()),
    )
)
def test_any_table_is_rows_or_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "match.csv"
    path.write_bytes(content)
    try:
        rows = read_table(path, ("photo", "sketch"))
        with open_source(unpacked(tmp_path / "in", {"photo/a.png": PICTURE})) as source:
            pairs = Pairs(match=str(path)).find(source).pairs
        assert len(pairs) == len(rows) and all(pair.problem for pair in pairs)
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("pattern", ["(", "*", "(?P<n>", "a{99999999999}", "x" * 501, "[z-a]"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(InputError, match="--match"):
        patterns.keys(pattern, ["a"])


def test_a_pattern_of_exponential_time_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 1.0)
    start = time.monotonic()
    with pytest.raises(InputError, match="repeats of repeats"):
        patterns.keys(r"^(a+)+$", ["a" * 60 + "b"])
    assert time.monotonic() - start < 30


def test_a_pattern_finds_groups_or_the_match() -> None:
    assert patterns.keys(r"(\d+)-(\d+)", ["x12-3", "none"]) == ["12-3", None]
    assert patterns.keys(r"\d+", ["x12-3", "\udc80"]) == ["12", None]


def test_keys_that_are_no_file_names_are_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"photo/a.png": PICTURE, "sketch/a.png": PICTURE, "photo/b.png": PICTURE, "sketch/b.png": PICTURE}
    (tmp_path / "match.csv").write_text("photo,sketch,name\na.png,a.png,../../escaped\nb.png,b.png,good\n")
    folder, match = unpacked(tmp_path / "in", files), str(tmp_path / "match.csv")
    assert run(["data", "import", "pairs", str(folder), str(tmp_path / "out"), "--match", match]) == 1
    assert "cannot be the name of a file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*.png") if "out" in path.parts] == ["good.png"] * 2


def test_a_killed_import_leaves_no_half_picture_and_goes_on(tmp_path: Path) -> None:
    files = {f"{side}/{n:02d}.png": PICTURE for n in range(12) for side in ("photo", "sketch")}
    source, out = unpacked(tmp_path / "in", files), tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-m", "idecli", "data", "import", "pairs", str(source), str(out)])
    while len(list(out.glob("sketch/*.png"))) < 2 and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()

    for path in out.rglob("*.png"):
        if not path.name.startswith("."):
            with Image.open(path) as picture:
                picture.load()
    assert run(["data", "import", "pairs", str(source), str(out)]) == 0
    assert len(list(out.glob("sketch/*.png"))) == len(list(out.glob("photo/*.png"))) == 12
