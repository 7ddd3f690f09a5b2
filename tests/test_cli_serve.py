"""``idesketch serve``: its address, its mistakes, its processes, an end by Ctrl+C; and the examples of its page."""

from __future__ import annotations

import importlib.util
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from commands import call, told_once
from served import Served, bank_and_model, photo_of, running, serving, sketcher_of, workers_of

from idemodel.files.images import read_grey
from idemodel.generator.checkpoint import save_generator
from idemodel.generator.network import MLANet

pytestmark = pytest.mark.usefixtures("one_torch_thread")

NO_FLOAT16 = "the precision float16 is for CUDA devices, a CPU takes longer by it; take float32, or --device cuda"
DOCS = Path(__file__).parents[1] / "docs" / "SERVE.md"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return bank_and_model(tmp_path_factory.mktemp("files"))


def test_several_processes_serve_one_address_with_a_token_until_ctrl_c(files: tuple[Path, Path]) -> None:
    bank, model = files
    with running(bank, model, "--workers", 2, "--host", "0.0.0.0") as (url, process):
        port, token = re.search(r":(\d+)/#token=(\S+)", url).groups()  # type: ignore[union-attr]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            assert client.get("/api/info").status_code == 401
            client.headers["authorization"] = f"Bearer {token}"
            answers = [client.post("/api/sketch", files={"photo": photo_of(number)}) for number in range(4)]
            assert {answer.status_code for answer in answers} == {200}
            assert client.get("/api/info").json()["builtin"] is False
        if sys.platform.startswith("linux"):
            workers = workers_of(process.pid)
            assert len(workers) == 2
            settings = [Path(f"/proc/{worker}/environ").read_bytes().split(b"\0") for worker in workers]
            assert all(b"OMP_WAIT_POLICY=PASSIVE" in each for each in settings)  # none spins while it waits
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert f"so a token is needed; this one was made for this run: {token}" in said and "not encrypted" in said
    assert "Traceback" not in said and process.returncode == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_what_does_not_fit_is_told_once_before_any_address(
    files: tuple[Path, Path], tmp_path: Path, workers: int
) -> None:
    bank, model = files
    asks_for_much = tmp_path / "model.safetensors"
    save_generator(asks_for_much, MLANet(1, 4, 1, 2, 8), recipe={"coarse": {"method": "magic"}})
    broken = tmp_path / "bank.h5"
    broken.write_bytes(bank.read_bytes()[:5000])
    for given, says in (((bank, asks_for_much), "magic"), ((broken, model), str(broken))):
        done = subprocess.run(
            [sys.executable, "-m", "idecli", "serve", "--port", "0", "--workers", str(workers),
             "--bank", str(given[0]), "--model", str(given[1])], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1 and done.stdout == ""
        told = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert len(told) == 1 and says in told[0] and "Traceback" not in done.stderr


def test_a_mistake_is_one_line(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bank, model = files
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # as a user told it; also, serve sets it for its process
    assert "no such file" in told_once(capsys, "serve", "--bank", tmp_path / "none.h5", "--port", 0)
    assert "none.pth: no such file" in told_once(capsys, "serve", "--bank", bank, "--model", tmp_path / "none.pth")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = told_once(capsys, "serve", "--bank", bank, "--model", model, "--port", port)
        assert f"127.0.0.1:{port}: cannot listen there" in said and "--port" in said and "--host" not in said
    assert "at least 8" in told_once(capsys, "serve", "--bank", bank, "--token", "short")
    assert "origin is like" in told_once(capsys, "serve", "--bank", bank, "--origin", "intranet")
    assert str(model) in told_once(capsys, "serve", "--bank", model, "--model", model, "--port", 0)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fastapi" else found(name))
    assert "pip install 'idesketch[serve]'" in told_once(capsys, "serve")


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_device_cannot_do_is_one_line_before_any_address(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # as a user told it; also, serve sets it for its process
    serve = ("serve", "--bank", files[0], "--model", files[1], "--port", 0, "--workers", workers)
    assert told_once(capsys, *serve, "--device", "cpu", "--precision", "float16") == f"Error: {NO_FLOAT16}"
    assert "no torch device is called 'abacus'" in told_once(capsys, *serve, "--device", "abacus")
    assert call(*serve, "--precision", "half") == 2 and "'half' is not one of" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["198.51.100.7", "nowhere.invalid", "a" * 70 + ".invalid"])
def test_a_host_that_is_not_this_machine_s_is_named_and_no_token_made(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], host: str
) -> None:
    assert call("serve", "--bank", files[0], "--model", files[1], "--host", host, "--port", 0) == 1
    out, said = capsys.readouterr()
    told = said.replace("\n", " ")
    assert out == "" and f"{host}:0: cannot listen there" in told and "as --host" in told
    assert "token" not in told and "--port" not in told


def test_the_server_is_loaded_by_its_command_alone() -> None:
    code = "import sys, idecli.serve, idemodel; print([m for m in ('fastapi', 'uvicorn', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture(scope="module")
def here(files: tuple[Path, Path]) -> Iterator[Served]:
    with serving(sketcher_of(files[0])) as server:
        yield server


def example(language: str, name: str) -> str:
    """The example of docs/SERVE.md in that language that has ``name`` in it."""
    text = DOCS.read_text(encoding="utf-8")
    return next(code for code in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if name in code)


def test_the_python_example_of_the_docs_runs(
    here: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("me.png").write_bytes(photo_of(0))
    code = example("python", "/api/sketch").replace("http://127.0.0.1:8000", here.url)
    exec(compile(code, "SERVE.md", "exec"), {})
    assert read_grey("sketch.png").shape == (64, 48)
    assert "normalised" in capsys.readouterr().out
    Path("me.png").write_bytes(b"no image")
    with pytest.raises(SystemExit, match=r"me\.png: not a readable"):
        exec(compile(code, "SERVE.md", "exec"), {})


def test_the_curl_line_of_the_docs_runs(here: Served, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    (tmp_path / "me.png").write_bytes(photo_of(0))
    line = example("sh", "curl").replace("http://127.0.0.1:8000", here.url)
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert read_grey(tmp_path / "sketch.png").shape == (128, 96)


def test_the_docs_tell_the_fields_that_there_are(here: Served) -> None:
    form = here.client.get("/openapi.json").json()["paths"]["/api/sketch"]["post"]["requestBody"]["content"]
    text = DOCS.read_text(encoding="utf-8")
    for field in form["multipart/form-data"]["schema"]["properties"]:
        assert f"`{field}`" in text


def test_photos_of_the_tests_differ() -> None:
    """Else a mix-up of clients could not be seen."""
    assert len({photo_of(number) for number in range(6)}) == 6
