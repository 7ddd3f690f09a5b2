"""The interface over HTTP: what it answers, that it answers as the library and the command line, and to whom."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
import os
import random
import struct
import tempfile
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from commands import call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import Served, connected, held_up, photo_of, serving, sketcher_of, tiny_bank, wait_for

from idekernels.errors import BankError, InputError
from idemodel.files.images import decode_grey, encode_image
from idemodel.serving.engine import Engine, Kind, SketchWork
from idemodel.serving.gate import SECURITY_HEADERS, Admission, Places
from idemodel.serving.models import FacesAnswer, Info, Problem, SketchAnswer
from idemodel.serving.problems import Refused, refusal
from idemodel.serving.service import _wanted
from idemodel.serving.settings import Access, Limits
from idemodel.serving.uploads import Upload, read_upload
from idemodel.serving.waiting import Job, Line

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bank(tmp_path_factory.mktemp("bank"))


@pytest.fixture(scope="module")
def served(bank: Path) -> Iterator[Served]:
    with serving(sketcher_of(bank), Limits(upload=400_000)) as running:
        yield running


def pixels(png: bytes | str) -> np.ndarray:
    return decode_grey(base64.b64decode(png) if isinstance(png, str) else png, "answer")


def problem(answer: httpx.Response, status: int) -> str:
    """The sentence of a problem, once the answer is found to be one without a path or a traceback in it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = Problem.model_validate_json(answer.content)
    assert told.status == status and told.detail and "\n" not in told.detail
    assert "Traceback" not in answer.text and str(Path.cwd()) not in answer.text and "/tmp" not in answer.text
    return told.detail


# ---- answers


@pytest.mark.parametrize("size", ["source", "double"])
def test_a_sketch_is_what_the_library_makes(served: Served, size: str) -> None:
    answer = served.sketch(photo_of(0), size=size, k=2, alpha=0.25)
    assert "" not in json.loads(answer.headers["idesketch-warnings"])
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    sketcher = served.engine.sketcher
    photo = sketcher.prepare(photo_of(0))
    other = type(sketcher)(sketcher.prepared, sketcher.enhancer, sketcher.settings.changed(k=2, alpha=0.25), size=size)
    np.testing.assert_allclose(pixels(answer.content), other.sketch(photo).images()[0], atol=1)
    assert json.loads(answer.headers["idesketch-warnings"]) == list(photo.notes)


def test_json_holds_every_picture_and_warning(served: Served) -> None:
    answer = served.sketch(photo_of(1, 250, 200), json=True, paste_back="true")
    told = SketchAnswer.model_validate_json(answer.content)
    assert pixels(told.fine).shape == pixels(told.coarse).shape == pixels(told.photo).shape == (64, 48)
    assert (told.height, told.width) == (64, 48)
    assert told.framed is not None and pixels(told.framed).shape == (250, 200)
    assert told.face == 1 and told.eyes is not None and told.eyes.left.x < told.eyes.right.x
    alone = served.sketch(photo_of(1, 250, 200))
    np.testing.assert_array_equal(pixels(alone.content), pixels(told.fine))
    framed = served.sketch(photo_of(1, 250, 200), paste_back="true")
    np.testing.assert_array_equal(pixels(framed.content), pixels(told.framed))


def test_eyes_that_a_person_gave_count(served: Served) -> None:
    found = FacesAnswer.model_validate_json(served.faces(photo_of(1, 250, 200)).content).faces[0].eyes
    given_eyes = f"{found.left.x},{found.left.y},{found.right.x},{found.right.y}"
    told = SketchAnswer.model_validate_json(served.sketch(photo_of(1, 250, 200), json=True, eyes=given_eyes).content)
    assert told.face is None and told.eyes == found
    other = served.sketch(photo_of(1, 250, 200), json=True, eyes="60,120,140,110").json()
    assert other["eyes"]["left"] == {"x": 60.0, "y": 120.0} and other["fine"] != told.fine


