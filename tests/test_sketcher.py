"""Photo to fine sketch in one object: sizes, no copies between the stages, batches, and what does not fit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from idekernels import BankSettings, CoarseSettings, PatchBank, coarse_sketch, open_bank, prepare, write_bank
from idekernels.bank import SKETCH_TO_PHOTO
from idekernels.errors import InputError
from idemodel import sketcher as sketcher_module
from idemodel.faces.alignment import Similarity, standard_eyes, warp
from idemodel.files.images import write_image
from idemodel.generator.checkpoint import save_generator
from idemodel.generator.enhance import Enhancer
from idemodel.generator.network import MLANet
from idemodel.phantom import phantom_pairs
from idemodel.preparation import PreparationSettings
from idemodel.sketcher import Sketcher
from idemodel.training.recipe import COMPACT

pytestmark = pytest.mark.usefixtures("one_torch_thread")

KERNEL = BankSettings(patch=8, overlap=4, radius=2)


def generator(channels: int = 1, guide: int = 8, seed: int = 0) -> MLANet:
    """A tiny generator that does something to its input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MLANet(channels, 4, 1, 2, guide)
        for value in network.parameters():
            value.data.add_(0.05 * torch.randn_like(value))
    return network


def bank_of(height: int, width: int, path: Path, colour: bool = False, settings: BankSettings = KERNEL) -> Path:
    pairs = [(p.name, p.photo, p.sketch) for p in phantom_pairs(4, height=height, width=width, seed=2)]
    if colour:
        pairs = [(name, photo, np.repeat(sketch[..., None], 3, 2)) for name, photo, sketch in pairs]
    write_bank(path, pairs, settings)
    return path


def photos_of(count: int, height: int, width: int) -> list[np.ndarray]:
    return [pair.photo for pair in phantom_pairs(count, height=height, width=width, seed=2, start=10)]


@pytest.fixture(scope="module")
def bank_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bank_of(64, 48, tmp_path_factory.mktemp("bank") / "bank.h5")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "model.safetensors"
    recipe = replace(COMPACT, features=4, modules=1, coarse=CoarseSettings(k=3))
    save_generator(file, generator(), recipe=recipe.as_dict())
    return file


@pytest.fixture
def sketcher(bank_file: Path, model_file: Path) -> Iterator[Sketcher]:
    with Sketcher(bank_file, model_file, device="cpu") as made:
        yield made


@pytest.fixture
def painter(tmp_path: Path) -> Iterator[Sketcher]:
    """The other direction, in colour."""
    bank = bank_of(64, 48, tmp_path / "bank.h5", settings=replace(KERNEL, direction=SKETCH_TO_PHOTO))
    with Sketcher(bank, Enhancer(generator(3, 16), device="cpu", direction=SKETCH_TO_PHOTO)) as made:
        yield made


