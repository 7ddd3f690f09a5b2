"""What the scripts behind the tables of docs/ share: options, data that may be missing, sections of a page."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.script import has_pairs, parser, publish


def test_options_are_there_where_they_have_a_default(tmp_path: Path) -> None:
    assert vars(parser("a script").parse_args([])) == {"write": None}
    made = parser("a script", data=tmp_path, out="made").parse_args(["--write", "page.md"])
    assert vars(made) == {"data": tmp_path, "out": Path("made"), "write": Path("page.md")}


def test_sections_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- a: begin -->\nold\n<!-- a: end -->\nkept\n<!-- b: begin -->\n<!-- b: end -->\n")
    publish({"a": r"| new \1 |", "b": "more"}, page)
    assert capsys.readouterr().out == "| new \\1 |\n\nmore\n\n"
    assert page.read_text() == (
        "<!-- a: begin -->\n| new \\1 |\n<!-- a: end -->\nkept\n<!-- b: begin -->\nmore\n<!-- b: end -->\n"
    )
    publish({"a": "only shown"}, None)
    assert "only shown" not in page.read_text()
    with pytest.raises(ValueError, match="0 sections"):
        machine.replace_section(page, "c", "")


@pytest.mark.parametrize(
    "name", ["results", "direction", "fine", "levers", "robustness", "alignment", "settling", "likeness", "anyone"]
)
def test_without_data_a_script_says_so_and_ends_well(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, "--data", "nowhere"])
    importlib.import_module(f"benchmarks.{name}").main()
    assert capsys.readouterr().out == "nowhere: not there, so no results; give the pairs with --data\n"
    assert not list(tmp_path.iterdir())
    (tmp_path / "test").mkdir()
    assert has_pairs(tmp_path, "test") and not has_pairs(tmp_path, "train")