def test_faces_are_counted_from_the_largest_with_a_preview(served: Served) -> None:
    from PIL import Image

    both = [np.asarray(Image.open(io.BytesIO(photo_of(number, 250, 200))).convert("RGB")) for number in (0, 3)]
    answer = served.faces(encode_image(np.concatenate(both, axis=1)), preview="true")
    told = FacesAnswer.model_validate_json(answer.content)
    assert [face.number for face in told.faces] == [1, 2] and (told.height, told.width) == (250, 400)
    assert told.preview is not None and pixels(told.preview).shape == (250, 400)
    none = served.faces(encode_image(np.full((90, 90, 3), 200, np.uint8)))
    told = FacesAnswer.model_validate_json(none.content)
    assert told.faces == [] and "no face found" in told.warnings[0] and told.preview is None


def test_info_and_health_say_what_runs(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Info.model_validate_json(served.client.get("/api/info").content)
    assert (told.pairs, told.height, told.width, told.k) == (4, 64, 48, 3)
    assert told.upload == 400_000 and not told.builtin and told.direction == "photo-to-sketch"
    assert (told.backend, told.device, told.precision) == ("cpu", "cpu", "float32")
    monkeypatch.setattr(served.engine.sketcher.enhancer, "precision", "float16")
    assert Info.model_validate_json(served.client.get("/api/info").content).precision == "float16"
    assert served.client.get("/api/health").json() == {"status": "ok", "waiting": 0, "places": 32}


def test_a_notice_of_decoding_is_told_every_time(served: Served) -> None:
    from PIL import Image

    deep = io.BytesIO()
    grey = np.asarray(Image.open(io.BytesIO(photo_of(0))).convert("L")).astype(np.uint16)
    Image.fromarray(grey * 16).save(deep, "PNG")
    for _ in range(2):
        answer = served.sketch(deep.getvalue(), "deep.png")
        assert any("taken as 12-bit" in line for line in json.loads(answer.headers["idesketch-warnings"]))


# ---- mistakes


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("letter.png", b"dear all"),
        ("wall.png", encode_image(np.full((90, 90, 3), 200, np.uint8))),
        ("cut.png", photo_of(0)[:500]),
    ],
)
def test_the_sentence_is_that_of_the_command_line(
    served: Served, bank: Path, name: str, content: bytes, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    assert call("coarse", bank, name, "-o", "out") == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    told = problem(served.sketch(content, name), 422)
    if name == "wall.png":  # the mistake is told alike, how to mend it as it is done here
        assert "--eyes" in said[0] and "--" not in told and "field eyes" in told
        said, told = [said[0].partition(";")[0]], told.partition(";")[0]
    assert [f"Error: {told}"] == said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "magic"}, "method must be one of mwf"),
        ({"alpha": "-1"}, "alpha must be finite and in [0.0, 1000000.0], not -1.0"),
        ({"alpha": "nan"}, "alpha must be finite and in [0.0, 1000000.0], not nan"),
        ({"alpha": "e"}, "alpha must be a number, not 'e'"),
        ({"k": "0"}, "k must be 1 or more and at most 40, not 0"),
        ({"k": "41"}, "k must be 1 or more and at most 40, not 41"),
        ({"k": "1.5"}, "k must be an integer, not '1.5'"),
        ({"k": "9" * 5000}, "a field has at most 1024 bytes"),
        ({"k": "9" * 500}, "k must be an integer, not '999"),
        ({"k": "40"}, "only 36 positions"),
        ({"size": "huge"}, "size must be one of source, double, not 'huge'"),
        ({"face": "7"}, "has no face 7"),
        ({"face": "0"}, "face must be 1 or more"),
        ({"face": "1", "eyes": "1,2,3,4"}, "not both"),
        ({"eyes": "1,2,3"}, "four numbers"),
        ({"eyes": "1,2,3,inf"}, "places in the photo"),
        ({"eyes": "30,30,10,30"}, "not left of the right one"),
        ({"colour": "red"}, "colour: no such field"),
        ({"paste_back": "perhaps"}, "paste_back must be true or false, not 'perhaps'"),
    ],
)
def test_an_option_out_of_range_is_a_sentence(served: Served, options: dict[str, str], says: str) -> None:
    assert says in problem(served.sketch(photo_of(0), **options), 413 if "bytes" in says else 422)


