"""Null-space LDA against its defining properties and scikit-learn, and the protocol around it."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.linalg import subspace_angles
from test_metrics_all import smooth_image

from idecli.main import run
from idemodel.evaluation.lda import fit_null_space_lda
from idemodel.evaluation.people import read_people
from idemodel.evaluation.protocol import Protocol, rank_one, recognise


def classes_of(people, each, dimensions, seed, noise=0.3):
    """``people`` classes of ``each`` samples around random centres."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), each)
    centres = random.normal(size=(people, dimensions))
    return centres[labels] + noise * random.normal(size=(labels.size, dimensions)), labels


def scatters(samples, labels):
    """Within and between scatter, class by class."""
    mean = samples.mean(axis=0)
    within, between = np.zeros((2, samples.shape[1], samples.shape[1]))
    for name in np.unique(labels):
        group = samples[labels == name]
        within += (group - group.mean(axis=0)).T @ (group - group.mean(axis=0))
        between += len(group) * np.outer(group.mean(axis=0) - mean, group.mean(axis=0) - mean)
    return within, between


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 7), st.integers(1, 4), st.integers(0, 30), st.integers(0, 10**6))
def test_within_class_scatter_vanishes_and_classes_minus_one_dimensions_remain(people, each, spare, seed):
    samples, labels = classes_of(people, each, people * each + spare, seed)
    within, between = scatters(samples, labels)

    lda = fit_null_space_lda(samples, labels)

    assert lda.projection.shape == (samples.shape[1], people - 1)
    np.testing.assert_allclose(lda.projection.T @ lda.projection, np.eye(people - 1), atol=1e-9)
    assert np.abs(lda.projection.T @ within @ lda.projection).max() < 1e-9 * max(1.0, np.trace(within))
    np.testing.assert_allclose(lda.projection.T @ between @ lda.projection, np.diag(lda.between), atol=1e-8)
    assert (np.diff(lda.between) <= 0).all() and (lda.between > 0).all()
    projected = lda.transform(samples)
    for name in range(people):
        assert np.abs(projected[labels == name] - projected[labels == name][0]).max() < 1e-7


def test_it_is_the_limit_of_regularised_lda():
    """The eigen solver's directions span the same space as the shrinkage vanishes, ever more closely."""
    discriminant = pytest.importorskip("sklearn.discriminant_analysis")
    samples, labels = classes_of(people=5, each=4, dimensions=30, seed=1)
    lda = fit_null_space_lda(samples, labels)
    angles = []
    for shrinkage in (1e-2, 1e-4, 1e-6):
        peer = discriminant.LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage).fit(samples, labels)
        angles.append(subspace_angles(peer.scalings_[:, :4], lda.projection).max())

    assert angles[0] > angles[1] > angles[2]
    assert angles[2] < 1e-3


def test_it_labels_new_samples_as_scikit_learn_does():
    discriminant = pytest.importorskip("sklearn.discriminant_analysis")
    samples, labels = classes_of(people=6, each=6, dimensions=60, seed=2, noise=0.8)
    learned = np.arange(labels.size) % 6 < 3
    lda = fit_null_space_lda(samples[learned], labels[learned])
    peer = discriminant.LinearDiscriminantAnalysis(solver="eigen", shrinkage=1e-7, priors=[1 / 6] * 6)
    peer.fit(samples[learned], labels[learned])
    centres = np.stack([lda.transform(samples[learned & (labels == name)]).mean(axis=0) for name in range(6)])
    projected = lda.transform(samples[~learned])

    comp = np.linalg.norm(projected[:, None] - centres[None], axis=2).argmin(axis=1)

    np.testing.assert_array_equal(comp, peer.predict(samples[~learned]))


def test_two_images_of_a_class_that_are_equal_leave_the_whole_space():
    samples, labels = classes_of(people=4, each=2, dimensions=20, seed=3, noise=0.0)

    assert fit_null_space_lda(samples, labels).projection.shape == (20, 3)


