"""Errors have one shape, whoever finds them."""

from __future__ import annotations

import pytest

from tests.api.conftest import Process
from tests.api.wire import ask

UPLOAD = "/mobile-upload"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/api//records", 404),
        ("PUT", "/health", 405),
        ("GET", UPLOAD, 405),
        ("GET", "/%00/\x7f", 400),
    ],
)
async def test_what_no_route_answers_has_the_same_shape(
    shared: Process, method: str, path: str, status: int
) -> None:
    answer = await ask(shared.port, method, path)
    assert answer.status == status
    body = answer.json()
    assert body["success"] is False
    assert {"message", "error", "errorCode", "sessionId", "timestamp"} <= body.keys()
    assert body["errorCode"] == ("not_found" if status == 404 else "invalid_format")
    if status == 405:
        assert answer.headers["allow"]
