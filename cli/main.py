"""The command ``idesketch``: the tree of commands, loaded when called, and the one place where errors end."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version
from typing import Any

import click

from .console import complain, note

_COMMANDS = {  # name -> module:attribute; a module is imported when its command is called
    "doctor": ".doctor:doctor",
    "demo": ".demo:demo",
    "data": ".data:data",
    "align": ".align:align",
    "bank": ".bank:bank",
    "coarse": ".coarse:coarse",
    "train": ".train:train_command",
    "enhance": ".enhance:enhance",
    "synth": ".synth:synth",
    "export": ".export:export",
    "evaluate": ".evaluate:evaluate_command",
    "recognise": ".recognise:recognise_command",
}


class LazyGroup(click.Group):
    """A click group whose commands are imported only when they are named or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of the work."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command called ``name``, or None."""
        if name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(module, __package__), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("idesketch"), prog_name="idesketch")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def idesketch(ctx: click.Context, debug: bool) -> None:
    """Face photos to pencil sketches, in two stages, from a bank of photo-sketch pairs."""
    ctx.obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a mistake (one line on stderr), 2 usage, 130 interrupted."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code; a mistake is one line on stderr unless ``--debug``."""
    debug = "--debug" in arguments[:1]
    try:
        result: Any = idesketch.main(arguments, prog_name="idesketch", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        note("Interrupted; what was finished is kept, and the same command goes on from there.")
        return 130
    except BrokenPipeError:
        return 1
    except (ValueError, TypeError, OSError, MemoryError) as error:
        if debug:
            raise
        complain(error)
        return 1
