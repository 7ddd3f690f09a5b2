"""Files that somebody made with care: links out of the file, numbers that ask for too much, code in pickles."""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
import torch

from tests.fuzz import seeds
from tests.fuzz.harness import Worker, judged, working
from tests.fuzz.readers import find


def bank(change: Callable[[h5py.File], None], compressed: bool = False) -> bytes:
    """A bank after a change, its digests made anew: whoever changes a file can do so."""
    from idekernels.bank.header import description_digest, digest

    def write(path: Path) -> None:
        path.write_bytes(seeds.banks()[compressed])
        with h5py.File(path, "r+", libver="latest") as file:
            change(file)
            try:
                names = json.loads(bytes(file["names"][()]))
                shapes = (file[side].shape for side in ("source", "target"))
                file.attrs["digest"] = digest(file.attrs, names, file["hashes"][()], *shapes)
                described = file["descriptions"][()], file.attrs["digest"]
                file.attrs["description_digest"] = description_digest(file.attrs["description_version"], *described)
            except (KeyError, ValueError, TypeError, OSError, AttributeError, RecursionError):
                return  # what cannot be read needs no digest

    return seeds.made("bank.h5", write)


def dataset(name: str, *arguments: Any, **options: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, *arguments, **options)

    return change


def link(name: str, target: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = target

    return change


def attribute(name: str, value: Any, dtype: Any = None) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.create(name, value, dtype=dtype)


def zeros(shape: tuple[int, ...], **options: Any) -> Callable[[h5py.File], None]:
    """Source of zeros, packed so that a small file holds them."""

    def change(file: h5py.File) -> None:
        del file["source"]
        data = file.create_dataset("source", shape, np.uint8, **options)
        data[0] = 0

    return change


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4, 2, seeds.ROWS, seeds.COLUMNS), np.uint8)
    layout[:] = h5py.VirtualSource("/etc/passwd", "source", (4, 2, seeds.ROWS, seeds.COLUMNS))
    del file["source"]
    file.create_virtual_dataset("source", layout)


def false_frame(file: h5py.File) -> None:
    """A Zstandard frame that says it becomes 2^40 bytes."""
    frame = b"\x28\xb5\x2f\xfd\xe0" + (2**40).to_bytes(8, "little") + b"\x01\0\0" + bytes(4)
    file["source"].id.write_direct_chunk((0, 0, 0, 0), frame)


def soft(file: h5py.File) -> None:
    """A link within the file: harmless, but no bank has one."""
    file.move("source", "other")
    file["source"] = h5py.SoftLink("/other")


SHAPE = (4, 2, seeds.ROWS, seeds.COLUMNS)
BANKS: dict[str, Callable[[h5py.File], None]] = {
    "a link to another file": link("source", h5py.ExternalLink("/etc/passwd", "/source")),
    "a soft link": soft,
    "a link to nothing": link("names", h5py.SoftLink("/nowhere")),
    "other files' bytes": dataset(
        "source", SHAPE, np.uint8, external=[("/etc/passwd", 0, 4 * 2 * seeds.ROWS * seeds.COLUMNS)]
    ),
    "a virtual data set": virtual,
    "names of text": dataset("names", data=["a", "b", "c", "d"]),
    "names of references": dataset("names", (4,), h5py.ref_dtype),
    "names of records": dataset("names", (4,), [("a", np.uint8), ("b", np.float64)]),
    "names as JSON bomb": dataset("names", data=np.frombuffer(b"[" * 100_000, np.uint8)),
    "names of numbers": dataset("names", data=np.frombuffer(b"[1,2,3,4]", np.uint8)),
    "names of nothing": dataset("names", data=h5py.Empty(np.uint8)),
    "lists as names": dataset("names", data=np.frombuffer(b'{"a":1,"b":2,"c":3,"d":4}', np.uint8)),
    "a zip bomb": zeros((4, 2, 12_000, 12_000), chunks=(1, 2, 12_000, 12_000), compression="gzip"),
    "a Zstandard bomb": zeros((4, 2, 12_000, 12_000), chunks=(1, 2, 12_000, 12_000), **hdf5plugin.Zstd()),
    "a filter that is not there": zeros(SHAPE, chunks=(1, *SHAPE[1:]), **hdf5plugin.LZ4()),
    "huge chunks": dataset("source", SHAPE, np.uint8, chunks=(2**10, 2**4, 2**8, 2**8), maxshape=(None,) * 4),
    "images of holes": dataset("source", (4, 2, 2**14, 2**14), np.uint8, chunks=(1, 2, 2**14, 2**14)),
    "holes": dataset("source", SHAPE, np.uint8, chunks=(1, *SHAPE[1:])),
    "numbers for bytes": dataset("source", SHAPE, np.float64),
    "a huge attribute": attribute("weights", np.zeros(10**6, np.int64)),
    "an attribute of texts": attribute("version", ["1", "2"]),
    "an attribute of bytes": attribute("format", np.bytes_(b"idesketch patch bank")),
    "an empty attribute": attribute("version", h5py.Empty(np.int64)),
    "a patch that is no number": attribute("patch", np.nan),
    "a huge number": attribute("radius", 2**63 - 1),
    "a huge patch": attribute("patch", 2**31 - 1),
    "representations as bomb": attribute("representations", "[" * 60_000),
    "an infinite version": attribute("version", np.inf),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BANKS)
