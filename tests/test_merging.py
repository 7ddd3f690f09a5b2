"""merge: shards matched alone and merged give what the joined bank gives, bit for bit; what cannot is refused."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idekernels import BankSettings, JoinedBank, MemoryBank, gather, match, merge, merging, prepare
from idekernels.backends.cuda import device as devices
from idekernels.results import Candidates
from tests.emulator import fakecupy, host
from tests.emulator.device import EmulatedDevice

needs_emulator = pytest.mark.skipif(host.why_missing() is not None, reason=str(host.why_missing()))
AXES = ("image", "row", "column", "distance")
MISSING = 2**32 - 1


@dataclass
class Problem:
    """A bank in shards, and what is asked of it."""

    bank: JoinedBank
    query: Any
    radius: int
    k: int
    exclude: Any  # (B, X) or None


def sharded(sizes: list[int], size: tuple[int, int], how: BankSettings, levels: int, seed: int) -> JoinedBank:
    """Shards of random planes; with few levels, full of ties within and across the shards."""
    rng = np.random.default_rng(seed)
    shards = []
    for number, images in enumerate(sizes):
        planes = rng.integers(0, levels, (images, len(how.weights), *size)) * (255 // max(1, levels - 1)) % 256
        names = [f"{number}-{image}" for image in range(images)]
        shards.append(MemoryBank(planes.astype(np.uint8), planes[:, :1].astype(np.uint8), names, how))
    return JoinedBank(shards)


@st.composite
def problems(draw: st.DrawFn, most: int = 12) -> Problem:
    patch = draw(st.integers(1, 4), label="patch")
    size = tuple(draw(st.integers(patch, patch + 5), label=side) for side in ("height", "width"))
    radius = draw(st.integers(0, 3), label="radius")
    planes = draw(st.sampled_from([{}, {"representations": ("intensity", "dog"), "weights": (2, 1)}]), label="planes")
    how = BankSettings(patch, draw(st.integers(0, patch - 1), label="overlap"), radius, **planes)
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5), label="sizes")
    levels = draw(st.sampled_from([1, 2, 3, 256]), label="levels")
    bank = sharded(sizes, size, how, levels, draw(st.integers(0, 2**32), label="seed"))
    photos = draw(st.integers(1, 2), label="photos")
    query = sharded([photos], size, how, levels, 1).source(0, photos)
    exclude, left = None, bank.images
    if bank.images > 1 and draw(st.booleans(), label="exclude some"):
        ids = st.lists(st.integers(-1, bank.images - 1), min_size=min(3, bank.images - 1), max_size=min(3, left - 1))
        exclude = np.array([draw(ids, label="exclude") for _ in range(photos)])
        left -= max(len({*row} - {-1}) for row in exclude.tolist())
    corner = left * np.prod([min(radius + 1, side - patch + 1) for side in size])
    return Problem(bank, query, radius, draw(st.integers(1, int(min(corner, most))), label="k"), exclude)


def in_parts(problem: Problem, backend: str) -> list[Candidates]:
    """Every shard matched alone; images are excluded by their numbers in the shard."""
    parts = []
    for shard, start in zip(problem.bank.banks, problem.bank.starts, strict=True):
        exclude = None
        if problem.exclude is not None:
            own = problem.exclude - start
            exclude = np.where((own >= 0) & (own < shard.images), own, -1)
        parts.append(match(problem.query, shard, k=problem.k, exclude=exclude, partial=True, backend=backend))
    return parts


def joined(problem: Problem, backend: str = "cpu") -> Candidates:
    return match(problem.query, problem.bank, k=problem.k, exclude=problem.exclude, backend=backend)


def host_side(found: Any) -> Any:
    return found.get() if isinstance(found, fakecupy.DeviceArray) else found


def assert_same(comp: Candidates, ref: Candidates) -> None:
    for axis in AXES:
        made, expected = host_side(getattr(comp, axis)), host_side(getattr(ref, axis))
        np.testing.assert_array_equal(made, expected, err_msg=axis)
        assert made.dtype == expected.dtype


@settings(max_examples=60, deadline=None)
@given(problem=problems(), backend=st.sampled_from(["cpu", "reference"]))
def test_shards_matched_alone_and_merged_are_the_joined_bank(problem: Problem, backend: str) -> None:
    ref = joined(problem)
    assert_same(joined(problem, "reference"), ref)
    assert_same(merge(in_parts(problem, backend), problem.bank.starts), ref)


@settings(max_examples=30, deadline=None)
@given(problem=problems(), data=st.data())
def test_parts_may_be_merged_in_any_order_and_in_any_groups(problem: Problem, data: st.DataObject) -> None:
    starts = problem.bank.starts
    order = data.draw(st.permutations(range(len(starts))), label="order")
    parts = in_parts(problem, "cpu")
    cut = data.draw(st.integers(0, len(starts)), label="cut")
    groups = [group for group in (sorted(order[:cut]), sorted(order[cut:])) if group]
    contiguous = all(group == list(range(group[0], group[-1] + 1)) for group in groups)

    assert_same(merge([parts[i] for i in order], [starts[i] for i in order]), joined(problem))
    if contiguous:  # a group's images are counted in the joined bank already, so it starts at 0
        halves = [merge([parts[i] for i in group], [starts[i] for i in group], partial=True) for group in groups]
        assert_same(merge(halves, [0] * len(halves)), joined(problem))


@needs_emulator
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(problem=problems(most=5), reverse=st.booleans())
def test_shards_on_an_emulated_device(problem: Problem, reverse: bool) -> None:
    """The device's arrays are merged where they are; its own merge, of splits and streamed blocks, finds the same."""
    ref = joined(problem)
    with devices.use(EmulatedDevice(reverse=reverse)):
        merged = merge(in_parts(problem, "cuda"), problem.bank.starts)
        streamed = match(problem.query, prepare(problem.bank, "cuda", 0), k=problem.k, exclude=problem.exclude)
    assert all(isinstance(getattr(merged, axis), fakecupy.DeviceArray) for axis in AXES)
    assert_same(merged, ref)
    assert_same(streamed, ref)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_nearest_is_the_front_of_all_candidates_in_order(data: st.DataObject) -> None:
    """Against Python's own sort, with as many ties as there may be."""
    lists, photos, nodes, kept = (data.draw(st.integers(1, most), label="shape") for most in (4, 2, 3, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), label="seed"))
    distance = rng.integers(0, data.draw(st.sampled_from([1, 3, 2**32 - 1])), (lists, photos, nodes, kept), np.uint32)
    place = rng.permutation(distance.size * 3)[: distance.size].reshape(distance.shape)
    distance[rng.random(distance.shape) < 0.2] = MISSING
    k = data.draw(st.integers(1, lists * kept), label="k")

    made_place, made_distance = merging.nearest(place, distance, k)
    assert made_place.dtype == np.int64 and made_distance.dtype == np.uint32
    for photo, node in np.ndindex(photos, nodes):
        pairs = zip(distance[:, photo, node].ravel().tolist(), place[:, photo, node].ravel().tolist(), strict=True)
        expected = sorted(pairs)[:k]
        assert list(zip(made_distance[photo, node], made_place[photo, node], strict=True)) == expected


