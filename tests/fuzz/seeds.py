"""Good files of every format, small, as bytes; and the repairs that let an alteration pass a format's own checksums."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tempfile
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

ROWS, COLUMNS = 40, 32  # of the bank and of the pairs
WIDTHS = (4, 4, 4, 4, 4)  # of a VGG19 that is quickly written


def made(name: str, write: Callable[[Path], Any]) -> bytes:
    """What ``write`` writes to a file of this name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def picture(mode: str, rows: int = ROWS, columns: int = COLUMNS) -> Image.Image:
    """Noise, in a mode of Pillow."""
    noise = np.random.default_rng(3).integers(0, 256, (rows, columns, 3), np.uint8)
    if mode == "I;16":
        return Image.fromarray(noise[..., 0].astype(np.uint16) * 200)
    return Image.fromarray(noise).convert(mode)


def _saved(mode: str, kind: str, rows: int = ROWS, columns: int = COLUMNS, **options: Any) -> bytes:
    content = io.BytesIO()
    picture(mode, rows, columns).save(content, kind, **options)
    return content.getvalue()


@cache
def png() -> tuple[bytes, ...]:
    """PNG in every kind of pixel, and with chunks that hold more than pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = [_saved(mode, "PNG") for mode in ("L", "RGB", "1", "RGBA", "I;16")]
    return (
        *plain,
        _saved("P", "PNG", transparency=3),
        _saved("RGB", "PNG", icc_profile=b"no profile" * 50, exif=exif),
        _saved("L", "PNG", 1, 1),
        _saved("RGB", "PNG", 1, 500),
    )


def journals() -> tuple[bytes, ...]:
    """What two commands noted of two pictures."""
    lines = [
        {"name": name, "photo": "ab" * 32, "size": 900, "changed": 10**18, "made": "cd" * 32, "command": command,
         "how": "ef" * 32, "version": "0.1.0", "in_place": False}
        for name in ("a.png", "b.png") for command in ("align", "coarse")
    ]  # fmt: skip
    return ("".join(json.dumps(line) + "\n" for line in lines).encode(),)


def tables() -> tuple[bytes, ...]:
    """Eyes as people and spreadsheets write them."""
    text = "file,left_x,left_y,right_x,right_y\na.png,1,2,30,4\n"
    return text.encode(), f"sep=;\r\n{text.replace(',', ';')}".encode("utf-16")


@cache
def images() -> tuple[bytes, ...]:
    """All formats that are read, in several of their kinds."""
    exif = Image.Exif()
    exif[0x0112] = 5
    exif[0x8769] = {0x9003: "2026:01:01 00:00:00"}
    return (
        *png(),
        _saved("L", "JPEG"),
        _saved("RGB", "JPEG", exif=exif, icc_profile=b"no profile" * 50),
        _saved("RGB", "JPEG", progressive=True),
        _saved("CMYK", "JPEG"),
        _saved("RGB", "BMP"),
        _saved("P", "BMP"),
        _saved("1", "BMP"),
        _saved("RGB", "TIFF"),
        _saved("P", "GIF"),
        _saved("RGB", "WEBP", lossless=True),
        _saved("RGBA", "WEBP", exif=exif),
        *([_saved("RGB", "AVIF")] if features.check("avif") else []),
        _saved("I;16", "TIFF"),
        *(_saved("RGB", "TIFF", compression=how) for how in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        _saved("1", "TIFF", compression="group4"),
        _saved("CMYK", "TIFF"),
    )


def with_good_crcs(content: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold now."""
    out, place = bytearray(content[:8]), 8
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        body = content[place + 4 : place + 8 + length]
        out += content[place : place + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        place += 12 + length
    return bytes(out + content[place:])


@cache
def banks() -> tuple[bytes, ...]:
    """A bank as it is, and one compressed."""
    from idekernels import BankSettings, write_bank

    numbers = np.random.default_rng(1)
    pairs = [(f"pair {i}", *numbers.integers(0, 256, (2, ROWS, COLUMNS), np.uint8)) for i in range(4)]
    settings = BankSettings(8, 4, 2, ("intensity", "dog"), (1, 2))
    return tuple(
        made("bank.h5", lambda path, how=how: write_bank(path, pairs, settings, compress=how)) for how in (False, True)
    )


def with_good_checksums(content: bytes) -> bytes:
    """An HDF5 file whose superblock and object headers have the checksums of what they hold now."""
    out = bytearray(content)
    blocks = [(0, 44)] if content[:8] == b"\x89HDF\r\n\x1a\n" else []
    start = content.find(b"OHDR")
    while start >= 0 and start + 40 < len(content):
        flags = content[start + 5]
        width = 1 << (flags & 3)
        first = start + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        blocks.append((start, first + width + int.from_bytes(content[first : first + width], "little")))
        start = content.find(b"OHDR", start + 4)
    for begin, end in blocks:
        if end + 4 <= len(content):
            out[end : end + 4] = lookup3(bytes(out[begin:end])).to_bytes(4, "little")
    return bytes(out)


def lookup3(data: bytes) -> int:
    """Bob Jenkins's hash (2006, public domain, hashlittle), the checksum of HDF5's metadata."""
    mask = 0xFFFFFFFF
    a = b = c = (0xDEADBEEF + len(data)) & mask

    def rotated(x: int, k: int) -> int:
        return ((x << k) | (x >> (32 - k))) & mask

    whole = max(0, (len(data) - 1) // 12) * 12
    for place in range(0, whole, 12):
        x, y, z = struct.unpack_from("<III", data, place)
        a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
        for k in (4, 6, 8, 16, 19, 4):
            a = (a - c) & mask ^ rotated(c, k)
            c = (c + b) & mask
            a, b, c = b, c, a
    if not data:
        return c
    x, y, z = struct.unpack("<III", data[whole:].ljust(12, b"\0"))
    a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
    for k in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - rotated(b, k)) & mask
        a, b, c = b, c, a
    return b


@cache
def models() -> tuple[bytes, ...]:
    """A generator that sees the coarse sketch alone, and one that sees the photo too, weight norm folded."""
    from idemodel.generator.checkpoint import save_generator
    from idemodel.generator.network import MLANet

    nets = (MLANet(1, 4, 1), MLANet(1, 4, 1, guide=8).fold_weight_norm())
    recipe = {"name": "tiny", "coarse": {"k": 3}}
    return tuple(made("x.safetensors", lambda path, net=net: save_generator(path, net, recipe=recipe)) for net in nets)


def headers() -> list[bytes]:
    """The JSON of a model's safetensors header."""
    return [_parts(models()[0])[0]]


def with_header(header: bytes) -> bytes:
    """The same model with another header."""
    return len(header).to_bytes(8, "little") + header + _parts(models()[0])[1]


def _parts(content: bytes) -> tuple[bytes, bytes]:
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end], content[end:]


