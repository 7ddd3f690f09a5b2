"""The one template environment of every HTML page, and how a page gets to its file; knows no page's content."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import jinja2

from idekernels.files.atomic import replace_when_done


def render(template: str, **values: Any) -> str:
    """The HTML of a template of ``idemodel/evaluation/templates``, every value escaped.

    Raises
    ------
    jinja2.UndefinedError
        The template names a value that is not given.
    """
    return _environment().get_template(template).render(**values)


def write_page(path: str | os.PathLike[str], html: str) -> None:
    """Write a page (UTF-8; what UTF-8 cannot hold is escaped), whole or not at all.

    Raises
    ------
    OSError
        The folder of ``path`` is missing or read-only, or the disk is full.
    """
    with replace_when_done(path) as partial:
        partial.write_text(html, encoding="utf-8", errors="backslashreplace")


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("idemodel.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
