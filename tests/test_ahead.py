"""Work ahead of its turn: the items' order, a bound on what waits, errors in their place, threads that end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idecli.ahead import ahead
from idemodel.files.images import write_image
from idemodel.phantom import phantom_pairs
from tests.commands import call


@settings(deadline=None)
@given(st.lists(st.integers(), max_size=20), st.integers(1, 4), st.integers(1, 8))
def test_results_come_in_the_order_of_the_items(items: list[int], workers: int, depth: int) -> None:
    with ahead(lambda item: item * 2, items, workers, depth) as coming:
        assert [(item, result.result()) for item, result in coming] == [(item, item * 2) for item in items]


@pytest.mark.parametrize("depth", [1, 3, 7])
def test_no_more_than_depth_items_are_begun_and_not_taken(depth: int) -> None:
    taken, begun = 0, 0

    def items() -> Iterator[int]:
        nonlocal begun
        for number in range(20):
            begun += 1
            assert begun - taken <= depth
            yield number

    with ahead(lambda item: item, items(), 2, depth) as coming:
        for _, result in coming:
            result.result()
            taken += 1
    assert taken == 20


def test_a_deeper_line_begins_more_at_once_and_a_shorter_one_none() -> None:
    begun = []

    def items() -> Iterator[int]:
        for number in range(20):
            begun.append(number)
            yield number

    with ahead(lambda item: item, items(), 2, 3) as coming:
        assert len(begun) == 3
        coming.deepen(8)
        assert len(begun) == 8
        coming.deepen(2)
        assert [next(coming)[0] for _ in range(6)] == list(range(6)) and len(begun) == 8
        assert [item for item, _ in coming] == list(range(6, 20))


def test_an_error_costs_its_item_alone() -> None:
    def halved(item: int) -> int:
        if item % 2:
            raise ValueError(item)
        return item // 2

    with ahead(halved, range(6), 3, 4) as coming:
        errors = [type(result.exception()) for _, result in coming]
    assert errors == [type(None), ValueError] * 3


def test_what_was_not_begun_stays_so_when_the_context_is_left() -> None:
    gate, done = threading.Event(), []

    def wait(item: int) -> None:
        gate.wait(10)
        done.append(item)

    with pytest.raises(KeyboardInterrupt), ahead(wait, range(9), 1, 5) as coming:
        next(coming)
        gate.set()
        raise KeyboardInterrupt
    assert len(done) < 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_what_is_said_of_photos_keeps_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = list(phantom_pairs(4, height=64, width=48, seed=2))
    for pair in pairs:
        for side in ("photo", "sketch"):
            (tmp_path / "pairs" / side).mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / "pairs" / side / f"{pair.name}.png", getattr(pair, side))
    for number in range(12):  # too dark for the bank, or no image at all
        file = tmp_path / "in" / f"{number:02d}.png"
        file.parent.mkdir(exist_ok=True)
        write_image(file, pairs[number % 4].photo // 3)
        if number % 5 == 4:
            file.write_bytes(b"\x89PNG\r\n\x1a\n no")
    assert call("bank", "build", tmp_path / "pairs", tmp_path / "bank.h5") == 0
    capsys.readouterr()
    assert call("coarse", tmp_path / "bank.h5", tmp_path / "in", "-o", tmp_path / "out", "--backend", "cpu") == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if ".png: " in line]
    assert [line.split(".png")[0][-2:] for line in lines] == [f"{number:02d}" for number in range(12)]
    assert len(list((tmp_path / "out").glob("*.png"))) == 10