@pytest.mark.parametrize(("option", "value"), [("k", "0"), ("method", "magic")])
def test_an_option_is_refused_as_the_command_line_refuses_it(
    served: Served, bank: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("coarse", bank, "none.png", "-o", "none", f"--{option}", value) == 1
    said = capsys.readouterr().err.strip().removeprefix("Error: ")
    told = problem(served.sketch(photo_of(0), **{option: value}), 422)
    assert told == said.replace("at most 256", "at most 40")


@pytest.mark.parametrize("path", ["/", "/api/health", "/api/info", "/assets/page.js", "/nothing", "/api/sketch"])
def test_head_is_answered_as_get_without_the_body(served: Served, path: str) -> None:
    got, asked = served.client.get(path), served.client.head(path)
    assert asked.status_code == got.status_code and asked.content == b""
    assert dict(asked.headers) == dict(got.headers)


def test_what_is_no_form_is_refused(served: Served) -> None:
    post = served.client.post
    assert "multipart" in problem(post("/api/sketch", content=photo_of(0)), 415)
    assert "multipart" in problem(post("/api/sketch", json={"photo": "x"}), 415)
    form = {"content-type": "multipart/form-data"}
    assert "no boundary" in problem(post("/api/sketch", content=b"x", headers=form), 400)
    form = {"content-type": "multipart/form-data; boundary=b"}
    assert "damaged" in problem(post("/api/sketch", content=b"rubbish", headers=form), 400)
    head = b'--b\r\ncontent-disposition: form-data; name="photo"; filename="a.png"\r\n\r\n'
    assert "too early" in problem(post("/api/sketch", content=head + b"abc", headers=form), 400)
    assert "is empty" in problem(post("/api/sketch", content=head + b"\r\n--b--\r\n", headers=form), 422)
    assert "not none" in problem(post("/api/sketch", files={"picture": b"x"}), 422)
    assert "in the field photo" in problem(post("/api/sketch", files={"image": photo_of(0)}), 422)
    assert "not 2" in problem(post("/api/sketch", files=[("photo", b"x"), ("photo", b"y")]), 422)
    many = [(f"field{number}", b"x") for number in range(20)]
    assert "at most 16" in problem(post("/api/sketch", files=many), 413)
    assert "at most 1024 bytes" in problem(post("/api/sketch", data={"k": "1" * 2000}, files={"photo": b"x"}), 413)
    assert "address" in problem(served.client.get("/api/nothing"), 404)
    twice = {"photo": b"x", "k": (None, "1"), "alpha": (None, "1")}
    told = problem(post("/api/sketch", files=[*twice.items(), ("alpha", (None, "2"))]), 422)
    assert told == "alpha: the field is given twice"
    accept = {"accept": "text/html"}
    assert "image/png" in problem(post("/api/sketch", files={"photo": photo_of(0)}, headers=accept), 406)


def test_a_method_that_is_not_answered_is_told_with_those_that_are(served: Served) -> None:
    for method, path, allowed in (
        ("GET", "/api/sketch", "POST"), ("POST", "/api/info", "GET, HEAD"), ("DELETE", "/", "GET, HEAD"),
    ):  # fmt: skip
        answer = served.client.request(method, path)
        told = problem(answer, 405)
        assert told == f"{method} is not answered at this address; ask by {allowed.replace(', ', ' or ')}"
        assert answer.headers["allow"] == allowed
        for taken in allowed.split(", "):
            assert served.client.request(taken, path).status_code != 405


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/png;q=0, application/json", "application/json"),
        ("image/png;q=0, */*", "application/json"),
        ("image/png; q=0.5, application/json; Q=0.500", "image/png"),
        ("image/png;q=0.5, application/json;charset=utf-8;q=0.8", "application/json"),
        ("text/html, */*;q=0.1, application/*;q=0.2", "application/json"),
        ("application/json, */*", "application/json"),
        ("*/*, application/json", "image/png"),
        ("application/json;q=0, image/*;q=0.001", "image/png"),
        ("application/json;q=high, image/png;q=0.9", "application/json"),
        ("", "image/png"),
        (" , ", "image/png"),
        ("application/json;q=0", None),
        ("*/*;q=0", None),
        ("text/html,", None),
    ],
)
def test_what_an_accept_header_gives_most_weight_is_answered(accept: str, kind: str | None) -> None:
    if kind is not None:
        assert _wanted(accept) == kind
    else:
        with pytest.raises(Refused) as refused:
            _wanted(accept)
        assert refused.value.status == 406


