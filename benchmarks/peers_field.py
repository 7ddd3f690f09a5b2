"""Peers of ``propagate`` and ``weigh``: message passing and QP solvers on one photo's whole field of candidates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import idekernels as ide
from benchmarks.contest import Contest, Peer
from benchmarks.machine import installed
from benchmarks.stages import ALPHA, ITERATIONS, Field
from benchmarks.timing import Run


@dataclass(frozen=True)
class Labels:
    """Costs of one photo's labels: unary (N, K), pairwise (E, K, K), float32."""

    unary: NDArray[np.float32]
    pairwise: NDArray[np.float32]
    grid: ide.PatchGrid

    def energy(self, labels: NDArray[Any]) -> float:
        first, second = self.grid.edges.T
        own = self.unary[np.arange(len(labels)), labels].astype(np.float64)
        between = self.pairwise[np.arange(len(first)), labels[first], labels[second]].astype(np.float64)
        return float(own.sum() + between.sum())


@dataclass(frozen=True)
class Quadratic:
    """One photo's weight field: min x^T Q x, blocks of K on the simplex; Q (N K, N K) sparse, its mean diagonal 1."""

    matrix: Any
    scale: float
    nodes: int
    k: int

    def objective(self, x: NDArray[np.float64]) -> float:
        """At the feasible point next to x: no negative weights, sums of one."""
        weights = np.maximum(x.reshape(self.nodes, self.k), 0.0)
        inside = (weights / weights.sum(axis=1, keepdims=True)).ravel()
        return float(inside @ (self.matrix @ inside)) * self.scale


def contests(field: Field) -> Iterator[Contest]:
    """Belief propagation and the weight field of a workload's first photo."""
    grid, k = field.work.grid, field.work.k
    labels = Labels(field.unary[0], field.pairwise[0], grid)
    size = f"{grid.shape[0]} x {grid.shape[1]} nodes, K {k}"
    lowest = Contest(
        f"propagate, {ITERATIONS} iterations, {size}",
        labels,
        lambda: float(field.propagate().energy[0]),
        FLOODING,
        lambda ours, theirs: (theirs - ours) / ours,
        "relative energy",
        1e-6,
    )
    yield lowest
    title = f"{lowest.title}, labels of the last iteration"
    yield replace(lowest, title=title, peers=LAST_ONLY, expected=lambda: _energies(labels)[-1])
    yield Contest(
        f"weigh mwf, {size}",
        quadratic(field),
        lambda: float(field.weigh().objective[0]),
        SOLVERS,
        lambda ours, theirs: (theirs - ours) / ours,
        "relative objective",
        1e-4,
    )


def quadratic(field: Field) -> Quadratic:
    """The field's matrix: A_i = G_i + alpha * sum of S on the diagonal, -alpha * C_ij where nodes i and j meet."""
    from scipy import sparse

    grid, (nodes, k) = field.work.grid, field.gram.shape[1:3]
    own, other, cross = (table[0].astype(np.float64) for table in _tables(field))
    first, second = grid.edges.T
    blocks = field.gram[0].astype(np.float64)
    np.add.at(blocks, first, ALPHA * own)
    np.add.at(blocks, second, ALPHA * other)
    rows = np.concatenate([np.arange(nodes), first, second])
    columns = np.concatenate([np.arange(nodes), second, first])
    values = np.concatenate([blocks, -ALPHA * cross, -ALPHA * cross.swapaxes(1, 2)])
    inner = np.arange(k)
    row = np.broadcast_to(rows[:, None, None] * k + inner[:, None], values.shape)
    column = np.broadcast_to(columns[:, None, None] * k + inner, values.shape)
    scale = float(np.trace(blocks, axis1=1, axis2=2).sum() / (nodes * k))
    entries = (values.ravel() / scale, (row.ravel(), column.ravel()))
    return Quadratic(sparse.csc_matrix(entries, shape=(nodes * k, nodes * k)), scale, nodes, k)


def _tables(field: Field) -> tuple[Any, Any, Any]:
    return field.tables.own, field.tables.other, field.tables.cross


