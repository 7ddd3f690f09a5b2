"""GPU kernels kept on disk, without a GPU: keys that tell kernels apart and are the same everywhere, and a stand-in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from idekernels.backends.cuda import catalogue, compiled, device
from idekernels.backends.cuda.compiled import FOLDER, Untold, kept_on_disk, source_of
from idekernels.files.cache import VARIABLE

DEVICE = ((12, 9), (9, 0))  # a toolkit and a compute capability

LIST = """
from idekernels.backends.cuda import catalogue
from idekernels.backends.cuda.compiled import source_of
print(*(source_of(entry.kernel) for entry in catalogue.numba_entries(4)))
"""


class Kernel:
    """What Numba compiles: only what is kept of it."""

    def __init__(self, code: bytes, magic: Any = DEVICE) -> None:
        self.code, self.codegen = code, SimpleNamespace(magic_tuple=lambda: magic)

    def _reduce_states(self) -> dict[str, Any]:
        return {"code": self.code}

    @classmethod
    def _rebuild(cls, code: bytes) -> Kernel:
        return cls(code)


class Target:
    """A target context of Numba's, of one device."""

    def __init__(self, magic: Any = DEVICE) -> None:
        self.magic = magic

    def refresh(self) -> None:
        """There is nothing to load."""

    def codegen(self) -> Any:
        return SimpleNamespace(magic_tuple=lambda: self.magic)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and kernels that need no device."""
    dispatcher = pytest.importorskip("numba.cuda.dispatcher")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(dispatcher, "_Kernel", Kernel)
    return tmp_path / "cache" / FOLDER


def store(kernel: Any) -> Any:
    """The cache that a kernel gets."""
    return kept_on_disk(SimpleNamespace(), kernel)._cache


def kernel_of(k: Any) -> Any:
    def kernel(out: Any) -> None:
        out[0] = k

    return kernel


def test_kernels_that_differ_have_keys_that_differ() -> None:
    entries = [entry for k in (4, 5) for entry in catalogue.numba_entries(k)]
    made_for_k = {source_of(entry.kernel) for entry in entries if "K=" in entry.name}
    assert len(made_for_k) == sum("K=" in entry.name for entry in entries)
    assert len({source_of(kernel_of(value)) for value in (1, 1.0, True, np.float32(1), "1", (1,), (1, 1))}) == 7


def test_keys_are_the_same_in_another_process() -> None:
    told = subprocess.run([sys.executable, "-c", LIST], check=True, capture_output=True, text=True).stdout.split()
    assert told == [source_of(entry.kernel) for entry in catalogue.numba_entries(4)]


def test_a_change_of_any_source_file_changes_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = source_of(kernel_of(1))
    monkeypatch.setattr(compiled, "_sources", lambda: b"changed")
    assert source_of(kernel_of(1)) != before


def test_a_closure_that_nothing_plain_tells_is_not_kept() -> None:
    kernel = kernel_of(np.zeros(3))
    with pytest.raises(Untold):
        source_of(kernel)
    plain = SimpleNamespace()
    assert kept_on_disk(plain, kernel) is plain and not hasattr(plain, "_cache")


def test_what_one_process_compiled_another_loads(folder: Path) -> None:
    store(kernel_of(1)).save_overload(("int32",), Kernel(b"machine code"))
    assert store(kernel_of(1)).load_overload(("int32",), Target()).code == b"machine code"
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("value", "signature", "magic"),
    [(2, "int32", DEVICE), (1, "int64", DEVICE), (1, "int32", ((13, 0), (9, 0))), (1, "int32", ((12, 9), (8, 0)))],
)
def test_other_kernels_types_toolkits_and_devices_find_nothing(
    folder: Path, value: int, signature: str, magic: Any
) -> None:
    store(kernel_of(1)).save_overload(("int32",), Kernel(b"machine code"))
    assert store(kernel_of(value)).load_overload((signature,), Target(magic)) is None


def test_another_version_of_the_compiler_finds_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(kernel_of(1)).save_overload(("int32",), Kernel(b"machine code"))
    monkeypatch.setattr(compiled, "_versions", lambda: ("numba-cuda 99",))
    assert store(kernel_of(1)).load_overload(("int32",), Target()) is None


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"x" * 500])
def test_a_damaged_file_costs_a_compilation(folder: Path, content: bytes) -> None:
    store(kernel_of(1)).save_overload(("int32",), Kernel(b"machine code"))
    (file,) = folder.iterdir()
    file.write_bytes(content)
    assert store(kernel_of(1)).load_overload(("int32",), Target()) is None


def test_a_file_of_a_numba_that_works_otherwise_costs_a_compilation(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(kernel_of(1)).save_overload(("int32",), Kernel(b"machine code"))

    def refuse(**given: Any) -> None:
        raise TypeError("an unexpected argument")

    monkeypatch.setattr(Kernel, "_rebuild", refuse)
    assert store(kernel_of(1)).load_overload(("int32",), Target()) is None


def test_a_kernel_that_cannot_be_pickled_is_used_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernel, "_reduce_states", lambda self: {"code": sys._getframe()})
    store(kernel_of(1)).save_overload(("int32",), Kernel(b""))
    assert not folder.exists()


def test_cupy_is_given_a_folder_where_its_own_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").write_text("no folder")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("CUPY_CACHE_DIR", "")
    device.name_a_folder_for_cupy()
    assert device.os.environ["CUPY_CACHE_DIR"] == str(tmp_path / "cache" / "cupy")


def test_a_folder_of_cupys_that_can_be_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "mine"))
    device.name_a_folder_for_cupy()
    assert device.os.environ["CUPY_CACHE_DIR"] == str(tmp_path / "mine")


def test_cupy_keeps_its_kernels_in_memory_where_no_folder_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Path:
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "0")
    monkeypatch.setattr(device, "writable_folder", full)
    device.name_a_folder_for_cupy()
    assert device.os.environ["CUPY_CACHE_IN_MEMORY"] == "1"
