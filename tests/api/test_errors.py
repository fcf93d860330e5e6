"""Errors have one shape, whoever finds them."""

from __future__ import annotations

import pytest

from tests.api.conftest import Process
from tests.api.wire import ask

UPLOAD = "/mobile-upload"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/docs/", "/docs"),
        ("/admin/?a=1", "/admin?a=1"),
        ("/catalog//", "/catalog"),
        ("/docs/readme/", "/docs/readme"),
    ],
)
async def test_a_readers_slash_at_the_end_leads_to_the_page(
    shared: Process, path: str, location: str
) -> None:
    answer = await ask(shared.port, "GET", path)
    assert (answer.status, answer.headers["location"]) == (308, location)


@pytest.mark.parametrize("path", ["/nowhere/", "//nowhere/", "/mobile-upload/"])
async def test_a_slash_behind_nothing_leads_nowhere(shared: Process, path: str) -> None:
    assert "location" not in (await ask(shared.port, "GET", path)).headers


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
