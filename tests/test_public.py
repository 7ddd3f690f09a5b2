"""The library from outside: its names, what importing it costs, what docstrings promise, who imports whom."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import idekernels
import idemodel
from idekernels import backends, coarse, operations
from idekernels.backends import reference
from idekernels.backends.host import OnHost
from idekernels.backends.protocol import Backend
from idekernels.coarse import CoarseSettings, coarse_sketch
from idekernels.operations import prepare

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("numba", "llvmlite", "h5py", "hdf5plugin", "scipy", "skimage", "PIL", "torch", "cupy", "click", "rich")


def run(code, *arguments, before=(), **options):
    command = [*before, sys.executable, "-c", textwrap.dedent(code), *map(os.fspath, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


def test_importing_loads_nothing_heavy():
    done = run(f"import sys, idekernels; dir(idekernels); print([m for m in {HEAVY} if m in sys.modules])")
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("use", "spared"),
    [
        ("idekernels.PatchGrid(10, 10).shifts", ("numba", "h5py", "scipy", "torch", "cupy", "click")),
        ("import numpy as np; idekernels.planes_of(np.zeros((9, 9), np.uint8), ['intensity', 'lbp'])",
         ("numba", "h5py", "scipy", "torch", "cupy")),
        ("idekernels.open_bank", ("numba", "scipy", "torch", "cupy")),
        ("idekernels.coarse_sketch; idekernels.PatchBank", ("numba", "h5py", "scipy", "torch", "cupy")),
        ("from idekernels.backends import load; load('reference')", ("numba", "h5py", "scipy", "torch", "cupy")),
        ("from idekernels.backends import load; load('cuda')", ("numba", "h5py", "scipy", "torch", "cupy")),
        ("from idekernels.backends import cpu", ("h5py", "torch", "cupy", "click", "PIL")),
    ],
)  # fmt: skip
def test_each_name_loads_only_what_it_needs(use, spared):
    done = run(f"import sys, idekernels\n{use}\nprint([m for m in {spared} if m in sys.modules])")
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_public_names_are_these():
    """A name that is added or taken away is a decision, not an accident."""
    assert sorted(idekernels.__all__) == [
        "Backend", "BankError", "BankHead", "BankSettings", "CandidatePatches", "Candidates", "CoarseSettings",
        "CoarseSketch", "Compatibility", "ComposedPatches", "Evidence", "FileBank", "InputError", "JoinedBank",
        "Labelling", "Lle", "METHODS", "Mean", "MemoryBank", "Method", "Mrf", "Multi", "MultiWeights", "Mwf",
        "PatchBank", "PatchGrid", "Picture", "PreparedBank", "REPRESENTATIONS", "Top1", "WEIGHINGS", "WORKLOADS",
        "Weights", "Workload", "blend", "coarse_sketch", "coarse_sketches", "compatibility", "compose",
        "evidence", "gather", "match", "merge", "open_bank", "photos_at_once", "planes_of", "prepare", "propagate",
        "verify", "warm_up", "weigh", "weigh_multi", "write_bank",
    ]  # fmt: skip
    assert sorted(idemodel.__all__) == [
        "DrawnBank", "Enhancer", "Evaluation", "EvaluationSettings", "Eyes", "Hand", "PHANTOM", "PhantomPair",
        "PhotoPreparer", "PreparationSettings", "PreparedPhoto", "Sketcher", "Sketches", "builtin_bank", "evaluate",
        "phantom_pairs", "read_colour", "read_grey", "read_photo", "write_image",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package in (idekernels, idemodel) for name in package.__all__]
)
def test_every_public_name_resolves_and_is_documented(package, name):
    value = getattr(package, name)

    assert name in dir(package)
    if name.isupper():  # a table of the library, or a file that comes with it
        assert isinstance(value, Path) or (isinstance(value, Mapping) and value)
        return
    assert value.__name__ == name and value.__module__.startswith(f"{package.__name__}.")
    assert len(inspect.getdoc(value)) > 20


@pytest.mark.parametrize("package", [idekernels, idemodel])
def test_there_are_no_other_names(package):
    with pytest.raises(AttributeError, match=f"No {package.__name__} attribute sketch"):
        _ = package.sketch


@pytest.mark.parametrize("package", [idekernels, idemodel])
def test_the_public_names_stand_once(package):
    """The stub is what type checkers and the import both read; it holds nothing but names taken from modules."""
    stub = ast.parse(Path(package.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    assert all(isinstance(node, ast.ImportFrom) and node.level == 1 for node in stub.body)
    assert sorted(alias.name for node in stub.body for alias in node.names) == sorted(package.__all__)
    assert all(alias.asname == alias.name for node in stub.body for alias in node.names)


def test_importing_the_model_loads_no_torch():
    done = run("import sys, idemodel; dir(idemodel); print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])")
    assert done.stdout == "[]\n", done.stderr


def public_functions():
    found = []
    for module in (operations, coarse):
        for name, value in vars(module).items():
            if inspect.isfunction(value) and not name.startswith("_") and value.__module__ == module.__name__:
                found.append(pytest.param(value, id=f"{module.__name__}.{name}"))
    return found


def documented(value):
    """Names in the numpydoc section "Parameters", in order."""
    text = inspect.getdoc(value)
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", text, re.M | re.S)
    if not section:
        return []
    heads = re.findall(r"^(\S.*?)(?: :.*)?$", section.group(1), re.M)
    return [name.strip().lstrip("*") for head in heads for name in head.split(",")]


def sections(value):
    return re.findall(r"^(\w+)\n-+$", inspect.getdoc(value), re.M)


@pytest.mark.parametrize("function", public_functions())
def test_docstring_parameters_are_the_signatures(function):
    names = list(inspect.signature(function).parameters)
    if function in (operations.blend_window, coarse.photos_at_once):
        assert documented(function) == []  # helpers that one line explains
        return
    assert documented(function) == names
    assert "Returns" in sections(function) or function is prepare
    assert "Raises" in sections(function)


def test_docstrings_of_settings_name_their_fields():
    for kind in (CoarseSettings, idekernels.BankSettings, idekernels.PatchGrid):
        assert documented(kind) == list(inspect.signature(kind).parameters)


KERNELS = {
    "prepare", "select", "elect", "upload", "free_memory", "match", "gather", "evidence", "gram", "compatibility",
    "weigh", "propagate", "label", "compose", "blend", "cut", "levels", "rounded",
}  # fmt: skip


ASKED = ("why_missing", "side_by_side", "take_share")  # of a backend, beside its kernels


def public_members(value):
    return {name for name in dir(value) if not name.startswith("_")}


@pytest.mark.parametrize("name", [name for name in backends.NAMES if name != "auto"])
def test_backends_are_twins(name):
    """Every backend has the functions of the Protocol and no others, with the same parameters in the same order."""
    backend = backends.load(name)

    assert backend.name == str(backend) == name
    assert public_members(backend) == public_members(Backend) == {*KERNELS, *ASKED, "name"}
    for kernel in {*KERNELS, *ASKED}:
        ours, theirs = getattr(backend, kernel), getattr(Backend, kernel)
        assert ["self", *inspect.signature(ours).parameters] == list(inspect.signature(theirs).parameters), kernel


def test_the_reference_is_the_functions_of_its_module():
    """But for steps between its functions that all backends of the host share."""
    ours = backends.load("reference")
    shared = {"match", "gather", "evidence", "gram", "label", "levels", "rounded"}
    assert shared == {name for name in KERNELS if name in vars(OnHost)}
    for kernel in KERNELS - shared:
        assert getattr(ours, kernel) is getattr(reference, kernel)
    assert (ours._search, ours._cut_out, ours._grams) == (reference.match, reference.gather, reference.evidence)


def test_backends_are_chosen_by_name_and_never_replaced(monkeypatch):
    assert backends.resolve("auto").name == "cpu"
    assert [backends.resolve(name).name for name in ("cpu", "reference")] == ["cpu", "reference"]
    with pytest.raises(idekernels.InputError, match="no backend called 'tpu'; there are auto, reference, cpu, cuda"):
        backends.resolve("tpu")
    monkeypatch.setitem(sys.modules, "idekernels.backends.cpu", None)
    for name in ("cpu", "auto"):
        with pytest.raises(idekernels.InputError, match="the backend 'cpu' cannot run here"):
            backends.resolve(name)
    assert backends.why_missing("reference") is None


_MATCH = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import numpy as np
    import idekernels
    assert idekernels.__file__.startswith(sys.argv[1]), idekernels.__file__
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 9), dtype=np.uint8)
    bank = idekernels.PatchBank.from_images(images, images, settings=idekernels.BankSettings(4, 2, 1))
    print(idekernels.match(images[1:2, None], bank, k=1).image.ravel().tolist())
    from idekernels.backends.cpu.jit import cache_folder
    print(cache_folder())
"""