def test_banks(name: str, worker: Worker, tmp_path: Path) -> None:
    assert judged(worker, find("bank"), bank(BANKS[name]), tmp_path) != "read"


def test_a_frame_that_lies_is_refused_unread(worker: Worker, tmp_path: Path) -> None:
    assert "claims another size" in judged(worker, find("bank"), bank(false_frame, compressed=True), tmp_path)


def test_names_are_only_names(worker: Worker, tmp_path: Path) -> None:
    """Separators, NUL and what a terminal obeys: a bank's names are compared and shown, never opened."""
    names = np.frombuffer(json.dumps(["../../etc/passwd", "a\0b", "\x1b[2J", "/"]).encode(), np.uint8)
    assert judged(worker, find("bank"), bank(dataset("names", data=names)), tmp_path) == "read"


def header(**changes: Any) -> bytes:
    """A model's header after changes."""
    content = json.loads(seeds.headers()[0])
    return json.dumps(content | changes).encode()


def network(**changes: Any) -> bytes:
    about = json.loads(json.loads(seeds.headers()[0])["__metadata__"]["idesketch"])
    about["network"] |= changes
    return header(__metadata__={"idesketch": json.dumps(about)})


MODELS: dict[str, Callable[[], bytes]] = {
    "a billion features": lambda: network(features=10**9),
    "as many as may be": lambda: network(features=1024, modules=64),
    "more digits than Python reads": lambda: network(features=10**4000),
    "infinite features": lambda: network(features=float("inf")),
    "no features": lambda: network(features=None),
    "an unknown size": lambda: network(depth=3),
    "a bomb as metadata": lambda: header(__metadata__={"idesketch": "[" * 10**6}),
    "many lists as metadata": lambda: header(__metadata__={"idesketch": "[" + "[]," * 10**6 + "[]]"}),
    "metadata of numbers": lambda: header(__metadata__={"idesketch": 3}),
    "a negative offset": lambda: header(x={"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}),
    "offsets past the end": lambda: header(x={"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}),
    "a shape past counting": lambda: header(x={"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}),
    "an unknown type": lambda: header(x={"dtype": "F3", "shape": [1], "data_offsets": [0, 4]}),
    "a deep header": lambda: b'{"a":' * 10**5,
    "names twice": lambda: b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},' + seeds.headers()[0][1:],
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, worker: Worker, tmp_path: Path) -> None:
    assert judged(worker, find("model"), seeds.with_header(MODELS[name]()), tmp_path) != "read"


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 2**40, 2**25, 99_999_999])
def test_a_header_that_is_too_long_is_refused_unread(length: int, worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{")
    os.truncate(path, 2**30)
    assert "not a readable" in worker.judge(find("model"), path)


def test_a_checkpoint_in_half_precision_costs_five_times_its_size(tmp_path: Path) -> None:
    from idemodel.generator.network import MLANet

    path = tmp_path / "model.pth"
    tensors = MLANet(3, 128, 8).half().state_dict()
    torch.save({f"generator.{name}": value for name, value in tensors.items()}, path)
    size = path.stat().st_size / 2**20
    with working() as fresh:  # whose memory no other file has used before
        assert fresh.judge(replace(find("authors' checkpoint"), memory=round(5 * size + 64)), path) == "read"


class Calls:
    """A pickle that calls a function when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def repeated() -> bytes:
    """A few numbers as tensors of a great many."""
    tensors = torch.load(io.BytesIO(seeds.references()[0]), weights_only=True)["state_dict"]
    wide = {name: torch.zeros(1).as_strided(tuple(value.shape), (0,) * value.ndim) for name, value in tensors.items()}
    wide["generator.head.0.weight_v"] = torch.zeros(1).as_strided((1024, 3, 3, 3), (0, 0, 0, 0))
    return pickled(wide)


def pickled(content: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


def packed(method: int) -> bytes:
    """A checkpoint whose zip is compressed, its storages grown to a gigabyte."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(seeds.references()[0])) as old, zipfile.ZipFile(out, "w", method) as new:
        for name in old.namelist():
            with new.open(name, "w") as member:
                content = old.read(name)
                for _ in range(2**10 if "/data/" in name and name.endswith("/0") else 1):
                    member.write(content if "data.pkl" in name else content.ljust(2**18, b"\0"))
    return out.getvalue()


PICKLES: dict[str, Callable[[], bytes]] = {
    "code": lambda: pickle.dumps(Calls(os.mkdir, "/tmp/never-made"), 2),
    "a great bytearray": lambda: seeds.with_pickle(pickle.dumps(Calls(bytearray, 10**12), 2)),
    "a large bytearray": lambda: seeds.with_pickle(pickle.dumps(Calls(bytearray, 2 * 10**9), 2)),
    "a counter": lambda: seeds.with_pickle(pickle.dumps(Calls(collections.Counter, "ab"), 2)),
    "a meta tensor": lambda: pickled({"state_dict": {"generator.head.0.weight_v": torch.empty(4, device="meta")}}),
    "a sparse tensor": lambda: pickled({"state_dict": {"generator.head.0.weight_v": torch.eye(4).to_sparse()}}),
    "complex numbers": lambda: pickled({"state_dict": {"generator.head.0.weight_v": torch.zeros(4, 3, 3, 3) * 1j}}),
    "views without end": repeated,
    "a deep pickle": lambda: seeds.with_pickle(b"\x80\x02" + b"(" * 10**6 + b"."),
    "a list in a circle": lambda: seeds.with_pickle(b"\x80\x02]q\x00h\x00a."),
    "no stop": lambda: seeds.with_pickle(b"\x80\x02}"),
    "compressed": lambda: packed(zipfile.ZIP_DEFLATED),
    "a zip of nothing": lambda: b"PK\x05\x06" + bytes(18),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PICKLES)
def test_checkpoints(name: str, worker: Worker, tmp_path: Path) -> None:
    assert judged(worker, find("authors' checkpoint"), PICKLES[name](), tmp_path) != "read"
    assert not Path("/tmp/never-made").exists()


RECIPES = {
    "a deep list": "x = " + "[" * 60_000,
    "a deep table": "x = " + "{a = " * 9_000,
    "a long dotted name": ".".join("a" * 32_000) + " = 1",
    "tables of tables": "[" + ".".join("ab" * 3_000) + "]\n" * 10,
    "many digits": "features = " + "9" * 4_000,
    "too many digits": "features = " + "9" * 60_000,
    "many hexadecimal digits": "rate = 0x" + "f" * 60_000,
    "many digits for a real": "rate = " + "9" * 400,
    "too large": "a = 1\n" * 20_000,
    "a billion features": "features = 1000000000",
    "a billion of the judge": 'base = "compact"\ndiscriminator_features = 1000000000',
    "a billion modules": "modules = 1_000_000_000",
    "a billion a batch": "batch = 1000000000",
    "a billion candidates": "coarse.k = 1000000000",
    "a huge crop": 'base = "compact"\ncrop = 2000000000',
    "not a number": "losses.pixel = nan",
    "infinite": "rate = inf",
    "negative": "steps = -5",
    "a date": "steps = 2026-11-24",
    "a name of several lines": '"a\\nb\\u001b[2J" = 1',
    "a method in a list": 'coarse.method = ["mwf"]',
    "a base in a table": "base = {a = 1}",
    "a name that is none": "name = 3",
    "half a character": 'name = "\\ud800"',
    "a NUL": "a = '\0'",
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name: str, worker: Worker, tmp_path: Path) -> None:
    assert judged(worker, find("recipe"), RECIPES[name].encode(), tmp_path) != "read"


def described(**changes: Any) -> bytes:
    return json.dumps(json.loads(seeds.descriptions()[0]) | changes).encode()


DESCRIPTIONS: dict[str, bytes] = {
    "a deep list": b"[" * 10**5,
    "too large": b'{"a": "' + b"x" * 2**20 + b'"}',
    "no seed": described(seed=None),
    "a seed of letters": described(seed="five"),
    "a seed past counting": described(seed=2**70),
    "a negative seed": described(seed=-1),
    "a seed that is true": described(seed=True),
    "a list as recipe": described(recipe=["name"]),
    "no recipe": described(recipe=None),
    "a number as losses": described(recipe={"losses": 3}),
    "an infinite rate": described(recipe={"rate": float("inf")}),
    "a version of digits": described(version=10**4000),
    "a version of text": described(version="\x1b[2J\n" * 1000),
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_descriptions(name: str, worker: Worker, tmp_path: Path) -> None:
    assert judged(worker, find("run.json"), DESCRIPTIONS[name], tmp_path) != "read"


def stood(tensors: dict[str, torch.Tensor] | None = None, **changes: Any) -> bytes:
    """A run's state after changes to its header or tensors."""
    from safetensors.torch import load, save

    content = load(seeds.states()[0])
    about = {"version": 1, "step": 1, "best": 0.5, "best_step": 1} | changes
    return save(content | (tensors or {}), metadata={"idesketch": json.dumps(about)})


def moment(kind: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], bytes]:
    def make() -> bytes:
        from safetensors.torch import load

        content = load(seeds.states()[0])
        name = next(name for name in sorted(content) if name.startswith(f"generator.adam.{kind}."))
        return stood({name: value(content[name])})

    return make


STATES: dict[str, Callable[[], bytes]] = {
    "an infinite step": lambda: stood(step=float("inf")),
    "a step of text": lambda: stood(step="1"),
    "a negative step": lambda: stood(step=-1),
    "no step": lambda: stood(step=None),
    "a best of text": lambda: stood(best="good"),
    "a best that is no number": lambda: stood(best=float("nan")),
    "a best step of text": lambda: stood(best_step="last"),
    "a mean of another shape": moment("exp_avg", lambda value: torch.zeros(3)),
    "a mean that is no number": moment("exp_avg", lambda value: value * float("nan")),
    "a negative square": moment("exp_avg_sq", lambda value: value - 1),
    "fewer steps than none": moment("step", lambda value: value * 0 - 1),
    "many steps": moment("step", lambda value: torch.ones(7)),
}


@pytest.mark.parametrize("name", STATES)
def test_states(name: str, worker: Worker, tmp_path: Path) -> None:
    assert judged(worker, find("state of a run"), STATES[name](), tmp_path) != "read"


LOGS = {
    "a deep line": b"[" * 10**5 + b"\n",
    "an infinite step": b'{"step": Infinity}\n{"step": 1e999}\n',
    "no text": b"\xff\xfe\0\0\n" * 3,
    "a step of digits": b'{"step": ' + b"9" * 5000 + b"}\n",
    "a line without end": b'{"step": ' * 10**6,
    "lines that are none": b'3\n"step"\nnull\n[]\n{}\n',
}


@pytest.mark.parametrize("name", LOGS)
def test_logs(name: str, worker: Worker, tmp_path: Path) -> None:
    good = b'{"step": 1}\n'
    assert judged(worker, find("log"), LOGS[name] + good, tmp_path) == "read"
    kept = (tmp_path / "log.jsonl").read_bytes()
    assert kept == good or name == "a line without end"  # which took the good one with it