def test_png_that_is_not_wanted_is_not_answered(served: Served) -> None:
    accept = {"accept": "image/png;q=0, application/json"}
    answer = served.client.post("/api/sketch", files={"photo": photo_of(0)}, headers=accept)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"


def test_a_photo_too_large_is_refused_before_it_is_read(served: Served) -> None:
    assert "larger than" in problem(served.sketch(bytes(500_000)), 413)

    def pieces() -> Iterator[bytes]:  # no content-length: counted as it comes
        yield b'--b\r\ncontent-disposition: form-data; name="photo"\r\n\r\n'
        for _ in range(20):
            yield bytes(25_000)

    form = {"content-type": "multipart/form-data; boundary=b"}
    assert "larger than" in problem(served.client.post("/api/sketch", content=pieces(), headers=form), 413)


def bomb(rows: int, columns: int) -> bytes:
    """A PNG of a few hundred bytes that says it has so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_by_its_header(served: Served) -> None:
    assert "over the limit" in problem(served.sketch(bomb(9_000, 9_000), "bomb.png"), 422)
    assert "exceeds limit" in problem(served.faces(bomb(50_000, 50_000), "bomb.png"), 422)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.png", "passwd.png"),
        ("C:\\me\\a.png", "a.png"),
        ("x" * 500 + ".png", "x" * 80),
        ("", "the photo"),
    ],
)
def test_a_name_is_told_without_its_folders(name: str, shown: str) -> None:
    body = f'--b\r\nContent-Disposition: form-data; name="photo"; filename="{name}"\r\n\r\nx\r\n--b--\r\n'.encode()
    assert parsed([body]).name == shown


def parsed(pieces: list[bytes], most: int = 10_000) -> Upload:
    async def coming() -> Any:
        for piece in pieces:
            yield piece

    return asyncio.run(read_upload(coming(), "multipart/form-data; boundary=b", most))


def test_damage_in_the_bank_or_the_server_tells_no_path() -> None:
    assert refusal(BankError("/srv/secret/bank.h5: damaged")).status == 500
    for error in (BankError("/srv/secret/bank.h5"), RuntimeError("/srv/secret"), ValueError("/srv/secret")):
        assert "secret" not in refusal(error).detail
    assert refusal(InputError("me.png: no face found")).detail == "me.png: no face found"
    assert refusal(MemoryError()).status == 503


def test_a_failure_within_is_answered_without_details(
    bank: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sketcher = sketcher_of(bank)
    with serving(sketcher) as served:
        monkeypatch.setattr(sketcher, "sketch", lambda photos: 1 / 0)
        assert "output" in problem(served.sketch(photo_of(0)), 500)
        assert "ZeroDivisionError" in caplog.text
        assert served.client.get("/api/health").json()["status"] == "ok"


# ---- who may ask


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "10.0.0.7",
        "",
        "[::1]evil.example",
        "[::1",
        "localhost:80:80",
        "127.0.0.1@evil.example",
        "localhost:",
        "evil.example/127.0.0.1",
        "[localhost]",
    ],
)
def test_a_foreign_host_is_refused(served: Served, host: str) -> None:
    for path in ("/", "/api/health", "/docs"):
        problem(served.client.get(path, headers={"host": host}), 421)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
def test_a_foreign_origin_is_refused(served: Served, origin: str) -> None:
    answer = served.client.post("/api/sketch", files={"photo": photo_of(0)}, headers={"origin": origin})
    problem(answer, 403)
    assert "access-control-allow-origin" not in answer.headers


def test_a_foreign_origin_beside_the_own_one_is_refused(served: Served) -> None:
    own = served.url.encode()
    for both in ([own, b"http://evil.example"], [b"http://evil.example", own]):
        headers = [(b"origin", origin) for origin in both]
        problem(served.client.get("/api/info", headers=headers), 403)  # type: ignore[arg-type]


def test_the_own_page_may_ask_by_any_name_of_the_loopback(served: Served) -> None:
    port = served.url.rpartition(":")[2]
    for name in ("localhost", "127.0.0.1", "[::1]"):
        headers = {"host": f"{name}:{port}", "origin": f"http://{name}:{port}"}
        assert served.client.get("/api/health", headers=headers).status_code == 200


def test_every_answer_has_the_security_headers(served: Served) -> None:
    answers = [served.client.get(path) for path in ("/", "/docs", "/assets/page.js", "/api/info", "/nothing")]
    for answer in [*answers, served.client.get("/", headers={"host": "evil.example"})]:
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers and "access-control-allow-origin" not in answer.headers


def test_a_token_is_needed_where_there_is_one_and_origins_where_they_are_named(bank: Path) -> None:
    access = Access(token="correct-horse", names=("sketches.example",), origins=("https://intranet.example",))
    with serving(sketcher_of(bank), access=access) as served:
        for header in ("", "Bearer wrong", "Basic correct-horse", "Bearer correct-horse-and-more", "Bearer \xe9"):
            given_header = {"authorization": header.encode("latin-1")}
            problem(served.client.get("/api/info", headers=given_header), 401)  # type: ignore[arg-type]
        assert served.client.get("/").status_code == 200
        right = {"authorization": "Bearer correct-horse", "host": "sketches.example"}
        assert served.client.get("/api/info", headers=right).status_code == 200
        from_there = {**right, "origin": "https://intranet.example"}
        answer = served.client.post("/api/sketch", files={"photo": photo_of(0)}, headers=from_there)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://intranet.example"
        asked = {"origin": "https://intranet.example", "access-control-request-method": "POST", "host": "localhost"}
        assert served.client.options("/api/sketch", headers=asked).status_code == 200
        problem(served.client.options("/api/sketch", headers={**asked, "origin": "https://evil.example"}), 403)
        elsewhere = {"origin": "https://intranet.example"}
        for answer in (
            served.client.get("/api/info", headers=elsewhere),  # no token
            served.client.post("/api/sketch", files={"photo": b"x"}, headers={**from_there, "accept": "text/css"}),
            served.client.get("/nothing", headers=elsewhere),
        ):
            problem(answer, answer.status_code)
            assert answer.headers["access-control-allow-origin"] == "https://intranet.example"
            assert "Origin" in answer.headers["vary"]
            assert "retry-after" in answer.headers["access-control-expose-headers"]


def test_beyond_the_loopback_a_token_is_needed() -> None:
    with pytest.raises(InputError, match="token is needed"):
        Access("0.0.0.0")
    with pytest.raises(InputError, match="at least 8"):
        Access("0.0.0.0", "short")
    everywhere = Access("0.0.0.0", "long-enough")
    assert everywhere.knows_host("192.168.1.7:8000") and not everywhere.knows_host("evil.example")
    assert Access().knows_host("[::1]:80") and not Access().knows_host("192.168.1.7")


# ---- many at once


def test_no_photo_reaches_another_client(served: Served) -> None:
    """Interleaved clients, batched together, of two kinds of settings: each gets its own photo's sketch."""
    alone = {number: served.sketch(photo_of(number), json=True, size=size(number)).json() for number in range(6)}

    def ask(number: int) -> tuple[int, dict[str, Any]]:
        with httpx.Client(base_url=served.url, timeout=60) as client:
            answer = client.post(
                "/api/sketch", files={"photo": (f"{number}.png", photo_of(number))}, data={"size": size(number)},
                headers={"accept": "application/json"},
            )  # fmt: skip
        return number, answer.json()

    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(ask, list(range(6)) * 8))
    for number, answer in answers:
        assert answer["photo"] == alone[number]["photo"]
        np.testing.assert_allclose(pixels(answer["fine"]), pixels(alone[number]["fine"]), atol=1)
        assert answer["coarse"] == alone[number]["coarse"]