@pytest.mark.slow
def test_it_works_from_a_read_only_install_without_a_home(tmp_path, bound_by_permissions):
    """No folder can be written for compiled kernels: they are compiled for this process, and it works."""
    shutil.copytree(ROOT / "idekernels", tmp_path / "idekernels", ignore=shutil.ignore_patterns("__pycache__"))
    folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "XDG_"))}
    environment |= {"HOME": str(tmp_path / "nobody"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["NUMBA_OPT"] = "0"  # half the compiling
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = run(_MATCH, tmp_path, env=environment, cwd=tmp_path, before=bound_by_permissions)
    finally:
        for folder in folders:
            folder.chmod(0o755)

    assert done.returncode == 0, done.stderr
    nodes = idekernels.PatchGrid(9, 9, 4, 2).nodes
    assert done.stdout.splitlines() == [str([1] * nodes), "None"]
    assert not list(tmp_path.rglob("*.nbi")) and not list(tmp_path.rglob("__pycache__"))


def imports_of(path):
    """Top-level packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            found |= {name.value.split(".")[0] for name in node.args[:1] if isinstance(name, ast.Constant)}
    return found


@pytest.mark.parametrize(
    ("package", "barred"),
    [
        ("idekernels", {"torch", "click", "rich", "rich_click", "idemodel", "idecli", "cli", "tests", "benchmarks"}),
        ("idemodel", {"click", "rich", "rich_click", "idecli", "cli", "tests", "benchmarks"}),
        ("cli", {"cli", "tests", "benchmarks"}),
    ],
)
def test_imports_point_down_only(package, barred):
    files = [path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts]
    assert len(files) > 3
    guilty = {str(path.relative_to(ROOT)): sorted(imports_of(path) & barred) for path in files}
    assert {path: names for path, names in guilty.items() if names} == {}


def test_the_reference_knows_none_of_the_fast_code():
    assert imports_of(ROOT / "idekernels" / "backends" / "reference.py") == {
        "__future__",
        "typing",
        "numpy",
        "idekernels",
    }
    assert "cpu" not in (ROOT / "idekernels" / "backends" / "reference.py").read_text(encoding="utf-8")


def test_every_module_says_what_it_owns():
    for package in ("idekernels", "idemodel", "cli"):
        for path in (ROOT / package).rglob("*.py"):
            doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            assert doc and len(doc.splitlines()[0]) > 15, path


def test_one_photo_is_a_batch_of_one():
    """The ten lines that a reader of the README types first."""
    rng = np.random.default_rng(0)
    photos, sketches = rng.integers(0, 256, (2, 4, 20, 20), dtype=np.uint8)
    bank = idekernels.PatchBank.from_images(photos, sketches, settings=idekernels.BankSettings(8, 4, 2))
    query = bank.query(photos[0])[None]
    found = idekernels.match(query, bank, k=5)
    patches = idekernels.gather(found, bank)
    gram = idekernels.evidence(query, patches, bank.grid())
    weights = idekernels.weigh(gram, idekernels.compatibility(patches, bank.grid()), bank.grid())
    picture = idekernels.blend(idekernels.compose(patches, weights), bank.grid())

    whole = coarse_sketch(photos[0], bank, k=5)
    np.testing.assert_allclose(picture.pixels / 255, whole.pixels, atol=1e-6)
