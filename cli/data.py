"""``idesketch data``: pairs folders made or brought into shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from idekernels.errors import InputError
from idemodel.datasets import LAYOUTS, Layout, Setting, Settings
from idemodel.files.outputs import lies_within

from .console import complain, counted, say
from .options import PATH, Command, Size


@click.group()
def data() -> None:
    """Pairs folders: photo/NAME.png and sketch/NAME.png."""


@data.command()
@click.argument("out", type=PATH)
@click.option("--pairs", default=60, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--size", type=Size(), default="250x200", show_default=True, help="Rows x columns.")
@click.option("--seed", default=7, show_default=True, type=click.IntRange(0), help="Same seed, same pixels.")
@click.option("--start", default=0, show_default=True, type=click.IntRange(0), help="Number of the first face.")
@click.option("--varied", type=click.IntRange(0), metavar="SEED", help="Bend faces, vary lamp and camera, to train on.")
@click.option("--overwrite", is_flag=True, help="Write over pairs that are there already.")
def phantom(
    out: Path, pairs: int, size: tuple[int, int], seed: int, start: int, varied: int | None, overwrite: bool
) -> None:
    """Draw faces that never were, as photos and an artist's sketches, into the pairs folder OUT."""
    from idemodel.files.images import write_image
    from idemodel.phantom import camera, phantom_pairs

    drawn = phantom_pairs(pairs, height=size[0], width=size[1], seed=seed, start=start)
    if varied is not None:
        drawn = (camera.varied(pair, varied) for pair in drawn)
    if not overwrite and any(next((out / side).glob("*"), None) for side in ("photo", "sketch")):
        raise InputError(f"{out}: holds pairs already; choose another folder, or --overwrite")
    for side in ("photo", "sketch"):
        (out / side).mkdir(parents=True, exist_ok=True)
    with counted("Drawing faces", pairs) as told:
        for number, pair in enumerate(drawn, 1):
            write_image(out / "photo" / f"{pair.name}.png", pair.photo)
            write_image(out / "sketch" / f"{pair.name}.png", pair.sketch)
            told(number, pairs)
    say(f"{out}: {pairs} pairs of {size[0]} x {size[1]} pixels, seed {seed}")


def _layout_options(command: Command) -> Command:
    """An option for every setting of the layouts; those of a single layout come first and name it."""
    takers: dict[str, list[type[Layout]]] = {}
    for layout in LAYOUTS.values():
        for name in layout.settings():
            takers.setdefault(name, []).append(layout)
    shown = sorted(takers, key=lambda name: len(takers[name]) > 1)
    for name in reversed(shown):  # the decorator that is applied last is shown first
        command = _option(name, takers[name])(command)
    return command


def _option(name: str, takers: Sequence[type[Layout]]) -> Callable[[Command], Command]:
    setting = takers[0].settings()[name]
    text = setting.help + (f" ({takers[0].name})." if len(takers) == 1 else ".")
    text += f" [{setting.default}]" if setting.default is not None else ""
    return click.option(_flag(name), type=_type_of(setting), metavar=setting.metavar, help=text)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _type_of(setting: Setting) -> click.ParamType:
    if isinstance(setting.values, range):
        return click.IntRange(setting.values[0], setting.values[-1])
    return click.Choice(setting.values) if setting.values else click.STRING


_IMPORT_HELP = """Bring a data set, as its authors give it (a folder, .zip or .tar), into the pairs folder OUT.

\b
{layouts}

Run again, it goes on where it stopped. OUT/import.csv says what became of every file.
""".format(layouts="\n".join(f"{name:{max(map(len, LAYOUTS))}}  {each.about}" for name, each in LAYOUTS.items()))


@data.command(name="import", help=_IMPORT_HELP)
@click.argument("layout", type=click.Choice(tuple(LAYOUTS)))
@click.argument("src", type=PATH)
@click.argument("out", type=PATH)
@_layout_options
@click.option("--split", type=PATH, help="CSV with name,split (train or test), names as in import.csv.")
@click.option("--eyes", type=PATH, help="CSV with file,left_x,left_y,right_x,right_y, files named as in import.csv.")
@click.option("--size", type=Size(), help="Rows x columns; 250x200 where a layout has a size, else as they are.")
def import_command(
    layout: str,
    src: Path,
    out: Path,
    split: Path | None,
    eyes: Path | None,
    size: tuple[int, int] | None,
    **options: Any,
) -> int:
    """Bring a data set into the pairs folder OUT; ``options`` are the settings of the layouts, None if not given."""
    from idemodel.datasets.planning import plan_import
    from idemodel.datasets.summary import summary
    from idemodel.datasets.writing import TABLE, write_pairs

    given = {name: value for name, value in options.items() if value is not None}
    foreign = sorted(set(given) - set(LAYOUTS[layout].settings()))
    if foreign:
        raise click.UsageError(f"{_flag(foreign[0])} has no meaning for the layout {layout}")
    chosen = replace(LAYOUTS[layout](), **given)
    named = [Path(folder) for _, folder in chosen.folders if Path(folder).exists()]
    for read in (src, *named):
        if lies_within(out, read):
            raise InputError(f"{out}: lies within {read}; choose a folder outside of what is read")
        if read.exists() and lies_within(read, out):
            raise InputError(f"{read}: lies within {out}; choose a folder apart from what is read")
    with (
        plan_import(chosen, src, Settings(size, split, eyes)) as plan,
        counted("Importing pairs", len(plan.todo)) as told,
    ):
        done = write_pairs(plan, out, told)
    for pair in done.broken:
        complain(InputError(f"{pair.name}: {pair.detail}"))
    for line in summary(done):
        say(line)
    say(f"{out / TABLE}: a line for every pair and every file not used")
    return 1 if done.broken else 0
