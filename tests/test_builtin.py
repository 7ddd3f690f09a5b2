"""The built-in bank: drawn once, whole or not at all, the same whoever draws it, and kept where it can be kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import phantom_means
import pytest
from filelock import FileLock

import idemodel.builtin
from idekernels import BankSettings, FileBank, write_bank
from idekernels.errors import InputError
from idekernels.files.cache import usual_folder, writable_folder
from idemodel.builtin import BUILTIN, DrawnBank, builtin_bank, builtin_file
from idemodel.generator.checkpoint import save_generator
from idemodel.generator.network import MLANet
from idemodel.phantom import phantom_pairs
from idemodel.phantom.pairs import DRAWING
from idemodel.phantom.workers import Series, drawn_pairs
from idemodel.sketcher import Sketcher

FOUR_PLANES = BankSettings(representations=("intensity", "dog", "gradient", "lbp"), weights=(2, 2, 2, 1))
TINY = DrawnBank(pairs=4, height=64, width=48, settings=BankSettings(8, 4, 2))
OTHERS: dict[str, Any] = {
    "pairs": 5, "seed": 12, "height": 65, "width": 49, "settings": BankSettings(8, 4, 3), "drawing": DRAWING + 1,
}  # fmt: skip

_ASK = """
import sys
from pathlib import Path
from idekernels import BankSettings
from idemodel.builtin import DrawnBank, builtin_bank
tiny = DrawnBank(pairs=4, height=64, width=48, settings=BankSettings(8, 4, 2))
folder = sys.argv[1] or None
"""


def ask(code: str, folder: Path | str, before: tuple[str, ...] = (), **more: Any) -> subprocess.Popen[str]:
    """A process that runs ``code`` after tiny and folder are there."""
    command = [*before, sys.executable, "-u", "-c", _ASK + code, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def drawn(folder: Path | None, recipe: DrawnBank = TINY, **more: Any) -> tuple[str, list[str]]:
    """The digest of the bank, and what was told on the way."""
    told: list[str] = []
    with builtin_bank(recipe, folder, tell=told.append, **more) as bank:
        assert not list(bank.damaged()) and bank.images == recipe.pairs
        return bank.digest, told


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the tiny bank as this process draws it, alone."""
    return drawn(tmp_path_factory.mktemp("truth"), workers=1)[0]


def test_it_is_drawn_once_and_then_used(tmp_path: Path, truth: str) -> None:
    steps: list[tuple[int, int]] = []
    digest, told = drawn(tmp_path / "new", advance=lambda done, total: steps.append((done, total)))
    file = tmp_path / "new" / TINY.file_name
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    assert digest == truth and told == [f"built-in bank of 4 faces: first use, drawing it ({file})"]
    assert steps == [(done, 4) for done in range(5)]
    assert drawn(tmp_path / "new", advance=lambda *_: pytest.fail("it is there")) == (digest, [])
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_it_holds_the_phantoms_of_its_seed(tmp_path: Path) -> None:
    with builtin_bank(TINY, tmp_path, tell=print) as bank:
        pairs = list(phantom_pairs(4, height=64, width=48, seed=11))
        assert bank.names == tuple(pair.name for pair in pairs)
        np.testing.assert_array_equal(bank.target(0, 4)[:, 0], [pair.sketch for pair in pairs])


def test_the_built_in_one_is_of_the_usual_size() -> None:
    assert (BUILTIN.pairs, BUILTIN.height, BUILTIN.width, BUILTIN.settings) == (400, 250, 200, FOUR_PLANES)
    assert BUILTIN.file_name == f"drawn-{BUILTIN.digest[:16]}.h5" and BUILTIN.drawing == DRAWING


@pytest.mark.parametrize("name", [field.name for field in fields(DrawnBank)])
def test_every_field_has_a_part_in_the_digest(name: str) -> None:
    other = replace(TINY, **{name: OTHERS[name]})
    assert other.digest != TINY.digest and other.file_name != TINY.file_name
    assert replace(other, **{name: getattr(TINY, name)}).digest == TINY.digest


@pytest.mark.parametrize(("name", "value"), [("pairs", 0), ("seed", -1), ("height", 63), ("width", 47)])
def test_recipes_out_of_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        replace(TINY, **{name: value})


def test_a_drawing_that_this_version_cannot_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"drawing must be {DRAWING}"):
        builtin_bank(replace(TINY, drawing=DRAWING + 1), tmp_path)


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize("harm", ["altered", "cut", "empty", "text"])
def test_a_damaged_one_is_drawn_anew(tmp_path: Path, truth: str, harm: str, noted: bool) -> None:
    drawn(tmp_path, workers=1)
    file = tmp_path / TINY.file_name
    whole = file.read_bytes()
    middle = len(whole) // 2
    harmed = {
        "altered": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "cut": whole[:middle], "empty": b"", "text": b"a bank",
    }  # fmt: skip
    file.write_bytes(harmed[harm])
    if not noted:
        file.with_suffix(".sha256").unlink()
    assert drawn(tmp_path, workers=1) == (truth, [f"built-in bank of 4 faces: is damaged, drawing it anew ({file})"])
    assert drawn(tmp_path, workers=1) == (truth, [])


