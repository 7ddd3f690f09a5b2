"""``idesketch train``: pairs and a bank in, a generator out; stops cleanly, goes on with ``--resume``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import Progress, TaskID, TextColumn

from idekernels.errors import InputError

from .console import err, note, progress, say
from .options import PATH, Bytes, direction_check

if TYPE_CHECKING:
    from idemodel.training.recipe import Recipe
    from idemodel.training.run import Observer


@click.command("train")
@click.argument("pairs", type=PATH)
@click.argument("banks", metavar="BANK.h5...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--out", type=PATH, required=True, help="Run folder: checkpoints, log, samples, everything.")
@click.option("--recipe", help="drawn, compact, paper or FILE.toml; drawn if not given.")
@click.option("--steps", type=click.IntRange(1), help="Steps in all, instead of the recipe's.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Decides first weights and crops; 0 if not given.")
@click.option("--resume", is_flag=True, help="Go on with the run in that folder, its recipe and seed.")
@click.option("--vgg19", type=PATH, help="VGG19 weights in torchvision's names, for a perceptual loss (paper).")
@direction_check
@click.option("--device", default="auto", show_default=True, help="Of the networks: auto, cpu or cuda.")
@click.option("--backend", default="auto", show_default=True, help="Of the coarse sketches, see coarse.")
@click.option("--memory", type=Bytes(), help="Stream a bank that takes more than this (256MiB).")
def train_command(
    pairs: Path,
    banks: tuple[Path, ...],
    out: Path,
    recipe: str | None,
    steps: int | None,
    seed: int | None,
    resume: bool,
    vgg19: Path | None,
    direction: str | None,
    device: str,
    backend: str,
    memory: int | None,
) -> None:
    """Train a generator on a pairs folder and its bank.

    Makes the leave-one-out coarse sketches of the pairs itself. Ctrl-C saves and stops; --resume goes on as if
    nothing had happened. For several processes: torchrun --nproc-per-node=2 -m idecli train ...
    """
    with err.status("Loading"):
        from idemodel.generator.devices import torch_device
        from idemodel.training.loop import Stopped, train
        from idemodel.training.run import Execution, Run, TrainingData

    recipe_, seed_ = _chosen(out, recipe, seed, resume)
    if steps:
        try:
            recipe_ = replace(recipe_, steps=steps)
        except ValueError as error:
            raise InputError(f"--steps {steps}: {error}") from None
    with progress(TextColumn("{task.fields[losses]}")) as bar:
        execution = Execution(backend, memory, torch_device(device), seed_, resume)
        data = TrainingData(pairs, banks, direction, vgg19)
        try:
            done = train(Run(data, out, recipe_, execution, _observer(bar)))
        except Stopped as stopped:
            note(str(stopped))
            raise click.exceptions.Exit(130) from None
    say(f"{done.steps} steps done; last {done.last_file}")
    if done.best is not None:
        say(f"best at step {done.best_step}: mean of SSIM, FSIM and Scoot {done.best:.4f}; {done.best_file}")


def _chosen(out: Path, recipe: str | None, seed: int | None, resume: bool) -> tuple[Recipe, int]:
    """Recipe and seed: those given, those of the run that goes on, or drawn and 0."""
    from idemodel.training.recipe import RECIPES, read_recipe
    from idemodel.training.run_folder import RunFolder

    old, old_seed = RunFolder(out).recipe_and_seed() if resume else (RECIPES["drawn"], 0)
    chosen = old if recipe is None else RECIPES.get(recipe) or read_recipe(recipe)
    return chosen, old_seed if seed is None else seed


def _observer(bar: Progress) -> Observer:
    """Two bars, shown once there is something to show, and a line for every validation."""
    from idemodel.training.run import Observer

    tasks: dict[str, TaskID] = {}

    def task(name: str) -> TaskID:
        if name not in tasks:
            tasks[name] = bar.add_task(name, total=None, losses="")
        return tasks[name]

    def coarse(done: int, total: int) -> None:
        bar.update(task("Coarse sketches"), completed=done, total=total, visible=done < total)

    def stepped(step: int, total: int, losses: Mapping[str, float]) -> None:
        shown = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        bar.update(task("Training"), completed=step, total=total, losses=shown)

    def validated(step: int, scores: Mapping[str, float]) -> None:
        note(f"step {step}: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))

    return Observer(coarse, stepped, validated, note)
