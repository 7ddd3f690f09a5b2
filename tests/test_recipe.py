"""Recipes: the paper's figures, TOML there and back, and one line for everything that does not fit."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idekernels.errors import InputError
from idemodel.generator.checkpoint import read_header
from idemodel.generator.weights import PHANTOM
from idemodel.training.recipe import COMPACT, PAPER, RECIPES, Recipe, read_recipe


def test_paper_is_the_published_configuration() -> None:
    assert (PAPER.features, PAPER.modules, PAPER.channels, PAPER.inputs) == (64, 8, 3, "coarse")
    assert (PAPER.losses.pixel, PAPER.losses.perceptual, PAPER.losses.adversarial) == (0.01, 1.0, 0.005)
    assert (PAPER.losses.gradient, PAPER.losses.ssim, PAPER.losses.features) == (0.0, 0.0, 0.0)
    assert (PAPER.rate, PAPER.betas, PAPER.steps, PAPER.batch) == (1e-4, (0.9, 0.999), 300_000, 20)
    assert (PAPER.crop, PAPER.stride, PAPER.discriminator) == (128, 64, "vgg")
    assert (PAPER.flips, PAPER.transposes, PAPER.halvings) == (True, True, (50_000, 100_000, 200_000))
    assert [PAPER.rate_at(step) for step in (0, 49_999, 50_000, 100_000, 200_000, 299_999)] == pytest.approx(
        [1e-4, 1e-4, 5e-5, 2.5e-5, 1.25e-5, 1.25e-5]
    )


def test_compact_needs_no_gpu_and_no_weights() -> None:
    assert COMPACT.losses.perceptual == 0 and COMPACT.discriminator == "patch" and COMPACT.average > 0
    assert COMPACT.features < PAPER.features and COMPACT.modules < PAPER.modules


def test_the_shipped_weights_are_small_and_made_by_the_shipped_recipe() -> None:
    assert PHANTOM.stat().st_size < 2_000_000
    assert Recipe.from_dict(read_header(PHANTOM).recipe) == read_recipe(PHANTOM.with_suffix(".toml"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_plain_values(name: str) -> None:
    assert Recipe.from_dict(RECIPES[name].as_dict()) == RECIPES[name]


def test_toml_changes_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "compact"\nsteps = 7\nbetas = [0.1, 0.2]\n[losses]\nssim = 2\n[coarse]\nmethod = "lle"\n')
    expected = replace(
        COMPACT,
        name="mine",
        steps=7,
        betas=(0.1, 0.2),
        losses=replace(COMPACT.losses, ssim=2),
        coarse=replace(COMPACT.coarse, method="lle"),
    )
    assert read_recipe(file) == expected


def test_an_empty_file_is_the_paper(tmp_path: Path) -> None:
    (tmp_path / "plain.toml").write_text("")
    assert read_recipe(tmp_path / "plain.toml") == replace(PAPER, name="plain")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps = ", "is not TOML"),
        ("[" * 5000, "is not TOML"),
        ("stepz = 3", "unknown: stepz; known are average"),
        ("[losses]\nL1 = 3", "unknown: L1"),
        ("losses = 3", "losses must be a table"),
        ("betas = 3", "betas must be a list"),
        ("betas = [0.1]", "betas must be two numbers"),
        ("steps = 0", "steps must be 1 or more"),
        ("steps = 1.5", "steps must be an integer"),
        ("rate = nan", "rate must be finite"),
        ("rate = 'fast'", "rate must be a number"),
        ("crop = 33", "crop must be even"),
        ("crop = 64", "'vgg' takes crops of 128"),
        ("name = 3", "name must be text"),
        ("features = 6", "multiple of 4"),
        ("modules = 65", "modules must be 1 or more and at most 64"),
        ("channels = 2", "channels must be 0 (the bank's), 1 or 3"),
        ("rate = 0", "rate must be above 0"),
        ("halvings = [1.5]", "halvings must be an integer"),
        ("betas = ['a', 'b']", "must be a number"),
        ("flips = 1", "flips must be true or false"),
        ("inputs = 'photo'", "inputs must be one of coarse"),
        ("base = 'big'", "base must be one of paper, compact"),
        ("base = []", "base must be one of paper, compact"),
        ("[losses]\npixel = 0\nperceptual = 0\nadversarial = 0", "every weight is 0"),
        ("[coarse]\nmethod = 'best'", "method must be one of"),
        ("[coarse]\nk = 'ten'", "k must be an integer"),
        ("inputs = [1]", "inputs must be one of"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_recipe(file)
    assert said in str(caught.value) and str(file) in str(caught.value) and "\n" not in str(caught.value).strip()


def test_no_file_a_folder_and_too_much(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(InputError, match="wanted is a recipe"):
            read_recipe(path)
    (tmp_path / "large.toml").write_bytes(b"#" * (2**13 + 1))
    with pytest.raises(InputError, match="a few lines"):
        read_recipe(tmp_path / "large.toml")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_recipe_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("toml") / "any.toml"
    file.write_bytes(content)
    with contextlib.suppress(InputError):
        assert isinstance(read_recipe(file), Recipe)
