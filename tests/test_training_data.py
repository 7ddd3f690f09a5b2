"""The faces of a run: read in the bank's direction, of the bank's size, split by the seed alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_runs import SETTINGS, changed, drawn_faces, tiny_faces, tiny_run

from idekernels import PatchBank, open_bank
from idekernels.bank import SKETCH_TO_PHOTO
from idekernels.errors import InputError
from idemodel.files.images import write_image
from idemodel.training.data import read_faces, split_pairs
from idemodel.training.loop import train
from idemodel.training.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return tiny_run(tmp_path)


def test_images_of_another_size(run: Run, tmp_path: Path) -> None:
    for side in ("photo", "sketch"):
        (tmp_path / "other" / side).mkdir(parents=True)
        write_image(tmp_path / "other" / side / "0.png", np.zeros((40, 39), np.uint8))
    with pytest.raises(InputError, match=r"is 40 x 39 .* the bank 40 x 38"):
        train(changed(run, pairs=tmp_path / "other"))


def test_faces_are_the_pairs_by_name(run: Run) -> None:
    with open_bank(*run.data.banks) as bank:
        faces, expected = read_faces(run.data.pairs, bank), tiny_faces()
    assert faces.names == expected.names and faces.digest == expected.digest
    np.testing.assert_array_equal(faces.source, expected.source)
    np.testing.assert_array_equal(faces.target, expected.target)
    some = faces.some([4, 2])
    assert some.names == ("4", "2")
    np.testing.assert_array_equal(some.source[1], faces.source[2])
    np.testing.assert_array_equal(some.target[0], faces.target[4])


def test_sketches_become_the_source_where_the_bank_says_so(run: Run) -> None:
    photos, sketches = drawn_faces(7, 40, 38)
    settings = replace(SETTINGS, direction=SKETCH_TO_PHOTO)
    bank = PatchBank.from_images(photos, sketches, list("0123456"), settings)
    faces, expected = read_faces(run.data.pairs, bank), tiny_faces()
    np.testing.assert_array_equal(faces.source[..., 0], expected.target)
    np.testing.assert_array_equal(faces.target, expected.source[..., 0])


def test_the_digest_knows_names_and_pixels() -> None:
    faces = tiny_faces()
    others = [
        faces.some([1, 0, *range(2, 7)]),
        faces.some(range(6)),
        type(faces)(("x", *faces.names[1:]), faces.source, faces.target),
    ]
    others.append(type(faces)(faces.names, faces.source, faces.target[::-1]))
    assert len({each.digest for each in (faces, *others)}) == 5


def test_the_split_keeps_every_pair_once_and_depends_on_the_seed_alone() -> None:
    aside, learned = split_pairs(20, 6, 3)
    assert len(aside) == 6 and sorted(aside + learned) == list(range(20))
    assert aside == sorted(aside) and learned == sorted(learned)
    assert split_pairs(20, 6, 3) == (aside, learned) and split_pairs(20, 6, 4) != (aside, learned)
    assert split_pairs(3, 0, 0) == ([], [0, 1, 2])
    with pytest.raises(InputError, match="3 pairs aside for validation, of 3 in all"):
        split_pairs(3, 3, 0)
