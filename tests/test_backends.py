"""Backends as objects: results know theirs, kernels run on that of their arguments, two in one call are refused."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import idekernels as ide
from idecli.main import run
from idekernels import backends, coarse, results
from idekernels.results import CandidatePatches, Candidates, Compatibility, ComposedPatches, Evidence, Picture, Result

NAMES = ("reference", "cpu")
GRID = ide.PatchGrid(12, 10, 6, 3)


@pytest.fixture(scope="module")
def bank():
    images = np.random.default_rng(0).integers(0, 256, (5, 12, 10), dtype=np.uint8)
    return ide.PatchBank.from_images(images, 255 - images, settings=ide.BankSettings(6, 3, 1))


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(1).integers(0, 256, (12, 10), dtype=np.uint8)


def whole_way(bank, photo, name, **options):
    """Every result between a photo and its sketch, by the kernel's name; only ``prepare`` is told a backend."""
    ready = ide.prepare(bank, name)
    query = bank.query(photo)[None]
    made = {"match": ide.match(query, ready, k=3)}
    made["gather"] = ide.gather(made["match"], ready)
    made["evidence"] = ide.evidence(query, made["gather"], GRID)
    made["compatibility"] = ide.compatibility(made["gather"], GRID)
    made["weigh"] = ide.weigh(made["evidence"], made["compatibility"], GRID)
    made["weigh_multi"] = ide.weigh_multi(made["evidence"], made["compatibility"], GRID)
    made["propagate"] = ide.propagate(made["match"], made["compatibility"], GRID)
    made["compose"] = ide.compose(made["gather"], made["weigh"])
    made["blend"] = ide.blend(made["compose"], GRID)
    made["cut"] = ide.blend(ide.compose(made["gather"], made["propagate"]), GRID, how="cut")
    made["coarse_sketch"] = ide.coarse_sketch(photo, ready, k=3)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_everything_stays_on_the_backend_of_the_prepared_bank(bank, photo, name, monkeypatch):
    """No kernel of the other backend is called, though ``auto`` would take the backend cpu."""
    other = backends.load({"reference": "cpu", "cpu": "reference"}[name])

    def refuse(*_):
        raise AssertionError(f"a kernel of {other} was called")

    for kernel in ("match", "gather", "evidence", "compatibility", "weigh", "propagate", "compose", "blend", "cut"):
        monkeypatch.setattr(type(other), kernel, staticmethod(refuse))
    for kernel, made in whole_way(bank, photo, name).items():
        assert made.backend is backends.load(name), kernel


def test_the_kernels_one_by_one_are_the_coarse_sketch(bank, photo):
    for name in NAMES:
        made = whole_way(bank, photo, name)
        np.testing.assert_allclose(made["blend"].pixels / 255, made["coarse_sketch"].pixels, atol=1e-6)
        labelled = ide.coarse_sketch(photo, bank, k=3, method="mrf", backend=name)
        np.testing.assert_allclose(made["cut"].pixels / 255, labelled.pixels, atol=1e-6)
        np.testing.assert_array_equal(made["propagate"].objective, labelled.objective)


def mixtures():
    """Calls with two backends, by what they mix; each gets results of the reference (r) and of the backend cpu (c)."""
    return {
        "gather": lambda r, c, bank: ide.gather(r["match"], ide.prepare(bank, "cpu")),
        "weigh": lambda r, c, bank: ide.weigh(r["evidence"], c["compatibility"], GRID),
        "weigh_multi": lambda r, c, bank: ide.weigh_multi(r["evidence"], c["compatibility"], GRID),
        "propagate": lambda r, c, bank: ide.propagate(r["match"], c["compatibility"], GRID),
        "compose": lambda r, c, bank: ide.compose(r["gather"], c["weigh"]),
    }


@pytest.mark.parametrize("kernel", mixtures())
def test_two_backends_in_one_call_are_refused(bank, photo, kernel):
    ours, theirs = (whole_way(bank, photo, name) for name in NAMES)
    with pytest.raises(ValueError, match=r"of the backend '(reference|cpu)' but \w+ of '(cpu|reference)'") as told:
        mixtures()[kernel](ours, theirs, bank)
    assert "'reference'" in str(told.value) and "'cpu'" in str(told.value)


