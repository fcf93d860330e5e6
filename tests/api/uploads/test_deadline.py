"""`x-deadline-ms` is accepted from the project's own proxies, and ignored from other clients."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from quart import Quart, request

from pinactors.api.proxy.masters.requests import Head
from pinactors.api.services import EXTENSION
from pinactors.api.uploads.mobile_upload import DEADLINE_HEADER, SECRET_HEADER, deadline
from pinactors.protocol import PinactorsError
from pinactors.settings import Settings


async def believed(headers: dict[str, str], secret: str) -> float:
    app = Quart("test")
    app.extensions[EXTENSION] = SimpleNamespace(settings=Settings(proxy_secret=secret))
    async with app.test_request_context("/mobile-upload", method="POST", headers=headers):
        return deadline(request)  # type: ignore[arg-type]


async def test_a_proxy_that_knows_the_secret_is_believed() -> None:
    sent = Head("image/png", 1, None, "key", None).headers(5.0, "a secret")
    assert await believed(sent, "a secret") == 5.0


@pytest.mark.parametrize(
    ("given", "secret"), [("", "a secret"), ("a wrong one", "a secret"), ("", ""), ("anything", "")]
)
async def test_nobody_else_is(given: str, secret: str) -> None:
    for value in ("5000", "nonsense"):
        assert await believed({DEADLINE_HEADER: value, SECRET_HEADER: given}, secret) == math.inf


async def test_nonsense_of_a_proxy_is_refused() -> None:
    with pytest.raises(PinactorsError, match=DEADLINE_HEADER):
        await believed({DEADLINE_HEADER: "5 s", SECRET_HEADER: "a secret"}, "a secret")