def a_problem(k: int = 3, radius: int = 1, **changes: Any) -> Problem:
    how = BankSettings(3, 1, radius)
    bank = sharded([2, 1, 3], (7, 6), how, 3, 5)
    query = sharded([2], (7, 6), how, 3, 1).source(0, 2)
    return replace(Problem(bank, query, radius, k, None), **changes)


@pytest.mark.parametrize("backend", ["cpu", "reference", pytest.param("cuda", marks=needs_emulator)])
def test_a_partial_list_says_where_it_ends(backend: str) -> None:
    shard = a_problem().bank.banks[1]  # one image, 4 positions at a corner, 9 in the middle
    with devices.use(EmulatedDevice()):
        found = match(a_problem().query, shard, k=10, partial=True, backend=backend)
        whole = match(a_problem().query, shard, k=4, backend=backend)
    present = host_side(found.distance) != MISSING

    assert {4, 6, 9} >= set(present.sum(axis=2).ravel().tolist()) >= {4}
    for axis in AXES:
        values = host_side(getattr(found, axis))
        np.testing.assert_array_equal(values[..., :4], host_side(getattr(whole, axis)))
        assert (values[~present] == (MISSING if axis == "distance" else -1)).all()
    assert (present[..., :-1] >= present[..., 1:]).all()  # and only its end is missing


