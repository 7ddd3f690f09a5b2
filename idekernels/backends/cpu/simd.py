"""One vector primitive that Numba cannot be talked into: sums of squared byte differences, 32 images at a time.

LLVM vectorises the plain loop with a 32-bit multiply a pixel. Written out as vectors, two pixels share one 16-bit
multiply-add (``vpmaddwd`` where the processor has AVX2; elsewhere LLVM lowers the same vectors to what it has), which
is about twice as fast. The arithmetic is exact either way.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BOTH_WORDS = 0x00010001
LANES = 32  # images side by side in the innermost axis of a block; two 16-lane vectors

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_BYTES, _WORDS, _SUMS = ir.VectorType(_I8, 16), ir.VectorType(_I16, 16), ir.VectorType(_I32, 8)

# The in-lane interleave of two 16-word vectors (one instruction each), and its inverse on the two sums.
_INTERLEAVE_LOW = [0, 16, 1, 17, 2, 18, 3, 19, 8, 24, 9, 25, 10, 26, 11, 27]
_INTERLEAVE_HIGH = [4, 20, 5, 21, 6, 22, 7, 23, 12, 28, 13, 29, 14, 30, 15, 31]
_FIRST_EIGHT = [0, 1, 2, 3, 8, 9, 10, 11]
_LAST_EIGHT = [4, 5, 6, 7, 12, 13, 14, 15]


@intrinsic
def cell_squares(typing_context, block, row_stride, query, query_stride, height, width, out):
    """Write out[n] = sum over a (height, width) cell of (block[y, x, n] - query[y, x])^2, n in 0 .. 31.

    All arguments are intp. ``block`` addresses uint8 ``[y * row_stride + x * 32 + n]``; ``query`` addresses uint32
    ``[y * query_stride + x]``, each the pixel in both its words (:data:`BOTH_WORDS` times the pixel), so that one
    load fills a vector; ``out`` addresses 32 uint32. Sums are modulo 2^32. Nothing is checked.
    """
    return types.void(*[types.intp] * 7), _emit_cell_squares


def _emit_cell_squares(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
    block, row_stride, query, query_stride, height, width, out = arguments
    block = builder.inttoptr(block, _I8.as_pointer())
    query = builder.inttoptr(query, _I32.as_pointer())
    sums = _Sums(context, builder)

    def rows_at(y: ir.Value) -> tuple[ir.Value, ir.Value]:
        return builder.gep(block, [builder.mul(y, row_stride)]), builder.gep(query, [builder.mul(y, query_stride)])

    def differences(row: tuple[ir.Value, ir.Value], x: ir.Value) -> list[ir.Value]:
        return _differences(builder, builder.gep(row[0], [builder.mul(x, _I64(LANES))]), builder.gep(row[1], [x]))

    with cgutils.for_range(builder, builder.lshr(height, _I64(1))) as loop:  # two rows at a time
        upper = builder.mul(loop.index, _I64(2))
        rows = rows_at(upper), rows_at(builder.add(upper, _I64(1)))
        with cgutils.for_range(builder, width) as across:
            sums.add(differences(rows[0], across.index), differences(rows[1], across.index))
    with builder.if_then(_is_odd(builder, height)):  # the last row, two pixels at a time
        row = rows_at(builder.sub(height, _I64(1)))
        with cgutils.for_range(builder, builder.lshr(width, _I64(1))) as across:
            left = builder.mul(across.index, _I64(2))
            sums.add(differences(row, left), differences(row, builder.add(left, _I64(1))))
        with builder.if_then(_is_odd(builder, width)):
            sums.add(differences(row, builder.sub(width, _I64(1))), [ir.Constant(_WORDS, [0] * 16)] * 2)
    sums.store(builder.inttoptr(out, _SUMS.as_pointer()))
    return context.get_dummy_value()


class _Sums:
    """Thirty-two running sums, kept in four registers in the order that the interleaves leave them."""

    def __init__(self, context: Any, builder: ir.IRBuilder) -> None:
        self.context, self.builder = context, builder
        self.slots = [cgutils.alloca_once_value(builder, ir.Constant(_SUMS, [0] * 8)) for _ in range(4)]

    def add(self, one: list[ir.Value], other: list[ir.Value]) -> None:
        """Add the squares of two pixels' differences, each two vectors of 16 words."""
        interleaves = [(half, order) for half in range(2) for order in (_INTERLEAVE_LOW, _INTERLEAVE_HIGH)]
        for slot, (half, order) in zip(self.slots, interleaves, strict=True):
            both = self.builder.shuffle_vector(one[half], other[half], _mask(order))
            squares = _pair_squares(self.context, self.builder, both)
            self.builder.store(self.builder.add(self.builder.load(slot), squares), slot)

    def store(self, out: ir.Value) -> None:
        """Write the sums in the order of the images."""
        for half in range(2):
            low, high = (self.builder.load(self.slots[2 * half + part]) for part in range(2))
            for part, order in enumerate((_FIRST_EIGHT, _LAST_EIGHT)):
                place = self.builder.gep(out, [_I64(2 * half + part)])
                self.builder.store(self.builder.shuffle_vector(low, high, _mask(order)), place, align=4)


