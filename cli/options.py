"""Option types and option groups that several commands share."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.core import ParameterSource

from idekernels.bank import DIRECTIONS
from idekernels.coarse import CoarseSettings
from idekernels.methods import METHODS, SETTINGS, users_of
from idemodel.generator.config import PRECISIONS

Command = TypeVar("Command", bound=Callable[..., Any])


_UNITS = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


class _Path(click.Path):
    """A path; a leading ~ is the home folder, also where the shell leaves it to us, as in --out=~/sketches."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Text to a path."""
        return super().convert(at_home(str(value)), param, ctx)


def at_home(path: str) -> Path:
    """The path, with the home folder for a leading ~ where there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # nobody of that name, or no home
        return Path(path)


PATH = _Path(path_type=Path, readable=False)  # one that cannot be read costs itself, not the command


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


class Names(click.Choice):
    """Some names, in capitals or not: tables print MWF and SSIM."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(tuple(names), case_sensitive=False)


class Listed(Names):
    """Names that the help lists; a wrong one is refused where the settings are made, as every other bad value is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name as it is listed; the text as it is where it is none of them."""
        return next((name for name in self.choices if name.casefold() == str(value).casefold()), value)


DIRECTION = Names(DIRECTIONS)


@dataclass(frozen=True)
class _KernelOption:
    """An option of stage 1: a flat name of CoarseSettings, its type and default, and what is said of it."""

    name: str
    kind: Any
    default: Any
    text: str
    more: str | None = None  # said only where the default is this one, not a model's

    def added(self, command: Any) -> Any:
        """With the default of CoarseSettings."""
        text = f"{self.text}; {self.more}." if self.more else f"{self.text}."
        shown = self.default is not None
        return click.option(f"--{self.name}", type=self.kind, default=self.default, show_default=shown, help=text)(
            command
        )

    def added_as_change(self, command: Any) -> Any:
        """Without a default."""
        return click.option(f"--{self.name}", type=self.kind, help=f"{self.text}, instead of the model's.")(command)


def _kernel_options() -> Iterator[_KernelOption]:
    """Every setting of stage 1, from the fields of CoarseSettings and the table of methods."""
    usual = CoarseSettings()
    methods = ", ".join(f"{name}: {kind.help}" for name, kind in METHODS.items())
    yield _KernelOption("method", Listed(list(METHODS)), usual.method.name, "How candidates are weighed", methods)
    for each in fields(CoarseSettings):
        if each.metadata:
            told = each.metadata
            kind = Listed(told["among"]) if told["among"] else told["type"]
            yield _KernelOption(each.name, kind, getattr(usual, each.name), told["help"], told["unsaid"])
    for name, setting in SETTINGS.items():
        users = ", ".join(users_of(name, shown=True))
        yield _KernelOption(name, type(setting.default), setting.default, f"{setting.help} ({users})")


def direction_check(command: Command) -> Command:
    """Whether the bank is the one meant; the direction itself is the bank's."""
    text = "Refuse banks of the other direction; it is the bank that decides."
    return click.option("--direction", type=DIRECTION, help=text)(command)


def kernel_options(command: Command) -> Command:
    """How stage 1 runs: the method and what changes it. The command gets those that are given."""
    options = list(_kernel_options())

    @functools.wraps(command)
    def given(*arguments: Any, **values: Any) -> Any:
        source = click.get_current_context().get_parameter_source
        for option in options:
            if source(option.name) is ParameterSource.DEFAULT:
                del values[option.name]
        return command(*arguments, **values)

    return cast(Command, functools.reduce(lambda made, option: option.added(made), reversed(options), given))


def kernel_changes(command: Command) -> Command:
    """The same where a model's own settings are the default: what is not given is None."""
    options = reversed(list(_kernel_options()))
    return functools.reduce(lambda made, option: option.added_as_change(made), options, command)


_ALIGN = click.option(
    "--align",
    type=Names(["auto", "always", "never"]),
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
        type=Names(METHODS),
        default="auto",
        show_default=True,
        help="Bring photos to the bank's light and background; auto only where they lie outside the bank's range.",
    )(command)


def precision_option(command: Command) -> Command:
    """How exactly the generator computes."""
    text = "Of stage 2; float16 is faster on a CUDA device, sketches differ by at most one grey level."
    kinds = click.Choice(PRECISIONS)
    return click.option("--precision", type=kinds, default="float32", show_default=True, help=text)(command)


def precision_told(precision: str) -> dict[str, str]:
    """What the journal is told of it: nothing of float32, as ever, so that older results stay those of today."""
    return {} if precision == "float32" else {"precision": precision}


def shown_device(enhancer: Any) -> str:
    """What a line says of where stage 2 runs, and by which precision, where it is not float32."""
    precision = "" if enhancer.precision == "float32" else f" by {enhancer.precision}"
    return f"{enhancer.device}{precision}"


def leave_one_out_option(command: Command) -> Command:
    """Whether photos must not use the bank's pair of their name."""
    text = "Photos of the bank's own pairs: leave out the pair of that name."
    return click.option("--leave-one-out", is_flag=True, help=text)(command)


def preselect_option(command: Command) -> Command:
    """How many of the bank's faces are searched for a photo, the nearest ones; None for all."""
    text = "Search only the N bank faces nearest to a photo: faster with a bank of thousands.  [default: all, exact]"
    return click.option("--preselect", type=click.IntRange(1), metavar="N", help=text)(command)


def recursive_option(command: Command) -> Command:
    """Whether the folders in a folder are searched for images."""
    text = "Search folders in folders too; results keep them."
    return click.option("--recursive", is_flag=True, help=text)(command)


def hand_options(command: Command) -> Command:
    """--press and --paper; the command gets those that are given as one mapping ``hand``."""

    @functools.wraps(command)
    def packed(*arguments: Any, press: float | None, paper: float | None, **others: Any) -> Any:
        given = {name: value for name, value in (("press", press), ("paper", paper)) if value is not None}
        return command(*arguments, hand=given, **others)

    press = "How hard the pencil is pressed: grey levels, of 1, to this power, instead of the model's; 1 as learned."
    paper = "Grey level, of 1, from which on the paper stays blank, instead of the model's."
    with_paper = click.option("--paper", type=float, help=paper)(packed)
    return cast(Command, click.option("--press", type=float, help=press)(with_paper))


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
