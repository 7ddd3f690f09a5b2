"""Vector primitives of belief propagation in LLVM IR, which Numba does not make of loops: messages of 16 edges.

LLVM's vectoriser meets loops of unknown length over rows that may overlap: it checks that in every call, and reads a
table twice. Written out as vectors (which LLVM splits where the processor's are shorter), a table is read once for both
messages of its edges, and what they are made of stays in the first-level cache. Costs of one label lie side by side,
edge by edge; ``stride`` floats on lie the next label's.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

EDGES = 16  # of a vector

_COSTS = ir.VectorType(ir.FloatType(), EDGES)
_FAR = ir.Constant(_COSTS, [float("inf")] * EDGES)


@intrinsic
def least_costs(typing_context, table, first, to_first, second, to_second, stride, labels, work):
    """Both messages of 16 edges before they are normalised: min_k [b_i(k) - m_ji(k) + pairwise(k, l)], and back.

    table : intp, address of the pairwise costs, (K, K, 16) float32. first, second : intp, addresses of the nodes'
    beliefs, K rows of 16 float32. to_first, to_second : intp, addresses of the edges' last messages, K rows of 16
    float32. stride : intp, float32 from a row to the next. labels : intp, K. work : intp, address of (4, K, 16)
    float32, written: the first nodes' beliefs without the edge, the second nodes', the costs for the second nodes,
    those for the first. Nothing is checked.
    """
    return types.void(*[types.intp] * 8), _emit_least_costs


def _emit_least_costs(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
    table, first, to_first, second, to_second, stride, labels, work = arguments
    table, work = (builder.inttoptr(address, _COSTS.as_pointer()) for address in (table, work))
    first, to_first, second, to_second = (
        builder.inttoptr(address, ir.FloatType().as_pointer()) for address in (first, to_first, second, to_second)
    )
    rest_first, rest_second, for_second, for_first = (
        builder.gep(work, [builder.mul(labels, labels.type(part))]) for part in range(4)
    )
    with cgutils.for_range(builder, labels) as loop:
        at = builder.mul(loop.index, stride)
        for beliefs, told, rest in ((first, to_first, rest_first), (second, to_second, rest_second)):
            _store(builder, builder.fsub(_strided(builder, beliefs, at), _strided(builder, told, at)), rest, loop.index)
        _store(builder, _FAR, for_second, loop.index)
    least = cgutils.alloca_once(builder, _COSTS)
    with cgutils.for_range(builder, labels) as mine:
        alone = _load(builder, rest_first, mine.index)
        row = builder.gep(table, [builder.mul(mine.index, labels)])
        builder.store(_FAR, least)
        with cgutils.for_range(builder, labels) as theirs:
            cost = _load(builder, row, theirs.index)
            onward = builder.fadd(alone, cost)
            _store(
                builder, _lesser(builder, onward, _load(builder, for_second, theirs.index)), for_second, theirs.index
            )
            back = builder.fadd(_load(builder, rest_second, theirs.index), cost)
            builder.store(_lesser(builder, back, builder.load(least)), least)
        _store(builder, builder.load(least), for_first, mine.index)
    return context.get_dummy_value()


@intrinsic
def mix_messages(typing_context, made, messages, stride, labels, keep, take):
    """Shift 16 edges' costs to a least of zero and mix them into their last messages, keep * old + take * made.

    made : intp, address of (K, 16) float32. messages : intp, address of K rows of 16 float32, read and written. stride
    : intp, float32 from a row to the next. labels : intp, K. keep, take : float32, shares. Nothing is checked.
    """
    return types.void(*[types.intp] * 4, types.float32, types.float32), _emit_mix_messages


def _emit_mix_messages(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
    made, messages, stride, labels, keep, take = arguments
    made = builder.inttoptr(made, _COSTS.as_pointer())
    messages = builder.inttoptr(messages, ir.FloatType().as_pointer())
    keep, take = (_splat(builder, share) for share in (keep, take))
    least = cgutils.alloca_once(builder, _COSTS)
    builder.store(_FAR, least)
    with cgutils.for_range(builder, labels) as loop:
        builder.store(_lesser(builder, _load(builder, made, loop.index), builder.load(least)), least)
    with cgutils.for_range(builder, labels) as loop:
        place = builder.bitcast(builder.gep(messages, [builder.mul(loop.index, stride)]), _COSTS.as_pointer())
        shifted = builder.fsub(_load(builder, made, loop.index), builder.load(least))
        old = builder.fmul(keep, builder.load(place, align=4))
        builder.store(builder.fadd(old, builder.fmul(take, shifted)), place, align=4)
    return context.get_dummy_value()


def _load(builder: ir.IRBuilder, rows: ir.Value, index: ir.Value) -> ir.Value:
    return builder.load(builder.gep(rows, [index]), align=4)


def _store(builder: ir.IRBuilder, value: ir.Value, rows: ir.Value, index: ir.Value) -> None:
    builder.store(value, builder.gep(rows, [index]), align=4)


def _strided(builder: ir.IRBuilder, rows: ir.Value, at: ir.Value) -> ir.Value:
    return builder.load(builder.bitcast(builder.gep(rows, [at]), _COSTS.as_pointer()), align=4)


def _lesser(builder: ir.IRBuilder, one: ir.Value, other: ir.Value) -> ir.Value:
    return builder.select(builder.fcmp_ordered("<", one, other), one, other)


def _splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    nothing = ir.Constant(_COSTS, ir.Undefined)
    lane = ir.IntType(32)
    mask = ir.Constant(ir.VectorType(lane, EDGES), [0] * EDGES)
    return builder.shuffle_vector(builder.insert_element(nothing, value, lane(0)), nothing, mask)
