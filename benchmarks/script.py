"""What the scripts behind the tables of docs/ share: options, data, the place of a table; measures nothing.

A script's ``main`` makes its ``parser``, ends where ``has_pairs`` finds no data, and hands its tables to ``publish``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from benchmarks.machine import replace_section

DATA = Path("../shared/data/cuhk_student")


def parser(description: str | None, *, data: Path | None = None, out: str | None = None) -> argparse.ArgumentParser:
    """A parser with ``--write``, and with ``--data`` and ``--out`` where they have a default; scripts add their own."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data is not None:
        made.add_argument("--data", type=Path, default=data, help="folder with the pairs folders train and test")
    if out is not None:
        made.add_argument("--out", type=Path, default=Path(out), help="folder for everything that is made")
    made.add_argument("--write", type=Path, metavar="PAGE", help="page whose sections are replaced")
    return made


def has_pairs(data: Path, part: str) -> bool:
    """Whether a part of the data set is there; says so where it is not."""
    if (data / part).is_dir():
        return True
    print(f"{data}: not there, so no results; give the pairs with --data")
    return False


def publish(sections: Mapping[str, str], page: Path | None) -> None:
    """Print every section's text, and put it into the page where one is given."""
    for name, text in sections.items():
        print(text, end="\n\n")
        if page is not None:
            replace_section(page, name, text)
