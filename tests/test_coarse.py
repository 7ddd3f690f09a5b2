"""The whole first stage on a handful of phantoms: backends agree, pairs can be left out, the tensor shares memory."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from idekernels import (
    BankSettings,
    CoarseSettings,
    InputError,
    JoinedBank,
    MemoryBank,
    PatchBank,
    coarse_sketch,
    coarse_sketches,
    match,
    operations,
    prepare,
)
from idekernels.methods import METHODS
from idekernels.operations import BLENDINGS
from idekernels.warm import warm_up
from idemodel.phantom import phantom_pairs

SETTINGS = BankSettings(8, 4, 3)


@pytest.fixture(scope="module")
def pairs():
    return list(phantom_pairs(7, height=80, width=64, seed=3))


@pytest.fixture(scope="module")
def bank(pairs):
    return PatchBank.from_images(
        [pair.photo for pair in pairs[:5]], [pair.sketch for pair in pairs[:5]], settings=SETTINGS
    )


@pytest.fixture(scope="module")
def photo(pairs):
    return pairs[5].photo


def grey_levels(coarse):
    return coarse.pixels.astype(float) * 255


@pytest.mark.parametrize("method", METHODS)
def test_the_fast_backend_is_within_a_grey_level_of_the_reference(bank, photo, method):
    ref, comp = (coarse_sketch(photo, bank, method=method, k=5, backend=name) for name in ("reference", "cpu"))

    assert comp.pixels.shape == (1, 1, 80, 64)
    assert np.abs(grey_levels(ref) - grey_levels(comp)).max() <= 1
    np.testing.assert_allclose(comp.objective, ref.objective, rtol=1e-3)


@pytest.mark.parametrize(("method", "how"), [("mwf", "average"), ("mrf", "feather"), ("mrf", "average")])
def test_any_blending_goes_with_any_method(bank, photo, method, how):
    """Not mwf with cut: weights that differ in the sixth digit may put a seam elsewhere; test_blend compares cut."""
    ref, comp = (
        coarse_sketch(photo, bank, method=method, k=3, blend=how, backend=name) for name in ("reference", "cpu")
    )
    assert np.abs(grey_levels(ref) - grey_levels(comp)).max() <= 1


@pytest.mark.parametrize("how", BLENDINGS)
def test_blending_decides_the_picture_not_the_weights(bank, photo, how):
    found = coarse_sketch(photo, bank, k=3, blend=how)
    usual = coarse_sketch(photo, bank, k=3)

    np.testing.assert_array_equal(found.objective, usual.objective)
    assert np.array_equal(found.pixels, usual.pixels) == (how == "feather")


def test_mrf_is_cut_and_the_rest_feathered_unless_told_otherwise(bank, photo):
    for method in METHODS:
        usual, told = (
            coarse_sketch(photo, bank, method=method, k=3, blend=how).pixels
            for how in (None, "cut" if method == "mrf" else "feather")
        )
        np.testing.assert_array_equal(usual, told)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_photos(bank, pairs, method):
    photos = [pair.photo for pair in pairs[4:]]
    together = coarse_sketch(photos, bank, method=method, k=4)

    assert together.pixels.shape == (3, 1, 80, 64) and together.objective.shape == (3,)
    for i, photo in enumerate(photos):
        alone = coarse_sketch(photo, bank, method=method, k=4)
        np.testing.assert_array_equal(together.pixels[i], alone.pixels[0])
        np.testing.assert_array_equal(together.objective[i], alone.objective[0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_photo_is_the_same_wherever_the_bank_lies_and_whoever_is_beside_it(pairs, method, backend):
    """Alone or in a batch, one bank or shards, resident or streamed: two planes, the same bits."""
    two = replace(SETTINGS, representations=("intensity", "dog"), weights=(2, 1))
    images = [(pair.photo[20:50, 16:44], pair.sketch[20:50, 16:44]) for pair in pairs]  # small: the reference is slow
    whole, *shards = (
        PatchBank.from_images(*zip(*images[some], strict=True), names, settings=two)
        for some, names in ((slice(5), list("abcde")), (slice(2), list("ab")), (slice(2, 5), list("cde")))
    )
    photos = [photo for photo, _ in images[4:]]
    together = coarse_sketch(photos, whole, method=method, k=4, backend=backend)
    joined = JoinedBank(shards)
    for bank in (prepare(whole, backend), prepare(joined, backend), prepare(joined, backend, memory=0)):
        for order in ([0], [2], [1, 0, 2]):
            made = coarse_sketch([photos[i] for i in order], bank, method=method, k=4)
            np.testing.assert_array_equal(made.pixels, together.pixels[order])
            np.testing.assert_array_equal(made.objective, together.objective[order])


def test_the_sketch_is_a_tensor_that_shares_its_memory(bank, photo):
    coarse = coarse_sketch(photo, bank, k=4)

    assert coarse.pixels.dtype == np.float32 and coarse.pixels.flags.c_contiguous
    assert coarse.pixels.min() >= 0 and coarse.pixels.max() <= 1 and coarse.pixels.std() > 0.05
    assert coarse.__dlpack_device__() == (1, 0)
    seen = np.from_dlpack(coarse)
    assert np.shares_memory(seen, coarse.pixels) and seen.shape == coarse.pixels.shape


@pytest.mark.parametrize("method", METHODS)
def test_white_stays_white_and_never_passes_one(pairs, method):
    """Weights that sum to one but for rounding would make 255.00002 of white."""
    white = PatchBank.from_images(
        [pair.photo for pair in pairs[:5]], [np.full((80, 64), 255, np.uint8)] * 5, settings=SETTINGS
    )
    pixels = coarse_sketch(pairs[6].photo, white, method=method, k=5).pixels
    assert pixels.min() >= 1 - 1e-6 and pixels.max() <= 1


def test_torch_sees_the_same_memory(bank, photo):
    torch = pytest.importorskip("torch")
    coarse = coarse_sketch(photo, bank, k=4)
    tensor = torch.from_dlpack(coarse)

    assert tensor.data_ptr() == coarse.pixels.ctypes.data
    assert tensor.dtype == torch.float32 and tensor.is_contiguous() and tuple(tensor.shape) == (1, 1, 80, 64)
    coarse.pixels[0, 0, 3, 5] = 0.125
    assert tensor[0, 0, 3, 5] == 0.125


def test_images_are_rounded_to_bytes(bank, photo):
    coarse = coarse_sketch(photo, bank, k=4)
    assert coarse.images().dtype == np.uint8 and coarse.images().shape == (1, 80, 64)
    assert np.abs(coarse.images()[:, None] - grey_levels(coarse)).max() <= 0.5001


def test_sketch_to_photo_is_the_same_code_with_the_sides_swapped(pairs):
    """Colour targets: three channels come out, and a grey target is each of them."""
    sketches, photos = [pair.sketch for pair in pairs], [pair.photo for pair in pairs]
    swapped = PatchBank.from_images(sketches, photos, settings=SETTINGS)
    colour = coarse_sketch(sketches[6], swapped, method="top1", k=3)

    assert colour.pixels.shape == (1, 3, 80, 64) and colour.pixels.flags.c_contiguous
    assert colour.images().shape == (1, 80, 64, 3)
    assert np.abs(colour.images()[0].astype(int) - photos[6]).max() <= 1
    tripled = PatchBank.from_images(photos, [np.stack([sketch] * 3, axis=2) for sketch in sketches], settings=SETTINGS)
    grey = PatchBank.from_images(photos, sketches, settings=SETTINGS)
    three, one = (coarse_sketch(photos[0], b, method="mean", k=4, exclude=0).pixels for b in (tripled, grey))
    np.testing.assert_allclose(three, np.repeat(one, 3, axis=1), atol=1e-6)


@pytest.mark.parametrize("method", ["top1", "mwf", "mrf"])
def test_a_banked_photo_gets_its_own_sketch_back(bank, pairs, method):
    without_noise = {"ridge": 0.0} if method == "mwf" else {}
    coarse = coarse_sketch(pairs[2].photo, bank, method=method, k=4, **without_noise)
    apart = np.abs(grey_levels(coarse)[0, 0] - pairs[2].sketch)

    assert apart.max() <= (0.01 if method == "top1" else 2)
    noisy = coarse_sketch(pairs[2].photo, bank, method=method, k=4)  # with the ridge others have a little weight
    assert np.abs(noisy.pixels - coarse.pixels).max() <= 3 / 255


@pytest.mark.parametrize("method", METHODS)
def test_a_left_out_pairs_sketch_cannot_reach_the_result(pairs, method):
    """Pair 3's sketch is marked with black and white that no other sketch has."""
    sketches = [(64 + pair.sketch // 2).astype(np.uint8) for pair in pairs]  # 64 .. 191
    sketches[3] = ((np.indices((80, 64)).sum(axis=0) % 2) * 255).astype(np.uint8)
    marked = PatchBank.from_images([pair.photo for pair in pairs], sketches, settings=SETTINGS)
    photos = [pairs[3].photo, pairs[0].photo]
    free = grey_levels(coarse_sketch(photos, marked, method=method, k=5))[0]
    left_out = grey_levels(coarse_sketch(photos, marked, method=method, k=5, exclude=[3, 0]))[0]
    several = grey_levels(coarse_sketch(photos, marked, method=method, k=5, exclude=[[1, 3], [0, 3]]))

    assert free.min() < 60 and free.max() > 195  # the mark is there when nothing is excluded
    assert left_out.min() >= 63.9 and left_out.max() <= 191.1
    assert several.min() >= 63.9 and several.max() <= 191.1


def test_leaving_out_is_the_same_as_never_having_had_the_pair(bank, pairs):
    without = PatchBank.from_images(
        [pair.photo for pair in pairs[1:5]], [pair.sketch for pair in pairs[1:5]], settings=SETTINGS
    )
    for method in ("mwf", "mrf"):
        one = coarse_sketch(pairs[0].photo, bank, method=method, k=4, exclude=0)
        other = coarse_sketch(pairs[0].photo, without, method=method, k=4)
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_a_prepared_bank_gives_the_same_and_so_does_a_streamed_one(bank, photo):
    ref = coarse_sketch(photo, bank, k=4)
    for memory in (None, 0):
        np.testing.assert_array_equal(coarse_sketch(photo, prepare(bank, memory=memory), k=4).pixels, ref.pixels)


def test_weighted_representations_enter_match_and_evidence(pairs, photo):
    """The distance that a plane's weight scales and the evidence must be the same: top1's field objective shows it."""
    photos, sketches = [pair.photo for pair in pairs[:4]], [pair.sketch for pair in pairs[:4]]

    def objective(weights):
        chosen = BankSettings(8, 4, 3, ("intensity", "dog"), weights)
        many = PatchBank.from_images(photos, sketches, settings=chosen)
        found = coarse_sketch(photo, many, method="lle", k=1, ridge=0.0)  # one candidate: the sum of its distances
        distances = match(many.query(photo)[None], many, k=1).distance
        return found.objective[0], distances.sum(dtype=np.float64)

    for weights in ((1, 1), (3, 2)):
        ours, distances = objective(weights)
        assert ours == pytest.approx(distances, rel=1e-6)
    many = PatchBank.from_images(
        photos[:2], sketches[:2], settings=BankSettings(8, 4, 1, ("intensity", "dog", "lbp"), (3, 2, 1))
    )
    ref, comp = (coarse_sketch(photo, many, method="multi", k=3, backend=name) for name in ("reference", "cpu"))
    assert np.abs(grey_levels(ref) - grey_levels(comp)).max() <= 1


@pytest.mark.parametrize("method", METHODS)
def test_one_patch_as_large_as_the_image(pairs, method):
    bank = PatchBank.from_images([pair.photo for pair in pairs[:3]], [pair.sketch for pair in pairs[:3]])
    coarse = coarse_sketch(pairs[0].photo, bank, method=method, k=3, patch=64, overlap=10)
    small = PatchBank.from_images([p.photo[:10, :10] for p in pairs], [p.sketch[:10, :10] for p in pairs])
    single = coarse_sketch(pairs[0].photo[:10, :10], small, method=method, k=3)

    assert coarse.pixels.shape == (1, 1, 80, 64) and single.pixels.shape == (1, 1, 10, 10)
    if method == "top1":
        np.testing.assert_allclose(grey_levels(single)[0, 0], pairs[0].sketch[:10, :10], atol=0.01)


def test_overrides_are_the_banks_own_settings(pairs, photo):
    photos, sketches = [pair.photo for pair in pairs[:3]], [pair.sketch for pair in pairs[:3]]
    own = PatchBank.from_images(photos, sketches, settings=BankSettings(6, 2, 1))
    other = PatchBank.from_images(photos, sketches, settings=BankSettings(12, 3, 4))
    ref = coarse_sketch(photo, own, k=3)

    comp = coarse_sketch(photo, other, CoarseSettings(k=3, patch=6), overlap=2, radius=1)
    np.testing.assert_array_equal(ref.pixels, comp.pixels)
    assert not np.array_equal(coarse_sketch(photo, other, k=3).pixels, ref.pixels)


@pytest.mark.parametrize("method", ["mwf", "mrf", "multi"])
def test_alpha_weighs_the_agreement_of_neighbours(bank, photo, method):
    little, usual, much = (coarse_sketch(photo, bank, method=method, k=4, alpha=alpha) for alpha in (0.0, 0.5, 50.0))

    assert little.objective[0] < usual.objective[0] < much.objective[0]
    assert not np.array_equal(usual.pixels, much.pixels)
    if method == "mrf":  # without neighbours the nearest candidate is chosen
        nearest = coarse_sketch(photo, bank, method="top1", k=4, blend="cut")
        np.testing.assert_array_equal(little.pixels, nearest.pixels)


def test_iterations_reach_belief_propagation(bank, photo):
    none, many = (coarse_sketch(photo, bank, method="mrf", k=4, alpha=5.0, iterations=n).objective for n in (0, 50))
    assert many[0] < none[0]


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"method": "gan"}, ValueError, "method must be one of mwf, lle, mean, top1, mrf, multi, not 'gan'"),
        ({"k": 0}, ValueError, "k must be 1 or more"),
        ({"k": 4.0}, TypeError, "k must be an integer"),
        ({"alpha": -0.5}, ValueError, "alpha must be finite"),
        ({"alpha": float("nan")}, ValueError, "alpha must be finite"),
        ({"blend": "mix"}, ValueError, "blend must be one of average, feather, cut"),
        ({"iterations": -1}, ValueError, "iterations must be 0 or more"),
        ({"patch": 81}, ValueError, "smaller than one 81-pixel patch"),
        ({"overlap": 8}, ValueError, "overlap must be"),
        ({"radius": -2}, ValueError, "radius must be 0 or more"),
        ({"k": 200}, ValueError, "k is 200, but a corner patch has only 80 positions in 5 images"),
        ({"exclude": 5}, ValueError, "image ids below 5"),
        ({"exclude": [0, 1]}, ValueError, "exclude must be"),
        ({"colour": True}, TypeError, "colour"),
    ],
)
def test_wrong_settings_are_named(bank, photo, changes, kind, says):
    with pytest.raises(kind, match=says):
        coarse_sketch(photo, bank, **changes)


