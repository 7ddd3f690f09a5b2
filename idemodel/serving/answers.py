"""What the engine made, as the models that programs get."""

from __future__ import annotations

import base64

from idemodel.serving.engine import FacesMade, SketchMade
from idemodel.serving.models import EyePoints, FacesAnswer, FoundFace, Point, SketchAnswer


def sketch_answer(made: SketchMade) -> SketchAnswer:
    """A sketch with everything that is known of it."""
    eyes = made.prepared.eyes
    return SketchAnswer(
        fine=_base64(made.fine), coarse=_base64(made.coarse), photo=_base64(made.photo),
        framed=_base64(made.framed) if made.framed else None, height=made.size[0], width=made.size[1],
        face=made.prepared.face, eyes=EyePoints.of(eyes) if eyes else None, warnings=list(made.warnings),
    )  # fmt: skip


def faces_answer(made: FacesMade) -> FacesAnswer:
    """The faces of a photo."""
    found = [
        FoundFace(
            number=number, eyes=EyePoints.of(face.eyes), box=[Point.of(corner) for corner in face.box], score=face.score
        )
        for number, face in enumerate(made.faces, 1)
    ]
    preview = _base64(made.preview) if made.preview else None
    return FacesAnswer(
        height=made.size[0], width=made.size[1], faces=found, warnings=list(made.warnings), preview=preview
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