def test_one_that_was_finished_but_not_noted_is_verified_and_used(tmp_path: Path, truth: str) -> None:
    drawn(tmp_path, workers=1)
    file = tmp_path / TINY.file_name
    note = file.with_suffix(".sha256")
    noted, changed = note.read_bytes(), file.stat().st_mtime_ns
    note.unlink()
    assert drawn(tmp_path) == (truth, [])
    assert note.read_bytes() == noted and file.stat().st_mtime_ns == changed


def test_another_bank_in_its_place_is_not_taken_for_it(tmp_path: Path, truth: str) -> None:
    pairs = phantom_pairs(3, height=64, width=48, seed=1)
    write_bank(tmp_path / TINY.file_name, ((p.name, p.photo, p.sketch) for p in pairs), TINY.settings)
    digest, told = drawn(tmp_path, workers=1)
    assert digest == truth and len(told) == 1


@pytest.mark.parametrize("workers", [1, 2, 3, 9])
def test_the_number_of_processes_changes_no_byte(tmp_path: Path, truth: str, workers: int) -> None:
    assert drawn(tmp_path / "one", workers=1)[0] == drawn(tmp_path / "several", workers=workers)[0] == truth
    one, several = ((tmp_path / name / TINY.file_name).read_bytes() for name in ("one", "several"))
    assert one == several


@pytest.mark.parametrize("stand_in", ["false", "echo", "nothing of this name"])
def test_processes_that_fail_are_not_needed(
    tmp_path: Path, truth: str, monkeypatch: pytest.MonkeyPatch, stand_in: str
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which(stand_in) or stand_in)
    assert drawn(tmp_path, workers=2)[0] == truth


def test_all_processes_end_with_the_one_that_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    with contextlib.closing(drawn_pairs(Series(1000, 250, 200, 1), 3)) as pairs, pytest.raises(KeyboardInterrupt):
        for _ in pairs:
            assert [each.poll() for each in started] == [None] * 3
            raise KeyboardInterrupt
    assert len(started) == 3 and all(each.returncode not in (None, 0) for each in started)


def test_of_two_that_ask_at_once_one_draws(tmp_path: Path, truth: str) -> None:
    code = "bank = builtin_bank(tiny, folder, tell=print); print(bank.digest)"
    with FileLock(tmp_path / Path(TINY.file_name).with_suffix(".lock")):
        asking = [ask(code, tmp_path) for _ in range(2)]
        for each in asking:
            assert each.stdout and each.stdout.readline() == (
                "built-in bank: waiting for another process that draws it\n"
            )
    told = [each.communicate(timeout=120) for each in asking]
    assert [out.split()[-1] for out, _ in told] == [truth] * 2, told
    assert sum("first use, drawing it" in out for out, _ in told) == 1


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_one_that_is_killed_leaves_nothing_that_is_taken_for_a_bank(tmp_path: Path, truth: str) -> None:
    code = """
import time
def advance(done, total):
    if done == 2:
        print("half")
        time.sleep(600)
builtin_bank(tiny, folder, advance=advance, tell=lambda line: None)
"""
    killed = ask(code, tmp_path)
    assert killed.stdout and killed.stdout.readline() == "half\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not list(tmp_path.glob("*.h5")) and len(list(tmp_path.glob("*.partial"))) == 1
    (tmp_path / f".{TINY.file_name}.another-machine.1.{os.getpid()}.partial").touch()
    assert drawn(tmp_path)[0] == truth
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(os.name == "nt", reason="needs a limit on the size of files")
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, 2**14))
try:
    builtin_bank(tiny, folder, tell=lambda line: None)
except OSError as error:
    print(error.filename)
