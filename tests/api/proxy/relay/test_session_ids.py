"""Sessions that the proxy opens itself, because no master answers within the keep-alive interval."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from pinactors.api.streams.reader import EARLY
from pinactors.api.uploads.resumable.upload import PIECE_BYTES
from pinactors.protocol import identifiers
from tests.api.conftest import running
from tests.api.proxy.conftest import LIMIT, UPLOAD, assert_whole, proxying
from tests.api.proxy.scripted import Script, says, scripted
from tests.api.wire import JSON, MULTIPART, PHONE, Answer, ask, connected, json_body, multipart, part

PHOTO = b"PHOTO" * (PIECE_BYTES // 4)
"""A photograph that the proxy reads from its spool in several pieces."""

NAMED = {
    "JSON": (JSON, json_body(sessionId="named", frontImageData=PHOTO)),
    "JSON, behind the photographs": (
        JSON,
        json_body(frontImageData=PHOTO, backImageData=PHOTO, sessionId="named"),
    ),
    "multipart, behind a photograph": (
        MULTIPART,
        multipart([part("front_image", PHOTO, "front.jpg"), part("sessionId", b"named")]),
    ),
    "header": (JSON | {"x-session-id": "named"}, json_body(frontImageData=PHOTO)),
    "early": (JSON | {"x-session-id": "named", "Prefer": EARLY}, json_body(frontImageData=PHOTO)),
    "body instead of header": (
        JSON | {"x-session-id": "other"},
        json_body(frontImageData=PHOTO, sessionId="named"),
    ),
}


@asynccontextmanager
async def opened_without_master(
    folder: Path, headers: dict[str, str], body: bytes
) -> AsyncIterator[tuple[Answer, int]]:
    """The answer to an upload that the proxy's first master receives and does not answer, and the port of the
    second master, which analyses it once the proxy has opened its session."""
    opened = trio.Event()

    async def hang_up_when_opened(stream: trio.SocketStream) -> None:
        await opened.wait()

    script: Script = hang_up_when_opened
    with trio.fail_after(LIMIT):
        async with (
            scripted(script) as silent,
            running(folder / "master") as good,
            proxying(
                folder / "proxy",
                [f"{silent.url};weight=1000000", f"http://127.0.0.1:{good.port}"],
                keepalive=0.05,
            ) as port,
            connected(port) as wire,
        ):
            await wire.request("POST", UPLOAD, body, PHONE | headers)
            await wire.stream_id()
            opened.set()
            yield await wire.answer(), good.port


async def recorded_id(master: int) -> str:
    """The session id of the master's only analysis."""
    pins = (await ask(master, "GET", "/api/mobile/provisional-pins")).json()["provisionalPins"]
    assert len(pins) == 1
    return str(pins[0]["pinId"])


@pytest.mark.parametrize("name", NAMED)
async def test_the_session_has_the_id_that_its_upload_names(tmp_path: Path, name: str) -> None:
    async with opened_without_master(tmp_path, *NAMED[name]) as (answer, master):
        assert_whole(answer, "named")
        assert await recorded_id(master) == "named"


async def test_the_masters_record_has_the_id_that_the_proxy_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The phone confirms the result under the id of its packets. Two ids that are made in the same second are
    equal otherwise."""
    monkeypatch.setattr(identifiers, "new_session_id", partial(secrets.token_hex, 6))
    async with opened_without_master(tmp_path, JSON, json_body(frontImageData=PHOTO)) as (answer, master):
        assert_whole(answer)
        assert await recorded_id(master) == answer.packets[0]["sessionId"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (json_body(frontImageData=PHOTO, sessionId="with a space"), "sessionId"),
        (json_body(frontImageData=PHOTO, sessionId=7.5), "sessionId"),
        (json_body(frontImageData=PHOTO)[:-1] + b" no comma", ""),
    ],
)
async def test_an_upload_that_a_master_would_refuse_is_refused(
    tmp_path: Path, body: bytes, field: str
) -> None:
    with trio.fail_after(LIMIT):
        async with (
            scripted(says(then_silent=True)) as silent,
            proxying(tmp_path, [silent.url], keepalive=0.05) as port,
        ):
            answer = await ask(port, "POST", UPLOAD, body, PHONE | JSON)
            assert answer.status == 400
            assert answer.json()["errorCode"] == "invalid_format"
            assert answer.json().get("field", "") == field
