"""Photos of sketches as well as sketches of photos: the bank's direction through file, kernels and commands."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import call, told_once
from PIL import Image

from idekernels import BankError, BankSettings, JoinedBank, PatchBank, coarse_sketch, open_bank, verify, write_bank
from idekernels.bank import SKETCH_TO_PHOTO
from idemodel.files.images import read_colour, read_grey
from idemodel.generator.checkpoint import read_header
from idemodel.phantom import phantom_pairs
from idemodel.training.data import read_faces

pytestmark = pytest.mark.usefixtures("one_torch_thread")

THERE, BACK = BankSettings(8, 4, 2), BankSettings(8, 4, 2, direction=SKETCH_TO_PHOTO)
KERNEL = ("--patch", 8, "--overlap", 4, "--radius", 2)
RECIPE = """
base = "compact"
features = 4
modules = 1
discriminator_features = 4
batch = 2
crop = 32
halvings = []
validation = 2
[coarse]
k = 3
"""


def drawn(count: int = 4, start: int = 0) -> list[tuple[str, np.ndarray, np.ndarray]]:
    return [(p.name, p.photo, p.sketch) for p in phantom_pairs(count, height=64, width=48, seed=3, start=start)]


def mode_of(file: Path) -> str:
    with Image.open(file) as image:
        return image.mode


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantom pairs, a bank of each direction, and a model trained for two steps with each."""
    root = tmp_path_factory.mktemp("workshop")
    assert call("data", "phantom", root / "pairs", "--pairs", 6, "--size", "64x48", "--seed", 3) == 0
    (root / "tiny.toml").write_text(RECIPE)
    for name, given in (("there", ()), ("back", ("--direction", "sketch-to-photo"))):
        assert call("bank", "build", root / "pairs", root / f"{name}.h5", *KERNEL, *given) == 0
        arguments = ("-o", root / name, "--recipe", root / "tiny.toml", "--steps", 2, "--device", "cpu", *given)
        assert call("train", root / "pairs", root / f"{name}.h5", *arguments) == 0
    return root


def test_the_direction_swaps_source_and_target_and_nothing_else(tmp_path: Path) -> None:
    """A sketch-to-photo bank is the photo-to-sketch bank of pairs whose photos and sketches changed places."""
    pairs = drawn()
    write_bank(tmp_path / "back.h5", pairs, BACK)
    write_bank(tmp_path / "swapped.h5", [(name, sketch, photo) for name, photo, sketch in pairs], THERE)
    _, photos, sketches = zip(*pairs, strict=True)
    in_memory = PatchBank.from_images(photos, sketches, settings=BACK)
    verify(tmp_path / "back.h5")
    with open_bank(tmp_path / "back.h5") as back, open_bank(tmp_path / "swapped.h5") as swapped:
        assert (back.direction, in_memory.direction, swapped.direction) == (*[SKETCH_TO_PHOTO] * 2, "photo-to-sketch")
        assert (back.settings.source_kind, back.settings.target_kind) == ("sketch", "photo")
        for bank in (back, in_memory):
            np.testing.assert_array_equal(bank.source(0, 4), swapped.source(0, 4))
            np.testing.assert_array_equal(bank.target(0, 4), swapped.target(0, 4))
        stranger = drawn(1, start=9)[0][2]
        ref, comp = (coarse_sketch(stranger, bank, k=3).pixels for bank in (swapped, back))
        np.testing.assert_array_equal(ref, comp)
        assert comp.shape == (1, 3, 64, 48)


@pytest.mark.parametrize("settings", [THERE, BACK])
def test_what_is_in_the_bank_finds_its_own_other_half(settings: BankSettings) -> None:
    _, photos, sketches = zip(*drawn(), strict=True)
    bank = PatchBank.from_images(photos, sketches, settings=settings)
    given, wanted = settings.ordered(photos, sketches)
    found = coarse_sketch(given, bank, method="top1", k=1).images()
    for image, other_half in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(image, other_half)


def test_a_bank_of_before_there_were_directions_is_photo_to_sketch(tmp_path: Path) -> None:
    """As older versions wrote it: no such attribute, a digest over the others, and no descriptions."""
    path, said = tmp_path / "old.h5", ("patch", "overlap", "radius", "representations", "weights", "created", "tool")
    write_bank(path, drawn(), THERE)
    with h5py.File(path, "r+", libver="latest") as file:
        for name in ("direction", "description_version", "description_digest"):
            del file.attrs[name]
        del file["descriptions"]
        head = {name: np.asarray(file.attrs[name]).tolist() for name in (*said, "version")}
        names = json.loads(bytes(file["names"][()]))
        text = json.dumps([head, names, [file["source"].shape, file["target"].shape]], sort_keys=True)
        file.attrs["digest"] = hashlib.sha256(text.encode() + file["hashes"][()].tobytes()).hexdigest()
    verify(path)
    with open_bank(path, direction="photo-to-sketch") as bank:
        assert bank.settings == THERE
    with pytest.raises(BankError, match="is a bank for photo-to-sketch, not sketch-to-photo"):
        open_bank(path, direction="sketch-to-photo")


def test_directions_do_not_mix() -> None:
    _, photos, sketches = zip(*drawn(), strict=True)
    there, back = (PatchBank.from_images(sketches, sketches, "abcd", settings) for settings in (THERE, BACK))
    with pytest.raises(BankError, match="agree in direction: photo-to-sketch and sketch-to-photo"):
        JoinedBank([there, back])
    with pytest.raises(ValueError, match="direction must be one of photo-to-sketch, sketch-to-photo, not 'back'"):
        BankSettings(direction="back")
    with pytest.raises(ValueError, match="the sketch is 63 x 48"):
        PatchBank.from_images(photos, sketches, settings=BACK).query(sketches[0][:63])