@pytest.fixture(scope="module")
def bank250(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bank_of(250, 200, tmp_path_factory.mktemp("bank250") / "bank.h5")


@pytest.mark.parametrize(("size", "shape"), [("source", (250, 200)), ("double", (500, 400))])
@pytest.mark.parametrize("guide", [0, 8])
def test_sizes(bank250: Path, guide: int, size: str, shape: tuple[int, int]) -> None:
    enhancer = Enhancer(generator(guide=guide), device="cpu")
    with Sketcher(bank250, enhancer, {"method": "mean"}, size=size) as sketcher:
        made = sketcher.sketch(photos_of(1, 250, 200)[0])
    assert made.coarse.pixels.shape == (1, 1, 250, 200)
    assert made.fine.shape == (1, 1, *shape) and made.fine.dtype == torch.float32
    assert made.images().shape == (1, *shape) and made.images().dtype == np.uint8


@settings(max_examples=15, deadline=None)
@given(height=st.integers(31, 70), width=st.integers(31, 70), size=st.sampled_from(["source", "double"]))
@pytest.mark.parametrize("guide", [0, 8])
def test_odd_sizes(guide: int, height: int, width: int, size: str) -> None:
    enhancer = Enhancer(generator(guide=guide), device="cpu")
    coarse, photo = torch.rand(2, 2, 1, height, width)
    fine = enhancer.enhance(coarse, photo, size)
    times = 1 if size == "source" else 2
    assert fine.shape == (2, 1, times * height, times * width)
    assert fine.min() >= 0 and fine.max() <= 1


def test_a_batch_is_its_photos_one_by_one(sketcher: Sketcher) -> None:
    photos = photos_of(3, 64, 48)
    together = sketcher.sketch(photos)
    for number, photo in enumerate(photos):
        alone = sketcher.sketch(photo)
        torch.testing.assert_close(alone.fine[0], together.fine[number], atol=1e-5, rtol=0)
        np.testing.assert_array_equal(alone.coarse.images()[0], together.coarse.images()[number])


def test_prepared_photos_are_sketched_as_their_images_are(bank_file: Path, model_file: Path, tmp_path: Path) -> None:
    photos = photos_of(2, 64, 48)
    write_image(tmp_path / "moved.png", warp(photos[1], Similarity(2.0, 30 + 20j), 160, 150, "edge"))
    eyes = Similarity(2.0, 30 + 20j).eyes(standard_eyes(64, 48))
    settings = PreparationSettings(normalise="none")
    with Sketcher(bank_file, model_file, {"k": 3}, device="cpu", preparation=settings) as sketcher:
        assert sketcher.preparer.settings is settings and sketcher.preparer is sketcher.preparer
        prepared = [sketcher.prepare(photos[0]), sketcher.prepare(tmp_path / "moved.png", eyes=eyes)]
        made = sketcher.sketch(prepared, exclude=np.array([0, -1]))
        expected = sketcher.sketch([photo.image for photo in prepared], exclude=np.array([0, -1]))
        np.testing.assert_array_equal(made.images(), expected.images())
        alone = sketcher.sketch(prepared[1]).images()[0]
        np.testing.assert_array_equal(alone, sketcher.sketch([prepared[1].image]).images()[0])
        assert prepared[1].paste_back(alone).shape == (160, 150)
        with pytest.raises(ValueError, match=r"no face 7|nothing here finds faces|no face found"):
            sketcher.prepare(tmp_path / "moved.png", face=7)


def test_files_are_prepared_on_the_way(bank_file: Path, model_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "me.png"
    with Sketcher(bank_file, model_file, backend="cpu", device="cpu") as sketcher:
        height, width = sketcher.prepared.bank.height, sketcher.prepared.bank.width
        write_image(file, photos_of(1, height, width)[0])
        prepared = sketcher.sketch(sketcher.prepare(file)).images()
        for given in (file, str(file), file.read_bytes(), [file]):
            np.testing.assert_array_equal(sketcher.sketch(given).images(), prepared)


def test_a_preparation_that_cannot_be_had_is_told_when_asked_for(model_file: Path, tmp_path: Path) -> None:
    """Arrays that are ready need none: the sketcher works all the same."""
    bank = bank_of(64, 48, tmp_path / "bank.h5", settings=replace(KERNEL, representations=("gradient",)))
    with Sketcher(bank, model_file, device="cpu", preparation=PreparationSettings(normalise="all")) as sketcher:
        assert sketcher.sketch(photos_of(1, 64, 48)).images().shape == (1, 64, 48)
        with pytest.raises(InputError, match="--plane intensity"):
            sketcher.prepare(photos_of(1, 64, 48)[0])


def test_many_images_go_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    enhancer = Enhancer(generator(), device="cpu")
    coarse, photo = torch.rand(2, 5, 1, 40, 32)
    whole = enhancer.enhance(coarse, photo)
    monkeypatch.setattr("idemodel.generator.enhance._PIXELS_AT_ONCE", 2 * 40 * 32)
    torch.testing.assert_close(enhancer.enhance(coarse, photo), whole, atol=1e-5, rtol=0)


def test_settings_are_the_models_and_can_be_changed(bank_file: Path, model_file: Path) -> None:
    with Sketcher(bank_file, model_file) as as_trained, Sketcher(bank_file, model_file, {"alpha": 0.25}) as changed:
        assert as_trained.settings == replace(COMPACT.coarse, k=3)
        assert changed.settings == replace(COMPACT.coarse, k=3, alpha=0.25)
        photo = photos_of(1, 64, 48)[0]
        expected = coarse_sketch(photo, as_trained.prepared, as_trained.settings)
        np.testing.assert_array_equal(as_trained.sketch(photo).coarse.images(), expected.images())


def test_the_photo_is_seen(sketcher: Sketcher) -> None:
    """The generator's photo planes are those of its own photo."""
    coarse = torch.rand(1, 1, 64, 48)
    bright, dark = torch.ones(1, 1, 64, 48), torch.zeros(1, 1, 64, 48)
    assert not torch.equal(sketcher.enhancer.enhance(coarse, bright), sketcher.enhancer.enhance(coarse, dark))


def test_the_coarse_sketch_reaches_torch_in_place(bank_file: Path) -> None:
    """Without a guide and doubled, the generator's input is the very memory that stage 1 wrote."""
    with Sketcher(bank_file, Enhancer(generator(guide=0), device="cpu"), size="double") as sketcher:
        seen: list[int] = []
        sketcher.enhancer.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].data_ptr()))
        made = sketcher.sketch(photos_of(2, 64, 48))
    assert seen == [torch.from_dlpack(made.coarse).data_ptr()]


