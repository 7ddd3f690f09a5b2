"""An import told in lines: expected, found and skipped, by group, split and reason; formats only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from idemodel.datasets.listing import SPLITS, Pair
from idemodel.datasets.writing import Done

_SHOWN = 3  # names after a reason


def summary(done: Done) -> Iterator[str]:
    """Yield what happened: a line for the whole, a line a group, a line a reason, and where the splits come from."""
    listing = done.plan.listing
    expected = sum(map(sum, listing.expected.values())) if listing.expected else len(done.pairs)
    whole = [pair for pair in done.pairs if pair.photo and pair.sketch]
    yield (
        f"{expected} pairs expected, {len(whole)} found, {len(done.imported)} imported"
        f" ({done.there} of them there already), {len(done.pairs) - len(done.imported)} skipped"
    )
    for group, counts in listing.expected.items():
        yield f"  {group or 'all'}: {_counted(counts)} expected, {_split_counts(done.imported, group)} imported"
    yield from _reasons([(f"skipped, {pair.problem}", pair.name) for pair in done.pairs if pair.problem])
    yield from _reasons([(f"unused, {reason.partition(':')[0]}", name) for name, reason in listing.unused])
    loose = [pair for pair in done.imported if not pair.split]
    if len(loose) < len(done.imported):
        yield f"  split: {done.plan.split_from}"
    if loose:
        yield f"  no split known for {len(loose)} pairs: in photo/ and sketch/ themselves; --split FILE gives one"
    if len(done.sizes) > 1:
        yield f"  the pictures are of {len(done.sizes)} sizes; a bank needs one: align them by --eyes FILE.csv"


def _counted(counts: tuple[int, int]) -> str:
    return f"{counts[0]} train and {counts[1]} test"


def _split_counts(pairs: list[Pair], group: str) -> str:
    counts = Counter(pair.split for pair in pairs if group in ("", pair.group))
    parts = [f"{counts[split]} {split}" for split in SPLITS if counts[split]]
    parts += [f"{counts['']} without a split"] if counts[""] else []
    return " and ".join(parts) or "0"


def _reasons(told: list[tuple[str, str]]) -> Iterator[str]:
    for reason, count in Counter(reason for reason, _ in told).items():
        names = [name for given, name in told if given == reason]
        yield f"  {reason}: {count} ({', '.join(names[:_SHOWN])}{', ...' if count > _SHOWN else ''})"