@pytest.mark.parametrize("bits", [None, 11])
def test_a_missing_candidate_is_missing_at_any_weights_and_place(
    bits: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A common factor of the weights multiplies distances alone; 11 bits hold the places of one block of 32 images."""
    how = BankSettings(3, 1, 1, representations=("intensity", "dog"), weights=(4, 4))
    bank = sharded([40], (7, 6), how, 3, 5).banks[0]
    barred = np.arange(1, 39)[None]  # images 0 and 39 are left, of different blocks
    if bits:
        matching = importlib.import_module("idekernels.backends.cpu.matching")
        monkeypatch.setattr(matching, "_place_bits", lambda limit: bits)
    made, plain = (
        match(bank.source(3, 4), bank, k=20, exclude=barred, partial=True, backend=backend)
        for backend in ("cpu", "reference")
    )

    assert (made.distance == MISSING).any() and (made.distance != MISSING).any()
    for axis in AXES:
        np.testing.assert_array_equal(getattr(made, axis), getattr(plain, axis))


def test_a_shard_without_an_image_that_may_be_used_adds_nothing() -> None:
    problem = a_problem(exclude=np.array([[2], [2]]))  # the only image of the second shard
    parts = in_parts(problem, "cpu")
    assert (parts[1].distance == MISSING).all()
    assert_same(merge(parts, problem.bank.starts), joined(problem))


def test_partial_lists_are_for_merge_alone() -> None:
    problem = a_problem(k=10)
    with pytest.raises(ValueError, match="k is 10, but a corner patch has only 4 positions in 1 images"):
        match(problem.query, problem.bank.banks[1], k=10)
    found = match(problem.query, problem.bank.banks[1], k=10, partial=True)
    with pytest.raises(ValueError, match="candidate's image must be in"):
        gather(found, problem.bank.banks[1])


def test_fewer_and_more_candidates_than_the_parts_have() -> None:
    problem = a_problem(k=8)
    parts = in_parts(problem, "cpu")
    for k in (1, 5, 8):
        assert_same(merge(parts, problem.bank.starts, k), match(problem.query, problem.bank, k=k))
    with pytest.raises(ValueError, match="k is 25, but a node has only 24 candidates in all parts; take a smaller k"):
        merge(in_parts(a_problem(k=25), "cpu"), problem.bank.starts)
    assert merge(in_parts(a_problem(k=25), "cpu"), problem.bank.starts, partial=True).distance.shape[2] == 25


def test_a_short_part_is_taken_where_it_is_enough_and_refused_where_it_may_hide_something() -> None:
    """Five entries of a shard that never comes near cannot hide one of the ten nearest; four of the nearest can."""
    near, far = np.zeros((2, 1, 6, 6), np.uint8), np.full((1, 1, 6, 6), 200, np.uint8)
    how = BankSettings(3, 1, 2)
    shards = [MemoryBank(near, near, ["a", "b"], how), MemoryBank(far, far, ["c"], how)]
    bank, query = JoinedBank(shards), np.zeros((1, 1, 6, 6), np.uint8)
    close, distant = (match(query, shard, k=k) for shard, k in zip(shards, (10, 5), strict=True))

    assert_same(merge([close, distant], bank.starts), match(query, bank, k=10))
    short = match(query, shards[0], k=9)
    with pytest.raises(ValueError, match=r"part 0 lists 9 candidates a node.* match it with k=10 and partial=True"):
        merge([short, match(query, shards[1], k=9)], bank.starts, 10)


def test_a_part_that_ends_with_the_last_candidate_of_all_hides_nothing() -> None:
    """What it does not list comes after its last, so after the K-th; one candidate more, and it might not."""
    near, far = np.zeros((1, 1, 3, 3), np.uint8), np.full((1, 1, 3, 3), 200, np.uint8)
    how = BankSettings(3, 1, 0)
    shards = [MemoryBank(near, near, ["a"], how), MemoryBank(far.repeat(2, 0), far.repeat(2, 0), ["b", "c"], how)]
    bank, query = JoinedBank(shards), near
    close, distant = (match(query, shard, k=2, partial=True) for shard in shards)
    short = match(query, shards[1], k=1)

    assert_same(merge([close, short], bank.starts), match(query, bank, k=2))
    with pytest.raises(ValueError, match="part 1 lists 1 candidates a node"):
        merge([close, short], bank.starts, 3)
    assert_same(merge([close, distant], bank.starts, 2), match(query, bank, k=2))


def test_a_part_that_says_where_it_ends_is_complete_however_short() -> None:
    problem = a_problem(k=10)
    single = match(problem.query, problem.bank.banks[1], k=10, partial=True)  # 9 positions of the image at most
    wider = merge([single], [0], 20, partial=True)
    np.testing.assert_array_equal(wider.distance[..., :10], single.distance)
    np.testing.assert_array_equal(wider.image[..., :10], single.image)
    assert (wider.distance[..., 10:] == MISSING).all() and (wider.image[..., 10:] == -1).all()


@dataclass(frozen=True)
class Marked(Candidates):
    """Candidates that know more, as those of a later day may."""

    mark: str = "none"


def test_what_else_the_candidates_know_is_kept() -> None:
    problem = a_problem()
    parts = [Marked(**{axis: getattr(part, axis) for axis in AXES}, mark="kept") for part in in_parts(problem, "cpu")]
    merged = merge(parts, problem.bank.starts)
    assert isinstance(merged, Marked) and merged.mark == "kept"
    assert_same(merged, joined(problem))


def changed(number: int, **axes: Any) -> list[Candidates]:
    parts = in_parts(a_problem(), "cpu")
    parts[number] = replace(parts[number], **axes)
    return parts


SHAPE = in_parts(a_problem(), "cpu")[0].distance.shape


@pytest.mark.parametrize(
    ("parts", "starts", "options", "kind", "says"),
    [
        ([], (), {}, ValueError, "at least one part and as many starts, not 0 and 0"),
        (changed(0), (0, 2), {}, ValueError, "as many starts, not 3 and 2"),
        (changed(0), (0, 2, -1), {}, ValueError, "starts must be 0 or more"),
        (changed(0), (0, 2, 3.0), {}, TypeError, "starts must be an integer"),
        (changed(0), (0, 2, 2**31), {}, ValueError, "starts must be 0 or more and at most"),
        (changed(0), (0, 2, 2**31 - 1), {}, ValueError, r"part 2: image must be in 0 .. 0, not 0 .. 2"),
        (changed(0), (0, 1, 3), {}, ValueError, "image 1 of part 1 lies among those of part 0; are the starts right"),
        (changed(0), (3, 2, 0), {}, ValueError, "image 2 of part 1 lies among those of part 2"),
        (changed(0), (0, 2, 3), {"k": 0}, ValueError, "k must be 1 or more"),
        (changed(0), (0, 2, 3), {"k": 257}, ValueError, "at most 256"),
        (changed(1, image=np.zeros(SHAPE, np.int64)), (0, 2, 3), {}, TypeError, "part 1: image must be int32"),
        (changed(1, distance=np.zeros(SHAPE)), (0, 2, 3), {}, TypeError, "distance must be uint32, not float64"),
        (changed(2, row=np.zeros((1, *SHAPE[1:]), np.int32)), (0, 2, 3), {}, ValueError, "part 2: row is .1, .* same"),
        (changed(1, column=np.full(SHAPE, 2**16, np.int32)), (0, 2, 3), {}, ValueError, "part 1: column must be in"),
        (changed(1, row=np.full(SHAPE, -1, np.int32)), (0, 2, 3), {}, ValueError, "part 1: row must be in 0 .. 65535"),
        (changed(1, distance=np.arange(np.prod(SHAPE), dtype=np.uint32)[::-1].reshape(SHAPE)), (0, 2, 3), {},
         ValueError, "part 1: candidates must come with ascending distance"),
        ([changed(0)[0], replace(changed(0)[1], **{axis: fakecupy.asarray(getattr(changed(0)[1], axis))
                                                   for axis in AXES})], (0, 2), {}, TypeError, "others a device's"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(
    parts: list[Candidates], starts: Any, options: Any, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        merge(parts, starts, **options)
