"""The benchmark from disk to disk: what its table makes of what was measured."""

from __future__ import annotations

from benchmarks.disk import SETTINGS, Spent, tables


def test_a_photo_more_is_what_many_take_over_one_without_the_start() -> None:
    whole = {(name, True): Spent(12.0, 20.0) for name in SETTINGS}
    whole |= {(name, False): Spent(2.0, 3.0) for name in SETTINGS}
    text = tables(whole, Spent(8.08, 16.16), {"reading": 1.234}, 101)
    rows = [line for line in text.splitlines() if line.startswith("| the defaults")]
    assert rows == ["| the defaults | 12.0 | 2.0 | 100.0 | 1.25 | 10 | 170.0 |"]
    assert "| the kernels alone, no file | 8.1 | | 80.0 | 1 | 12 | 160.0 |" in text and "| reading | 1.23 |" in text
