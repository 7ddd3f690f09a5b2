"""Belief propagation: exact on trees against exhaustive search, equal to the reference on grids, honest energies."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idekernels import PatchGrid, propagate
from idekernels.backends import load

BACKENDS = ("cpu", "reference")


def chain(nodes, *, down=False):
    """A grid of 1 x n (or n x 1) patches: a tree."""
    length = 2 * nodes + 1
    grid = PatchGrid(length, 3, 3, 1) if down else PatchGrid(3, length, 3, 1)
    assert grid.nodes == nodes and len(grid.edges) == nodes - 1
    return grid


def lattice(rows, columns):
    return PatchGrid(2 * rows + 1, 2 * columns + 1, 3, 1)


def random_costs(rng, grid, *, photos=1, k=3, whole=False):
    unary = rng.random((photos, grid.nodes, k)) * 10
    pairwise = rng.random((photos, len(grid.edges), k, k)) * 10
    costs = [np.rint(table) if whole else table for table in (unary, pairwise)]
    return costs[0].astype(np.float32), costs[1].astype(np.float32)


def naive_energy(labels, unary, pairwise, grid):
    own = sum(float(unary[i, label]) for i, label in enumerate(labels))
    return own + sum(float(pairwise[e, labels[i], labels[j]]) for e, (i, j) in enumerate(grid.edges.tolist()))


def exhaustive(unary, pairwise, grid):
    """All labellings of one photo and their energies."""
    nodes, k = unary.shape
    labellings = list(itertools.product(range(k), repeat=nodes))
    return labellings, np.array([naive_energy(labels, unary, pairwise, grid) for labels in labellings])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 3), st.booleans(), st.sampled_from([0.0, 0.4]), st.integers(0, 2**32))
def test_min_sum_is_exact_on_trees(nodes, k, down, damping, seed):
    grid = chain(nodes, down=down)
    unary, pairwise = random_costs(np.random.default_rng(seed), grid, photos=2, k=k)
    for backend in BACKENDS:
        # damped messages come halfway each time: more iterations for the same end
        comp = propagate(unary, pairwise, grid, iterations=nodes if damping == 0 else 60, damping=damping,
                         backend=backend)  # fmt: skip
        for photo in range(2):
            labellings, energies = exhaustive(unary[photo], pairwise[photo], grid)
            assert comp.energy[photo] == pytest.approx(energies.min(), rel=1e-6)
            assert tuple(comp.labels[photo].tolist()) == labellings[energies.argmin()]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(2, 3), st.booleans(), st.sampled_from([0.3, 2.0, 50.0]), st.integers(0, 2**32))
def test_sum_product_gives_the_marginals_on_trees(nodes, k, down, temperature, seed):
    grid = chain(nodes, down=down)
    unary, pairwise = random_costs(np.random.default_rng(seed), grid, k=k)
    labellings, energies = exhaustive(unary[0], pairwise[0], grid)
    chance = np.exp((energies.min() - energies) / temperature)
    ref = np.zeros((nodes, k))
    for labels, share in zip(labellings, chance / chance.sum(), strict=True):
        ref[np.arange(nodes), labels] += share

    for backend in BACKENDS:
        comp = propagate(unary, pairwise, grid, iterations=nodes, temperature=temperature, backend=backend)
        assert comp.weights.dtype == np.float32
        np.testing.assert_allclose(comp.weights[0], ref, atol=2e-4)
        assert comp.energy[0] == pytest.approx(naive_energy(comp.labels[0].tolist(), unary[0], pairwise[0], grid))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.0, 0.5]), st.integers(0, 6),
    st.integers(0, 2**32),
)  # fmt: skip
def test_backends_agree_to_the_bit_on_whole_costs(rows, columns, k, damping, iterations, seed):
    """Sums of small integers (and of their halves) are exact in float32, so no tie can be broken differently."""
    grid = lattice(rows, columns)
    unary, pairwise = random_costs(np.random.default_rng(seed), grid, photos=2, k=k, whole=True)
    options = {"iterations": iterations, "damping": damping}
    ref, comp = (propagate(unary, pairwise, grid, backend=backend, **options) for backend in ("reference", "cpu"))

    np.testing.assert_array_equal(comp.labels, ref.labels)
    np.testing.assert_array_equal(comp.energy, ref.energy)
    np.testing.assert_array_equal(comp.weights, ref.weights)
    beliefs = [
        module.propagate(unary, pairwise, grid, iterations, damping, 0.0)[2]
        for module in map(load, ("reference", "cpu"))
    ]
    np.testing.assert_array_equal(*beliefs)


@settings(max_examples=20, deadline=None, derandomize=True)  # by chance half of six nodes may be even
@given(st.integers(2, 4), st.integers(2, 5), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 1.5]),
       st.integers(0, 2**32))  # fmt: skip
def test_backends_agree_on_any_costs_where_beliefs_are_apart(rows, columns, damping, temperature, seed):
    """Labels may differ only where the two best beliefs lie within 1e-3 of costs up to 10."""
    grid = lattice(rows, columns)
    unary, pairwise = random_costs(np.random.default_rng(seed), grid, k=4)
    ref, comp = (
        load(name).propagate(unary, pairwise, grid, 12, damping, temperature)[2] for name in ("reference", "cpu")
    )  # fmt: skip
    np.testing.assert_allclose(comp, ref, atol=1e-3)
    falling = np.sort(ref, axis=-1)
    clear = falling[..., 1] - falling[..., 0] > 1e-3
    np.testing.assert_array_equal(comp.argmin(axis=-1)[clear], ref.argmin(axis=-1)[clear])
    assert clear.mean() > 0.5

    options = {"iterations": 12, "damping": damping, "temperature": temperature}
    energies = [propagate(unary, pairwise, grid, backend=backend, **options).energy for backend in BACKENDS]
    np.testing.assert_allclose(*energies, rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 8), st.sampled_from([0.0, 0.9]),
       st.sampled_from([0.0, 3.0]), st.integers(0, 2**32))  # fmt: skip
def test_the_energy_is_that_of_the_labels_and_never_above_the_cheapest_unaries(
    rows, columns, iterations, damping, temperature, seed
):
    grid = lattice(rows, columns)
    unary, pairwise = random_costs(np.random.default_rng(seed), grid, photos=2)
    for backend in BACKENDS:
        comp = propagate(unary, pairwise, grid, iterations=iterations, damping=damping, temperature=temperature,
                         backend=backend)  # fmt: skip
        assert comp.labels.dtype == np.int32 and comp.energy.dtype == np.float64
        for photo in range(2):
            direct = naive_energy(comp.labels[photo].tolist(), unary[photo], pairwise[photo], grid)
            unaries = naive_energy(unary[photo].argmin(axis=-1).tolist(), unary[photo], pairwise[photo], grid)
            assert comp.energy[photo] == pytest.approx(direct, rel=1e-6)
            assert comp.energy[photo] <= unaries * (1 + 1e-9)
        if temperature == 0:
            assert (comp.weights.argmax(axis=-1) == comp.labels).all()
            assert (comp.weights.sum(axis=-1) == 1).all()


def test_more_iterations_never_give_a_higher_energy():
    """Loopy messages swing; the lowest labelling seen is kept."""
    grid = lattice(5, 5)
    for seed in range(2):
        unary, pairwise = random_costs(np.random.default_rng(seed), grid, k=4)
        energies = [propagate(unary, pairwise, grid, iterations=n).energy[0] for n in range(11)]
        assert (np.diff(energies) <= 0).all()
        assert energies[-1] < energies[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_agreement_overrules_a_weak_preference(backend):
    """A Potts model on a grid: one node prefers the other label, but not by enough to stand alone."""
    grid = lattice(3, 3)
    unary = np.tile(np.float32([0, 5]), (1, 9, 1))
    unary[0, 4] = [1, 0]
    pairwise = np.tile(np.float32([[0, 2], [2, 0]]), (1, len(grid.edges), 1, 1))

    comp = propagate(unary, pairwise, grid, iterations=5, backend=backend)
    assert comp.labels.tolist() == [[0] * 9]
    assert comp.energy.tolist() == [1.0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_table_is_read_first_node_first(backend):
    """Only label 0 at the left and 1 at the right are free together; a transposed table would swap them."""
    for down in (False, True):
        pairwise = np.full((1, 1, 2, 2), 9, np.float32)
        pairwise[0, 0, 0, 1] = 0
        comp = propagate(np.zeros((1, 2, 2), np.float32), pairwise, chain(2, down=down), iterations=2, backend=backend)
        assert comp.labels.tolist() == [[0, 1]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_iterations_leave_the_cheapest_unaries_ties_to_the_lower(backend):
    grid = chain(3)
    unary = np.float32([[[2, 1, 1], [0, 0, 0], [3, 2, 1]]])
    comp = propagate(unary, np.zeros((1, 2, 3, 3), np.float32), grid, iterations=0, backend=backend)

    assert comp.labels.tolist() == [[1, 0, 2]]
    assert comp.energy.tolist() == [2.0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_single_patch_needs_no_neighbours(backend):
    grid = PatchGrid(4, 4, 4, 2)
    unary = np.float32([[[3, 1, 2]], [[0, 5, 5]]])
    comp = propagate(unary, np.zeros((2, 0, 3, 3), np.float32), grid, backend=backend)

    assert comp.labels.tolist() == [[1], [0]]
    assert comp.energy.tolist() == [1.0, 0.0]


UNARY, PAIRWISE = np.zeros((1, 3, 2), np.float32), np.zeros((1, 2, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("unary", "pairwise", "options", "kind", "says"),
    [
        (UNARY + np.float32("inf"), PAIRWISE, {}, ValueError, "must be finite"),
        (UNARY, PAIRWISE + np.float32("nan"), {}, ValueError, "must be finite"),
        (UNARY.astype(float), PAIRWISE, {}, TypeError, "unary must be float32, not float64"),
        (UNARY, PAIRWISE.astype(np.float16), {}, TypeError, "pairwise must be float32"),
        (UNARY[:, :2], PAIRWISE, {}, ValueError, "unary must have the shape"),
        (UNARY, PAIRWISE[:, :1], {}, ValueError, "pairwise must have the shape"),
        (UNARY, PAIRWISE[:, :0], {}, ValueError, "pairwise is empty"),
        (UNARY, PAIRWISE[..., :1], {}, ValueError, "pairwise must have the shape"),
        (UNARY, PAIRWISE, {"iterations": -1}, ValueError, "iterations must be 0 or more"),
        (UNARY, PAIRWISE, {"iterations": 2.5}, TypeError, "iterations must be an integer"),
        (UNARY, PAIRWISE, {"damping": 1.0}, ValueError, "damping must be"),
        (UNARY, PAIRWISE, {"damping": -0.1}, ValueError, "damping must be"),
        (UNARY, PAIRWISE, {"temperature": -1.0}, ValueError, "temperature must be"),
        (UNARY, PAIRWISE, {"temperature": float("nan")}, ValueError, "temperature must be"),
    ],
)
def test_wrong_arguments_are_named(unary, pairwise, options, kind, says):
    with pytest.raises(kind, match=says):
        propagate(unary, pairwise, chain(3), **options)
