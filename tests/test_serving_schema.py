"""What the description of the interface promises, every answer keeps: fuzzed with schemathesis, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import photo_of, sketcher_of, tiny_bank

from idemodel.serving.engine import Engine
from idemodel.serving.service import create_app
from idemodel.serving.settings import Access, Limits

schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis, of the extra test")

from schemathesis.checks import not_a_server_error  # noqa: E402 - where it is there
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")

CHECKS = (
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
)  # fmt: skip


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The application without a server, and its own description of itself."""
    engine = Engine(sketcher_of(tiny_bank(tmp_path_factory.mktemp("bank"))), Limits(linger=0.0))
    engine.start()
    app = create_app(engine, Access(names=("testserver",)))

    async def without_end(scope: Any, receive: Any, send: Any) -> None:
        """The client of the tests begins and ends its application at every request."""
        if scope["type"] == "http":
            return await app(scope, receive, send)
        for _ in range(2):
            await send({"type": f"{(await receive())['type']}.complete"})

    yield schemathesis.openapi.from_asgi("/openapi.json", without_end)
    engine.stop()
    engine.sketcher.prepared.bank.close()


@pytest.mark.parametrize(
    ("method", "path", "examples", "statuses"),
    [
        ("POST", "/api/sketch", 60, {200, 422}),
        ("POST", "/api/faces", 40, {200, 422}),
        ("GET", "/api/health", 3, {200}),
        ("GET", "/api/info", 3, {200}),
    ],
)
def test_every_answer_is_as_described(api: Any, method: str, path: str, examples: int, statuses: set[int]) -> None:
    """Schemathesis' own plugin for pytest does not run with pytest 9, so its strategies are given to Hypothesis."""
    seen: set[int] = set()

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=api[path][method].as_strategy(), drawn=st.booleans(), json=st.booleans())
    def answered(case: Any, drawn: bool, json: bool) -> None:
        if drawn and isinstance(case.body, dict) and "photo" in case.body:
            case.body["photo"] = photo_of(0)  # else none would be sketched
        answer = case.call(headers={"accept": "application/json" if json else "*/*"})
        seen.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    answered()
    assert statuses <= seen


def test_the_description_names_every_address_of_the_interface(api: Any) -> None:
    assert set(api) == {"/api/sketch", "/api/faces", "/api/health", "/api/info"}