"""
    out, told = ask(code, tmp_path).communicate()
    assert out == f"{tmp_path / TINY.file_name}\n", told
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_the_cache_folder_can_be_named(tmp_path: Path, truth: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDESKETCH_CACHE", str(tmp_path / "mine"))
    assert drawn(None, workers=1)[0] == truth
    assert builtin_file(TINY) == tmp_path / "mine" / "banks" / TINY.file_name
    assert (tmp_path / "mine" / "banks" / TINY.file_name).is_file()
    monkeypatch.delenv("IDESKETCH_CACHE")
    usual = usual_folder()
    assert usual is not None and "idesketch" in str(usual) and tmp_path not in usual.parents


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of this test alone; a file stands where the cache folder should be."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("IDESKETCH_CACHE", str(tmp_path / "file" / "cache"))
    return folder


@pytest.mark.skipif(os.name == "nt", reason="the temporary folder is the user's own there")
@pytest.mark.usefixtures("temporary")
def test_without_a_cache_folder_a_private_one_is_used(temporary: Path, truth: str) -> None:
    digest, told = drawn(None)
    private = temporary / f"idesketch-{os.geteuid()}"
    assert digest == truth and private.stat().st_mode & 0o777 == 0o700
    assert len(told) == 2 and f"cannot be written (Not a directory); {private / 'banks'} is used instead" in told[0]
    digest, told = drawn(None)
    assert digest == truth and len(told) == 1


@pytest.mark.skipif(os.name == "nt", reason="the temporary folder is the user's own there")
@pytest.mark.parametrize("hostile", ["open", "link", "file"])
def test_a_folder_that_others_may_write_is_not_used(temporary: Path, hostile: str, tmp_path: Path) -> None:
    private = temporary / f"idesketch-{os.geteuid()}"
    if hostile == "open":
        private.mkdir()
        private.chmod(0o777)
    elif hostile == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        private.symlink_to(tmp_path / "elsewhere")
    else:
        private.touch(mode=0o600)
    with pytest.raises(InputError, match="set IDESKETCH_CACHE"):
        writable_folder(print)


def test_without_a_home_there_is_no_usual_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDESKETCH_CACHE", "~nobody-of-this-name/cache")
    assert usual_folder() is None and builtin_file(TINY) is None
    monkeypatch.delenv("IDESKETCH_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("~/.cache/idesketch"))
    assert usual_folder() is None


def test_a_folder_that_cannot_be_written(tmp_path: Path, truth: str, bound_by_permissions: list[str]) -> None:
    """One that holds the bank will do; of one that does not, the private folder takes the place."""
    code = "bank = builtin_bank(tiny, tell=print); print(bank.path); print(bank.digest)"
    (tmp_path / "temporary").mkdir()
    cache = tmp_path / "cache"
    drawn(cache / "banks", workers=1)
    environment = {**os.environ, "IDESKETCH_CACHE": str(cache), "TMPDIR": str(tmp_path / "temporary")}
    for holds_it in (True, False):
        if not holds_it:
            shutil.rmtree(cache / "banks")
        for folder in cache.rglob(""):
            folder.chmod(0o555)
        asked = ask(code, "", before=tuple(bound_by_permissions), env=environment)
        out, trouble = asked.communicate()
        for folder in cache.rglob(""):
            folder.chmod(0o755)
        *told, path, digest = out.splitlines()
        assert digest == truth, trouble
        assert (cache in Path(path).parents) is holds_it and len(told) == (0 if holds_it else 2)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in bank is the tiny one."""
    monkeypatch.setattr(idemodel.builtin, "BUILTIN", TINY)


@pytest.mark.usefixtures("tiny", "one_torch_thread")
def test_a_sketcher_needs_nothing(tmp_path: Path, truth: str, recwarn: pytest.WarningsRecorder) -> None:
    stranger = next(phantom_pairs(1, height=64, width=48, seed=3))
    with Sketcher(device="cpu", backend="cpu") as sketcher:
        bank = sketcher.prepared.bank
        assert isinstance(bank, FileBank) and bank.digest == truth
        made = sketcher.sketch(stranger.photo).images()
    assert made.shape == (1, 64, 48) and np.ptp(made) > 50
    with Sketcher(bank.path, device="cpu", backend="cpu", hand="bold") as bold:
        assert bold.sketch(stranger.photo).images().mean() < made.mean()
    save_generator(tmp_path / "model.safetensors", MLANet(1, 4, 1))
    with Sketcher(model=tmp_path / "model.safetensors", device="cpu", backend="cpu") as other:
        assert not np.array_equal(other.sketch(stranger.photo).images(), made)
    assert not recwarn.list


def test_the_phantoms_are_drawn_as_they_were() -> None:
    if not phantom_means.TABLE.is_file():
        pytest.skip("no table yet; python -m tests.phantom_means writes it")
    import json

    table = json.loads(phantom_means.TABLE.read_text(encoding="utf-8"))
    assert table["drawing"] == DRAWING, "DRAWING was raised: python -m tests.phantom_means writes the table anew"
    for was, now in zip(table["pairs"], phantom_means.of_the_first_pairs(), strict=True):
        for side in ("photo", "sketch"):
            off = np.abs(np.subtract(was[side], now[side])).max()
            assert off <= 1, "the phantoms are drawn otherwise: raise DRAWING in idemodel/phantom/pairs.py"