@pytest.mark.parametrize(
    ("photos", "kind", "says"),
    [
        (np.zeros((64, 80), np.uint8), ValueError, r"the photo is 64 x 80 \(rows x columns\), the bank 80 x 64"),
        (np.zeros((80, 64), np.float32), TypeError, "must be uint8"),
        (np.zeros((80, 64, 4), np.uint8), ValueError, r"\(H, W, 3\)"),
        (np.zeros(80, np.uint8), ValueError, r"the photo is 80 \(rows x columns\)"),
        ([], ValueError, "no photos"),
    ],
)
def test_photos_that_do_not_fit_are_named(bank, photos, kind, says):
    with pytest.raises(kind, match=says):
        coarse_sketch(photos, bank)


@pytest.mark.parametrize("method", METHODS)
def test_warming_up_works_for_every_method(method):
    warm_up(CoarseSettings(method=method), backend="cpu")


def test_warming_up_for_a_bank_takes_its_sizes(bank):
    warm_up(CoarseSettings(k=64), "cpu", bank)
    colour = MemoryBank(bank.source(0, 2), np.repeat(bank.target(0, 2), 3, axis=1), ["a", "b"], SETTINGS)
    warm_up(CoarseSettings(), "cpu", colour)


def test_a_batch_without_memory_is_halved_and_a_photo_without_it_is_told(bank, pairs, monkeypatch):
    photos = [pair.photo for pair in pairs[4:]]
    whole = coarse_sketch(photos, bank, k=3, method="mean", exclude=np.array([4, -1, -1]))
    gather, asked = operations.gather, []

    def short(candidates, *rest):
        asked.append(len(candidates.distance))
        if asked[-1] > most:
            raise MemoryError("8 bytes")
        return gather(candidates, *rest)

    monkeypatch.setattr(operations, "gather", short)
    most = 1
    halved = coarse_sketch(photos, bank, k=3, method="mean", exclude=np.array([4, -1, -1]))
    assert asked == [3, 1, 2, 1, 1]
    np.testing.assert_array_equal(halved.pixels, whole.pixels)
    most = 0
    with pytest.raises(InputError, match=r"one photo's tables do not fit into memory \(8 bytes\): take a smaller k"):
        coarse_sketch(photos, bank, k=3)


