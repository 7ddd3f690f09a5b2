"""``idesketch demo``: the main job from nothing, on drawn faces, with pictures at the end."""

from __future__ import annotations

from pathlib import Path

import click

from idekernels.errors import InputError

from .console import note, progress, say
from .kernels import loading_kernels
from .options import PATH


@click.command()
@click.option(
    "-o", "--out", type=PATH, default="idesketch-demo", show_default=True, help="Folder for everything it makes."
)
@click.option("--pairs", default=400, show_default=True, type=click.IntRange(1), help="Faces in the bank.")
@click.option("--faces", default=7, show_default=True, type=click.IntRange(1), help="Drawn faces to sketch.")
@click.option("--seed", default=11, show_default=True, type=click.IntRange(0), help="Same seed, same faces.")
@click.option("--backend", default="auto", show_default=True, help="auto, cuda, cpu or reference.")
@click.option("--overwrite", is_flag=True, help="Write over an earlier demo in that folder.")
def demo(out: Path, pairs: int, faces: int, seed: int, backend: str, overwrite: bool) -> None:
    """Draw phantom faces, build a bank of them, sketch others and a real photo, score and show them."""
    from idekernels.backends import resolve
    from idekernels.warm import warm_up

    if not overwrite and out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: is not empty; choose another folder with --out, or --overwrite")
    note(f"backend {resolve(backend)}")
    with loading_kernels():
        from idemodel.demo import SSIM_VARIANT, run_demo

        warm_up(backend=backend)
    with progress() as bar:
        task = bar.add_task("Demo", total=None)

        def advance(what: str, count: int, total: int) -> None:
            bar.update(task, description=what, completed=count, total=total)

        done = run_demo(out, pairs, faces, seed, backend, advance)
    say(f"{done.faces} faces sketched from {pairs} others; {SSIM_VARIANT}:")
    for method, score in done.ssim.items():
        say(f"  {method:5} {score:.4f}")
    say(f"pictures: {done.sheet}\n    page: {done.page}")