def size(number: int) -> str:
    return ("source", "double")[number % 2]


@pytest.fixture
def held(bank: Path) -> Iterator[tuple[Served, threading.Event]]:
    """A server of four places whose engine waits until the event is set."""
    with held_up(bank, 4) as served:
        yield served


def test_of_hundreds_at_once_all_but_the_places_are_told_to_come_again(held: tuple[Served, threading.Event]) -> None:
    served, go = held

    async def ask_all() -> tuple[list[httpx.Response], list[httpx.Response]]:
        async with httpx.AsyncClient(base_url=served.url, timeout=60, limits=httpx.Limits()) as client:
            asked = [
                asyncio.ensure_future(client.post("/api/sketch", files={"photo": photo_of(0)})) for _ in range(200)
            ]
            while sum(one.done() for one in asked) < 196:
                await asyncio.sleep(0.01)
            refused = [one.result() for one in asked if one.done()]
            assert (await client.get("/api/health")).json()["waiting"] == 4
            go.set()
            return refused, await asyncio.gather(*asked)

    refused, answers = asyncio.run(ask_all())
    assert {answer.status_code for answer in refused} == {429}
    for answer in refused:
        assert int(answer.headers["retry-after"]) >= 1 and "try again" in problem(answer, 429)
    assert sum(answer.status_code == 200 for answer in answers) == 4
    wait_for(lambda: served.client.get("/api/health").json()["waiting"] == 0)


