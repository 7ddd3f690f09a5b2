"""The table of readers, one entry a kind of input. A new reader is one more line here: everything is tried on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fuzz import seeds
from tests.fuzz.reader import Reader


def _image(path: Path) -> Any:
    from idemodel.files.images import read_colour, read_grey

    read_colour(path)
    return read_grey(path)


def _content(path: Path) -> Any:
    """The file's bytes, as a photo that is no file."""
    from idekernels.files.regular import regular_file
    from idemodel.files.images import LARGEST
    from idemodel.preparation import read_photo

    regular_file(path, "an image", LARGEST)
    return read_photo(path.read_bytes(), str(path))


def _pairs(path: Path) -> Any:
    """The file is a photo of a pairs folder."""
    from idekernels import PatchBank
    from idemodel.training.data import read_faces

    sketch = seeds.picture("L")
    _beside(path, "sketch/a.png", "photo/b.png", "sketch/b.png")
    bank = PatchBank.from_images([sketch_array(sketch)], [sketch_array(sketch)])
    return read_faces(path.parent.parent, bank)


def sketch_array(image: Any) -> Any:
    import numpy as np

    return np.asarray(image)


def _people(path: Path) -> Any:
    """The file is a photo of somebody to be recognised."""
    from idemodel.evaluation.people import read_people

    _beside(path, "sketch/a.png", "photo/b.png", "sketch/b.png")
    return read_people(str(path.parent.parent))


def _evaluated(path: Path) -> Any:
    """The file is a synthesised sketch."""
    from idemodel.evaluation.scoring import EvaluationSettings, evaluate

    _beside(path, "truth/a.png")
    settings = EvaluationSettings(metrics=("ssim",), workers=1)
    return evaluate({"method": path.parent}, path.parent.parent / "truth", settings)


def _beside(path: Path, *names: str) -> None:
    for name in names:
        file = path.parent.parent / name
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            seeds.picture("L").save(file)


def _bank(path: Path) -> Any:
    from idekernels import open_bank

    with open_bank(path) as bank:
        for number in range(bank.images):
            bank.source(number, number + 1), bank.target(number, number + 1)


def _model(path: Path) -> Any:
    from idemodel.generator.enhance import Enhancer

    return Enhancer.open(path, "cpu")


def _perceptual(path: Path) -> Any:
    from idemodel.training.losses import load_perceptual

    return load_perceptual(path, widths=seeds.WIDTHS)


def _lpips(path: Path) -> Any:
    from idemodel.metrics.lpips import load_lpips

    return load_lpips(path)


def _inception(path: Path) -> Any:
    from idemodel.metrics.fid import load_inception

    return load_inception(path)


def _recipe(path: Path) -> Any:
    from idemodel.training.recipe import read_recipe

    return read_recipe(path)


def _description(path: Path) -> Any:
    from idemodel.training.run_folder import RunFolder

    return RunFolder(path.parent).recipe_and_seed()


def _log(path: Path) -> Any:
    from idemodel.training.run_folder import RunFolder

    return RunFolder(path.parent).forget_after(1)


def _state(path: Path) -> Any:
    from idemodel.training.run_folder import RunFolder

    trainer = seeds.trainer()
    RunFolder(path.parent).restore(trainer)


def _cache(path: Path) -> Any:
    from idemodel.training.coarse_cache import read_cached

    return read_cached(path, (2, 1, seeds.ROWS, seeds.COLUMNS))


def _journal(path: Path) -> Any:
    from idemodel.files.journal import Journal

    return Journal(path.parent).of("a.png")


def _eyes(path: Path) -> Any:
    from idemodel.faces.eye_table import read_eyes

    return read_eyes(path).of(Path("a.png"))


READERS = (
    Reader("image", "photo.png", seeds.images, _image, 1024),
    Reader("image as bytes", "photo.png", seeds.images, _content, 1024),
    Reader("png, checksums repaired", "photo.png", seeds.png, _image, 1024, seeds.with_good_crcs),
    Reader("pairs folder", "photo/a.png", seeds.images, _pairs, 1024),
    Reader("recognise's folder", "photo/a.png", seeds.images, _people, 1024),
    Reader("evaluate's folder", "synth/a.png", seeds.images, _evaluated, 1024),
    Reader("journal", ".idesketch.jsonl", seeds.journals, _journal, 256, may_be_absent=True),
    Reader("eyes", "eyes.csv", seeds.tables, _eyes, 1024),
    Reader("bank", "bank.h5", seeds.banks, _bank, 256),
    Reader("bank, checksums repaired", "bank.h5", seeds.banks, _bank, 256, seeds.with_good_checksums),
    Reader("model", "model.safetensors", seeds.models, _model, 256),
    Reader("model's header", "model.safetensors", seeds.headers, _model, 256, seeds.with_header),
    Reader("authors' checkpoint", "model.pth", seeds.references, _model, 256),
    Reader("authors' pickle", "model.pth", seeds.pickles, _model, 256, seeds.with_pickle),
    Reader("vgg19", "vgg19.pth", seeds.vgg19, _perceptual, 256),
    Reader("vgg19 as safetensors", "vgg19.safetensors", seeds.vgg19_safetensors, _perceptual, 256),
    Reader("lpips", "lpips.pth", seeds.vgg19, _lpips, 256),
    Reader("inception", "inception.safetensors", seeds.vgg19_safetensors, _inception, 256),
    Reader("recipe", "recipe.toml", seeds.recipes, _recipe, 64),
    Reader("run.json", "run.json", seeds.descriptions, _description, 64),
    Reader("log", "log.jsonl", seeds.logs, _log, 64, may_be_absent=True),
    Reader("state of a run", "state.safetensors", seeds.states, _state, 256, may_be_absent=True),
    Reader("coarse cache", "000000.npy", seeds.arrays, _cache, 64, may_be_absent=True),
)


def find(name: str) -> Reader:
    """The reader of a name."""
    return next(reader for reader in READERS if reader.name == name)
