"""What pages of other origins may ask and read."""

from __future__ import annotations

import pytest

from tests.api.conftest import Process
from tests.api.wire import ask, connected

UPLOAD = "/mobile-upload"
PROVISIONAL = "/api/mobile/provisional-pins"


class TestCors:
    @pytest.mark.parametrize("path", [UPLOAD, "/health", "/streams/x", PROVISIONAL, "/nowhere"])
    async def test_preflight_on_every_route(self, shared: Process, path: str) -> None:
        answer = await ask(shared.port, "OPTIONS", path, headers={"Origin": "https://pins.example"})
        assert (answer.status, answer.body) == (204, b"")
        assert "content-length" not in answer.headers
        assert answer.headers["access-control-allow-origin"] == "*"
        allowed = "Content-Type, Authorization, x-api-key, x-session-id"
        assert answer.headers["access-control-allow-headers"] == allowed
        assert answer.headers["access-control-max-age"] == "86400"
        assert {"GET", "POST", "DELETE", "OPTIONS"} <= set(
            answer.headers["access-control-allow-methods"].split(", ")
        )

    async def test_our_headers_are_allowed_to_those_who_ask(self, shared: Process) -> None:
        asked = {"Access-Control-Request-Headers": "idempotency-key,content-type"}
        answer = await ask(shared.port, "OPTIONS", UPLOAD, headers=asked)
        assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]
        assert "Last-Event-ID" not in answer.headers["access-control-allow-headers"]

    @pytest.mark.parametrize(
        "name", ["Cache-Control", "Pragma", "X-Requested-With", "Traceparent", "Upload-Offset"]
    )
    async def test_what_libraries_add_is_granted(self, shared: Process, name: str) -> None:
        asked = {"Access-Control-Request-Headers": f"{name.lower()}, content-type,,bad name"}
        answer = await ask(shared.port, "OPTIONS", UPLOAD, headers=asked)
        granted = answer.headers["access-control-allow-headers"].split(", ")
        assert granted == ["Content-Type", "Authorization", "x-api-key", "x-session-id", name]

    async def test_headers_asked_for_in_two_lines_are_all_granted(self, shared: Process) -> None:
        async with connected(shared.port) as wire:
            lines = "\r\n".join(f"Access-Control-Request-Headers: {name}" for name in ("pragma", "x-b"))
            await wire.send(f"OPTIONS {UPLOAD} HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n".encode())
            granted = (await wire.answer()).headers["access-control-allow-headers"]
        assert granted.endswith(", Pragma, X-B")

    async def test_answers_and_errors_can_be_read(self, shared: Process) -> None:
        for method, path in (("GET", "/health"), ("GET", "/nowhere"), ("PUT", "/health"), ("POST", UPLOAD)):
            answer = await ask(shared.port, method, path)
            assert answer.headers["access-control-allow-origin"] == "*", path
            assert "Stream-Next-Offset" in answer.headers["access-control-expose-headers"]