def test_colour_is_kept_unless_every_photo_is_grey(workshop: Path, tmp_path: Path) -> None:
    pairs, build = tmp_path / "pairs", ("--direction", "sketch-to-photo", *KERNEL)
    shutil.copytree(workshop / "pairs", pairs)
    photos = sorted((pairs / "photo").iterdir())
    for photo in photos[:-1]:
        Image.fromarray(read_grey(photo)).convert("RGB").save(photo)
    assert call("bank", "build", pairs, tmp_path / "colour.h5", *build) == 0
    assert call("bank", "build", pairs, tmp_path / "forced.h5", *build, "--target", "grey") == 0
    Image.fromarray(read_grey(photos[-1])).convert("RGB").save(photos[-1])
    assert call("bank", "build", pairs, tmp_path / "grey.h5", *build) == 0
    channels = []
    for name in ("colour", "forced", "grey"):
        with open_bank(tmp_path / f"{name}.h5") as bank:
            channels.append(bank.channels)
    assert channels == [3, 1, 1]
    assert call("coarse", tmp_path / "grey.h5", pairs / "sketch" / "0000.png", "-o", tmp_path / "out", "--k", 3) == 0
    assert mode_of(tmp_path / "out" / "0000.png") == "L"


def test_bank_info_shows_the_direction(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, direction in (("there", "photo-to-sketch"), ("back", "sketch-to-photo")):
        assert call("bank", "info", workshop / f"{name}.h5") == 0
        assert f"direction: {direction}\n" in capsys.readouterr().out


def test_coarse_finds_a_banked_sketchs_photo(workshop: Path, tmp_path: Path) -> None:
    sketches, asked = workshop / "pairs" / "sketch", ("--method", "top1", "--k", 1, "--direction", "sketch-to-photo")
    assert call("coarse", workshop / "back.h5", sketches, "-o", tmp_path, *asked) == 0
    for photo in (workshop / "pairs" / "photo").iterdir():
        np.testing.assert_array_equal(read_colour(tmp_path / photo.name), read_colour(photo))


def test_training_sees_the_sketch_and_learns_the_photo(workshop: Path) -> None:
    with open_bank(workshop / "back.h5") as bank:
        faces = read_faces(workshop / "pairs", bank)
    for number, name in enumerate(faces.names):
        np.testing.assert_array_equal(faces.source[number], read_colour(workshop / "pairs" / "sketch" / f"{name}.png"))
        np.testing.assert_array_equal(faces.target[number], read_colour(workshop / "pairs" / "photo" / f"{name}.png"))
    headers = [read_header(workshop / name / "best.safetensors") for name in ("there", "back")]
    assert [header.direction for header in headers] == ["photo-to-sketch", "sketch-to-photo"]
    assert [header.config.channels for header in headers] == [1, 3]


def test_synth_paints_in_colour_and_enhance_is_its_second_half(workshop: Path, tmp_path: Path) -> None:
    bank, model, sketches = workshop / "back.h5", workshop / "back" / "best.safetensors", workshop / "pairs" / "sketch"
    asked = ("--save-coarse", "--direction", "sketch-to-photo")
    assert call("synth", bank, model, sketches, "-o", tmp_path / "whole", *asked) == 0
    assert call("enhance", model, tmp_path / "whole" / "coarse", "-o", tmp_path / "half", "--photos", sketches) == 0
    for file in sketches.iterdir():
        assert mode_of(tmp_path / "whole" / file.name) == "RGB"
        whole, half = (read_colour(tmp_path / name / file.name).astype(int) for name in ("whole", "half"))
        assert whole.shape == (64, 48, 3)
        assert np.ptp(whole, axis=2).max() > 20
        assert np.abs(whole - half).max() <= 3  # but for the rounding of the coarse photos to eight bits
    assert call("synth", bank, model, sketches / "0001.png", "-o", tmp_path / "double", "--size", "double") == 0
    assert read_colour(tmp_path / "double" / "0001.png").shape == (128, 96, 3)


@pytest.mark.parametrize(("bank", "asked"), [("there", "sketch-to-photo"), ("back", "photo-to-sketch")])
def test_a_bank_of_the_other_direction_is_named_in_every_command(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], bank: str, asked: str
) -> None:
    file, out = workshop / f"{bank}.h5", ("-o", tmp_path / "out", "--direction", asked)
    for command in (
        ("coarse", file, workshop / "pairs" / "photo", *out),
        ("synth", file, workshop / bank / "best.safetensors", workshop / "pairs" / "photo", *out),
        ("train", workshop / "pairs", file, "--recipe", workshop / "tiny.toml", *out),
    ):
        told = told_once(capsys, *command)
        assert f"{file}: is a bank for" in told and f"bank build --direction {asked}" in told
    assert not list(tmp_path.rglob("*.png")) and not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(("bank", "model"), [("there", "back"), ("back", "there")])
def test_a_model_of_the_other_direction_is_refused(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], bank: str, model: str
) -> None:
    file = workshop / model / "best.safetensors"
    told = told_once(capsys, "synth", workshop / f"{bank}.h5", file, workshop / "pairs" / "photo", "-o", tmp_path / "o")
    assert f"{file}: was trained for" in told and "a model trained on this bank" in told
    assert not (tmp_path / "o").exists()
