"""Copies of runs of a few bytes, which neither LLVM's vectors nor a call of memcpy suit; knows no patches."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
_SIZE = 8  # bytes of a word


@intrinsic
def copy_bytes(typing_context, target, source, count):
    """Copy bytes from one address to another, a word at a time; the runs must not overlap.

    target : intp, address of (count,) uint8, written. source : intp, address of (count,) uint8. count : intp. The last
    word ends with the run, so that it may repeat bytes of the one before; fewer bytes than a word are copied one by
    one. Nothing is checked.
    """
    return types.void(*[types.intp] * 3), _emit_copy_bytes


def _emit_copy_bytes(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
    target, source, count = arguments
    last = builder.sub(count, count.type(_SIZE))
    with builder.if_else(builder.icmp_signed(">=", last, last.type(0))) as (words, few):
        with words:
            with cgutils.for_range(builder, builder.lshr(last, last.type(3))) as loop:
                _copy_one(builder, _WORD, target, source, builder.shl(loop.index, last.type(3)))
            with builder.if_then(builder.icmp_signed(">", builder.and_(count, last.type(_SIZE - 1)), last.type(0))):
                whole = builder.and_(last, last.type(-_SIZE))
                _copy_one(builder, _WORD, target, source, whole)
            _copy_one(builder, _WORD, target, source, last)
        with few, cgutils.for_range(builder, count) as loop:
            _copy_one(builder, _BYTE, target, source, loop.index)
    return context.get_dummy_value()


def _copy_one(builder: ir.IRBuilder, kind: ir.Type, target: ir.Value, source: ir.Value, offset: ir.Value) -> None:
    read, write = (builder.inttoptr(builder.add(run, offset), kind.as_pointer()) for run in (source, target))
    builder.store(builder.load(read, align=1), write, align=1)