def test_a_request_that_was_given_up_is_not_computed(held: tuple[Served, threading.Event]) -> None:
    served, go = held
    with ThreadPoolExecutor(1) as client:
        first = client.submit(httpx.post, f"{served.url}/api/sketch", files={"photo": photo_of(0)}, timeout=60)
        wait_for(lambda: served.client.get("/api/health").json()["waiting"] == 1)
        for number in range(3):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{served.url}/api/sketch", files={"photo": photo_of(number)}, timeout=0.3)
        wait_for(lambda: served.client.get("/api/health").json()["waiting"] == 1)
        go.set()
        assert first.result().status_code == 200
    assert served.sketch(photo_of(1)).status_code == 200
    assert served.engine.computed == 2


def test_a_slow_client_loses_its_place_and_a_silent_one_its_connection(bank: Path) -> None:
    with serving(sketcher_of(bank), Limits(receive=0.5, idle=0.5)) as hasty:
        check_hasty(hasty)
    with serving(sketcher_of(bank), Limits(grace=0.3, rate=1000)) as hasty:
        check_too_slow(hasty)


HEAD = (b"POST /api/sketch HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n"
        b"content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\n")  # fmt: skip


def check_too_slow(served: Served) -> None:
    """A byte now and then keeps no place; the reason is told."""
    with connected(served) as slow:
        slow.sendall(HEAD)
        stop = threading.Event()

        def trickle() -> None:
            with suppress(OSError):  # the connection is closed at last
                while not stop.wait(0.05):
                    slow.sendall(b"-")

        trickling = threading.Thread(target=trickle)
        trickling.start()
        said = b""
        with suppress(OSError):
            while more := slow.recv(4096):
                said += more
        stop.set()
        trickling.join()
        assert b" 408 " in said and b"too slowly; at least 1000 bytes a second" in said
        wait_for(lambda: served.client.get("/api/health").json()["waiting"] == 0)


def check_hasty(served: Served) -> None:
    with connected(served) as slow:
        slow.sendall(HEAD)
        wait_for(lambda: served.client.get("/api/health").json()["waiting"] == 1)
        assert b" 408 " in slow.recv(4096)
        wait_for(lambda: served.client.get("/api/health").json()["waiting"] == 0)
    for begun in (b"", b"GET / HTTP/1.1\r\nhost: loc"):
        with connected(served) as silent:
            silent.sendall(begun)
            assert silent.recv(4096) == b""


def test_what_is_no_http_is_a_problem_too(served: Served) -> None:
    with connected(served) as client:
        client.sendall(b"GARBAGE\r\n\r\n")
        said = client.recv(4096)
    assert said.startswith(b"HTTP/1.1 400 ") and b"application/problem+json" in said and b"Traceback" not in said


def test_a_client_that_does_not_take_its_answer_loses_its_place() -> None:
    limits = Limits(send=0.05)
    places = Places(limits, lambda more: None, lambda: 1.0)
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(300_000)})

    async def send(message: Any) -> None:
        seen.append(len(message.get("body", b"")))
        if len(seen) == 3:
            await asyncio.sleep(30)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/api/sketch", "headers": []}
    asyncio.run(Admission(app, places, limits, ["/api/sketch"])(scope, receive, send))
    assert seen == [0, 2**16, 2**16] and places.held == 0


