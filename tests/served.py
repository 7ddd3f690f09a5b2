"""A server of the tests: a tiny bank and generator, served by uvicorn in a thread of the test's own process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from idekernels import BankSettings, open_bank, write_bank
from idekernels.bank import PHOTO_TO_SKETCH
from idemodel.faces.alignment import Similarity, warp
from idemodel.files.images import encode_image
from idemodel.generator.checkpoint import save_generator
from idemodel.generator.config import guide_channels
from idemodel.generator.enhance import Enhancer
from idemodel.generator.network import MLANet
from idemodel.phantom import phantom_pairs
from idemodel.serving.engine import Engine
from idemodel.serving.server import Impatient, Server, listen
from idemodel.serving.service import create_app
from idemodel.serving.settings import Access, Limits
from idemodel.sketcher import Sketcher


def tiny_bank(folder: Path, height: int = 64, width: int = 48, direction: str = PHOTO_TO_SKETCH) -> Path:
    """A bank of four drawn faces."""
    pairs = [(pair.name, pair.photo, pair.sketch) for pair in phantom_pairs(4, height=height, width=width, seed=2)]
    path = folder / "bank.h5"
    write_bank(path, pairs, BankSettings(patch=8, overlap=4, radius=2, direction=direction))
    return path


def sketcher_of(bank: Path) -> Sketcher:
    """With a generator that was never trained; to be closed with its bank."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        opened = open_bank(bank)
        network = MLANet(opened.channels, 4, 1, 2, guide_channels("coarse+photo", opened.channels))
        enhancer = Enhancer(network, device="cpu", direction=opened.direction)
    return Sketcher(opened, enhancer, {"k": 3})


def photo_of(number: int, height: int = 64, width: int = 48, scale: float = 1.0) -> bytes:
    """A drawn face as a PNG file; with another ``scale`` as a camera might have taken it."""
    photo = next(iter(phantom_pairs(1, height=height, width=width, seed=2, start=10 + number))).photo
    if scale != 1.0:
        photo = warp(photo, Similarity(scale, 0), round(height * scale), round(width * scale), "edge")
    return encode_image(photo)


class Served:
    """A running server: its address, its engine, and clients for it."""

    def __init__(self, engine: Engine, server: Server, url: str) -> None:
        self.engine, self.server, self.url = engine, server, url
        self.client = httpx.Client(base_url=url, timeout=60)

    def sketch(self, photo: bytes, name: str = "me.png", json: bool = False, **options: Any) -> httpx.Response:
        """Post a photo."""
        accept = "application/json" if json else "*/*"
        data = {key: str(value) for key, value in options.items()}
        files = {"photo": (name, photo, "image/png")}
        return self.client.post("/api/sketch", files=files, data=data, headers={"accept": accept})

    def faces(self, photo: bytes, name: str = "me.png", **options: Any) -> httpx.Response:
        """Ask for the faces of a photo."""
        return self.client.post("/api/faces", files={"photo": (name, photo, "image/png")}, data=options)


@contextmanager
def serving(sketcher: Sketcher, limits: Limits | None = None, access: Access | None = None) -> Iterator[Served]:
    """Serve with it until the end of the block, on a free port of the loopback."""
    limits = limits or Limits()
    Impatient.idle = limits.idle
    engine = Engine(sketcher, limits)
    with listen("127.0.0.1", 0) as listening:
        server = Server(create_app(engine, access), lambda: None)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        served = Served(engine, server, f"http://127.0.0.1:{listening.getsockname()[1]}")
        try:
            yield served
        finally:
            served.client.close()
            server.should_exit = True
            thread.join(30)
            engine.sketcher.prepared.bank.close()


def connected(served: Served) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=30)
    made.settimeout(30)
    return made


def bank_and_model(folder: Path) -> tuple[Path, Path]:
    """Files of a server of a process of its own."""
    save_generator(folder / "model.safetensors", MLANet(1, 4, 1, 2, 8), recipe={"coarse": {"method": "mwf", "k": 3}})
    return tiny_bank(folder), folder / "model.safetensors"


@contextmanager
def running(bank: Path, model: Path, *more: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server in a process of its own, once it has printed it."""
    command = [sys.executable, "-m", "idecli", "serve", "--port", "0", "--bank", str(bank), "--model", str(model)]
    command += map(str, more)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            found = re.fullmatch(r"idesketch is at (http://\S+) \(Ctrl\+C ends it\)\n", line)
            assert found, line + (process.stderr.read() if process.stderr else "")
            yield found[1].rstrip("/"), process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)


def workers_of(parent: int) -> list[int]:
    """The processes of a server of several, on Linux."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@contextmanager
def held_up(bank: Path, places: int) -> Iterator[tuple[Served, threading.Event]]:
    """A server of so many places whose engine waits until the event is set."""
    sketcher, go = sketcher_of(bank), threading.Event()
    real = sketcher.sketch

    def slow(photos: Any) -> Any:
        assert go.wait(30)
        return real(photos)

    sketcher.sketch = slow  # type: ignore[method-assign]
    with serving(sketcher, Limits(places=places, batch=1)) as served:
        yield served, go
        go.set()


def wait_for(true: Callable[[], Any]) -> None:
    """Until it is true, at most half a minute."""
    for _ in range(3000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")