@cache
def references() -> tuple[bytes, ...]:
    """The authors' checkpoint as torch writes it now, and as it did before 1.6."""
    import torch

    from idemodel.generator.network import MLANet

    tensors = OrderedDict((f"generator.{name}", value) for name, value in MLANet(3, 4, 1).state_dict().items())
    return _pickled({"state_dict": tensors, "epoch": torch.tensor(3)})


@cache
def vgg19() -> tuple[bytes, ...]:
    """Narrow VGG19s: .pth, old and new."""
    return _pickled(OrderedDict(_vgg19_tensors()))


def vgg19_safetensors() -> tuple[bytes, ...]:
    """The same as safetensors, in single and half precision."""
    from safetensors.torch import save

    tensors = _vgg19_tensors()
    return save(tensors), save({name: value.half() for name, value in tensors.items()})


def _vgg19_tensors() -> dict[str, Any]:
    import torch

    from idemodel.training.losses import vgg19_features

    shapes = vgg19_features(WIDTHS).state_dict()
    return {f"features.{name}": torch.full(value.shape, 0.1) for name, value in shapes.items()}


def _pickled(content: Any) -> tuple[bytes, ...]:
    import torch

    def write(path: Path, zipped: bool) -> None:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)

    return tuple(made("x.pth", lambda path, how=how: write(path, how)) for how in (True, False))