class TorchCopies(TorchDispatchMode):
    """Notes what torch does to move pixels without computing anything, up to the network's first convolution."""

    MOVES = ("_to_copy", "clone", "copy_", "cat", "stack", "pixel_unshuffle", "lift_fresh_copy", "contiguous")

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []
        self.watching = True

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(function).split(".")[1]
        self.watching &= name != "convolution"
        self.made += [name] if self.watching and name in self.MOVES else []
        return function(*args, **(kwargs or {}))


def numpy_copies(monkeypatch: pytest.MonkeyPatch, height: int, width: int) -> list[str]:
    """A list that grows with every whole image that NumPy copies, of any number of channels and photos."""
    made: list[str] = []

    def watched(name: str) -> Callable[..., Any]:
        original = getattr(np, name)

        def call(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            whole = isinstance(result, np.ndarray) and {height, width} <= set(result.shape)
            if whole and not any(np.may_share_memory(result, one) for one in arguments if isinstance(one, np.ndarray)):
                made.append(name)
            return result

        return call

    for name in ("stack", "concatenate", "array", "copy", "ascontiguousarray"):
        monkeypatch.setattr(np, name, watched(name))
    return made


@pytest.mark.parametrize(
    ("guide", "size", "photos_copied", "moved"),
    [
        (0, "double", ["stack"] * 3, []),
        (0, "source", ["stack"] * 3, []),
        (8, "source", ["stack"] * 4, ["_to_copy", "pixel_unshuffle", "pixel_unshuffle", "cat"]),
    ],
)
def test_copies_from_photo_to_fine_tensor(
    bank_file: Path, monkeypatch: pytest.MonkeyPatch, guide: int, size: str, photos_copied: list[str], moved: list[str]
) -> None:
    """Two photos: each into its planes, those into one batch; from there to the network nothing is copied.

    A generator that sees the photos takes them once more, as one batch of grey, and has its input put together once.
    """
    photos = photos_of(2, 64, 48)
    with Sketcher(bank_file, Enhancer(generator(guide=guide), device="cpu"), {"k": 3}, size=size) as sketcher:
        sketcher.sketch(photos)  # whatever is made ready at the first call
        of_numpy = numpy_copies(monkeypatch, 64, 48)
        with TorchCopies() as of_torch:
            sketcher.sketch(photos)
        monkeypatch.undo()
    assert of_numpy == photos_copied
    assert of_torch.made == moved and not of_torch.watching


@pytest.mark.parametrize(("way", "channels"), [("sketcher", 1), ("painter", 3)])
def test_between_the_stages_is_one_hand_over(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, way: str, channels: int
) -> None:
    """One DLPack hand-over of stage 1's own memory, and no tensor becomes an array on the way."""
    sketcher: Sketcher = request.getfixturevalue(way)
    handed: list[tuple[int, int]] = []
    original = torch.from_dlpack

    def counted(array: object) -> torch.Tensor:
        tensor = original(array)
        handed.append((tensor.data_ptr(), np.from_dlpack(array).ctypes.data))  # type: ignore[arg-type]
        return tensor

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a tensor went back to the host on the way")

    monkeypatch.setattr(torch, "from_dlpack", counted)
    for name in ("numpy", "tolist", "item", "clone"):
        monkeypatch.setattr(torch.Tensor, name, forbidden)
    monkeypatch.setattr(sketcher_module, "as_images", forbidden)
    made = sketcher.sketch(photos_of(2, 64, 48))
    monkeypatch.undo()
    assert len(handed) == 1 and handed[0][0] == handed[0][1]
    assert made.fine.shape == (2, channels, 64, 48)


def test_enhancing_a_bank_of_grey_with_a_colour_model(bank_file: Path) -> None:
    with Sketcher(bank_file, Enhancer(generator(3, 0), device="cpu")) as sketcher:
        assert sketcher.sketch(photos_of(1, 64, 48)).images().shape == (1, 64, 48, 3)


def test_a_colour_bank_needs_a_colour_model(tmp_path: Path) -> None:
    file = bank_of(64, 48, tmp_path / "colour.h5", colour=True)
    with pytest.raises(InputError, match="3 channels, the model takes 1"):
        Sketcher(file, Enhancer(generator(), device="cpu"))
    with Sketcher(file, Enhancer(generator(3, 0), device="cpu")) as sketcher:
        assert sketcher.sketch(photos_of(1, 64, 48)).fine.shape == (1, 3, 64, 48)


def test_banks_that_the_caller_opened_stay_open(bank_file: Path) -> None:
    enhancer = Enhancer(generator(), device="cpu")
    with open_bank(bank_file) as bank:
        for given in (bank, prepare(bank)):
            with Sketcher(given, enhancer) as sketcher:
                sketcher.sketch(photos_of(1, 64, 48))
            assert isinstance(bank, PatchBank) and bank.source(0, 1).shape[0] == 1


def test_a_bank_that_the_sketcher_opened_is_closed(sketcher: Sketcher) -> None:
    sketcher.close()
    with pytest.raises((ValueError, OSError, InputError)):
        sketcher.prepared.bank.source(0, 1)


@pytest.mark.parametrize(("shape", "size"), [((30, 40), "source"), ((40, 30), "source"), ((15, 40), "double")])
def test_too_small(shape: tuple[int, int], size: str) -> None:
    with pytest.raises(ValueError, match="too small"):
        Enhancer(generator(guide=0), device="cpu").enhance(torch.rand(1, 1, *shape), None, size)


def test_what_does_not_fit_is_told(sketcher: Sketcher) -> None:
    enhancer, coarse = sketcher.enhancer, torch.rand(2, 1, 40, 40)
    with pytest.raises(ValueError, match="photo"):
        enhancer.enhance(coarse)
    with pytest.raises(ValueError, match="photo"):
        enhancer.enhance(coarse, torch.rand(2, 1, 40, 41))
    with pytest.raises(ValueError, match="photo"):
        enhancer.enhance(coarse, torch.rand(3, 1, 40, 40))
    with pytest.raises(ValueError, match="B, C, H, W"):
        enhancer.enhance(coarse[0], coarse[0])
    with pytest.raises(ValueError, match="size"):
        enhancer.enhance(coarse, coarse, "triple")
    with pytest.raises((TypeError, ValueError)):
        sketcher.sketch(np.zeros((64, 47), np.uint8))
    with pytest.raises(InputError, match="settings"):
        Sketcher(sketcher.prepared, enhancer, {"kk": 3})


def test_devices_that_are_not_there() -> None:
    with pytest.raises(InputError, match="device"):
        Enhancer(generator(), device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="CUDA"):
            Enhancer(generator(), device="cuda")


def test_weight_norm_is_folded_at_load(model_file: Path) -> None:
    network = Enhancer.open(model_file, "cpu").network
    assert network.folded and not any(name.endswith("weight_g") for name in network.state_dict())
    assert not any(value.requires_grad for value in network.parameters())


@pytest.mark.gpu
def test_the_coarse_sketch_stays_on_the_gpu(bank_file: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    with Sketcher(bank_file, Enhancer(generator(guide=0), device="cuda"), size="double", backend="cuda") as sketcher:
        seen: list[int] = []
        sketcher.enhancer.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].data_ptr()))
        made = sketcher.sketch(photos_of(2, 64, 48))
    coarse = torch.from_dlpack(made.coarse)
    assert coarse.is_cuda and made.fine.is_cuda and seen == [coarse.data_ptr()]


