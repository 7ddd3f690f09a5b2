"""Docstrings of the CPU's kernels: every argument of a compiled function is listed by its name, with its dtype."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "idekernels" / "backends" / "cpu"
DTYPE = r"(?:u?int(?:8|16|32|64)s?|float(?:32|64)|bool|intp)\b"
SAME = r"as in :(?:func|class):`|:class:`"  # documented there

_BETWEEN = r", and | and |, "
_NAMES = rf"\w+(?:(?:{_BETWEEN})\w+)*"
# "one, other : (N, K) float32", "rows and columns (B, N) int32", "key uint64": names, then a colon, a shape or a dtype
_ENTRY = re.compile(rf"({_NAMES})(?= : | \([^)]*\)| {DTYPE})")


def decorators(function: ast.FunctionDef) -> list[str]:
    return [ast.unparse(decorator) for decorator in function.decorator_list]


def arguments(function: ast.FunctionDef) -> list[str]:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return names[1:] if "intrinsic" in decorators(function) else names  # the first is Numba's own


def kernels_of(tree: ast.Module) -> Iterator[tuple[str, list[str], str]]:
    """Name, arguments and docstring of the functions that Numba or llvmlite compiles."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            marks = decorators(node)
            if any(mark == "intrinsic" or mark == "_inner" or mark.startswith("compiled(") for mark in marks):
                yield node.name, arguments(node), ast.get_docstring(node) or ""


def flat(doc: str) -> str:
    return " ".join(doc.replace("``", "").split())


def undocumented(names: list[str], doc: str) -> set[str]:
    """The arguments that no entry names together with a dtype, or with where it is documented."""
    listed: set[str] = set()
    for sentence in re.split(r"(?<=[^.])[.;] |: (?=\w+ [(:])", flat(doc)):
        if re.search(rf"{DTYPE}|{SAME}", sentence):
            for entry in _ENTRY.findall(sentence):
                listed.update(re.split(_BETWEEN, entry))
    return set(names) - listed


def without(name: str, doc: str) -> str:
    """The docstring with one argument taken out of its entries."""
    return _ENTRY.sub(
        lambda entry: ", ".join(other for other in re.split(_BETWEEN, entry[1]) if other != name), flat(doc)
    )


def kernels() -> Iterator[tuple[str, list[str], str]]:
    for path in sorted(FOLDER.glob("*.py")):
        for name, names, doc in kernels_of(ast.parse(path.read_text(encoding="utf-8"))):
            yield f"{path.name}: {name}", names, doc


KERNELS = list(kernels())


def test_the_kernels_are_found():
    """One of every kind; and every file that compiles something has some."""
    names = {name for name, _, _ in KERNELS}
    assert names >= {
        "matching.py: _match_blocks", "matching.py: _keep_nearest", "simd.py: cell_products", "weighing.py: _photo",
    }  # fmt: skip
    for path in FOLDER.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"^ *@(compiled\(|_inner|intrinsic)", text, re.MULTILINE):
            assert any(name.startswith(f"{path.name}: ") for name in names), path


@pytest.mark.parametrize(("names", "doc"), [part[1:] for part in KERNELS], ids=[part[0] for part in KERNELS])
def test_every_argument_has_its_dtype(names, doc):
    assert doc.split("\n\n")[0].strip(), "no docstring"
    assert not undocumented(names, doc)


@pytest.mark.parametrize(("names", "doc"), [part[1:] for part in KERNELS], ids=[part[0] for part in KERNELS])
def test_an_argument_that_is_left_out_is_noticed(names, doc):
    """The summary's English words do not pass for entries: names like ``first`` or ``rows`` stand in both."""
    for name in names:
        assert name in undocumented(names, without(name, doc)), name


def test_references_lead_somewhere():
    """ "as in :func:`_photo`" names a documented function or class of that file."""
    for path in FOLDER.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        known = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                for target in re.findall(r"as in\s+:(?:func|class):`(\w+)`", ast.get_docstring(node) or ""):
                    assert target in known, (path, node.name, target)


def test_an_entry_without_a_dtype_is_noticed():
    assert undocumented(["rows", "k"], "Sum of rows.\n\nrows : (N, K) float32. k : candidates.") == {"k"}
    assert undocumented(["a", "b", "c"], "Sum.\n\na and b (N,) float32, c : int64.") == set()
    assert undocumented(["seen"], "What is seen.") == {"seen"}
