"""The table of methods: settings with one default each, flat settings as files have them, options made of the table."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import click
import numpy as np
import pytest
from click.testing import CliRunner

from idecli.options import kernel_changes, kernel_options
from idekernels import (
    CoarseSettings,
    PatchBank,
    coarse,
    coarse_sketch,
    compatibility,
    evidence,
    gather,
    match,
    methods,
    operations,
    prepare,
    weigh,
)
from idekernels.bank import BankSettings
from idekernels.methods import METHODS, SETTINGS, WEIGHINGS, Lle, Mean, Method, Mrf, Multi, Mwf, users_of
from idemodel.training.coarse_cache import coarse_cache_key
from idemodel.training.data import Faces
from idemodel.training.recipe import COMPACT, Recipe

FLAT = {"method": "mwf", "k": 10, "alpha": 0.5, "patch": None, "overlap": None, "radius": None, "blend": None,
        "iterations": 50}  # fmt: skip


@pytest.fixture(scope="module")
def bank():
    images = np.random.default_rng(0).integers(0, 256, (6, 30, 26), dtype=np.uint8)
    return PatchBank.from_images(images, 255 - images, settings=BankSettings(8, 4, 2, ("intensity", "dog"), (1, 1)))


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(1).integers(0, 256, (30, 26), dtype=np.uint8)


@pytest.mark.parametrize("kind", METHODS.values(), ids=METHODS)
def test_every_method_is_a_frozen_table_row(kind):
    made = kind()
    assert METHODS[kind.name] is kind and kind.help and kind.blend in operations.BLENDINGS
    assert hash(made) == hash(kind()) and made == kind() and pickle.loads(pickle.dumps(made)) == made
    for field in fields(kind):
        assert getattr(made, field.name) == SETTINGS[field.name].default
        wrong = SETTINGS[field.name].least - 1
        with pytest.raises(ValueError, match=f"{field.name} must be"):
            kind(**{field.name: wrong})
        with pytest.raises(TypeError, match=f"{field.name} must be"):
            kind(**{field.name: "1"})


def test_every_setting_has_a_user_and_the_kernels_have_the_tables_defaults():
    assert all(users_of(name) for name in SETTINGS)
    assert users_of("alpha") == ("mwf", "mean", "top1", "mrf", "multi")
    assert users_of("alpha", shown=True) == ("mwf", "mrf", "multi")
    assert users_of("ridge") == ("mwf", "lle", "mean", "top1", "multi")
    assert users_of("ridge", shown=True) == users_of("tolerance") == ("mwf", "lle", "multi")
    assert list(WEIGHINGS) == ["top1", "mean", "lle", "mwf"]
    for operation, kind in ((operations.weigh, Mwf), (operations.weigh_multi, Multi), (operations.propagate, Mrf)):
        for name in kind.settings():
            assert operation.__kwdefaults__[name] == SETTINGS[name].default


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_reaches_its_kernel_from_coarse_sketch(bank, photo, name, monkeypatch):
    """The backend is asked with the very number."""
    asked = []
    kernels = type(operations.backends.load("cpu"))
    for kernel in ("weigh", "propagate"):
        inner = getattr(kernels, kernel)
        monkeypatch.setattr(
            kernels,
            kernel,
            staticmethod(lambda *a, inner=inner: (asked.append(a), inner(*a))[1]),
        )
    value = {"alpha": 0.25, "iterations": 7, "damping": 0.125, "temperature": 60.0, "tolerance": 0.0625, "sweeps": 3,
             "spread": 0.3, "rounds": 2, "ridge": 4.0}[name]  # fmt: skip
    method = users_of(name)[-1] if name in ("spread", "rounds") else users_of(name, shown=True)[0]
    plain = [coarse_sketch(photo, bank, k=3, method=method, backend="cpu"), len(asked)]
    told = coarse_sketch(photo, bank, k=3, method=method, backend="cpu", **{name: value})
    numbers = [number for call in asked[plain[1] :] for number in call if isinstance(number, int | float)]
    if name == "rounds":
        assert len(asked) - plain[1] <= 3  # the start, and two rounds
    elif name == "spread":
        assert not np.array_equal(told.objective, plain[0].objective)
    else:
        assert (value * bank.settings.patch**2 if name == "ridge" else value) in numbers  # the ridge is of a patch
    object_told = coarse_sketch(photo, bank, CoarseSettings(METHODS[method](**{name: value}), k=3), backend="cpu")
    np.testing.assert_array_equal(told.pixels, object_told.pixels)


def test_flat_settings_of_today_make_the_method():
    assert CoarseSettings() == CoarseSettings("mwf") == CoarseSettings(Mwf()) == CoarseSettings(**FLAT)
    assert CoarseSettings(method="mwf", alpha=0.5, iterations=50).method == Mwf()
    assert CoarseSettings("mrf", iterations=20, alpha=0.3).method == Mrf(alpha=0.3, iterations=20)
    assert CoarseSettings(Mrf(iterations=20)) == CoarseSettings("mrf", iterations=20)
    assert CoarseSettings(Mrf(iterations=20), iterations=5).method.iterations == 5
    assert CoarseSettings("multi", spread=2, rounds=3, tolerance=1e-3, sweeps=9).method == Multi(0.5, 2, 3, 1e-3, 9)
    assert CoarseSettings("mrf").blending == "cut" and CoarseSettings("mrf", blend="average").blending == "average"
    assert CoarseSettings("mean").blending == "feather"


def test_changes_keep_what_was_told():
    settings = CoarseSettings("mwf", k=7, alpha=0.3, iterations=20)
    assert replace(settings, k=3) == CoarseSettings("mwf", k=3, alpha=0.3, iterations=20)
    assert settings.changed(alpha=0.5) == CoarseSettings("mwf", k=7, iterations=20)
    assert settings.changed(method="mrf").method == Mrf(alpha=0.3, iterations=20)  # as flat settings have always done
    assert settings.changed(method="lle").changed(method="mwf") == settings
    assert settings.changed(method=Mwf()).method == Mwf()
    precise = CoarseSettings("mwf", tolerance=1e-7)
    assert precise.changed(method="multi").method.tolerance == 1e-7
    assert precise.changed(method="mean") == CoarseSettings("mean")  # it has none
    assert hash(settings) == hash(replace(settings)) and pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    ("method", "flat", "kind", "says"),
    [
        (
            "mean",
            {"tolerance": 1e-3},
            ValueError,
            "the method 'mean' has no tolerance; that is a setting of mwf, lle, mul",
        ),
        ("mwf", {"damping": 0.1}, ValueError, "the method 'mwf' has no damping; that is a setting of mrf"),
        (Mean(), {"sweeps": 3}, ValueError, "the method 'mean' has no sweeps"),
        ("mrf", {"damping": 1.0}, ValueError, "damping must be finite and in"),
        ("multi", {"spread": 0}, ValueError, "spread must be"),
        ("multi", {"rounds": 0}, ValueError, "rounds must be 1 or more"),
        ("mwf", {"sweeps": 1.5}, TypeError, "sweeps must be an integer"),
        ("lle", {"alpha": -1}, ValueError, "alpha must be"),
        ("mwf", {"iterations": -1}, ValueError, "iterations must be 0 or more"),
        ("mwf", {"colour": 1}, TypeError, "no setting is called 'colour'; there are method, k, patch"),
        ("mwf", {"remembered": [("colour", 1)]}, TypeError, "no setting is called 'colour'"),
        ("mwf", {"remembered": [("iterations", "x")]}, TypeError, "iterations must be an integer"),
        (Mwf, {}, ValueError, "method must be one of mwf, lle, mean, top1, mrf, multi"),
        (["mwf"], {}, ValueError, "method must be one of"),
    ],
)
def test_what_does_not_fit_is_named(method, flat, kind, says):
    with pytest.raises(kind, match=says):
        CoarseSettings(method, **flat)


@pytest.mark.parametrize("method", METHODS)
def test_flat_files_of_any_method_load_and_are_written_again_as_they_were(method):
    """alpha and iterations stand in every file, also where the method has neither."""
    for changes in ({}, {"alpha": 0.3, "iterations": 20}, {"k": 3, "patch": 8, "radius": 2, "blend": "average"}):
        flat = {**FLAT, "method": method, **changes}
        settings = CoarseSettings(**json.loads(json.dumps(flat)))
        assert json.dumps(settings.as_dict()) == json.dumps(flat)
        assert CoarseSettings(**settings.as_dict()) == settings
        recipe = Recipe.from_dict({"coarse": flat})
        assert recipe.coarse == settings and recipe.as_dict()["coarse"] == flat


@pytest.mark.parametrize("method", METHODS)
def test_new_settings_are_written_where_they_are_not_the_default(method):
    usual = {name: SETTINGS[name].default for name in METHODS[method].settings()}
    assert CoarseSettings(method, **usual).as_dict() == {**FLAT, "method": method}
    others = {name: SETTINGS[name].default / 2 + SETTINGS[name].least for name in usual}
    others = {name: type(SETTINGS[name].default)(value) or 1 for name, value in others.items()}
    others = {**others, **({"damping": 0.5} if "damping" in usual else {})}
    settings = CoarseSettings(method, **others)
    assert settings.as_dict() == {**FLAT, "method": method, **others}
    assert CoarseSettings(**settings.as_dict()) == settings
    assert Recipe.from_dict(replace(COMPACT, coarse=settings).as_dict()).coarse == settings


def test_a_recipe_names_a_setting_that_the_method_lacks(tmp_path):
    with pytest.raises(ValueError, match="the method 'mean' has no tolerance"):
        Recipe.from_dict({"coarse": {"method": "mean", "tolerance": 0.1}})
    with pytest.raises(ValueError, match="unknown: colour; known are alpha, blend, damping, iterations, k, method"):
        Recipe.from_dict({"coarse": {"colour": 1}})
    assert Recipe.from_dict({"coarse": {"method": "multi", "rounds": 4}}).coarse.method == Multi(rounds=4)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (CoarseSettings(), "c865d1c9b9c2a6ff65d6955d5de0fa587e3e6bb4e0afcfce6f2101c215af4b3a"),
        (CoarseSettings("lle", alpha=0.3), "fcba59e4cbc2f7f95b6383b414066f91452929decf1665954992735d00072703"),
        (CoarseSettings(method="mrf", k=7, iterations=20, patch=8, blend="feather"),
         "d74e534c6980729cf03dbf2ffc3d973e43ff34acbe7c88242b0a5d6117156ca3"),
        (CoarseSettings("mean"), "63dedc1682b439320aa4eb082b834be5f5c2ee1d67a3dbd711aacb936ec20163"),
        (CoarseSettings("mwf", alpha=1, iterations=7),
         "68367f051ec60d1de1a621659a61be2d8d0c09ff8fa6eaecc552a81d282072ec"),
    ],
)  # fmt: skip
def test_coarse_cache_keys_are_made_of_eight_flat_values(settings, key):
    """Settings of before methods had their own are still written as eight flat values, whatever the method.

    The keys themselves are those of version 2: since each photo settles by itself, equal settings give other pixels,
    and the caches of old run folders must not be found.
    """
    source = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    faces = Faces(("a", "b"), source, np.zeros((2, 4, 4), np.uint8))
    assert coarse_cache_key(faces, "bank", settings) == key
    head = json.dumps(["coarse sketches 2", "bank", settings.as_dict(), ["a", "b"]], sort_keys=True)
    assert hashlib.sha256(head.encode() + source.tobytes()).hexdigest() == key
    assert coarse_cache_key(faces, "bank", CoarseSettings("mwf", tolerance=1e-3)) != key


def test_the_default_cache_key_is_made_of_this_text():
    head = json.dumps(["coarse sketches 2", "bank", CoarseSettings().as_dict(), ["a"]], sort_keys=True)
    assert head == (
        '["coarse sketches 2", "bank", {"alpha": 0.5, "blend": null, "iterations": 50, "k": 10, "method": "mwf", '
        '"overlap": null, "patch": null, "radius": null}, ["a"]]'
    )


def command(decorate):
    seen = []

    @click.command()
    @decorate
    def told(**settings):
        seen.append(settings)

    return told, seen


def options_of(decorate):
    return {option.name: option for option in command(decorate)[0].params}


def test_the_options_are_the_tables():
    made, changed = options_of(kernel_options), options_of(kernel_changes)
    assert set(made) == set(changed) == set(coarse.SETTING_NAMES)
    for name, setting in SETTINGS.items():
        assert made[name].default == setting.default
        assert made[name].help == f"{setting.help} ({', '.join(users_of(name, shown=True))})."
        assert changed[name].help.endswith(", instead of the model's.")
    assert list(made["method"].type.choices) == list(METHODS)
    assert list(made["blend"].type.choices) == list(operations.BLENDINGS)
    assert made["k"].default == CoarseSettings().k and made["method"].default == "mwf"
    assert all(f"{name}: {kind.help}" in made["method"].help for name, kind in METHODS.items())


def test_a_command_gets_the_options_that_are_given():
    """Not the defaults, or ``--method mean`` would be told a tolerance that it does not have."""
    told, seen = command(kernel_options)
    for arguments in ([], ["--method", "mean", "--k", "5"], ["--tolerance", "1e-3", "--alpha", "0.5"]):
        assert CliRunner().invoke(told, arguments).exit_code == 0
    assert seen == [{}, {"method": "mean", "k": 5}, {"tolerance": 1e-3, "alpha": 0.5}]
    assert CoarseSettings(**seen[1]) == CoarseSettings("mean", k=5)
    unsaid, seen = command(kernel_changes)
    assert CliRunner().invoke(unsaid, ["--rounds", "3"]).exit_code == 0
    assert seen == [{**dict.fromkeys(coarse.SETTING_NAMES), "rounds": 3}]
    assert "[mwf|lle|mean|top1|mrf|multi]" in CliRunner().invoke(told, ["--help"]).output


@dataclass(frozen=True)
class Second(Mwf):
    """The second nearest candidate."""

    name: ClassVar[str] = "second"
    help: ClassVar[str] = "the second nearest candidate"
    blend: ClassVar[str] = "cut"
    sweeps: ClassVar[int] = 0  # type: ignore[misc]

    def start(self, k):
        return (np.arange(k) == 1).astype(np.float64)


def test_a_new_method_is_a_line_of_the_table(bank, photo, monkeypatch):
    table = {**METHODS, "second": Second}
    for module in (methods, coarse):
        monkeypatch.setattr(module, "METHODS", table)
    assert issubclass(Second, Method) and "sweeps" not in Second.settings()
    made = coarse_sketch(photo, bank, k=2, method="second")
    assert made.pixels.shape == (1, 1, 30, 26)
    assert CoarseSettings(**CoarseSettings("second", alpha=0.1).as_dict()).method == Second(alpha=0.1)
    with pytest.raises(ValueError, match="one of mwf, lle, mean, top1, mrf, multi, second, not"):
        CoarseSettings("third")


def test_lle_and_mean_differ_in_what_the_table_says():
    assert Lle().alpha == 0.0 and Mean().sweeps == 0 and Mwf().sweeps == 1000


def test_a_weighing_of_ones_own_is_weighed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an object, and by name once it is in the table: a setting that weigh() has no argument for has its default."""

    steepness = methods.Setting(2.0, 0.0, 9.0, "How steep")
    monkeypatch.setattr(methods, "SETTINGS", {**SETTINGS, "steepness": steepness})

    @dataclass(frozen=True)
    class Soft(Mwf):
        name: ClassVar[str] = "soft"
        steepness: float = 2.0

    planes = np.random.default_rng(1).integers(0, 256, (4, 20, 20), dtype=np.uint8)
    bank = PatchBank.from_images(planes[:3], planes[:3], settings=BankSettings(8, 4, 2))
    cut = gather(match(planes[None, 3:4], bank, k=4, backend="reference"), prepare(bank, "reference"))
    field = evidence(planes[None, 3:4], cut, bank.grid()), compatibility(cut, bank.grid()), bank.grid()
    monkeypatch.setattr(operations, "WEIGHINGS", {**WEIGHINGS, "soft": Soft})
    wanted = weigh(*field, alpha=0.3).weights
    np.testing.assert_array_equal(weigh(*field, method="soft", alpha=0.3).weights, wanted)
    np.testing.assert_array_equal(weigh(*field, method=Soft(alpha=0.3)).weights, wanted)


@pytest.mark.parametrize("wrong", [{"method": "lle", "alpha": -3.0}, {"method": "mean", "sweeps": -3}])
def test_weigh_checks_settings_that_the_method_does_not_use(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        weigh(np.zeros((1, 1, 1, 1), np.float32), None, None, **wrong)  # type: ignore[arg-type]