THREADS = """
import sys
import torch
torch.set_num_threads(1)
from idemodel.phantom import phantom_pairs
from idemodel.sketcher import Sketcher
photo = next(phantom_pairs(1, height=64, width=48, seed=2, start=10)).photo
with Sketcher(sys.argv[1], sys.argv[2]) as sketcher:
    sketcher.sketch(photo)
print(torch.get_num_threads())
"""


def test_stage_1_leaves_torchs_threads_alone(bank_file: Path, model_file: Path) -> None:
    """In a fresh process, whose first kernel starts Numba's threads: they share OpenMP with torch."""
    command = [sys.executable, "-c", THREADS, str(bank_file), str(model_file)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"


def test_a_batch_may_be_one_array_or_one_tensor(sketcher: Sketcher) -> None:
    colour = np.stack(photos_of(2, 64, 48))
    grey = np.ascontiguousarray(colour[..., 1])
    for batch in (colour, grey):
        expected = sketcher.sketch(list(batch)).images()
        assert expected.shape[0] == 2
        for photos in (batch, torch.from_numpy(batch), list(torch.from_numpy(batch)), [batch]):
            np.testing.assert_array_equal(sketcher.sketch(photos).images(), expected)
    channels_first = torch.from_numpy(colour).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(sketcher.sketch(channels_first).images(), sketcher.sketch(colour).images())
    assert sketcher.sketch(torch.from_numpy(colour[0])).images().shape == (1, 64, 48)
    assert sketcher.sketch(torch.from_numpy(grey[0])).images().shape == (1, 64, 48)


def test_a_tensor_that_may_mean_two_things_or_is_no_photo_is_refused(sketcher: Sketcher) -> None:
    with pytest.raises(ValueError, match=r"\(3, 64, 48\) may be one photo or three"):
        sketcher.sketch(torch.zeros(3, 64, 48, dtype=torch.uint8))
    with pytest.raises(TypeError, match=r"tensor of torch\.float32; a photo is uint8"):
        sketcher.sketch(torch.zeros(1, 64, 48))
    with pytest.raises(ValueError, match="64"):
        sketcher.sketch(torch.zeros(2, 60, 48, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"backend": "cpu"}, "the backend 'cpu' is asked for but bank is of 'reference'"),
        ({"memory": 5}, "memory is given, but the bank is prepared already"),
        ({"size": "huge"}, "size must be one of source, double, not 'huge'"),
    ],
)
def test_what_a_prepared_bank_cannot_have_is_refused(
    bank_file: Path, model_file: Path, told: dict[str, Any], error: str
) -> None:
    with open_bank(bank_file) as bank, pytest.raises(ValueError, match=error):
        Sketcher(prepare(bank, "reference"), model_file, **told)