def test_one_address_beyond_this_machine_has_half_of_the_places() -> None:
    places = Places(Limits(places=5), lambda more: None, lambda: 1.0)
    for _ in range(3):
        places.take("192.168.1.7")
    with pytest.raises(Refused, match="from one address") as refused:
        places.take("192.168.1.7")
    assert refused.value.status == 429
    places.give_back("192.168.1.7")
    for address in ("192.168.1.7", "127.0.0.1", "127.0.0.1"):
        places.take(address)
    with pytest.raises(Refused, match="too many requests at once; try"):
        places.take("192.168.1.8")
    everything = Places(Limits(places=5), lambda more: None, lambda: 1.0)
    for _ in range(5):
        everything.take("127.0.0.1")
    assert everything.held == 5


@pytest.mark.parametrize(("pace", "least", "most"), [(0.001, 1, 1), (1.0, 5, 8), (60.0, 21, 30)])
def test_the_time_to_come_again_follows_the_queue_and_the_pace(pace: float, least: int, most: int) -> None:
    places = Places(Limits(places=8), lambda more: None, lambda: pace, random.Random(0).uniform)
    for _ in range(8):
        places.take("127.0.0.1")
    told = set()
    for _ in range(200):
        with pytest.raises(Refused) as refused:
            places.take("127.0.0.1")
        told.add(int(refused.value.headers["retry-after"]))
    assert min(told) == least and max(told) == most
    assert len(told) > 1 or least == most  # not all at the same time


def test_the_pace_is_that_of_the_last_batches(bank: Path) -> None:
    with serving(sketcher_of(bank)) as served:
        served.engine.pace = 1000.0
        for _ in range(3):
            assert served.sketch(photo_of(0)).status_code == 200
        wait_for(lambda: served.engine.pace < 500)


def test_photos_are_never_written_to_disk(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_of_the_tests: Path
) -> None:
    import sys

    written: list[Any] = []
    watching = True

    def watch(event: str, arguments: Any) -> None:
        if watching and event == "open":
            path, mode, flags = arguments
            if isinstance(path, str) and ((mode or "r")[0] in "wax+" or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
                written.append(path)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sys.addaudithook(watch)
    before = sorted(cache_of_the_tests.rglob("*"))
    big = encode_image(np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8))
    for photo in (photo_of(0), photo_of(1, 250, 200), big, b"no image"):
        served.sketch(photo, json=True, paste_back="true")
        served.faces(photo, preview="true")
    watching = False
    assert [path for path in written if path != os.devnull and ".nb" not in path and "__pycache__" not in path] == []
    assert list(tmp_path.iterdir()) == [] and sorted(cache_of_the_tests.rglob("*")) == before


def test_one_photo_that_fails_costs_the_others_of_its_batch_nothing(bank: Path) -> None:
    sketcher = sketcher_of(bank)
    engine = Engine(sketcher, Limits())
    real = sketcher.sketch

    def fails_together(photos: Any) -> Any:
        if len(photos) > 1 or photos[0].name == "bad":
            raise RuntimeError("no")
        return real(photos)

    sketcher.sketch = fails_together  # type: ignore[method-assign]
    jobs = [engine.submit(SketchWork(photo_of(0), name)) for name in ("good", "bad", "fine")]
    engine.start()
    assert jobs[0].future.result(30).fine == jobs[2].future.result(30).fine
    assert isinstance(jobs[1].future.exception(30), Refused)
    engine.stop()


