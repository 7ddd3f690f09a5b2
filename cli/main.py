"""The command ``idesketch``: the tree of commands, loaded when called, and the one place where errors end."""

from __future__ import annotations

import glob
import importlib
import os
import sys
from dataclasses import dataclass
from typing import Any

import click

from .console import complain, escape_what_cannot_be_encoded, note


@dataclass(frozen=True)
class Entry:
    """A command in the list of commands: where it is, as module:attribute, and its one-line help.

    The line stands here as well as in the command's own docstring, so that the list can be shown without importing any
    command; a test holds the two equal.
    """

    place: str
    help: str


COMMANDS = {  # in the order of the work
    "doctor": Entry(
        ".doctor:doctor", "Show versions, cores, backends and folders; for what is missing, why and what helps."
    ),
    "sketch": Entry(
        ".sketch:sketch",
        "Sketch photos of faces (files or folders) as they come from a camera; nothing else is needed.",
    ),
    "demo": Entry(
        ".demo:demo",
        "Draw phantom faces, build a bank of them, sketch others and a real photo, score and show them.",
    ),
    "data": Entry(".data:data", "Pairs folders: photo/NAME.png and sketch/NAME.png."),
    "align": Entry(
        ".align:align",
        "Align photos (files or folders): the eyes to row H/2 and columns 3/8 W and 5/8 W (125, 75, 125 at 250x200).",
    ),
    "bank": Entry(".bank:bank", "Patch banks: the photo-sketch pairs that a sketch is made from."),
    "coarse": Entry(
        ".coarse:coarse",
        "Make coarse sketches of photos (files or folders) from a bank, or from several banks as one.",
    ),
    "train": Entry(".train:train_command", "Train a generator on a pairs folder and its bank."),
    "enhance": Entry(".enhance:enhance", "Make fine sketches of coarse ones (files or folders) with a trained MODEL."),
    "synth": Entry(
        ".synth:synth",
        "Sketch photos (files or folders) the whole way, from a bank, or several as one, and a trained model.",
    ),
    "serve": Entry(
        ".serve:serve", "Serve a page on this machine, and an interface for programs: drop a photo, get a sketch."
    ),
    "export": Entry(".export:export", "Write a MODEL as ONNX: any batch, any size from 16x16 up."),
    "evaluate": Entry(".evaluate:evaluate_command", "Score synthesised images against the true ones."),
    "recognise": Entry(".recognise:recognise_command", "Recognise artists' sketches among synthesised ones."),
    "bench": Entry(".bench:bench", "Time whole coarse sketches on this machine; nothing but idesketch is needed."),
}


class LazyGroup(click.Group):
    """A click group whose commands are imported only when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command called ``name``, imported now, or None."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].place.partition(":")
        command: click.Command = getattr(importlib.import_module(module, __package__), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table; click's own would import every command for its line."""
        width = formatter.width - 6 - max(map(len, COMMANDS))
        rows = [
            (name, click.Command(name, help=entry.help).get_short_help_str(width)) for name, entry in COMMANDS.items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="idesketch", prog_name="idesketch")
@click.option("--debug", is_flag=True, help="Show the traceback of an error; may stand anywhere.")
def idesketch(debug: bool) -> None:
    """Face photos to pencil sketches, in two stages, from a bank of photo-sketch pairs."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a mistake (one line on stderr), 2 usage, 130 interrupted."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code; a mistake is one line on stderr unless ``--debug``, anywhere."""
    escape_what_cannot_be_encoded()
    arguments, debug = _without_debug(expanded(arguments) if os.name == "nt" else arguments)
    try:
        result: Any = idesketch.main(arguments, prog_name="idesketch", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:
        if isinstance(stop.__cause__, EOFError):  # click makes an interrupt of it; nobody is asked anything here
            if debug:
                raise stop.__cause__ from None
            complain(stop.__cause__)
            return 1
        note("Interrupted; what was finished is kept, and the same command goes on from there.")
        return 130
    except BrokenPipeError:
        return 1
    except (ValueError, TypeError, OSError, MemoryError) as error:
        if debug:
            raise
        complain(error)
        return 1


def expanded(arguments: list[str]) -> list[str]:
    """Arguments with ``*``, ``?`` or ``[...]`` as the files they stand for, which Windows leaves to every program.

    Options stay as they are, and what stands for no file, or is the name of one.
    """
    found: list[str] = []
    for argument in arguments:
        plain = argument.startswith("-") or not glob.has_magic(argument) or os.path.lexists(argument)
        found += [argument] if plain else sorted(glob.glob(argument)) or [argument]  # noqa: PTH207 - any absolute path
    return found


def _without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """The arguments without ``--debug``, wherever it stands before a ``--``, and whether it stood there."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != "--debug"]
    return options + arguments[end:], len(options) < end