def test_torch_is_not_needed(bank, photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert coarse_sketch(photo, bank, k=2).pixels.shape == (1, 1, 80, 64)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_several_sketches_of_one_match_are_those_made_alone(pairs, backend):
    images = [(pair.photo[20:50, 16:44], pair.sketch[20:50, 16:44]) for pair in pairs]  # small: the reference is slow
    small = PatchBank.from_images(*zip(*images[:5], strict=True), settings=SETTINGS)
    photos, usual = [photo for photo, _ in images[4:6]], CoarseSettings(k=4)
    changes = ({}, {"method": "top1"}, {"method": "mrf"}, {"k": 2}, {"blend": "cut"})
    several = [usual.changed(**change) for change in changes]
    together = coarse_sketches(photos, small, several, exclude=[4, -1], backend=backend)
    for settings, made in zip(several, together, strict=True):
        alone = coarse_sketch(photos, small, settings, exclude=[4, -1], backend=backend)
        np.testing.assert_array_equal(made.pixels, alone.pixels)
        np.testing.assert_array_equal(made.objective, alone.objective)


def test_what_matches_alike_is_matched_once(bank, photo, monkeypatch):
    calls = []
    real = operations.match
    monkeypatch.setattr(operations, "match", lambda *given, **named: calls.append(named) or real(*given, **named))
    usual = CoarseSettings(k=3)
    coarse_sketches(photo, bank, [usual, usual.changed(method="mrf"), usual.changed(k=2)])
    assert [named["k"] for named in calls] == [3, 2]
    with pytest.raises(ValueError, match="no settings"):
        coarse_sketches(photo, bank, [])
