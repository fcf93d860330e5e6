"""A server that lets the public conformance suite write the project's packet logs, so that it can read them.

It implements only what the suite needs to make streams: create, append, close and delete. Producers, forks,
expiry and subscriptions belong to a storage server and are not implemented.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import msgspec
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio

from pinactors.api import cors, errors
from pinactors.api.services import EXTENSION
from pinactors.api.streams import durable_streams
from pinactors.api.streams.framings import JSON_BATCH, JSON_TYPE, Encoding
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.protocol.offsets import to_offset
from pinactors.settings import Settings


@dataclass(frozen=True, slots=True)
class ByteBatch:
    """The encoding of streams that are not JSON: their bytes, concatenated."""

    content_type: str

    @property
    def text(self) -> bool:
        return self.content_type.startswith("text/")

    def batch(self, messages: Sequence[bytes]) -> bytes:
        return b"".join(messages)

    def event_lines(self, messages: Sequence[bytes]) -> Iterable[bytes]:
        whole = self.batch(messages)
        return re.split(b"\r\n|\r|\n", whole) if self.text else [base64.b64encode(whole)]


class Stream(PacketLog):
    """A packet log with the content type given at its creation and the last `Stream-Seq`."""

    def __init__(self, name: str, content_type: str) -> None:
        super().__init__(name, "", "")
        self.content_type = content_type
        self.sequence: str | None = None

    @property
    def encoding(self) -> Encoding:
        kind = self.content_type.partition(";")[0].strip()
        return JSON_BATCH if kind == JSON_TYPE else ByteBatch(self.content_type)

    def messages(self, body: bytes) -> list[bytes]:
        """The messages of one body: the items of a JSON array, otherwise the body itself."""
        if not body or self.encoding is not JSON_BATCH:
            return [body] if body else []
        try:
            value = msgspec.json.decode(body)
            return [msgspec.json.encode(item) for item in (value if isinstance(value, list) else [value])]
        except msgspec.DecodeError as error:
            raise PinactorsError(ErrorCode.INVALID_FORMAT, "Invalid JSON") from error

    def write(self, messages: list[bytes], *, closing: bool) -> None:
        for message in messages[:-1]:
            self.append(message, terminal=False)
        if messages:
            self.append(messages[-1], terminal=closing)
        elif closing:
            self.close()
            self.ended = True  # such a stream needs no last packet

    def headers(self) -> dict[str, str]:
        closed = {"Stream-Closed": "true"} if self.closed else {}
        return {
            "Content-Type": self.content_type,
            "Stream-Next-Offset": to_offset(len(self.packets)),
            **closed,
        }


def create_facade(settings: Settings) -> QuartTrio:
    app = QuartTrio(__name__)
    app.config.update(PROVIDE_AUTOMATIC_OPTIONS=False)
    app.extensions[EXTENSION] = SimpleNamespace(settings=settings)
    errors.install(app)
    cors.install(app)
    app.after_request(durable_streams.protect)
    known: dict[str, Stream] = {}

    def find(name: str) -> Stream:
        if name not in known:
            raise PinactorsError(ErrorCode.STREAM_NOT_FOUND, "Stream not found")
        return known[name]

    @app.get("/v1/stream/<path:name>")
    async def get(name: str) -> Response:
        stream = find(name)
        if request.method == "HEAD":
            return durable_streams.describe(stream, stream.encoding)
        return await durable_streams.read(request, stream, settings, stream.encoding)

    @app.put("/v1/stream/<path:name>")
    async def create(name: str) -> Response:
        kind = request.headers.get("Content-Type", "application/octet-stream").lower()
        closing = request.headers.get("Stream-Closed", "").lower() == "true"
        if name in known:
            same = known[name].content_type == kind and known[name].closed == closing
            return Response(b"", 200 if same else 409, known[name].headers())
        stream = Stream(name, kind)
        stream.write(stream.messages(await request.get_data()), closing=closing)
        known[name] = stream
        return Response(b"", 201, {**stream.headers(), "Location": request.url})

    @app.post("/v1/stream/<path:name>")
    async def append(name: str) -> Response:
        stream = find(name)
        closing = request.headers.get("Stream-Closed", "").lower() == "true"
        body = await request.get_data()
        if stream.closed:
            return Response(b"", 204 if closing and not body else 409, stream.headers())
        if body and "Content-Type" not in request.headers:
            return Response(b"", 400)
        if body and request.headers["Content-Type"].lower() != stream.content_type:
            return Response(b"", 409)
        messages = stream.messages(body)
        if not messages and not closing:
            return Response(b"", 400)
        sequence = request.headers.get("Stream-Seq")
        if sequence is not None:
            if stream.sequence is not None and sequence <= stream.sequence:
                return Response(b"", 409)
            stream.sequence = sequence
        stream.write(messages, closing=closing)
        return Response(b"", 204, stream.headers())

    @app.delete("/v1/stream/<path:name>")
    async def delete(name: str) -> Response:
        find(name)
        del known[name]
        return Response(b"", 204)

    return app


async def serve_facade(
    settings: Settings, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serves until cancelled; passes the base URL to `task_status.started`."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.graceful_timeout = 0.1
    config.accesslog = config.errorlog = None
    async with trio.open_nursery() as nursery:
        [url] = await nursery.start(serve, create_facade(settings), config)
        task_status.started(url)
