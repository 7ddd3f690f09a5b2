"""Option types and option groups that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)

_UNITS = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


class Size(click.ParamType):
    """ROWSxCOLUMNS, as 250x200."""

    name = "ROWSxCOLUMNS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Text to (rows, columns)."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(value))
        if not found:
            self.fail(f"{value!r} is not ROWSxCOLUMNS, for example 250x200", param, ctx)
        return int(found[1]), int(found[2])


class Bytes(click.ParamType):
    """A number of bytes: 64MiB, 2GiB, or plain digits."""

    name = "BYTES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Text to bytes."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", str(value))
        if not found or found[2].upper() not in _UNITS:
            self.fail(f"{value!r} is not a size, for example 256MiB", param, ctx)
        return int(float(found[1]) * _UNITS[found[2].upper()])


class Plane(click.ParamType):
    """NAME or NAME=WEIGHT of a source plane, as dog=2."""

    name = "NAME[=WEIGHT]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Text to (name, weight)."""
        if isinstance(value, tuple):
            return value
        plane, _, weight = str(value).partition("=")
        if weight and not weight.isdigit():
            self.fail(f"{value!r}: the weight must be a positive integer, for example dog=2", param, ctx)
        return plane, int(weight or 1)


def kernel_options(command: Command) -> Command:
    """How stage 1 runs: the method and what changes it. Names are those of ``CoarseSettings``."""
    for option in reversed(
        [
            click.option("--method", default="mwf", show_default=True, help="mwf, lle, mean, top1, mrf or multi."),
            click.option("--k", default=10, show_default=True, help="Candidates a patch."),
            click.option("--alpha", default=0.5, show_default=True, help="Weight of the agreement of neighbours."),
            click.option("--patch", type=int, help="Patch side in pixels; the bank's own if not given."),
            click.option("--overlap", type=int, help="Pixels that neighbours share; the bank's own if not given."),
            click.option("--radius", type=int, help="Search radius in pixels; the bank's own if not given."),
            click.option("--blend", help="feather, average or cut; by default what suits the method."),
            click.option("--iterations", default=50, show_default=True, help="Of belief propagation (mrf)."),
        ]
    ):
        command = option(command)
    return command
