"""What a request used is freed when it has ended, without a garbage collection: a full one holds the event
loop up, and until it comes the photographs' files and sockets of broken uploads would stay open."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio.testing

from pinactors.api.http.connection import ServerConnection
from pinactors.pipeline.session import Session
from pinactors.pipeline.upload import Upload
from pinactors.protocol import PinactorsError
from pinactors.storage.images import Lease
from tests import drawing
from tests.api.conftest import running
from tests.api.wire import JSON, MULTIPART, ask, json_body, multipart, part

UPLOAD = "/mobile-upload"
GOOD = drawing.jpeg(drawing.pin_front(1).rgb)
REQUESTS = {
    "analysed": (json_body(frontImageData=GOOD), JSON, 200),
    "streamed": (
        multipart([part("front_image", GOOD, "a")]),
        {**MULTIPART, "Accept": "text/event-stream"},
        200,
    ),
    "no photograph": (json_body(frontImageData=b"no photograph"), JSON, 400),
    "not JSON": (b"{", JSON, 400),
    "cut short": (multipart([part("front_image", GOOD, "a")])[:-20], MULTIPART, 400),
}


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """What only a garbage collection would free; filled by `gc.collect()`."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.parametrize("kind", [*REQUESTS, "unknown route"])
async def test_a_request_leaves_no_reference_cycles(kind: str, tmp_path: Path, garbage: list[object]) -> None:
    async with running(tmp_path) as server:
        if kind in REQUESTS:
            body, headers, status = REQUESTS[kind]
            answer = await ask(server.port, "POST", UPLOAD, body, headers)
        else:
            status = 404
            answer = await ask(server.port, "GET", "/no/such/page")
        assert answer.status == status
        await trio.testing.wait_all_tasks_blocked(0.05)  # the connection's tasks have ended
        gc.collect()
        kept = [
            one
            for one in garbage
            if isinstance(one, ServerConnection | Session | Upload | Lease | PinactorsError)
        ]
        assert not kept