def pickles() -> list[bytes]:
    """The pickle inside a zipped checkpoint."""
    with zipfile.ZipFile(io.BytesIO(references()[0])) as archive:
        return [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]


def with_pickle(content: bytes) -> bytes:
    """A zipped checkpoint around another pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(references()[0])) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith("data.pkl") else old.read(name))
    return out.getvalue()


def recipes() -> list[bytes]:
    """Recipes as TOML."""
    return [
        b'base = "compact"\nsteps = 10\nfeatures = 8\nhalvings = [5, 7]\nbetas = [0.5, 0.9]\nflips = true\n'
        b'[losses]\npixel = 1.0\nadversarial = 0.01\n[coarse]\nmethod = "mwf"\nk = 5\nalpha = 0.5\n',
        b"crop = 64\ndiscriminator = 'patch'\nlosses.ssim = 1e-1\n",
    ]


def tiny_recipe() -> Any:
    """A recipe whose networks are as small as they can be."""
    from idemodel.training.recipe import COMPACT

    return replace(COMPACT, features=4, modules=1, discriminator_features=4, inputs="coarse")


def descriptions() -> list[bytes]:
    """A run folder's run.json."""

    def write(path: Path) -> None:
        from idemodel.training.run_folder import RunFolder

        RunFolder(path.parent).describe({"recipe": tiny_recipe().as_dict(), "seed": 5, "processes": 1, "data": {}})

    return [made("run.json", write)]


def logs() -> list[bytes]:
    """A run folder's log."""
    lines: list[Any] = [
        {"step": 0, "scores": {"ssim": 0.5, "mean": 0.4}},
        {"step": 10, "losses": {"pixel": 0.1}, "seconds": 0.5},
    ]
    return ["".join(json.dumps(line) + "\n" for line in lines * 3).encode()]


@cache
def trainer() -> Any:
    """A trainer of the tiny recipe."""
    from idemodel.generator.config import MLAConfig
    from idemodel.training.trainer import Trainer

    return Trainer(tiny_recipe(), MLAConfig(1, 4, 1), 0)


@cache
def states() -> tuple[bytes, ...]:
    """A run folder's state after a step."""

    import torch

    from idemodel.training.crops import Batch
    from idemodel.training.run_folder import RunFolder, Standing

    def write(path: Path) -> None:
        made_by = trainer()
        made_by.step(Batch(torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 32, 32)), 0)
        RunFolder(path.parent).save(Standing(1, 0.5, 1, made_by.state()), made_by.best_generator, {}, "photo-to-sketch")

    return (made("state.safetensors", write),)


def arrays() -> list[bytes]:
    """Coarse sketches in a cache file, and the archives and pickles that numpy would read as well."""
    content = io.BytesIO()
    np.save(content, np.full((2, 1, ROWS, COLUMNS), 0.5, np.float32))
    archive = io.BytesIO()
    np.savez(archive, np.zeros(3))
    return [content.getvalue(), content.getvalue(), content.getvalue(), archive.getvalue(), pickle.dumps([1, 2])]


@cache
def of_all_formats() -> tuple[bytes, ...]:
    """One file of each format, to be taken for another."""
    text = (recipes()[0], descriptions()[0], b"name,row,column\na,1,2\n", b"<?xml version='1.0'?><svg/>")
    packed = (banks()[0], models()[0], *references(), arrays()[0], arrays()[3])
    return (png()[1], images()[-1], images()[10], *packed, *text, b"GIF89a" + bytes(50), b"\x1f\x8b" + bytes(30))