def asked_for_another(made, bank, photo):
    query, ready = bank.query(photo)[None], ide.prepare(bank, "reference")
    return {
        "match": lambda **o: ide.match(query, ready, k=3, **o),
        "gather": lambda **o: ide.gather(made["match"], bank, **o),
        "evidence": lambda **o: ide.evidence(query, made["gather"], GRID, **o),
        "compatibility": lambda **o: ide.compatibility(made["gather"], GRID, **o),
        "weigh": lambda **o: ide.weigh(made["evidence"], made["compatibility"], GRID, **o),
        "weigh_multi": lambda **o: ide.weigh_multi(made["evidence"], made["compatibility"], GRID, **o),
        "propagate": lambda **o: ide.propagate(made["match"], made["compatibility"], GRID, **o),
        "compose": lambda **o: ide.compose(made["gather"], made["weigh"], **o),
        "blend": lambda **o: ide.blend(made["compose"], GRID, **o),
        "coarse_sketch": lambda **o: ide.coarse_sketch(photo, ready, k=3, **o),
    }


def test_another_backend_than_the_arguments_is_refused_and_the_same_is_not(bank, photo):
    calls = asked_for_another(whole_way(bank, photo, "reference"), bank, photo)
    for call in calls.values():
        with pytest.raises(ValueError, match=r"the backend 'cpu' is asked for but .* of 'reference'"):
            call(backend="cpu")
        for same in ("auto", "reference", backends.load("reference")):
            assert call(backend=same).backend is backends.load("reference")


def test_plain_arrays_take_the_backend_that_is_asked_for(bank, photo):
    made = whole_way(bank, photo, "cpu")
    tables = replace(made["compatibility"], backend=None)
    for name in (*NAMES, backends.load("reference")):
        chosen = backends.resolve(name)
        given = {"grid": GRID, "backend": name}
        patches = made["gather"]
        assert ide.evidence(bank.query(photo)[None], patches.source, **given).backend is chosen
        assert ide.compatibility(patches.target, **given).backend is chosen
        weights = ide.weigh(made["evidence"].gram, tables, **given)
        assert weights.backend is chosen
        assert ide.weigh_multi(made["evidence"].grams, tables, **given).backend is chosen
        unary = made["match"].distance.astype(np.float32)
        assert ide.propagate(unary, tables.costs(0.5), **given).backend is chosen
        mixed = ide.compose(patches.target, weights.weights, backend=name)
        assert mixed.backend is chosen and ide.blend(mixed.patches, **given).backend is chosen
    assert ide.blend(made["compose"].patches, GRID).backend is backends.resolve("auto")


def test_a_labelling_of_results_is_that_of_their_costs(bank, photo):
    made = whole_way(bank, photo, "cpu")
    unary, pairwise = made["match"].distance.astype(np.float32), np.float32(0.7) * made["compatibility"].disagreement
    ref = ide.propagate(unary, pairwise, GRID, backend="cpu")
    comp = ide.propagate(made["match"], made["compatibility"], GRID, alpha=0.7)
    np.testing.assert_array_equal(comp.labels, ref.labels)
    np.testing.assert_array_equal(comp.energy, ref.energy)


def test_the_gram_of_several_planes_is_their_sum():
    grams = np.random.default_rng(2).random((2, 4, 3, 5, 5), np.float32)
    np.testing.assert_array_equal(Evidence(grams).gram, grams.sum(axis=2))
    assert np.shares_memory(Evidence(grams[:, :, :1]).gram, grams)


RESULTS = [kind for kind in (*vars(results).values(), coarse.CoarseSketch) if is_dataclass(kind)]
RESULTS = [kind for kind in RESULTS if issubclass(kind, Result)]


@pytest.mark.parametrize("kind", RESULTS, ids=lambda kind: kind.__name__)
def test_results_are_frozen_and_know_their_backend(kind):
    made = kind(*[np.zeros(2)] * (len(fields(kind)) - 1), backend=backends.load("reference"))
    with pytest.raises(FrozenInstanceError):
        made.backend = None
    assert made.host() is made  # nothing of it is on a device
    for field in fields(kind):
        assert field.name in kind.__doc__ or field.name == "backend"


def test_results_that_are_one_array_are_taken_as_one():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for kind in (Evidence, ComposedPatches, Picture):
        assert np.shares_memory(np.asarray(kind(array)), array)
        assert np.asarray(kind(array), np.float64).dtype == np.float64
        assert not np.shares_memory(np.array(kind(array)), array)
    sketch = coarse.CoarseSketch(array, np.zeros(2))
    assert np.shares_memory(np.asarray(sketch), array)