def _energies(work: Labels) -> list[float]:
    """Of the labels after every iteration; the same schedule, all messages of an iteration at once in NumPy."""
    first, second = work.grid.edges.T
    messages = np.zeros((2, len(first), work.unary.shape[1]), np.float32)  # to the second node, to the first
    beliefs = work.unary
    energies = [work.energy(beliefs.argmin(axis=1))]
    for _ in range(ITERATIONS):
        onward = ((beliefs[first] - messages[1])[:, :, None] + work.pairwise).min(axis=1)
        backward = ((beliefs[second] - messages[0])[:, None, :] + work.pairwise).min(axis=2)
        messages = np.stack([onward, backward])
        messages -= messages.min(axis=2, keepdims=True)
        beliefs = work.unary.copy()
        np.add.at(beliefs, second, messages[0])
        np.add.at(beliefs, first, messages[1])
        energies.append(work.energy(beliefs.argmin(axis=1)))
    return energies


def _numpy_flooding(work: Labels) -> Run:
    return lambda: min(_energies(work))


def _pgmax(work: Labels) -> Run:
    """PGMax wants log potentials, costs turned round, here scaled exactly to about one; it gives the last labels."""
    if installed("jaxlib").startswith("0.4."):  # its new runtime for the CPU makes PGMax 25 times slower
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_thunk_runtime=false")
    import jax
    from pgmax import fgraph, fgroup, infer, vgroup

    nodes, k = work.unary.shape
    scale = np.float32(2.0 ** np.rint(np.log2(work.unary.mean())))
    variables = vgroup.NDVarArray(num_states=k, shape=(nodes,))
    graph = fgraph.FactorGraph(variable_groups=variables)
    pairs = [[variables[int(i)], variables[int(j)]] for i, j in work.grid.edges]
    graph.add_factors(fgroup.PairwiseFactorGroup(pairs, -work.pairwise / scale))
    inference = infer.build_inferer(graph.bp_state, backend="bp")

    @jax.jit
    def beliefs(unary: Any) -> Any:
        start = inference.init(evidence_updates={variables: -unary / scale})
        return inference.get_beliefs(inference.run(start, num_iters=ITERATIONS, damping=0.0, temperature=0.0))

    def run() -> float:
        found = infer.decode_map_states(beliefs(work.unary))
        return work.energy(np.asarray(found[variables]))

    return run


def _clarabel(work: Quadratic) -> Run:
    import clarabel
    from scipy import sparse

    size = work.nodes * work.k
    ones = sparse.kron(sparse.identity(work.nodes), np.ones((1, work.k)))
    rows = sparse.csc_matrix(sparse.vstack([ones, -sparse.identity(size)]))
    bounds = np.concatenate([np.ones(work.nodes), np.zeros(size)])
    cones = [clarabel.ZeroConeT(work.nodes), clarabel.NonnegativeConeT(size)]
    upper = sparse.triu(2.0 * work.matrix, format="csc")
    settings = clarabel.DefaultSettings()
    settings.verbose = False

    def run() -> float:
        solver = clarabel.DefaultSolver(upper, np.zeros(size), rows, bounds, cones, settings)
        return work.objective(np.array(solver.solve().x))

    return run


def _osqp(work: Quadratic) -> Run:
    import osqp
    from scipy import sparse

    size = work.nodes * work.k
    ones = sparse.kron(sparse.identity(work.nodes), np.ones((1, work.k)))
    rows = sparse.csc_matrix(sparse.vstack([ones, sparse.identity(size)]))
    low, high = np.concatenate([np.ones(work.nodes), np.zeros(size)]), np.ones(work.nodes + size)
    upper = sparse.triu(2.0 * work.matrix, format="csc")

    def run() -> float:
        solver = osqp.OSQP()
        options = {"eps_abs": 1e-5, "eps_rel": 1e-5, "max_iter": 100_000, "verbose": False}
        solver.setup(upper, np.zeros(size), rows, low, high, **options)
        return work.objective(solver.solve().x)

    return run


FLOODING = (Peer("NumPy, same flooding", "numpy", _numpy_flooding, "nothing", most=5),)
LAST_ONLY = (Peer("PGMax on JAX", "pgmax", _pgmax, "the factor graph, compilation", most=5),)
SOLVERS = (
    Peer("Clarabel", "clarabel", _clarabel, "the sparse matrices", most=3),
    Peer("OSQP at 1e-5", "osqp", _osqp, "the sparse matrices", most=1),
)
