"""Option types and option groups that several commands share."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from idekernels.bank import DIRECTIONS

Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
DIRECTION = click.Choice(DIRECTIONS)

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


_KERNEL_OPTIONS: tuple[tuple[str, type, Any, str], ...] = (  # flag, type, default, help; names are CoarseSettings'
    ("--method", str, "mwf", "mwf, lle, mean, top1, mrf or multi."),
    ("--k", int, 10, "Candidates a patch."),
    ("--alpha", float, 0.5, "Weight of the agreement of neighbours."),
    ("--patch", int, None, "Patch side in pixels; the bank's own if not given."),
    ("--overlap", int, None, "Pixels that neighbours share; the bank's own if not given."),
    ("--radius", int, None, "Search radius in pixels; the bank's own if not given."),
    ("--blend", str, None, "feather, average or cut; by default what suits the method."),
    ("--iterations", int, 50, "Of belief propagation (mrf)."),
)


def direction_check(command: Command) -> Command:
    """Whether the bank is the one meant; the direction itself is the bank's."""
    text = "Refuse banks of the other direction; it is the bank that decides."
    return click.option("--direction", type=DIRECTION, help=text)(command)


def kernel_options(command: Command) -> Command:
    """How stage 1 runs: the method and what changes it."""
    for flag, kind, default, text in reversed(_KERNEL_OPTIONS):
        command = click.option(flag, type=kind, default=default, show_default=default is not None, help=text)(command)
    return command


def kernel_changes(command: Command) -> Command:
    """The same where a model's own settings are the default: what is not given is None."""
    for flag, kind, _, text in reversed(_KERNEL_OPTIONS):
        instead = f"{text.split(';')[0].rstrip('.')}, instead of the model's."
        command = click.option(flag, type=kind, help=instead)(command)
    return command


_ALIGN = click.option(
    "--align",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Align photos first; auto: those of another size, or whose eyes are not where an aligned photo's are.",
)
_PASTE_BACK = click.option("--paste-back", is_flag=True, help="Lay the sketch over its photo, in grey, of its size.")


def normalise_option(command: Command) -> Command:
    """Whether and how photos are normalised."""
    from idemodel.faces.normalise import METHODS  # not for the commands that know no photos

    return click.option(
        "--normalise",
        type=click.Choice(list(METHODS)),
        default="auto",
        show_default=True,
        help="Bring photos to the bank's light and background; auto only where they lie outside the bank's range.",
    )(command)


def leave_one_out_option(command: Command) -> Command:
    """Whether photos must not use the bank's pair of their name."""
    text = "Photos of the bank's own pairs: leave out the pair of that name."
    return click.option("--leave-one-out", is_flag=True, help=text)(command)


@dataclass(frozen=True)
class PhotoOptions:
    """How photos become the bank's: ``align`` before, and ``paste_back`` of the sketch after."""

    align: str = "auto"
    paste_back: bool = False


def photo_options(*, paste_back: bool = False) -> Callable[[Command], Command]:
    """--align, and --paste-back where a command can; the command gets them as one ``photo``."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def packed(*arguments: Any, align: str, paste_back: bool = False, **others: Any) -> Any:
            return command(*arguments, photo=PhotoOptions(align, paste_back), **others)

        options = [_ALIGN, *([_PASTE_BACK] if paste_back else [])]
        return cast(Command, functools.reduce(lambda made, option: option(made), options, packed))

    return decorate
