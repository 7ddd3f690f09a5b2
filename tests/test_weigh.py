"""The weight field: its objective straight from the patches, its optimum against a general solver, its certificate."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from test_tables import overlap_columns, random_patches

from idekernels import PatchGrid, backends, compatibility, evidence, weigh, weigh_multi
from idekernels.backends import reference
from idekernels.backends.reference import project_to_simplex
from idekernels.methods import SETTINGS, WEIGHINGS, links_of
from idekernels.results import Compatibility, Weights

BACKENDS = ("cpu", "reference")
RIDGE = SETTINGS["ridge"].default


class Field:
    """Random candidates on a small grid, with the tables made of them."""

    def __init__(self, seed, grid=None, *, photos=1, k=4, layers=1, likeness=0.7):
        rng = np.random.default_rng(seed)
        self.grid = grid or PatchGrid(7, 7, 3, 1)
        shape = (photos, layers, self.grid.height, self.grid.width)
        self.query = rng.integers(0, 256, shape, dtype=np.uint8)
        mine = np.stack([self._cut(anchor) for anchor in self.grid.anchors], axis=1)[:, :, None]
        strange = random_patches(rng, self.grid, photos=photos, k=k, channels=layers)
        self.sources = np.rint(likeness * mine + (1 - likeness) * strange).astype(np.uint8)
        self.targets = random_patches(rng, self.grid, photos=photos, k=k)

    def _cut(self, anchor):
        y, x = anchor
        return self.query[:, :, y : y + self.grid.patch, x : x + self.grid.patch]

    @property
    def grams(self):
        return evidence(self.query, self.sources, self.grid).grams

    @property
    def gram(self):
        return self.grams.sum(axis=2)

    @property
    def links(self):
        return replace(compatibility(self.targets, self.grid), backend=None)  # any backend may have it

    def weigh(self, **options) -> Weights:
        return weigh(self.gram, self.links, self.grid, **options)

    def residuals(self, photo, node):
        """(P_i - x_i) of all planes, one column a candidate."""
        y, x = self.grid.anchors[node]
        apart = self.sources[photo, node].astype(float) - self._cut((y, x))[photo]
        return apart.reshape(len(apart), -1).T

    def objective(self, weights, alpha, ridge=RIDGE):
        """sum_i |(P_i - x_i) w_i|^2 + ridge P^2 |w_i|^2, + alpha * sum_(i,j) |O_i w_i - O_j w_j|^2, from the pixels."""
        totals = []
        for photo in range(len(self.targets)):
            total = sum(np.sum((self.residuals(photo, i) @ weights[photo, i]) ** 2) for i in range(self.grid.nodes))
            total += ridge * self.grid.patch**2 * np.sum(weights[photo] ** 2)
            for edge, (i, j) in enumerate(self.grid.edges):
                near, far = overlap_columns(self.targets, self.grid, photo, edge)
                total += alpha * np.sum((near @ weights[photo, i] - far @ weights[photo, j]) ** 2)
            totals.append(total)
        return np.array(totals)

    def solve(self, alpha, ridge=RIDGE):
        """The optimum of photo 0 by SciPy's SLSQP, on the whole field at once, its Hessian built from the pixels."""
        nodes, k = self.targets.shape[1:3]
        rows = [self._row(k, nodes, {i: self.residuals(0, i)}) for i in range(nodes)]
        for edge, (i, j) in enumerate(self.grid.edges):
            near, far = overlap_columns(self.targets, self.grid, 0, edge)
            rows.append(np.sqrt(alpha) * self._row(k, nodes, {i: near, j: -far}))
        rows.append(np.sqrt(ridge) * self.grid.patch * np.eye(nodes * k))
        whole = np.concatenate(rows)
        hessian = whole.T @ whole
        scale = np.trace(hessian) / len(hessian)
        ones = np.kron(np.eye(nodes), np.ones(k))
        solved = minimize(
            lambda w: w @ hessian @ w / scale,
            np.full(nodes * k, 1 / k),
            jac=lambda w: 2 * hessian @ w / scale,
            bounds=[(0, None)] * (nodes * k),
            constraints={"type": "eq", "fun": lambda w: ones @ w - 1, "jac": lambda w: ones},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 2000},
        )
        weights = np.maximum(solved.x.reshape(1, nodes, k), 0)
        return float(self.objective(weights / weights.sum(axis=-1, keepdims=True), alpha, ridge)[0])

    def exchanges(self, weights, photo, alpha, ridge=RIDGE):
        """Slope (half) and bend of moving weight from candidate [.., j] to [.., i], of every node: (N, K, K) each."""
        nodes, k = self.targets.shape[1:3]
        noise = np.sqrt(ridge) * self.grid.patch * np.eye(k)
        forms = [p.T @ p for p in (np.concatenate([self.residuals(photo, i), noise]) for i in range(nodes))]
        pulls = np.zeros((nodes, k))
        for edge, (i, j) in enumerate(self.grid.edges):
            near, far = overlap_columns(self.targets, self.grid, photo, edge)
            forms[i], forms[j] = forms[i] + alpha * near.T @ near, forms[j] + alpha * far.T @ far
            pulls[i] += alpha * near.T @ far @ weights[j]
            pulls[j] += alpha * far.T @ near @ weights[i]
        form = np.array(forms)
        half = np.einsum("nij,nj->ni", form, weights) - pulls
        own = np.einsum("nii->ni", form)
        bend = own[:, :, None] + own[:, None, :] - 2 * form + 1e3 * np.eye(k)  # with itself: no exchange
        return half[:, None, :] - half[:, :, None], bend

    @staticmethod
    def _row(k, nodes, parts):
        length = len(next(iter(parts.values())))
        row = np.zeros((length, nodes * k))
        for node, part in parts.items():
            row[:, node * k : (node + 1) * k] = part
        return row


