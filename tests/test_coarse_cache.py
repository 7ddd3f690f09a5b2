"""Coarse sketches of training pairs: each without its own pair, made once, known again by all they depend on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import TINY, drawn_faces, tiny_run

from idekernels import BankSettings, PatchBank, coarse_sketch, open_bank, prepare
from idekernels.coarse import CoarseSettings
from idemodel.files.digests import bank_digest
from idemodel.training.coarse_cache import cached_coarse_sketches, coarse_cache_key
from idemodel.training.data import Faces, read_faces
from idemodel.training.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tiny_run(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def bank_file(run: Run) -> Path:
    return run.data.banks[0]


@pytest.fixture
def faces(run: Run, bank_file: Path) -> Faces:
    with open_bank(bank_file) as bank:
        return read_faces(run.data.pairs, bank)


def test_cached_coarse_sketches_leave_their_own_pair_out(faces: Faces, bank_file: Path, tmp_path: Path) -> None:
    with open_bank(bank_file) as bank:
        made = cached_coarse_sketches(faces, prepare(bank), TINY.coarse, tmp_path)
        expected = coarse_sketch(list(faces.source), bank, TINY.coarse, exclude=np.arange(7))
    np.testing.assert_array_equal(torch.stack(made).numpy(), expected.pixels)


def test_the_cache_is_read_and_not_made_again(faces: Faces, bank_file: Path, tmp_path: Path) -> None:
    with open_bank(bank_file) as bank:
        cached_coarse_sketches(faces, prepare(bank), TINY.coarse, tmp_path)
        (file,) = tmp_path.iterdir()
        planted = np.full((7, 1, 40, 38), 0.25, np.float32)
        np.save(file, planted)
        again = cached_coarse_sketches(faces, prepare(bank), TINY.coarse, tmp_path)
        assert all(bool((sketch == 0.25).all()) for sketch in again)
        file.write_bytes(file.read_bytes()[:-1])  # cut short: made anew
        whole = cached_coarse_sketches(faces, prepare(bank), TINY.coarse, tmp_path)
    assert not any(bool((sketch == 0.25).all()) for sketch in whole)


def test_the_cache_key_knows_bank_photos_names_and_settings(faces: Faces, bank_file: Path) -> None:
    photos, sketches = drawn_faces(7, 40, 38)
    banks = [
        PatchBank.from_images(photos, sketches, list("0123456"), BankSettings(patch=8, overlap=4, radius=2)),
        PatchBank.from_images(photos, sketches, list("0123456"), BankSettings(patch=8, overlap=4, radius=3)),
        PatchBank.from_images(photos, sketches[::-1], list("0123456"), BankSettings(patch=8, overlap=4, radius=2)),
        PatchBank.from_images(photos, sketches, list("012345x"), BankSettings(patch=8, overlap=4, radius=2)),
    ]
    hashes = [bank_digest(bank) for bank in banks]
    keys = {coarse_cache_key(faces, bank, settings) for bank in hashes for settings in (TINY.coarse, CoarseSettings())}
    keys.add(coarse_cache_key(replace(faces, source=faces.source[::-1]), hashes[0], TINY.coarse))
    keys.add(coarse_cache_key(replace(faces, names=("x", *faces.names[1:])), hashes[0], TINY.coarse))
    assert len(keys) == 2 * 4 + 2
    with open_bank(bank_file) as stored:
        assert bank_digest(stored) == hashes[0]


def test_coarse_sketches_become_tensors_without_a_copy(faces: Faces, bank_file: Path) -> None:
    with open_bank(bank_file) as bank:
        made = coarse_sketch(faces.source[0], bank, TINY.coarse)
    assert torch.from_dlpack(made).data_ptr() == made.pixels.ctypes.data


def test_keys_stay_so_that_older_runs_resume() -> None:
    """Digests of bank and faces are what version 0.1.0 gave; the coarse cache's key is that of its version 2.

    It has changed since each photo settles by itself: equal settings give other pixels, so that sketches of older runs
    are made anew.
    """
    source = (np.arange(2 * 12 * 10 * 3) % 251).astype(np.uint8).reshape(2, 12, 10, 3)
    target = (np.arange(2 * 12 * 10) % 241).astype(np.uint8).reshape(2, 12, 10)
    settings = BankSettings(patch=8, overlap=4, radius=2)
    bank = PatchBank.from_images(list(source), list(target), ["a", "b"], settings)
    digest = bank_digest(bank)
    faces = Faces(("a", "b"), source, target)
    assert digest == "50f1efdf8ed6d5a075ebebf130072020d2a8cd8599272a2ab1aed991c731ab22"
    assert faces.digest == "5798bdab06dfefb2eeb8c9cb24405beaa082e27423a50e553a48215f5b573ce1"
    assert (
        coarse_cache_key(faces, digest, CoarseSettings(k=3))
        == "2da5d67bc06d16257931f3f2e6de6fece2d2b9e2d07c4984c8c0b8651e15b371"
    )


def test_every_32_pairs_have_a_file_of_their_own(faces: Faces, bank_file: Path, tmp_path: Path) -> None:
    numbers = [number % 7 for number in range(33)]
    many = replace(faces.some(numbers), names=tuple(map(str, range(33))))
    told: list[tuple[int, int]] = []
    with open_bank(bank_file) as bank:
        made = cached_coarse_sketches(many, prepare(bank), TINY.coarse, tmp_path, lambda *done: told.append(done))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000.npy", "000032.npy"]
    assert len(made) == 33 and told == [(32, 33), (33, 33)]