def _pair_squares(context: Any, builder: ir.IRBuilder, words: ir.Value) -> ir.Value:
    """The eight sums words[2 i]^2 + words[2 i + 1]^2."""
    if _has_avx2(context):
        signature = ir.FunctionType(_SUMS, [_WORDS, _WORDS])
        multiply_add = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx2.pmadd.wd")
        return builder.call(multiply_add, [words, words])
    return generic_pair_squares(builder, words)


def _has_avx2(context: Any) -> bool:
    """Whether Numba compiles for AVX2: the processor may have it, and NUMBA_CPU_NAME=generic or the like forbid it."""
    _, _, features = context.codegen().magic_tuple()
    return "+avx2" in features.split(",")


def generic_pair_squares(builder: ir.IRBuilder, words: ir.Value) -> ir.Value:
    """What :func:`_pair_squares` emits for a processor without AVX2."""
    nothing = ir.Constant(_WORDS, ir.Undefined)
    squares = []
    for first in range(2):
        words_of_one = builder.shuffle_vector(words, nothing, _mask(list(range(first, 16, 2))))
        wide = builder.sext(words_of_one, _SUMS)
        squares.append(builder.mul(wide, wide))
    return builder.add(*squares)


def _differences(builder: ir.IRBuilder, pixels: ir.Value, query: ir.Value) -> list[ir.Value]:
    """32 images' pixels minus the query's, as two vectors of 16 signed words."""
    level = builder.bitcast(_splat(builder, builder.load(query)), _WORDS)
    found = []
    for half in range(2):
        place = builder.bitcast(builder.gep(pixels, [_I64(16 * half)]), _BYTES.as_pointer())
        found.append(builder.sub(builder.zext(builder.load(place, align=1), _WORDS), level))
    return found


@intrinsic
def add_lanes(typing_context, out, one, other, bar):
    """Write out[n] = (one[n] + other[n]) | bar[n] for 32 uint32 lanes and return the least; addresses are intp."""
    return types.uint32(*[types.intp] * 4), _emit_add_lanes


def _emit_add_lanes(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
    out, one, other, bar = (builder.inttoptr(address, _SUMS.as_pointer()) for address in arguments)
    least = None
    for part in range(LANES // 8):
        first, second, barred = (builder.load(builder.gep(lanes, [_I64(part)]), align=4) for lanes in (one, other, bar))
        total = builder.or_(builder.add(first, second), barred)
        builder.store(total, builder.gep(out, [_I64(part)]), align=4)
        least = total if least is None else _lesser(builder, least, total)
    for distance in (4, 2, 1):
        order = [(lane + distance) % 8 for lane in range(8)]
        least = _lesser(builder, least, builder.shuffle_vector(least, least, _mask(order)))
    return builder.extract_element(least, _I32(0))


def _lesser(builder: ir.IRBuilder, one: ir.Value, other: ir.Value) -> ir.Value:
    return builder.select(builder.icmp_unsigned("<", one, other), one, other)


def _splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    nothing = ir.Constant(_SUMS, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(nothing, value, _I32(0)), nothing, _mask([0] * 8))


def _mask(order: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(_I32, len(order)), order)


def _is_odd(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return builder.icmp_unsigned("!=", builder.and_(value, _I64(1)), _I64(0))