def assert_on_simplex(weights):
    assert weights.dtype == np.float32
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-5)


@st.composite
def fields(draw):
    patch = draw(st.integers(1, 4))
    size = st.integers(patch, patch + 5)
    grid = PatchGrid(draw(size), draw(size), patch, draw(st.integers(0, patch - 1)))
    options = {"photos": draw(st.integers(1, 2)), "k": draw(st.integers(1, 5)), "layers": draw(st.integers(1, 2))}
    return Field(draw(st.integers(0, 2**32)), grid, likeness=draw(st.sampled_from([0.0, 0.7, 1.0])), **options)


@settings(max_examples=20, deadline=None)
@given(fields(), st.sampled_from([0.0, 0.01, 0.5, 30.0]), st.sampled_from(tuple(WEIGHINGS)))
def test_weights_are_on_the_simplex_and_the_objective_is_theirs(field, alpha, method):
    for backend in BACKENDS:
        found = field.weigh(method=method, alpha=alpha, backend=backend)
        used = 0.0 if method == "lle" else alpha

        assert_on_simplex(found.weights)
        direct = field.objective(found.weights.astype(float), used)
        np.testing.assert_allclose(found.objective, direct, rtol=1e-4, atol=1e-3)
        assert (found.kkt_residual >= -1e-6 * (1 + found.objective)).all()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 20.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_optimum_is_that_of_a_general_solver(seed, alpha):
    field = Field(seed)
    ref = field.solve(alpha)

    for backend in BACKENDS:
        comp = field.weigh(alpha=alpha, tolerance=2e-7, sweeps=20_000, backend=backend)
        assert comp.objective[0] == pytest.approx(ref, rel=1e-6)
        assert field.objective(comp.weights.astype(float), alpha)[0] == pytest.approx(ref, rel=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sweeps", [1, 2, 5, 30])
def test_the_certificate_bounds_the_true_error(backend, sweeps):
    for seed in range(2):
        field = Field(seed, k=5)
        optimum = field.solve(2.0)
        found = field.weigh(alpha=2.0, sweeps=sweeps, tolerance=0.0, backend=backend)
        error = found.objective[0] - optimum

        assert error >= -1e-6 * optimum
        assert error <= found.kkt_residual[0] + 1e-6 * optimum
        assert found.sweeps[0] == sweeps if sweeps < 30 else 5 < found.sweeps[0] <= sweeps  # some settle before
    assert sweeps > 2 or error > 1e-5 * optimum  # otherwise the bound was tested on nothing


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_objective_never_rises_with_more_sweeps(backend):
    field = Field(9, PatchGrid(13, 13, 4, 2), photos=2, k=6)
    tried = [1, 2, 3, 4, 9, 10, 11, 20, 21, 60]
    history = np.array([field.weigh(tolerance=0.0, sweeps=n, backend=backend).objective for n in tried])

    assert (history[0] <= field.weigh(method="mean", backend=backend).objective).all()
    rounding = {"cpu": 1e-7, "reference": 1e-10}[backend]  # of the weights' last division by their sum, in float32
    assert (np.diff(history, axis=0) <= rounding * history[0]).all()
    assert (history[-1] < history[0]).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tolerance", [1e-2, SETTINGS["tolerance"].default, 1e-5])
def test_settled_is_what_the_rule_says(backend, tolerance):
    """No exchange between two candidates, their neighbours as they are, would move the tolerance: from the pixels."""
    field = Field(10, PatchGrid(11, 11, 4, 2), photos=3, k=6)
    found = field.weigh(tolerance=tolerance, sweeps=50_000, backend=backend)

    assert found.sweeps.dtype == np.int32 and found.sweeps.shape == (3,)
    assert (found.sweeps <= 32).all()  # or the tolerance would have been doubled
    for photo in range(3):
        slope, bend = field.exchanges(found.weights[photo].astype(float), photo, 0.5)
        moves = np.minimum(slope / bend, found.weights[photo][:, None, :])  # [node, taker, giver]
        assert moves.max() <= 1.01 * tolerance + 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_objective_of_the_default_rule_is_the_optimum(backend):
    for seed in range(4):
        field = Field(seed, PatchGrid(9, 9, 4, 2), k=6)
        found = field.weigh(backend=backend)
        optimum = field.solve(0.5)
        assert -1e-7 * optimum <= found.objective[0] - optimum <= 1e-6 * optimum
        assert found.objective[0] - found.kkt_residual[0] <= optimum * (1 + 1e-7)


@pytest.mark.parametrize("ridge", [0.0, 100.0])
def test_the_ridge_is_in_the_objective_and_its_optimum(ridge):
    field = Field(8, k=5)
    for backend in BACKENDS:
        found = field.weigh(ridge=ridge, tolerance=2e-7, backend=backend)
        assert found.objective[0] == pytest.approx(field.solve(0.5, ridge), rel=1e-6)
        direct = field.objective(found.weights.astype(float), 0.5, ridge)
        np.testing.assert_allclose(found.objective, direct, rtol=1e-5)
        multi = weigh_multi(field.grams, field.links, field.grid, ridge=ridge, tolerance=1e-6, backend=backend)
        lam = lam_of(field, 1.0)
        np.testing.assert_allclose(multi.objective, multi_objective(field, multi, 0.5, lam, ridge), rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_lle_is_mwf_at_alpha_zero_and_each_node_by_itself(backend):
    field = Field(11, photos=2)
    lle = field.weigh(method="lle", alpha=7.0, tolerance=1e-9, backend=backend)
    mwf = field.weigh(method="mwf", alpha=0.0, tolerance=1e-9, backend=backend)

    np.testing.assert_array_equal(lle.weights, mwf.weights)
    np.testing.assert_array_equal(lle.objective, mwf.objective)
    node = 4
    alone = PatchGrid(3, 3, 3, 1)
    tables = compatibility(field.targets[:, node : node + 1], alone, backend=backend)
    one = weigh(field.gram[:, node : node + 1], tables, alone, method="lle", tolerance=1e-9, backend=backend)
    np.testing.assert_allclose(one.weights[:, 0], lle.weights[:, node], atol=1e-4)


def test_mean_and_top1():
    field = Field(12, photos=2, k=4)
    for backend in BACKENDS:
        mean, top1 = (field.weigh(method=method, backend=backend) for method in ("mean", "top1"))

        assert (mean.weights == np.float32(0.25)).all()
        assert (top1.weights == np.float32([1, 0, 0, 0])).all()
        assert (mean.sweeps == 0).all() and (top1.sweeps == 0).all()
        best = field.weigh(tolerance=1e-9, backend=backend).objective
        for found in (mean, top1):
            assert (found.objective - best <= found.kkt_residual).all()
            assert (best < found.objective).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_duplicated_candidates_change_nothing_but_who_shares(backend):
    """Every candidate twice: without ridge the field is singular, its optimum that of the field without twins."""
    field, twins = Field(13, k=3), Field(13, k=3)
    twins.sources, twins.targets = (np.repeat(part, 2, axis=2) for part in (field.sources, field.targets))
    ref, comp = (f.weigh(tolerance=1e-8, sweeps=50_000, ridge=0.0, backend=backend) for f in (field, twins))

    assert_on_simplex(comp.weights)
    assert comp.objective[0] == pytest.approx(ref.objective[0], rel=1e-6)
    np.testing.assert_allclose(comp.weights.reshape(1, -1, 3, 2).sum(axis=-1), ref.weights, atol=2e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_with_the_ridge_twins_share_alike(backend):
    field = Field(13, k=3)
    field.sources, field.targets = (np.repeat(part, 2, axis=2) for part in (field.sources, field.targets))
    first, second = np.moveaxis(field.weigh(backend=backend).weights.reshape(1, -1, 3, 2), -1, 0)

    # An exchange moves half of what they differ by; in float32 the ridge is a few roundings of these tables.
    apart = {"cpu": 5e-3, "reference": 2.02 * SETTINGS["tolerance"].default}[backend]
    np.testing.assert_allclose(first, second, atol=apart)


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_candidates_alike(backend):
    field = Field(14, k=4)
    field.sources[:], field.targets[:] = field.sources[:, :, :1], field.targets[:, :, :1]
    found = field.weigh(backend=backend)

    assert_on_simplex(found.weights)
    assert found.kkt_residual[0] <= 1e-5 * found.objective[0]
    assert found.sweeps[0] == 1  # equal weights are the optimum: a flat field ends at once


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_photo_that_the_bank_holds_costs_nothing(backend):
    """The first candidate is the query itself with its own sketch: the optimum is zero, and the solver must stop."""
    field = Field(15, PatchGrid(11, 11, 4, 2), k=5)
    sketch = np.random.default_rng(0).integers(0, 256, (11, 11), dtype=np.uint8)
    for node, (y, x) in enumerate(field.grid.anchors):
        field.sources[:, node, 0] = field._cut((y, x))
        field.targets[0, node, 0, 0] = sketch[y : y + 4, x : x + 4]
    found = field.weigh(backend=backend, tolerance=1e-7, sweeps=20_000, ridge=0.0)

    least = 1e-6 * np.einsum("bnkk->b", field.gram, dtype=float) / 5
    assert found.sweeps[0] < 20_000
    assert found.kkt_residual[0] <= 1e-5 * max(found.objective[0], least[0])
    assert found.objective[0] <= 2e-5 * least[0]
    assert found.weights[0, :, 0].min() > 0.99


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_costs_anything(backend):
    """All tables zero: any weights are optimal, none may be NaN."""
    grid = PatchGrid(5, 5, 3, 1)
    links = Compatibility(*np.zeros((3, 2, len(grid.edges), 3, 3), np.float32))
    gram = np.zeros((2, grid.nodes, 3, 3), np.float32)
    found = weigh(gram, links, grid, backend=backend)
    multi = weigh_multi(np.stack([gram, gram], axis=2), links, grid, backend=backend)

    for weights in (found.weights, multi.weights, multi.representation_weights):
        assert_on_simplex(weights)
    assert (found.sweeps == 1).all() and np.isfinite(multi.objective).all()
    np.testing.assert_allclose(found.objective, grid.nodes * RIDGE * grid.patch**2 / 3, rtol=1e-6)
    assert (weigh(gram, links, grid, ridge=0.0, backend=backend).objective == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("method", WEIGHINGS)
def test_one_candidate_takes_all(backend, method):
    field = Field(16, k=1)
    found = field.weigh(method=method, alpha=0.5, backend=backend)

    assert (found.weights == 1).all()
    assert found.kkt_residual[0] <= 1e-9 * found.objective[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_huge_alpha_leaves_a_valid_answer(backend):
    field = Field(17, k=4)
    found = field.weigh(alpha=1e12, sweeps=100, backend=backend)

    assert_on_simplex(found.weights)
    assert found.objective[0] <= field.weigh(method="mean", alpha=1e12, backend=backend).objective[0]
    assert found.objective[0] - found.kkt_residual[0] <= 1.0001 * field.solve(1e12)


def assert_same_bits(one, other, photos):
    """That ``one`` holds, bit for bit, those photos of ``other``, in every array."""
    for name in ("weights", "objective", "kkt_residual", "sweeps", "representation_weights"):
        if hasattr(one, name):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[photos], err_msg=name)


def of(links, photos):
    return Compatibility(*(np.ascontiguousarray(table[photos]) for table in links_of(links)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("method", WEIGHINGS)
def test_a_batch_is_its_photos(backend, method):
    batch = Field(18, photos=3, k=5)
    together = batch.weigh(method=method, backend=backend)
    for photo in ([0], [1], [2], [2, 0]):
        alone = weigh(batch.gram[photo], of(batch.links, photo), batch.grid, method=method, backend=backend)
        assert_same_bits(alone, together, photo)


@settings(max_examples=15, deadline=None)
@given(fields(), st.sampled_from([0.0, 0.5, 30.0]), st.permutations(range(4)))
def test_a_photo_is_the_same_in_any_batch_with_any_number_of_threads(field, alpha, order):
    """Beside photos that need very different numbers of sweeps: a flat one, and one that hardly likes itself."""
    photos = len(field.targets)
    slow = 1000.0 * np.ones_like(field.gram[:1]) + np.eye(field.gram.shape[-1], dtype=np.float32)
    grams = np.concatenate([field.grams, field.grams[:1] * 0, np.repeat(slow[:, :, None], field.grams.shape[2], 2)])
    rows = [*range(photos), 0, 0]
    links = of(field.links, rows)
    order = [photo for photo in order if photo < len(rows)]
    for backend in BACKENDS:
        found = weigh(grams.sum(axis=2), links, field.grid, alpha=alpha, backend=backend)
        multi = weigh_multi(grams, links, field.grid, alpha=alpha, rounds=4, backend=backend)
        for some in (order, order[:1], order[::-1]):
            part, between = np.ascontiguousarray(grams[some]), of(links, some)
            assert_same_bits(weigh(part.sum(axis=2), between, field.grid, alpha=alpha, backend=backend), found, some)
            again = weigh_multi(part, between, field.grid, alpha=alpha, rounds=4, backend=backend)
            assert_same_bits(again, multi, some)
            np.testing.assert_array_equal(again.history, multi.history[: len(again.history), some])
            rest = multi.history[len(again.history) :, some]
            assert (rest == again.history[-1]).all()  # a photo that has stopped stays as it is


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_nothing(threads):
    field = Field(19, PatchGrid(13, 13, 4, 2), photos=5, k=6, layers=2)
    whole, multi = field.weigh(backend="cpu"), weigh_multi(field.grams, field.links, field.grid, backend="cpu")
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        assert_same_bits(field.weigh(backend="cpu"), whole, slice(None))
        assert_same_bits(weigh_multi(field.grams, field.links, field.grid, backend="cpu"), multi, slice(None))
    finally:
        numba.set_num_threads(before)


def test_a_photo_alone_waits_for_no_other_thread(monkeypatch):
    """It is settled on the caller's thread, outside any parallel region, by what settles those of a batch."""
    from idekernels.backends.cpu import weighing

    field = Field(19, photos=2)
    whole = field.weigh(backend="cpu")
    monkeypatch.setattr(weighing, "_photos", None)
    alone = weigh(field.gram[:1], of(field.links, [0]), field.grid, backend="cpu")
    assert_same_bits(alone, whole, [0])
    with pytest.raises(TypeError):
        field.weigh(backend="cpu")


def test_the_start_is_left_as_it_is_and_no_sweeps_return_it():
    field = Field(19, photos=2, k=4)
    start = np.random.default_rng(0).dirichlet(np.ones(4), field.gram.shape[:2])
    for name in BACKENDS:
        kept = start.copy()
        for sweeps in (0, 3):
            found = backends.load(name).weigh(
                field.gram, links_of(field.links), field.grid, 0.5, 9.0, kept, 2.0**-12, sweeps
            )
            np.testing.assert_array_equal(kept, start)
            if sweeps == 0:
                np.testing.assert_array_equal(found[0].astype(np.float32), start.astype(np.float32))
                assert (found[3] == 0).all()
                np.testing.assert_allclose(found[1], field.objective(start, 0.5), rtol=1e-6)


def test_the_backends_settle_in_the_same_place():
    """float32 and float64 by the same rule: each within the tolerance's reach of the optimum."""
    for seed in range(4):
        field = Field(seed, PatchGrid(17, 15, 6, 3), photos=2, k=8)
        ours, truth = (field.weigh(backend=backend) for backend in BACKENDS)
        np.testing.assert_allclose(ours.objective, truth.objective, rtol=1e-6)
        np.testing.assert_allclose(ours.weights, truth.weights, atol=4e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_tolerance_is_doubled_until_the_sweeps_end(backend):
    """A black corner and a white one, nothing to see between them: weights diffuse, for hundreds of sweeps."""
    grid = PatchGrid(25, 25, 4, 2)
    targets = np.broadcast_to(np.array([0, 255], np.uint8)[:, None, None, None], (1, grid.nodes, 2, 1, 4, 4)).copy()
    gram = np.zeros((1, grid.nodes, 2, 2), np.float32)
    gram[0, 0, 1, 1] = gram[0, -1, 0, 0] = 1e7
    links = replace(compatibility(targets, grid), backend=None)
    found = weigh(gram, links, grid, ridge=0.0, tolerance=2.0**-16, backend=backend)

    assert 32 < found.sweeps[0] <= 32 + 2 * 16
    assert found.weights[0, 0, 0] > 0.99 and found.weights[0, -1, 1] > 0.99


def test_every_backend_goes_by_the_same_numbers():
    from idekernels.backends.cpu import weighing

    for name in ("PATIENCE", "PACE", "RELAX", "SHARE", "STEPS_A_LABEL"):
        assert float(getattr(weighing, name)) == np.float32(getattr(reference, name))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6))
def test_the_projection_onto_the_simplex_is_the_nearest_point(values):
    point = np.array(values)
    near = project_to_simplex(point)

    assert (near >= 0).all() and near.sum() == pytest.approx(1, abs=1e-6)
    # optimal if and only if no vertex lies further along the residual than the point itself
    assert (point - near).max() - (point - near) @ near <= 1e-6 * (1 + np.abs(point).max())


def multi_objective(field, found, alpha, lam, ridge=RIDGE):
    w, mu = found.weights.astype(float), found.representation_weights.astype(float)
    total = np.einsum("bnl,bni,bnlij,bnj->b", mu, w, field.grams.astype(float), w)  # the ridge comes below
    none = Field.__new__(Field)
    none.__dict__ = {**vars(field), "sources": field.sources * 0, "query": field.query * 0}
    return total + none.objective(w, alpha, ridge) + lam * (mu**2).sum(axis=(1, 2))


def lam_of(field, spread):
    """spread times the mean over nodes and representations of w^T G w at equal weights, photo by photo."""
    k = field.targets.shape[2]
    return spread * field.grams.astype(float).sum(axis=(3, 4)).mean(axis=(1, 2)) / k**2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("spread", [0.05, 1.0, 50.0])
def test_multi_is_its_formula_and_never_rises(backend, spread):
    field = Field(20, photos=2, k=4, layers=3)
    found = weigh_multi(field.grams, field.links, field.grid, alpha=0.7, spread=spread, tolerance=0.0, rounds=5,
                        sweeps=25, backend=backend)  # fmt: skip

    assert_on_simplex(found.weights)
    assert_on_simplex(found.representation_weights)
    assert 3 <= len(found.history) <= 6 and found.history.shape[1:] == (2,)
    assert (np.diff(found.history, axis=0) <= 1e-9 * found.history[0]).all()
    assert (found.history[-1] < found.history[0]).all()
    np.testing.assert_array_equal(found.history[-1], found.objective)
    direct = multi_objective(field, found, 0.7, lam_of(field, spread))
    np.testing.assert_allclose(found.objective, direct, rtol=1e-4)


@pytest.mark.parametrize(("backend", "rounding"), [("cpu", 1e-7), ("reference", 1e-9)])
def test_multi_starts_from_equal_weights_of_everything(backend, rounding):
    field = Field(21, k=4, layers=2)
    found = weigh_multi(field.grams, field.links, field.grid, alpha=0.7, spread=2.0, rounds=1, backend=backend)
    shape = (1, field.grid.nodes)
    equal = type(found)(np.full((*shape, 4), 0.25), np.full((*shape, 2), 0.5), *[np.zeros(1)] * 3)

    assert found.history[0] == pytest.approx(multi_objective(field, equal, 0.7, lam_of(field, 2.0)), rel=rounding)


def test_no_other_representation_weights_are_better():
    field = Field(22, k=4, layers=3)
    found = weigh_multi(field.grams, field.links, field.grid, tolerance=1e-7, rounds=200)
    lam, rng = lam_of(field, 1.0), np.random.default_rng(0)

    assert found.kkt_residual[0] < 1e-2 * found.objective[0]
    for _ in range(50):
        other = rng.dirichlet(np.ones(3), (1, field.grid.nodes))
        mixed = 0.9 * found.representation_weights + 0.1 * other
        tried = type(found)(found.weights, mixed, *[np.zeros(1)] * 3)
        assert multi_objective(field, tried, 0.5, lam)[0] >= found.objective[0] * (1 - 1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_representation_is_mwf(backend):
    field = Field(23, photos=2, k=4)
    multi = weigh_multi(field.grams, field.links, field.grid, tolerance=1e-6, sweeps=5000, backend=backend)
    mwf = field.weigh(tolerance=1e-7, sweeps=5000, backend=backend)

    assert (multi.representation_weights == 1).all()
    np.testing.assert_allclose(multi.objective - lam_of(field, 1.0) * field.grid.nodes, mwf.objective, rtol=1e-5)
    np.testing.assert_allclose(multi.weights, mwf.weights, atol=5e-3)


def test_a_misleading_representation_loses_weight():
    field = Field(24, PatchGrid(7, 7, 4, 2), k=4, layers=2)
    rng = np.random.default_rng(1)
    field.sources[:, :, :, 1] = rng.integers(0, 256, field.sources[:, :, :, 1].shape)
    mu = weigh_multi(field.grams, field.links, field.grid, spread=0.5).representation_weights

    assert (mu[..., 0] > mu[..., 1]).all()


GRID = PatchGrid(5, 5, 3, 1)
GRAM = np.ones((1, 4, 2, 2), np.float32)
LINKS = Compatibility(*np.ones((3, 1, 4, 2, 2), np.float32))


@pytest.mark.parametrize(
    ("gram", "links", "options", "kind", "says"),
    [
        (GRAM.astype(float), LINKS, {}, TypeError, "gram must be float32, not float64"),
        (GRAM[:, :3], LINKS, {}, ValueError, "gram must have the shape"),
        (GRAM[..., :1], LINKS, {}, ValueError, "gram must have the shape"),
        (GRAM[None], LINKS, {}, ValueError, "gram must have 4 dimensions"),
        (GRAM * np.float32("nan"), LINKS, {}, ValueError, "gram must be finite"),
        (GRAM, Compatibility(LINKS.own[:, :3], LINKS.other, LINKS.cross), {}, ValueError, "compatibility.own must be"),
        (GRAM, Compatibility(LINKS.own, LINKS.other.astype(float), LINKS.cross), {}, ValueError, "compatibility.other"),
        (GRAM, LINKS, {"alpha": -1.0}, ValueError, "alpha must be finite"),
        (GRAM, LINKS, {"alpha": float("inf")}, ValueError, "alpha must be finite"),
        (GRAM, LINKS, {"alpha": "1"}, TypeError, "alpha must be a number"),
        (GRAM, LINKS, {"tolerance": 2.0}, ValueError, "tolerance must be finite and in"),
        (GRAM, LINKS, {"sweeps": 0}, ValueError, "sweeps must be 1 or more"),
        (GRAM, LINKS, {"method": "best"}, ValueError, "method must be one of top1, mean, lle, mwf, not 'best'"),
    ],
)
def test_wrong_arguments_are_named(gram, links, options, kind, says):
    with pytest.raises(kind, match=says):
        weigh(gram, links, GRID, **options)


@pytest.mark.parametrize(
    ("grams", "options", "kind", "says"),
    [
        (GRAM, {}, ValueError, "grams must have 5 dimensions"),
        (GRAM[:, :3, None], {}, ValueError, "grams must have the shape"),
        (GRAM[:, :, None] * np.float32("inf"), {}, ValueError, "grams must be finite"),
        (GRAM[:, :, None], {"spread": 0.0}, ValueError, "spread must be"),
        (GRAM[:, :, None], {"rounds": 0}, ValueError, "rounds must be 1 or more"),
    ],
)
def test_wrong_arguments_of_multi_are_named(grams, options, kind, says):
    with pytest.raises(kind, match=says):
        weigh_multi(grams, LINKS, GRID, **options)


def test_tables_that_are_not_finite_are_refused():
    grid = PatchGrid(6, 9, 6, 3)
    gram = np.ones((1, 2, 1, 1), np.float32)
    whole, broken = np.ones((1, 1, 1, 1), np.float32), np.full((1, 1, 1, 1), np.nan, np.float32)

    with pytest.raises(ValueError, match="compatibility must be finite"):
        weigh(gram, Compatibility(whole, whole, broken), grid)