def test_arrays_of_a_device_come_down_only_when_told():
    from tests.emulator.fakecupy import DeviceArray, copies

    cuda = backends.load("cuda")
    made = Picture(DeviceArray(np.ones((1, 1, 2, 2), np.float32)), backend=cuda)
    with pytest.raises(TypeError, match=r"pixels lies on a device; take .host\(\)"):
        np.asarray(made)
    before = copies["down"]
    down = made.host()
    assert copies["down"] == before + 16 and isinstance(down.pixels, np.ndarray) and down.backend is cuda
    patches = CandidatePatches(DeviceArray(np.zeros(3, np.uint8)), DeviceArray(np.ones(3, np.uint8)), backend=cuda)
    assert patches.host().target.sum() == 3 and patches.host().source.sum() == 0


@pytest.mark.parametrize("name", ["reference", "cpu", "cuda"])
def test_there_is_one_object_a_backend_and_it_can_be_sent(name):
    backend = backends.load(name)
    for again in (backends.load(name), copy.copy(backend), copy.deepcopy(backend), pickle.loads(pickle.dumps(backend))):
        assert again is backend
    assert f"{backend}" == name and name in repr(backend)
    sent = pickle.loads(pickle.dumps(Candidates(*np.zeros((4, 1, 2, 3), np.int32), backend=backend)))
    assert sent.backend is backend and sent.distance.shape == (1, 2, 3)


def test_what_is_put_together_by_hand_has_no_backend():
    assert Compatibility(*np.zeros((3, 1, 0, 2, 2), np.float32)).backend is None


def test_a_prepared_bank_is_pickled_without_what_it_has_read() -> None:
    planes = np.random.default_rng(3).integers(0, 256, (40, 20, 20), dtype=np.uint8)
    bank = ide.MemoryBank.from_images(planes, planes, settings=ide.BankSettings(8, 4, 2))
    ready, query = ide.prepare(bank, "cpu"), planes[None, :1]
    before = len(pickle.dumps(ready))
    found = ide.match(query, ready, k=5)
    assert len(pickle.dumps(ready)) == before
    np.testing.assert_array_equal(ide.match(query, pickle.loads(pickle.dumps(ready)), k=5).distance, found.distance)


BROKEN = """
import os, sys
os.makedirs("fakes/cupy")
with open("fakes/cupy/__init__.py", "w") as file:
    file.write("raise {error}('no attribute spam')")
sys.path.insert(0, "fakes")
from idecli.main import run
from idekernels import backends
assert backends.resolve("auto").name == "cpu"
sys.exit(run(["doctor"]))
"""


@pytest.mark.parametrize("error", ["AttributeError", "RuntimeError", "OSError", "SystemError"])
def test_a_broken_package_ends_neither_auto_nor_doctor(error: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BROKEN.format(error=error)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (told,) = (line for line in done.stdout.splitlines() if line.split()[:1] == ["cuda"])
    assert f"importing CuPy fails ({error}: no attribute spam)" in told and "idesketch[cuda12]" in told
    assert "takes cpu" in done.stdout


def test_doctor_calls_ready_what_has_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A backend that is there but fails in a kernel is told with the kernel, the error and the versions."""
    from idekernels.backends.cpu import Cpu

    def failing(*_: object) -> None:
        raise LookupError("no such symbol\nin the library")

    assert run(["doctor"]) == 0
    told = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert told["reference"].split()[1:] == ["ready"] and told["cpu"].startswith("  cpu")
    monkeypatch.setattr(Cpu, "cut", staticmethod(failing))
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "FAILS in levels: LookupError: no such symbol in the library (idesketch" in out and "numba 0." in out
    assert "Numba's layer" in out


def test_doctor_survives_whatever_it_looks_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("half installed")

    monkeypatch.setattr(backends, "why_missing", failing)
    monkeypatch.setattr("idemodel.faces.detectors.Dlib.why_missing", failing)
    monkeypatch.setattr("idekernels.backends.cpu.jit.cache_folder", failing)
    assert run(["doctor"]) == 0
    assert capsys.readouterr().out.count("RuntimeError: half installed") >= 2
