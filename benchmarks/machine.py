"""The machine as idekernels tells it, for the scripts here, and where a table goes in a page. Times nothing."""

from __future__ import annotations

import re
from pathlib import Path

from idekernels.machine import NOT_INSTALLED, describe, installed, one_line, processor

__all__ = ["NOT_INSTALLED", "describe", "installed", "one_line", "processor", "replace_section"]


def replace_section(page: Path, name: str, text: str) -> None:
    """Put ``text`` between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->`` of a page.

    Raises
    ------
    ValueError
        The page has no such section.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    whole = page.read_text(encoding="utf-8")
    changed, times = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", whole, flags=re.DOTALL)
    if times != 1:
        raise ValueError(f"{page} has {times} sections {begin} ... {end}, not one")
    page.write_text(changed, encoding="utf-8")
