"""Vector primitives of matching in LLVM IR, which Numba does not make of loops: packed pixels, products and sums.

32 images lie side by side in the innermost axis of a block (:data:`LANES`). A *word* is 32 bits of one image: four
pixels where the processor multiplies bytes (``vpdpbusd``: AVX-512 VNNI, AVX-VNNI), else two (``vpmaddwd``, or whatever
LLVM makes of the plain products). The sums are exact modulo 2^32 either way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 32
LEVEL = 127  # the query's pixels are packed as LEVEL - pixel, which is a signed byte

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


@dataclass(frozen=True)
class _Target:
    """What the processor that Numba compiles for does in one instruction."""

    pixels: int  # in a word
    lanes: int  # words in a vector
    shifts: int  # that share a load of the query; as many as the registers hold
    multiply: str | None = None  # the intrinsic; None for plain products

    @property
    def parts(self) -> int:
        """Vectors for the 32 images."""
        return LANES // self.lanes

    @property
    def sums(self) -> ir.VectorType:
        return ir.VectorType(_I32, self.lanes)


_TARGETS = (  # the first whose features the processor has
    (("avx512f", "avx512bw", "avx512vnni"), _Target(4, 16, 8, "llvm.x86.avx512.vpdpbusd.512")),
    (("avx2", "avxvnni"), _Target(4, 8, 2, "llvm.x86.avx512.vpdpbusd.256")),
    (("avx512f", "avx512bw"), _Target(2, 16, 4, "llvm.x86.avx512.pmaddw.d.512")),
    (("avx2",), _Target(2, 8, 2, "llvm.x86.avx2.pmadd.wd")),
    ((), _Target(2, 8, 1)),
)


def _target(context: Any) -> _Target:
    """By the features that Numba compiles for: NUMBA_CPU_NAME and NUMBA_CPU_FEATURES may forbid what the host has."""
    features = set(context.codegen().magic_tuple()[2].split(","))
    return next(target for needed, target in _TARGETS if features.issuperset(f"+{name}" for name in needed))


@intrinsic
def pixels_per_word(typing_context):
    """How many pixels of an image a word holds, 4 or 2."""
    return types.intp(), lambda context, builder, signature, arguments: _I64(_target(context).pixels)


@intrinsic
def pack_pixels(typing_context, first, step, out):
    """Write 32 words, the n-th of the pixels at ``first + n``, ``first + step + n`` ..; lowest pixel first.

    first : intp, address of 32 uint8. step : intp, bytes to the next 32. out : intp, address of (32,) uint32, written.
    Two pixels a word are widened to 16 bits each. Nothing is checked.
    """
    return types.void(*[types.intp] * 3), _emit_pack_pixels


def _emit_pack_pixels(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
    first, step, out = arguments
    target, row = _target(context), ir.VectorType(_I8, LANES)
    pixels = []
    for number in range(target.pixels):
        place = builder.add(first, builder.mul(step, _I64(number)))
        pixels.append(builder.load(builder.inttoptr(place, row.as_pointer()), align=1))
    if target.pixels == 2:
        words = builder.zext(_interleaved(builder, *pixels), ir.VectorType(_I16, 2 * LANES))
    else:
        halves = [_interleaved(builder, *pixels[start : start + 2]) for start in (0, 2)]
        pairs = ir.VectorType(_I16, LANES)
        words = _interleaved(builder, *(builder.bitcast(half, pairs) for half in halves))
    builder.store(words, builder.inttoptr(out, words.type.as_pointer()), align=4)
    return context.get_dummy_value()


@intrinsic
def cell_products(typing_context, words, query, offsets, count, shifts, weight, out):
    """Write out[d, n] = sum over m < count, and over a word's pixels, of bank[m, d, n] * query[m], for d < shifts.

    words : intp, address from which the offsets count. query : intp, address of (count,) uint32, pixels packed as LEVEL
    - pixel. offsets : intp, address of (count,) int64, bytes from ``words`` to the bank's words bank[m, 0, 0], uint32,
    which go on [d, n] in steps of 128 and 4 bytes. count : intp, words of the query. shifts : intp. weight : intp;
    where it is not 0, weight times the sums are added to what stands at ``out``. out : intp, address of (shifts, 32)
    uint32, written. Nothing is checked.
    """
    return types.void(*[types.intp] * 7), _emit_cell_products


def _emit_cell_products(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
    *_, shifts, _, _ = arguments
    target, done = _target(context), cgutils.alloca_once_value(builder, _I64(0))
    width = target.shifts
    while width:
        condition, body, after = (builder.append_basic_block(f"{name}{width}") for name in ("more", "block", "less"))
        builder.branch(condition)
        builder.position_at_end(condition)
        start = builder.load(done)
        end = builder.add(start, _I64(width))
        builder.cbranch(builder.icmp_signed("<=", end, shifts), body, after)
        builder.position_at_end(body)
        _emit_shifts(context, builder, target, width, start, arguments)
        builder.store(end, done)
        builder.branch(condition)
        builder.position_at_end(after)
        width //= 2
    return context.get_dummy_value()


def _emit_shifts(
    context: Any, builder: ir.IRBuilder, target: _Target, width: int, start: ir.Value, arguments: Any
) -> None:
    """``width`` shifts at a time, their sums in registers."""
    words, query, offsets, count, _, weight, out = arguments
    nothing = ir.Constant(target.sums, [0] * target.lanes)
    slots = [cgutils.alloca_once_value(builder, nothing) for _ in range(width * target.parts)]
    for slot in slots:
        builder.store(nothing, slot)
    apart = builder.mul(start, _I64(LANES * 4))
    words, out = builder.add(words, apart), builder.add(out, apart)
    query, offsets = builder.inttoptr(query, _I32.as_pointer()), builder.inttoptr(offsets, _I64.as_pointer())
    with cgutils.for_range(builder, count) as loop:
        level = _splat(builder, builder.load(builder.gep(query, [loop.index])), target.lanes)
        bank = builder.add(words, builder.load(builder.gep(offsets, [loop.index])))
        bank = builder.inttoptr(bank, target.sums.as_pointer())
        for number, slot in enumerate(slots):
            pixels = builder.load(builder.gep(bank, [_I64(number)]), align=4)
            builder.store(_multiply_add(context, builder, target, builder.load(slot), pixels, level), slot)
    out = builder.inttoptr(out, target.sums.as_pointer())
    places = [builder.gep(out, [_I64(number)]) for number in range(len(slots))]
    with builder.if_else(builder.icmp_signed("==", weight, _I64(0))) as (alone, added):
        with alone:
            for slot, place in zip(slots, places, strict=True):
                builder.store(builder.load(slot), place, align=4)
        with added:
            factor = _splat(builder, builder.trunc(weight, _I32), target.lanes)
            for slot, place in zip(slots, places, strict=True):
                product = builder.mul(builder.load(slot), factor)
                builder.store(builder.add(builder.load(place, align=4), product), place, align=4)


def _multiply_add(
    context: Any, builder: ir.IRBuilder, target: _Target, sums: ir.Value, bank: ir.Value, query: ir.Value
) -> ir.Value:
    """Each lane's sum plus the products of its word's pixels."""
    if target.multiply and target.pixels == 4:
        signature = ir.FunctionType(target.sums, [target.sums] * 3)
        multiply = cgutils.get_or_insert_function(builder.module, signature, target.multiply)
        return builder.call(multiply, [sums, bank, query])
    pairs = ir.VectorType(_I16, 2 * target.lanes)
    bank, query = builder.bitcast(bank, pairs), builder.bitcast(query, pairs)
    if target.multiply:
        signature = ir.FunctionType(target.sums, [pairs] * 2)
        multiply = cgutils.get_or_insert_function(builder.module, signature, target.multiply)
        return builder.add(sums, builder.call(multiply, [bank, query]))
    for first in range(2):  # the pattern that LLVM knows as pmaddwd
        one, other = (
            builder.sext(
                builder.shuffle_vector(vector, vector, _mask(list(range(first, 2 * target.lanes, 2)))), target.sums
            )
            for vector in (bank, query)
        )
        sums = builder.add(sums, builder.mul(one, other))
    return sums


@intrinsic
def add_words(typing_context, one, other, out, shifts):
    """Write out[d, n] = one[d, n] + other[d, n] for d < shifts; ``out`` may be one of the others.

    one, other : intp, addresses of (shifts, 32) uint32. out : intp, address of as many, written. shifts : intp.
    """
    return types.void(*[types.intp] * 4), _emit_add_words


def _emit_add_words(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
    target = _target(context)
    one, other, out = (builder.inttoptr(each, target.sums.as_pointer()) for each in arguments[:3])
    with cgutils.for_range(builder, arguments[3]) as loop:
        start = builder.mul(loop.index, _I64(target.parts))
        for part in range(target.parts):
            place = builder.add(start, _I64(part))
            first, second = (builder.load(builder.gep(words, [place]), align=4) for words in (one, other))
            builder.store(builder.add(first, second), builder.gep(out, [place]), align=4)
    return context.get_dummy_value()


@intrinsic
def clear_words(typing_context, out, count):
    """Write zeros.

    out : intp, address of (count, 32) uint32, written. count : intp.
    """

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        target = _target(context)
        out = builder.inttoptr(arguments[0], target.sums.as_pointer())
        with cgutils.for_range(builder, builder.mul(arguments[1], _I64(target.parts))) as loop:
            nothing = ir.Constant(target.sums, [0] * target.lanes)
            builder.store(nothing, builder.gep(out, [loop.index]), align=4)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 2), emit


@intrinsic
def patch_distances(typing_context, left, right, above, norms, level, bound, shifts, strip, out, near):
    """Join cells, add them up to patches, and say which patches are near; returned is whether any is, bool.

    strip[d, n] = left[d, n] + right[d, n]; out[d, n] = norms[d, n] + level + 2 (above[d, n] + strip[d, n]), d < shifts,
    n < 32.

    left, right, above, norms : intp, addresses of (shifts, 32) uint32. level, bound : uint32. shifts : intp. strip, out
    : intp, addresses of (shifts, 32) uint32, written; ``strip`` may be ``above``. near : intp, address of (shifts,)
    uint32, written: bit n of near[d] is set where out[d, n] <= bound.
    """
    arguments = [types.intp] * 4 + [types.uint32] * 2 + [types.intp] * 4
    return types.boolean(*arguments), _emit_patch_distances


def _emit_patch_distances(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
    target = _target(context)
    left, right, above, norms, level, bound, shifts, strip, out, near = arguments
    inputs = [builder.inttoptr(each, target.sums.as_pointer()) for each in (left, right, above, norms)]
    strip, out = (builder.inttoptr(each, target.sums.as_pointer()) for each in (strip, out))
    near = builder.inttoptr(near, _I32.as_pointer())
    level, bound = (_splat(builder, each, target.lanes) for each in (level, bound))
    some = cgutils.alloca_once_value(builder, _I32(0))
    builder.store(_I32(0), some)
    with cgutils.for_range(builder, shifts) as loop:
        found = _I32(0)
        for part in range(target.parts):
            place = builder.add(builder.mul(loop.index, _I64(target.parts)), _I64(part))
            one, other, before, norm = (builder.load(builder.gep(sums, [place]), align=4) for sums in inputs)
            joined = builder.add(one, other)
            builder.store(joined, builder.gep(strip, [place]), align=4)
            products = builder.add(before, joined)
            total = builder.add(builder.add(norm, level), builder.add(products, products))
            builder.store(total, builder.gep(out, [place]), align=4)
            bits = builder.bitcast(builder.icmp_unsigned("<=", total, bound), ir.IntType(target.lanes))
            found = builder.or_(found, builder.shl(builder.zext(bits, _I32), _I32(part * target.lanes)))
        builder.store(found, builder.gep(near, [loop.index]))
        builder.store(builder.or_(builder.load(some), found), some)
    return builder.icmp_unsigned("!=", builder.load(some), _I32(0))


@intrinsic
def exchange_norms(typing_context, leaving, entering, weight, columns, count):
    """Add weight times (norm of entering - norm of leaving) to sums, the norm of p being p (p - 2 LEVEL).

    leaving, entering : intp, addresses of (count, 32) uint8. weight : uint32. columns : intp, address of (count, 32)
    uint32, read and written. count : intp.
    """
    arguments = [types.intp, types.intp, types.uint32, types.intp, types.intp]
    return types.void(*arguments), _emit_exchange_norms


def _emit_exchange_norms(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
    target = _target(context)
    leaving, entering, weight, columns, count = arguments
    row = ir.VectorType(_I8, target.lanes)
    leaving, entering = (builder.inttoptr(each, row.as_pointer()) for each in (leaving, entering))
    columns = builder.inttoptr(columns, target.sums.as_pointer())
    weight, middle = (_splat(builder, each, target.lanes) for each in (weight, _I32(2 * LEVEL)))
    with cgutils.for_range(builder, builder.mul(count, _I64(target.parts))) as loop:
        old, new = (
            builder.zext(builder.load(builder.gep(pixels, [loop.index]), align=1), target.sums)
            for pixels in (leaving, entering)
        )
        change = builder.mul(builder.sub(new, old), builder.sub(builder.add(new, old), middle))
        place = builder.gep(columns, [loop.index])
        builder.store(builder.add(builder.load(place, align=4), builder.mul(change, weight)), place, align=4)
    return context.get_dummy_value()


@intrinsic
def slide_norms(typing_context, columns, patch, count, norms):
    """Write norms[x, n] = columns[x, n] + .. + columns[x + patch - 1, n] for x < count.

    columns : intp, address of (count + patch - 1, 32) uint32. patch, count : intp. norms : intp, address of (count, 32)
    uint32, written.
    """
    return types.void(*[types.intp] * 4), _emit_slide_norms


def _emit_slide_norms(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
    target = _target(context)
    columns, patch, count, norms = arguments
    columns, norms = (builder.inttoptr(each, target.sums.as_pointer()) for each in (columns, norms))
    nothing = ir.Constant(target.sums, [0] * target.lanes)
    sums = [cgutils.alloca_once_value(builder, nothing) for _ in range(target.parts)]

    def change(column: ir.Value, operation: Any) -> None:
        for part, slot in enumerate(sums):
            place = builder.add(builder.mul(column, _I64(target.parts)), _I64(part))
            words = builder.load(builder.gep(columns, [place]), align=4)
            builder.store(operation(builder.load(slot), words), slot)

    for slot in sums:
        builder.store(nothing, slot)
    with cgutils.for_range(builder, builder.sub(patch, _I64(1))) as loop:
        change(loop.index, builder.add)
    with cgutils.for_range(builder, count) as loop:
        change(builder.add(loop.index, builder.sub(patch, _I64(1))), builder.add)
        for part, slot in enumerate(sums):
            place = builder.add(builder.mul(loop.index, _I64(target.parts)), _I64(part))
            builder.store(builder.load(slot), builder.gep(norms, [place]), align=4)
        change(loop.index, builder.sub)
    return context.get_dummy_value()


@intrinsic
def insert_key(typing_context, keys, key, vectors):
    """Insert a key into an ascending list, the last one of which falls out; no branch, so none is mispredicted.

    keys : intp, address of (8 + 8 vectors,) uint64, read and written: 8 zeros, then the list. key : uint64. vectors :
    intp.
    """
    return types.void(types.intp, types.uint64, types.intp), _emit_insert_key


def _emit_insert_key(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
    keys, key, vectors = arguments
    eight = ir.VectorType(_I64, 8)
    keys, key = builder.inttoptr(keys, eight.as_pointer()), _splat(builder, key, 8)
    with cgutils.for_range(builder, vectors) as loop:  # from the last to the first: an entry's neighbour is still old
        number = builder.sub(vectors, loop.index)
        old, front = (builder.load(builder.gep(keys, [builder.sub(number, _I64(back))]), align=8) for back in (0, 1))
        lower = builder.shuffle_vector(front, old, _mask(list(range(7, 15))))  # not loaded: stores are not yet through
        later = builder.select(builder.icmp_unsigned(">", lower, key), lower, key)
        place = builder.gep(keys, [number])
        builder.store(builder.select(builder.icmp_unsigned("<", old, later), old, later), place, align=8)
    return context.get_dummy_value()


@intrinsic
def lowest_bit(typing_context, bits):
    """Which bit of a number that is not 0 is the lowest set one, as intp.

    bits : uint32.
    """

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.zext(builder.cttz(arguments[0], ir.IntType(1)(1)), _I64)

    return types.intp(types.uint32), emit


@intrinsic
def take_ticket(typing_context, counter):
    """Add one to a counter, as no other thread can at the same time, and return what it was, as intp.

    counter : intp, address of (1,) int64, read and written.
    """

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], _I64.as_pointer())
        return builder.atomic_rmw("add", place, _I64(1), "monotonic")

    return types.intp(types.intp), emit


def _interleaved(builder: ir.IRBuilder, one: ir.Value, other: ir.Value) -> ir.Value:
    """one[0], other[0], one[1], other[1] .."""
    count = one.type.count
    order = [place for lane in range(count) for place in (lane, count + lane)]
    return builder.shuffle_vector(one, other, _mask(order))


def _splat(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    nothing = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(nothing, value, _I32(0)), nothing, _mask([0] * lanes))


def _mask(order: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(_I32, len(order)), order)
