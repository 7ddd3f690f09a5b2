"""Small archives of exactly the structures that data sets come in, filled with phantom faces."""

from __future__ import annotations

import bz2
import io
import json
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from idemodel.phantom import phantom_pairs

SHIFT = (60, 90)  # columns and rows by which an original frame is larger at the left and the top
SCALE = 2  # and how much larger its pixels are


@cache
def face(number: int) -> tuple[np.ndarray, np.ndarray]:
    """The photo and the sketch of a phantom, 250 x 200; there are three of them."""
    pair = next(phantom_pairs(1, seed=5, start=number % 3))
    return pair.photo, pair.sketch


def original(picture: np.ndarray) -> np.ndarray:
    """The picture as an original frame: twice as large, with a grey surround."""
    large = picture.repeat(SCALE, 0).repeat(SCALE, 1)
    frame = np.full((700, 560, *picture.shape[2:]), 128, np.uint8)
    frame[SHIFT[1] : SHIFT[1] + 500, SHIFT[0] : SHIFT[0] + 400] = large
    return frame


def at(column: float, row: float) -> tuple[float, float]:
    """Where a position of the aligned picture is in the original frame (centres of pixels)."""
    return SCALE * (column + 0.5) - 0.5 + SHIFT[0], SCALE * (row + 0.5) - 0.5 + SHIFT[1]


EYES = (at(75, 125), at(125, 125))
THREE = "\n".join(f"{x} {y}" for x, y in (*EYES, at(100, 180)))
DAT = "\n".join(f"{x} {y}" for x, y in [(1, 1)] * 16 + [EYES[0], (2, 2), EYES[1]] + [(3, 3)] * 16)


def encoded(picture: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format=kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def zipped(path: Path, files: Mapping[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def unpacked(root: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def cufs_archives(root: Path) -> Path:
    """The downloads of CUFS in one folder: originals with points (CUHK), cropped (AR), sketches alone (XM2VTS)."""
    photos, sketches = zip(*(face(number) for number in range(3)), strict=True)
    names = {
        "training": (("f-005-01", "F2-005-01-sz1"), ("m1-001-01", "m1-001-01-sz1")),
        "testing": (("m-063-01",) * 2,),
    }
    number = 0
    for split, faces in names.items():
        files: dict[str, dict[str, bytes | str]] = {side: {} for side in ("photo", "sketch", "dots_p", "dots_s")}
        for photo, sketch in faces:
            sketch = sketch if sketch.endswith("sz1") else f"{sketch}-sz1"
            files["photo"][f"photo/{photo}.jpg"] = encoded(original(photos[number]), "JPEG")
            files["sketch"][f"sketch/{sketch}.jpg"] = encoded(original(sketches[number]), "JPEG")
            files["dots_p"][f"photo/{photo}.dat"] = DAT
            files["dots_s"][f"sketch/{sketch}.dat"] = DAT.replace("\n", "\r\n")
            number += 1
        zipped(root / f"CUHK_{split}_photo.zip", files["photo"])
        zipped(root / f"CUHK_{split}_sketch.zip", files["sketch"])
        zipped(root / f"CUHK_{split}_faducial_points_photo.zip", files["dots_p"])
        zipped(root / f"CUHK_{split}_faducial_points_sketch.zip", files["dots_s"])
    zipped(root / "AR_cropped_photos.zip", {"photos/m-002-1.jpg": encoded(photos[0], "JPEG")})
    zipped(root / "AR_cropped_sketches.zip", {"sketches/Mp-002-1-sz1.jpg": encoded(sketches[0], "JPEG")})
    zipped(root / "XM2VTS_sketch.zip", {"sketch/000_1_1_sz1.jpg": encoded(original(sketches[1]), "JPEG")})
    return root


def cufsf_archive(root: Path) -> Path:
    """CUFSF with grey FERET photos beside it: one listed, packed; one colour, with its truth; one that is not there."""
    photo, sketch = face(1)
    truth = f"left_eye_coordinates={EYES[1][0]} {EYES[1][1]}\nright_eye_coordinates={EYES[0][0]} {EYES[0][1]}\n"
    files: dict[str, bytes | str] = {
        "CUFSF/names_of_photos_used_for_drawing_sketches.txt": "00043fb001d_931230.tif\n00044fa010_930831.tif\n"
        "00045fa010_930831.tif\n",
        "CUFSF/photo_points/00043fb001d_931230.3pts": THREE,
        "CUFSF/photo_points/00044fa010_930831.3pts": "10 10\n20 10\n15 20\n",  # of the grey photo, which is not here
        "FERET/00043/00043fb001d_931230.ppm.bz2": bz2.compress(encoded(original(photo), "PPM")),
        "FERET/00043/00043fa001d_931230.ppm.bz2": bz2.compress(encoded(original(face(0)[0]), "PPM")),
        "FERET/00044/00044_930831_fa.ppm": encoded(original(photo), "PPM"),
        "FERET/ground_truths/name_value/00044/00044_930831_fa.txt": truth,
    }
    for subject in ("00043", "00044", "00045"):
        files[f"CUFSF/original_sketch/{subject}.jpg"] = encoded(original(sketch), "JPEG")
        files[f"CUFSF/sketch_points/{subject}.3pts"] = THREE
    return zipped(root / "cufsf.zip", files)


def fs2k_archive(root: Path) -> Path:
    """FS2K: three styles, one annotated pair without its sketch, one picture that no annotation names."""
    notes: dict[str, list[dict[str, object]]] = {"train": [], "test": []}
    files: dict[str, bytes | str] = {"FS2K/photo/photo1/image0999.jpg": encoded(face(0)[0], "JPEG")}
    for number, split in enumerate(("train", "train", "test", "train")):
        source = number % 3 + 1
        image = f"photo{source}/image{number:04d}"
        notes[split].append({
            "image_name": image, "skin_color": [163, 139], "lip_color": [156.9, 82.5, 79.0],
            "eye_color": [float("nan")], "hair": 0, "hair_color": 2, "gender": 0, "earring": 1, "smile": 1,
            "frontal_face": 1, "style": number % 3,
        })  # fmt: skip
        files[f"FS2K/photo/{image}.jpg"] = encoded(face(number)[0], "JPEG")
        if number != 3:
            kind = "png" if source == 2 else "jpg"
            sketch = encoded(face(number)[1], {"png": "PNG", "jpg": "JPEG"}[kind])
            files[f"FS2K/sketch/sketch{source}/sketch{number:04d}.{kind}"] = sketch
    for split, entries in notes.items():
        files[f"FS2K/anno_{split}.json"] = json.dumps(entries)
    return zipped(root / "FS2K.zip", files)
