"""Alterations of a good file, drawn by Hypothesis, so that what fails is printed, shrunk and can be run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

Draw = Callable[..., object]

_HUGE = (0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**40, 2**62, 2**63, 2**64 - 1)


def altered(seeds: Sequence[bytes], foreign: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One to three alterations of one of the seeds; ``foreign`` are files of other formats."""

    @st.composite
    def strategy(draw: Draw) -> bytes:
        content = bytes(draw(st.sampled_from(list(seeds))))  # type: ignore[call-overload]
        for _ in range(draw(st.integers(1, 3))):  # type: ignore[call-overload]
            content = draw(st.sampled_from(_KINDS))(draw, content, foreign)  # type: ignore[operator]
        return content

    return strategy()


def _place(draw, content: bytes) -> int:
    """Where: as often in the head, which says what follows, as anywhere."""
    last = len(content)
    return draw(st.one_of(st.integers(0, min(last, 256)), st.integers(0, last)))


def _truncated(draw, content, foreign):
    return content[: _place(draw, content)]


def _flipped(draw, content, foreign):
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 8))):
        if changed:
            changed[min(_place(draw, content), len(changed) - 1)] ^= 1 << draw(st.integers(0, 7))
    return bytes(changed)


def _overwritten(draw, content, foreign):
    return _put(content, _place(draw, content), draw(st.binary(min_size=1, max_size=16)))


def _run(draw, content, foreign):
    """A run of zeros, or of ones."""
    start = _place(draw, content)
    length = draw(st.integers(1, 512))
    return content[:start] + draw(st.sampled_from((b"\0", b"\xff"))) * length + content[start + length :]


def _huge(draw, content, foreign):
    """A number that claims too much, of 1 to 8 bytes, either end first."""
    size = draw(st.sampled_from((1, 2, 4, 8)))
    value = draw(st.sampled_from([value for value in _HUGE if value < 256**size]))
    return _put(content, _place(draw, content), value.to_bytes(size, draw(st.sampled_from(("little", "big")))))


def _spliced(draw, content, foreign):
    """A piece of the file elsewhere, once more or for what stood there."""
    start, length, target = _place(draw, content), draw(st.integers(1, 256)), _place(draw, content)
    piece = content[start : start + length] * draw(st.sampled_from((1, 1, 50)))
    return content[:target] + piece + content[target + draw(st.sampled_from((0, len(piece)))) :]


def _cut(draw, content, foreign):
    start = _place(draw, content)
    return content[:start] + content[start + draw(st.integers(1, 256)) :]


def _swapped(draw, content, foreign):
    """The head of one format on the body of another."""
    other, head = draw(st.sampled_from(list(foreign))), draw(st.integers(0, 64))
    return draw(st.sampled_from((other, content[:head] + other[head:], other[:head] + content[head:])))


def _random(draw, content, foreign):
    return draw(st.binary(max_size=300))


def _put(content: bytes, place: int, piece: bytes) -> bytes:
    return content[:place] + piece + content[place + len(piece) :]


_KINDS = (_truncated, _flipped, _overwritten, _run, _huge, _spliced, _cut, _swapped, _random, _flipped, _huge)
