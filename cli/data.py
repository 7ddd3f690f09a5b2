"""``idesketch data``: pairs folders made or brought into shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from idekernels.errors import InputError

from .console import complain, progress, say
from .options import PATH, Size


@click.group()
def data() -> None:
    """Pairs folders: photo/NAME.png and sketch/NAME.png."""


@data.command()
@click.argument("out", type=PATH)
@click.option("--pairs", default=60, show_default=True, type=click.IntRange(1), help="How many.")
@click.option("--size", type=Size(), default="250x200", show_default=True, help="Rows x columns.")
@click.option("--seed", default=7, show_default=True, type=click.IntRange(0), help="Same seed, same pixels.")
@click.option("--start", default=0, show_default=True, type=click.IntRange(0), help="Number of the first face.")
@click.option("--overwrite", is_flag=True, help="Write over pairs that are there already.")
def phantom(out: Path, pairs: int, size: tuple[int, int], seed: int, start: int, overwrite: bool) -> None:
    """Draw faces that never were, as photos and an artist's sketches, into the pairs folder OUT."""
    from idemodel.files.images import write_image
    from idemodel.phantom import phantom_pairs

    drawn = phantom_pairs(pairs, height=size[0], width=size[1], seed=seed, start=start)
    if not overwrite and any(next((out / side).glob("*"), None) for side in ("photo", "sketch")):
        raise InputError(f"{out}: holds pairs already; choose another folder, or --overwrite")
    for side in ("photo", "sketch"):
        (out / side).mkdir(parents=True, exist_ok=True)
    with progress() as bar:
        task = bar.add_task("Drawing faces", total=pairs)
        for pair in drawn:
            write_image(out / "photo" / f"{pair.name}.png", pair.photo)
            write_image(out / "sketch" / f"{pair.name}.png", pair.sketch)
            bar.advance(task)
    say(f"{out}: {pairs} pairs of {size[0]} x {size[1]} pixels, seed {seed}")


@data.command(name="import")
@click.argument("layout", type=click.Choice(["cufs", "cufsf", "fs2k", "pairs"]))
@click.argument("src", type=PATH)
@click.argument("out", type=PATH)
@click.option("--part", type=click.Choice(["cuhk", "ar", "xm2vts"]), help="Only this part (cufs).")
@click.option("--style", type=click.IntRange(1, 3), help="Only this style (fs2k).")
@click.option("--match", help="stem, a regular expression, or a CSV with photo,sketch[,name,split] (pairs). [stem]")
@click.option("--photos", metavar="DIR", help="Folder of the photos: within SRC, or a folder or archive elsewhere.")
@click.option("--sketches", metavar="DIR", help="The same for the sketches.")
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
    """Bring a data set, as its authors give it (a folder, .zip or .tar), into the pairs folder OUT.

    \b
    cufs   CUHK student, AR, XM2VTS: official archives or the aligned release
    cufsf  FERET photos and their sketches, with point files
    fs2k   three styles, JSON annotation
    pairs  two folders, matched by name, pattern or table

    Run again, it goes on where it stopped. OUT/import.csv says what became of every file.
    """
    from idemodel.datasets import LAYOUTS, Options, Settings
    from idemodel.datasets.planning import plan_import
    from idemodel.datasets.summary import summary
    from idemodel.datasets.writing import TABLE, write_pairs

    given = {name: value for name, value in options.items() if value is not None}
    foreign = sorted(set(given) - set(LAYOUTS[layout].takes))
    if foreign:
        raise click.UsageError(f"--{foreign[0]} has no meaning for the layout {layout}")
    if out.resolve().is_relative_to(src.resolve()):
        raise InputError(f"{out}: lies within {src}; choose a folder outside of what is read")
    with plan_import(LAYOUTS[layout], src, Options(**given), Settings(size, split, eyes)) as plan, progress() as bar:
        task = bar.add_task("Importing pairs", total=len(plan.todo))
        done = write_pairs(plan, out, lambda: bar.advance(task))
    for pair in done.broken:
        complain(InputError(f"{pair.name}: {pair.detail}"))
    for line in summary(done):
        say(line)
    say(f"{out / TABLE}: a line for every pair and every file not used")
    return 1 if done.broken else 0