def test_networks_run_on_as_many_threads_as_torch_was_told(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    sketcher, seen = sketcher_of(bank), []
    real = sketcher.enhancer.enhance

    def counted(*given: Any, **more: Any) -> Any:
        seen.append(torch.get_num_threads())
        return real(*given, **more)

    monkeypatch.setattr(sketcher.enhancer, "enhance", counted)
    # as the first kernel of a bank of the usual size does, in the thread that runs it
    monkeypatch.setattr("idemodel.serving.engine.warm_up", lambda *given: torch.set_num_threads(2))
    engine = Engine(sketcher, Limits())
    engine.start()
    assert engine.submit(SketchWork(photo_of(0), "me")).future.result(30).fine
    engine.stop()
    assert seen == [torch.get_num_threads()] == [1]


def test_requests_that_wait_are_one_batch(bank: Path) -> None:
    sketcher = sketcher_of(bank)
    engine, real, sizes = Engine(sketcher, Limits()), sketcher.sketch, []

    def counted(photos: Any) -> Any:
        sizes.append(len(photos))
        return real(photos)

    sketcher.sketch = counted  # type: ignore[method-assign]
    jobs = [engine.submit(SketchWork(photo_of(number), str(number))) for number in range(5)]
    other = engine.submit(SketchWork(photo_of(0), "other", Kind((("method", "top1"),))))
    engine.start()
    for job in [*jobs, other]:
        assert job.future.result(30).fine
    assert sizes == [5]
    engine.stop()
    with pytest.raises(Refused, match="ending"):
        engine.submit(SketchWork(photo_of(0), "late"))


def test_a_line_waits_a_little_for_what_is_being_received_or_expected() -> None:
    line = Line()
    line.announce(1)
    line.put(Job("first"))
    later = threading.Timer(0.05, lambda: (line.put(Job("second")), line.announce(-1)))
    later.start()
    assert [job.work for job in line.take(8, 20.0)] == ["first", "second"]
    line.put(Job("third"))
    later = threading.Timer(0.05, lambda: line.put(Job("fourth")))
    later.start()
    assert [job.work for job in line.take(8, 20.0, answered=1)] == ["third", "fourth"]
    line.put(Job("fifth"))
    assert [job.work for job in line.take(8, 0.05, answered=2)] == ["fifth"]
    given_up = Job("sixth")
    given_up.give_up()
    assert not given_up.begin()
    waiting = Job("seventh")
    line.put(waiting)
    line.close()
    assert line.take(8, 0.0) == []
    assert isinstance(waiting.future.exception(1), Refused)


# ---- fuzzed

TEXT = st.text(max_size=30)
FIELDS = st.dictionaries(
    st.sampled_from(["method", "alpha", "k", "size", "paste_back", "face", "eyes", "preview"]) | TEXT.filter(bool),
    st.sampled_from(["", "1", "0", "-1", "2", "nan", "1e400", "true", "double", "top1", "mrf", "multi", "20,30,30,30"])
    | TEXT,
    max_size=4,
)
PHOTOS = st.one_of(
    st.just(photo_of(0)),
    st.binary(max_size=200),
    st.builds(lambda at, byte: photo_of(0)[:at] + bytes([byte]) + photo_of(0)[at + 1 :],
              st.integers(0, 3000), st.integers(0, 255)),
    st.builds(lambda at: photo_of(0)[:at], st.integers(0, 3000)),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(["/api/sketch", "/api/faces"]), photo=PHOTOS, fields=FIELDS, name=TEXT)
def test_any_form_gets_a_result_or_a_sentence(
    served: Served, path: str, photo: bytes, fields: dict[str, str], name: str
) -> None:
    answer = served.client.post(path, files={"photo": (name, photo)}, data=fields)
    if answer.status_code == 200:
        assert answer.content[:4] == b"\x89PNG" or answer.headers["content-type"] == "application/json"
    else:
        assert answer.status_code in (400, 413, 422)
        problem(answer, answer.status_code)


@settings(max_examples=60, deadline=None)
@given(
    body=st.binary(max_size=300) | st.lists(st.sampled_from(
        [b"--b", b"\r\n", b"--", b'content-disposition: form-data; name="photo"', b":", b"\r\n\r\n", b'"', b"\x00"]
    ), max_size=20).map(b"".join),
    kind=st.sampled_from(["multipart/form-data; boundary=b", "multipart/form-data", "text/plain", "", "multipart/;;=",
                          'multipart/form-data; boundary="', "multipart/form-data; boundary=" + "b" * 300]),
)  # fmt: skip
def test_any_body_is_refused_in_a_sentence(served: Served, body: bytes, kind: str) -> None:
    answer = served.client.post("/api/sketch", content=body, headers={"content-type": kind})
    assert answer.status_code in (400, 413, 415, 422)
    problem(answer, answer.status_code)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, 400), max_size=12), photo=st.binary(min_size=1, max_size=300))
def test_a_form_is_the_same_however_it_is_cut_into_pieces(cuts: list[int], photo: bytes) -> None:
    if b"\r\n--b" in photo:
        return
    body = b'--b\r\nContent-Disposition: form-data; name="k"\r\n\r\n2\r\n--b\r\n'
    body += b'Content-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\n' + photo + b"\r\n--b--\r\n"
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[start:end] for start, end in itertools.pairwise(places)]
    assert parsed(pieces) == Upload(photo, "a.png", {"k": "2"})