@pytest.mark.parametrize(
    ("samples", "labels", "words"),
    [
        (np.zeros((4, 9)), [0, 0, 0, 0], "two classes"),
        (np.ones((4, 9)), [0, 0, 1, 1], "all samples are equal"),
        (np.random.default_rng(0).normal(size=(20, 5)), [0, 1] * 10, "no null space"),
        (np.full((4, 9), np.nan), [0, 0, 1, 1], "finite"),
        (np.zeros((4, 9)), [0, 1], "classes"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_in_words(samples, labels, words):
    with pytest.raises(ValueError, match=words):
        fit_null_space_lda(samples, np.array(labels))


def test_rank_one_counts_by_hand():
    gallery = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    probes = np.array([[1.0, 1.0], [9.0, 3.0], [0.4, 9.0]])

    np.testing.assert_allclose(rank_one(gallery, probes), [1 / 3, 1.0])  # persons 0 and 2 tie in one dimension


def test_rank_one_equals_a_full_search():
    random = np.random.default_rng(4)
    gallery = random.normal(size=(30, 12))
    probes = gallery + random.normal(size=(30, 12))
    ref = [
        np.mean([np.argmin(((gallery[:, :m] - probe[:m]) ** 2).sum(axis=1)) == i for i, probe in enumerate(probes)])
        for m in range(1, 13)
    ]

    np.testing.assert_allclose(rank_one(gallery, probes), ref)


@pytest.fixture
def people(tmp_path):
    """Twelve people: a sketch that is a noisy copy of the photo, and a synthesised one that is nearer."""
    random = np.random.default_rng(5)
    for person in range(12):
        photo = smooth_image(person, (40, 32))
        for folder, level in (("photo", 0), ("sketch", 25), ("synth", 5)):
            (tmp_path / "all" / folder).mkdir(parents=True, exist_ok=True)
            noisy = np.uint8(np.clip(photo + random.normal(0, level, photo.shape), 0, 255))
            Image.fromarray(noisy).save(tmp_path / "all" / folder / f"{person}.png")
    return tmp_path / "all"


def test_protocol_of_the_literature(people):
    """One folder twice: half learn, the other half are identified, in up to learned - 1 dimensions."""
    everyone = read_people(str(people))

    result = recognise(everyone, everyone, Protocol(splits=7))

    assert everyone.folders == (people / "synth", people / "sketch")
    assert (result.learned, result.identified, result.same_people) == (6, 6, True)
    assert result.rates.shape == (7, 5)
    assert result.mean[-1] > 0.9
    np.testing.assert_array_equal(result.rates * 6, np.round(result.rates * 6))


def test_splits_equal_the_same_work_on_pixels(people):
    """The rotation to few coordinates changes nothing: one split by hand on raw pixels."""
    everyone = read_people(str(people))
    result = recognise(everyone, everyone, Protocol(splits=2, learn=5))
    order = np.random.default_rng((2022, 1)).permutation(12)
    learn, test = np.sort(order[:5]), np.sort(order[5:])
    images = np.concatenate([everyone.gallery[learn], everyone.probes[learn]]) / 255.0
    lda = fit_null_space_lda(images, np.tile(np.arange(5), 2))
    ref = rank_one(lda.transform(everyone.gallery[test] / 255.0), lda.transform(everyone.probes[test] / 255.0))

    np.testing.assert_array_equal(result.rates[1], ref)


def test_splits_are_the_same_every_time_and_more_keep_the_first(people):
    everyone = read_people(str(people))

    few, more = (recognise(everyone, everyone, Protocol(splits=splits)) for splits in (3, 5))

    np.testing.assert_array_equal(few.rates, more.rates[:3])


def test_another_folder_to_learn_from(people, tmp_path):
    for folder in ("photo", "sketch"):
        (tmp_path / "other" / folder).mkdir(parents=True)
        for person in range(4):
            Image.fromarray(smooth_image(100 + person, (40, 32))).save(tmp_path / "other" / folder / f"{person}.png")

    result = recognise(read_people(str(people)), read_people(str(tmp_path / "other")), Protocol(splits=2, learn=12))

    assert (result.learned, result.identified, result.same_people) == (12, 4, False)
    assert result.pairs == (tmp_path / "other" / "photo", tmp_path / "other" / "sketch")
    np.testing.assert_array_equal(result.rates[:, -1], 1.0)  # gallery and probe are one picture


def test_the_command_writes_report_json_and_csv(people, tmp_path, capsys):
    out = tmp_path / "out"
    place = f"{people / 'photo'}{os.pathsep}{people / 'sketch'}"

    assert run(["recognise", place, place, "--splits", "3", "--learn", "4", "-o", str(out)]) == 0

    content = json.loads((out / "recognition.json").read_text(encoding="ascii"))
    assert [row["dimensions"] for row in content["rank1"]] == [1, 2, 3]
    assert content["settings"]["learned"] == 4 and content["settings"]["identified"] == 8
    assert content["rank1"][1]["mean"] == pytest.approx(np.mean([split[1] for split in content["splits"]]))
    assert content["best"]["mean"] == max(row["mean"] for row in content["rank1"])
    lines = (out / "recognition.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "dimensions,mean,std,split_1,split_2,split_3" and len(lines) == 4
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<polyline" in page and "://" not in page
    assert "Rank-1" in capsys.readouterr().out


def test_a_users_mistake_is_one_line_that_names_the_remedy(people, tmp_path, capsys):
    (tmp_path / "bare").mkdir()
    (tmp_path / "few" / "sketch").mkdir(parents=True)
    (tmp_path / "few" / "photo").mkdir()
    for folder in ("sketch", "photo"):
        Image.fromarray(smooth_image(1, (20, 20))).save(tmp_path / "few" / folder / "1.png")
    (people / "photo" / "11.png").unlink()
    alone = f"{people / 'photo'}{os.pathsep}{people / 'sketch'}"
    cases = {
        (str(tmp_path / "none"), str(people)): "none: no such folder",
        (
            str(tmp_path / "bare"),
            str(people),
        ): "bare: has neither synth/ nor photo/ beside sketch/; name the two folders",
        (alone, alone): "without a partner here or in",
        (str(tmp_path / "few"), str(tmp_path / "few")): "0 of 1 people to learn from",
        (str(people), str(tmp_path / "few")): "images of 20 x 20, but",
        (str(people), str(people), "--learn", "11"): "1 people are left to identify",
        (str(people), str(people), "--learn", "13"): "13 of 12 people to learn from",
    }
    for arguments, words in cases.items():
        assert run(["recognise", *arguments]) == 1
        complaint = capsys.readouterr().err
        assert words in complaint and complaint.count("\n") == 1


def test_an_image_of_another_size_is_named(people, capsys):
    Image.fromarray(smooth_image(1, (41, 32))).save(people / "sketch" / "7.png")

    assert run(["recognise", str(people), str(people)]) == 1
    assert "7.png: is 41 x 32 where the first image is 40 x 32" in capsys.readouterr().err
