"""Compiled kernels on disk, and the driver's early start, on stand-ins for CuPy and the driver."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from idekernels.backends.cuda import cubins, waking


class DriverError(RuntimeError):
    pass


class Toolchain:
    """What :mod:`idekernels.backends.cuda.cubins` uses of CuPy; ``refused``: code that the driver does not load."""

    def __init__(self, version: str = "14.2.0", capability: str = "90", toolkit: int = 13000) -> None:
        self.compiled: list[tuple[str, tuple[str, ...]]] = []
        self.refused: set[bytes] = set()
        self.__version__ = version
        self.cuda = SimpleNamespace(
            runtime=SimpleNamespace(runtimeGetVersion=lambda: toolkit),
            driver=SimpleNamespace(CUDADriverError=DriverError),
            Device=lambda: SimpleNamespace(compute_capability=capability),
            compiler=SimpleNamespace(compile_using_nvrtc=self._compile),
            function=SimpleNamespace(Module=lambda: Loaded(self)),
        )

    def _compile(self, source: str, options: tuple[str, ...]) -> tuple[bytes, None]:
        self.compiled.append((source, options))
        return f"code {len(self.compiled)} of {source}".encode(), None


class Loaded:
    def __init__(self, toolchain: Toolchain) -> None:
        self._toolchain, self.code = toolchain, b""

    def load(self, code: bytes) -> None:
        if code in self._toolchain.refused:
            raise DriverError("CUDA_ERROR_INVALID_IMAGE")
        self.code = code


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CUPY_CACHE_IN_MEMORY", raising=False)
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path / "kept"


def load(cupy: Toolchain, source: str = "kernel", *options: str) -> bytes:
    code: bytes = cubins.load(cupy, source, options).code
    return code


def test_the_second_process_compiles_nothing(place: Path) -> None:
    first, second = Toolchain(), Toolchain()
    assert load(first, "kernel", "-DK=10") == load(second, "kernel", "-DK=10") == b"code 1 of kernel"
    assert first.compiled == [("kernel", ("-DK=10", "-ftz=true"))] and not second.compiled
    assert len(list(place.iterdir())) == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda: load(Toolchain(), "another kernel", "-DK=10"),
        lambda: load(Toolchain(), "kernel", "-DK=11"),
        lambda: load(Toolchain(version="14.3.0"), "kernel", "-DK=10"),
        lambda: load(Toolchain(capability="80"), "kernel", "-DK=10"),
        lambda: load(Toolchain(toolkit=12090), "kernel", "-DK=10"),
    ],
    ids=["source", "options", "CuPy", "architecture", "CUDA"],
)
def test_what_code_depends_on_names_its_file(place: Path, other: Any) -> None:
    load(Toolchain(), "kernel", "-DK=10")
    other()
    assert len(list(place.iterdir())) == 2


@pytest.mark.parametrize(
    "harm",
    [lambda content: b"", lambda content: content[:-1], lambda content: content[:40] + b"X" + content[41:]],
    ids=["empty", "cut short", "altered"],
)
def test_a_damaged_file_costs_a_compile_and_is_mended(place: Path, harm: Any) -> None:
    load(Toolchain())
    (file,) = place.iterdir()
    whole = file.read_bytes()
    file.write_bytes(harm(whole))
    again = Toolchain()
    assert load(again) == b"code 1 of kernel" and len(again.compiled) == 1
    assert file.read_bytes() == whole


def test_code_that_the_driver_refuses_is_compiled_anew(place: Path) -> None:
    load(Toolchain())
    again = Toolchain()
    again.compiled.append(("before", ()))  # so that the new code is another
    again.refused.add(b"code 1 of kernel")
    assert load(again) == b"code 2 of kernel"
    assert load(Toolchain()) == b"code 2 of kernel"


@pytest.mark.parametrize("why", ["no folder", "in memory"])
def test_where_nothing_can_be_kept_kernels_run_all_the_same(
    place: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    if why == "no folder":
        place.write_text("a file")
        monkeypatch.setenv("CUPY_CACHE_DIR", str(place / "within"))
    else:
        monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    for _ in range(2):
        cupy = Toolchain()
        assert load(cupy) == b"code 1 of kernel" and len(cupy.compiled) == 1
    assert not place.is_dir()


class Driver:
    """Notes what it is called for; the call named ``fails`` gives an error's number."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.called = fails, []  # type: ignore[var-annotated]

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.called.append(name)
            return 100 if name == self.fails else 0

        return call


@pytest.mark.parametrize(
    ("fails", "called"),
    [("", ["cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain"]), ("cuInit", ["cuInit"])],
)
def test_the_driver_starts_while_cupy_is_imported(
    monkeypatch: pytest.MonkeyPatch, fails: str, called: list[str]
) -> None:
    driver = Driver(fails)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(waking.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(waking.ctypes, "CDLL", lambda name: driver)
    with waking.driver_started():
        pass
    assert driver.called == called


@pytest.mark.parametrize("why", ["imported", "not installed", "no driver"])
def test_there_may_be_nothing_to_start(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    driver = Driver()

    def found(name: str) -> Driver:
        if why == "no driver":
            raise OSError("libcuda.so.1: cannot open shared object file")
        return driver

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    if why == "imported":
        monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(waking.importlib.util, "find_spec", lambda name: None if why == "not installed" else name)
    monkeypatch.setattr(waking.ctypes, "CDLL", found)
    with waking.driver_started():
        pass
    assert not driver.called
