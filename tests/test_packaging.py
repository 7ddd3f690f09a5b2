"""What a stranger installs: the wheel outside the checkout has the commands, the data files and no stray modules."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the checkout stays as it is."""
    source = tmp_path_factory.mktemp("source") / "idesketch"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = source.parent / "dist"
    # setuptools is of the test environment: no network, and the very version of constraints.txt
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)],
        capture_output=True, check=True,
    )  # fmt: skip
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, and this environment's packages for its dependencies."""
    root = tmp_path_factory.mktemp("elsewhere")
    venv.create(root / "env", with_pip=False)
    site = next((root / "env").glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    mine = Path(sys.prefix) / site.relative_to(root / "env")
    (root / "dependencies").mkdir()
    for package in mine.iterdir():
        if "idesketch" not in package.name and not package.name.endswith(".pth"):
            (root / "dependencies" / package.name).symlink_to(package)
    return root


def python(elsewhere: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(elsewhere / "dependencies"), "NUMBA_OPT": "0"}  # half the compiling
    interpreter = str(elsewhere / "env" / "bin" / "python")
    return subprocess.run(
        [interpreter, *arguments], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
    )


def test_wheel_holds_code_and_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"idekernels", "idemodel", "idecli"}
    for kept in (
        "idekernels/backends/cpu/simd.py",
        "idekernels/py.typed",
        "idemodel/evaluation/templates/demo.html.jinja",
        "idemodel/generator/weights/phantom.safetensors",
        "idecli/main.py",
    ):
        assert kept in names
    for package in ("idekernels", "idemodel", "cli"):
        for path in [found for kind in ("py", "cu", "cuh") for found in (ROOT / package).rglob(f"*.{kind}")]:
            inside = path.relative_to(ROOT).as_posix()
            assert (inside.replace("cli/", "idecli/", 1) if package == "cli" else inside) in names
    assert not [name for name in names if name.endswith((".png", ".h5"))]


def test_installed_wheel_runs_outside_the_checkout(elsewhere: Path) -> None:
    where = python(elsewhere, "-c", "import idekernels, idemodel, idecli; print(idekernels.__file__)")
    assert str(elsewhere) in where.stdout, where.stderr
    for stray in ("cli", "tests", "benchmarks"):
        assert python(elsewhere, "-c", f"import {stray}").returncode == 1
    made = python(elsewhere, "-m", "idecli.main", "--version")
    assert made.returncode == 0, made.stderr
    start = "from idecli.main import main; main()"
    drawn = python(elsewhere, "-c", start, "data", "phantom", "pairs", "--pairs", "3", "--size", "64x48")
    assert drawn.returncode == 0, drawn.stderr
    built = python(elsewhere, "-c", start, "bank", "build", "pairs", "bank.h5", "--patch", "8", "--overlap", "4")
    assert built.returncode == 0, built.stderr
    made = python(elsewhere, "-c", start, "coarse", "bank.h5", "pairs/photo", "-o", "out", "--k", "3")
    assert made.returncode == 0, made.stderr
    assert len(list((elsewhere / "out").glob("*.png"))) == 3


def test_entry_point_is_the_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "idesketch = idecli.main:main" in archive.read(points).decode()


def test_setup_cfg_repeats_no_section_of_pyproject() -> None:
    text = (ROOT / "setup.cfg").read_text()
    for section in ("[metadata]", "[tool:pytest]", "[mypy]", "[flake8]", "install_requires", "entry_points"):
        assert section not in text


def metadata(wheel: Path) -> list[str]:
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    return archive.read(name).decode().splitlines()


def test_dlib_comes_along_or_with_align(wheel: Path) -> None:
    """Wherever dlib-bin has a wheel it is a dependency; everywhere else, and there alone, align compiles dlib."""
    told = [line.partition(": ")[2] for line in metadata(wheel) if line.startswith("Requires-Dist: dlib")]
    requirements = [Requirement(line) for line in told]
    machines = [
        ("linux", "x86_64", "3.15"), ("linux", "aarch64", "3.15"), ("linux", "riscv64", None),
        ("darwin", "arm64", "3.15"), ("darwin", "x86_64", "3.14"), ("win32", "AMD64", "3.15"), ("win32", "ARM64", None),
        ("freebsd14", "amd64", None),
    ]  # fmt: skip
    for (system, machine, until), minor in itertools.product(machines, range(10, 17)):
        place = {"sys_platform": system, "platform_machine": machine, "python_version": f"3.{minor}", "extra": ""}
        has_wheel = until is not None and minor < int(until.partition(".")[2])
        for extra in ("", "align"):
            wanted = [
                each.name for each in requirements if each.marker and each.marker.evaluate({**place, "extra": extra})
            ]
            compiled = ["dlib"] if extra and not has_wheel else []
            assert wanted == (["dlib-bin"] if has_wheel else compiled), place
