"""Tables of eyes: what is right is read, and whatever is wrong is one line that names file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idekernels.errors import InputError
from idemodel.faces.alignment import Eyes
from idemodel.faces.eye_table import HEADER, read_eyes

FIRST = ",".join(HEADER)


def table(folder: Path, *lines: str) -> Path:
    path = folder / "eyes.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_rows_are_found_by_name_or_stem_and_other_columns_are_ignored(tmp_path: Path) -> None:
    read = read_eyes(
        table(
            tmp_path, "\ufeffnote, right_x ,right_y,left_x,left_y,file", "hm,30,12.5,10,11,a.jpg", '"x,y",9,1,2,1,old/b'
        )
    )
    assert read.of(Path("photos/a.jpg")) == [Eyes(10 + 11j, 30 + 12.5j)]
    assert read.of(Path("b.png")) == [Eyes(2 + 1j, 9 + 1j)]
    assert read.of(Path("c.png")) == [] and read.unused == []


def test_several_rows_are_several_faces_and_empty_cells_none(tmp_path: Path) -> None:
    read = read_eyes(table(tmp_path, FIRST, "a.jpg,1,1,9,1", "b.jpg,,,,", "a.jpg,20,1,60,1", ""))
    assert [eyes.distance for eyes in read.of(Path("a.jpg"))] == [8, 40]
    assert read.of(Path("b.jpg")) == []
    assert read_eyes(table(tmp_path, FIRST, "a.jpg,1,1,9,1")).unused == ["a.jpg"]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["file,left_x,left_y,right_x"], "no column 'right_y'"),
        (["file|left_x|left_y|right_x|right_y", "a|1|2|3|4"], "no column 'file'"),
        ([""], "no column 'file'"),
        ([FIRST, "a.jpg,1,2,3"], "line 2: right_y is ''"),
        ([FIRST, "a.jpg,1,2,30,x"], "line 2: right_y is 'x'"),
        ([FIRST, "a.jpg,nan,2,30,4"], "line 2: left_x is 'nan'"),
        ([FIRST, "a.jpg,1,2,inf,4"], "line 2: right_x is 'inf'"),
        ([FIRST, "a.jpg,1,2,1e300,4"], "line 2: right_x is '1e300'"),
        ([FIRST, "a.jpg,1,2,9,2", "a.jpg,30,2,10,2"], "line 3: left_x 30 is not left of right_x 10"),
        ([FIRST, "a.jpg,10,2,11,2"], "line 2: the eyes are 1.0 pixels apart"),
        ([FIRST, ",1,2,30,4"], "line 2: no file name"),
        ([FIRST, '"a.jpg,1,2,30,4'], "not a CSV table"),
    ],
)
def test_a_mistake_names_its_line(tmp_path: Path, lines: list[str], told: str) -> None:
    path = table(tmp_path, *lines)
    with pytest.raises(InputError) as caught:
        read_eyes(path)
    assert told in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff\xfe\x00", "UTF-8"),
        (b"", "no column"),
        (b"\x00" * 50, "CSV|no column"),
        (b"a" * 17_000_000, "more than the 16000000"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "eyes.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_eyes(path)
    with pytest.raises(InputError, match="no such file"):
        read_eyes(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_eyes(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-mark", "utf-16-be-mark"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("first", ["", "sep={}\r\n"])
def test_tables_are_read_as_spreadsheets_write_them(tmp_path: Path, encoding: str, delimiter: str, first: str) -> None:
    decimal = "," if delimiter == ";" else "."
    header = ["File ", "LEFT_X", "Left_Y", "right_x", "right_y", "Note", ""]
    rows = [header, ["zoë.jpg", f"10{decimal}5", "2", "30", "2", "a", ""], [""] * 7, [], ["b.jpg", "1", "2", "9", "3"]]
    text = first.format(delimiter) + "".join(delimiter.join(row) + "\r\n" for row in rows)
    marked = encoding.removesuffix("-mark")
    (tmp_path / "eyes.csv").write_bytes(("\ufeff" * (marked != encoding) + text).encode(marked))
    read = read_eyes(tmp_path / "eyes.csv")
    assert read.of(Path("zoe\u0308.jpg")) == [Eyes(10.5 + 2j, 30 + 2j)]
    assert read.of(Path("b.jpg")) == [Eyes(1 + 2j, 9 + 3j)]


CELL = st.one_of(st.text(max_size=8), st.floats().map(str), st.integers(-(10**9), 10**9).map(str))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.lists(st.lists(CELL, max_size=7).map(",".join), max_size=5).map(
            lambda rows: "\n".join([FIRST, *rows]).encode("utf-8", "surrogatepass")
        ),
    )
)
def test_hostile_tables_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "eyes.csv"
    path.write_bytes(content)
    try:
        read = read_eyes(path)
    except InputError as error:
        assert str(path) in str(error)
        return
    for faces in read.rows.values():
        for eyes in faces:
            assert eyes.left.real < eyes.right.real and 2 <= eyes.distance < 3e6
