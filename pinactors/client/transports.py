"""Two transports over HTTP: a stream of lines, and long-polling; both with resumable uploads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote

import msgspec
import trio

from pinactors.client.connecting import Broken, NotPinactors
from pinactors.client.follower import FollowedSession, OnPacket, Progress, refusal_of
from pinactors.client.http import LINE_LIMIT, Body, Connection, Headers, HttpAnswer
from pinactors.client.uploads import Part, UploadContent, sizes_of
from pinactors.lines import LineSplitter
from pinactors.protocol.offsets import to_offset

NDJSON = "application/x-ndjson"

RESUMABLE_BYTES = 256 * 1024
"""Size from which an upload is sent as a resumable upload: this needs two more short requests, and after a
cut only the bytes in flight are sent again."""

PIECE_SECONDS, ROUND_TRIPS = 2.0, 8
"""Time that sending one piece of a resumable upload should take: the larger of these seconds and this
multiple of the link's round trip."""

FIRST_PIECE, MIN_PIECE, MAX_PIECE, GROWTH = 128 * 1024, 16 * 1024, 8 << 20, 4
"""Bytes of the first, the smallest and the largest piece; and the most by which a piece may be larger than
the one before, as a factor."""

INTEROP = {"Upload-Draft-Interop-Version": "8"}
"""The interop version of draft-ietf-httpbis-resumable-upload that the client uses."""


@dataclass(frozen=True, slots=True)
class Server:
    """The server and how to use it: URL and API key. `silence`: seconds without a byte after which a
    connection is given up. `resumable_bytes`: size from which an upload is sent as a resumable upload."""

    url: str
    key: str | None = None
    silence: float = 15.0
    resumable_bytes: int = RESUMABLE_BYTES

    def __post_init__(self) -> None:
        checked_key(self.key or "")

    def headers(self) -> Headers:
        return {"x-api-key": self.key} if self.key else {}


def checked_key(key: str) -> str:
    """The key as given. Raises `ValueError`, without the key, if no header can contain it."""
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the key has characters that no key has")
    return key


class PieceSizer:
    """The size of the next piece of an upload: the bytes that the link carries in `PIECE_SECONDS`, or in
    `ROUND_TRIPS` of its round trips if these take longer, computed from the durations of earlier pieces.

    Bytes that a connection has accepted may wait in the network for a long time, and are lost if the
    connection breaks. Waiting for the answer to each piece limits this loss, at the cost of a round trip per
    piece.
    """

    def __init__(self) -> None:
        self.size = FIRST_PIECE
        self._round_trip = 0.0

    def note_round_trip(self, seconds: float) -> None:
        """Notes how long a request without content took, including the opening of its connection."""
        self._round_trip = seconds / 2

    def note_piece(self, size: int, seconds: float) -> None:
        ideal_size = size / max(seconds, 1e-3) * max(PIECE_SECONDS, ROUND_TRIPS * self._round_trip)
        self.size = round(min(max(ideal_size, MIN_PIECE), GROWTH * self.size, MAX_PIECE))

    def note_break(self) -> None:
        """Halves the size because the connection broke during a piece."""
        self.size = max(self.size // 2, MIN_PIECE)


class ResumableUpload:
    """One upload that continues over several connections: its URL on the server, and how many bytes the
    server has.

    The upload is created with an empty request, so that its URL is known before any byte is sent (the draft's
    "careful" creation). The alternative, an informational response with the URL, does not pass every proxy.
    """

    def __init__(self, body: Body, sizes: Sequence[int]) -> None:
        self.body, self.size = body, sum(sizes)
        self.offset = 0
        self._sizes = sizes
        self._url: str | None = None
        self._unsupported = False
        self._sizer = PieceSizer()

    async def locate(self, connection: Connection, headers: Headers) -> bool:
        """Creates the upload, or asks how many bytes the server has; False if the server has no resumable
        uploads.

        Raises `PinactorsError`, `Broken`, `NotPinactors`.
        """
        started_at = trio.current_time()
        if self._url is not None:
            await self._fetch_offset(connection, headers)
        if self._url is None and not self._unsupported:
            await self._create(connection, headers)
        self._sizer.note_round_trip(trio.current_time() - started_at)
        return self._url is not None

    async def send_rest(
        self, connection: Connection, headers: Headers, progress: Progress | None
    ) -> HttpAnswer:
        """Sends the missing bytes piece by piece and returns the answer to the whole upload. Raises the
        errors of `Connection.request`, and `PinactorsError`."""
        try:
            while self.size - self.offset > self._sizer.size:
                started_at, size = trio.current_time(), self._sizer.size
                answer = await self._append(connection, headers, size, progress)
                await check(answer)
                await answer.read()
                self.offset += size
                self._sizer.note_piece(size, trio.current_time() - started_at)
            return await self._append(connection, headers, self.size - self.offset, progress)
        except Broken:
            self._sizer.note_break()
            raise

    async def _append(
        self, connection: Connection, headers: Headers, size: int, progress: Progress | None
    ) -> HttpAnswer:
        assert self._url is not None
        offset, last = self.offset, self.offset + size == self.size
        state_headers = {"Upload-Offset": str(offset), "Upload-Complete": f"?{last:d}"}
        part = Body("application/partial-upload", size, [Part(self.body, self._sizes, offset, size)])
        on_sent = None if progress is None else lambda sent: progress(offset + sent, self.size)
        answer = await connection.request(
            "PATCH", self._url, {**headers, **INTEROP, **state_headers}, part, on_sent
        )
        if answer.status == 409:  # the server ended this request, or has another offset: ask it again
            raise Broken("the upload continues on another connection")
        return answer

    async def _create(self, connection: Connection, headers: Headers) -> None:
        fields = {**headers, **INTEROP, "Upload-Complete": "?0", "Upload-Length": str(self.size)}
        answer = await connection.request(
            "POST", "/mobile-upload", fields, Body(self.body.content_type, 0, [])
        )
        if answer.status == 201 and "location" in answer.headers:
            await answer.read()
            self._url, self.offset = answer.headers["location"], 0
            return
        if answer.status != 400 or "upload-complete" in answer.headers:
            await check(answer)
        self._unsupported = True  # an older server treated the empty body as a whole upload
        await connection.close()

    async def _fetch_offset(self, connection: Connection, headers: Headers) -> None:
        assert self._url is not None
        answer = await connection.request("HEAD", self._url, {**headers, **INTEROP})
        offset = answer.headers.get("upload-offset", "")
        if answer.status in (200, 204) and offset.isdigit() and int(offset) <= self.size:
            await answer.read()
            self.offset = int(offset)
            return
        if answer.status in (429, 502, 503, 504):
            raise Broken(f"the server answers {answer.status}")
        self._url = None  # removed or refused: create it again; a refusal then comes with its reason
        await connection.close()


class LineTransport:
    """Reads the stream of lines from the answer to the upload, and after a broken connection from a GET."""

    def __init__(
        self,
        server: Server,
        photographs: UploadContent | None,
        on_activity: Callable[[], None],
        progress: Progress | None,
    ) -> None:
        self._server, self._photographs = server, photographs
        self._on_activity, self._progress = on_activity, progress
        self._upload: ResumableUpload | None = None

    def connection(self) -> Connection:
        return Connection(self._server.url, silence=self._server.silence, on_activity=self._on_activity)

    async def upload(self, session: FollowedSession, on_packet: OnPacket) -> None:
        async with self.connection() as connection:
            answer = await self.send(connection, session, {"Accept": NDJSON})
            await pass_lines(answer, on_packet)

    async def follow(self, stream_id: str, position: int, on_packet: OnPacket) -> None:
        path = f"/streams/{quote(stream_id, safe='')}?offset={to_offset(position)}"
        async with self.connection() as connection:
            answer = await connection.request("GET", path, {"Accept": NDJSON, **self._server.headers()})
            await check(answer)
            await pass_lines(answer, on_packet)

    async def send(self, connection: Connection, session: FollowedSession, headers: Headers) -> HttpAnswer:
        """Sends the upload and returns its answer. Raises `PinactorsError` if it was refused."""
        assert self._photographs is not None
        if self._upload is None:
            body = await self._photographs.multipart()
            self._upload = ResumableUpload(body, await sizes_of(body))
        headers = {
            **headers,
            "Idempotency-Key": self._photographs.idempotency_key,
            **self._server.headers(),
        }
        upload = self._upload
        if upload.size >= self._server.resumable_bytes and await upload.locate(connection, headers):
            try:
                answer = await upload.send_rest(connection, headers, self._progress)
            finally:
                session.uploaded = upload.offset
        else:
            body = upload.body
            answer = await connection.request("POST", "/mobile-upload", headers, body, self._on_sent(body))
        await check(answer)
        session.complete = True
        return answer

    def _on_sent(self, body: Body) -> Callable[[int], None] | None:
        progress, size = self._progress, body.size
        return None if progress is None or size is None else lambda sent: progress(sent, size)


class PollTransport(LineTransport):
    """Long-polling on one connection, for networks that buffer streams."""

    async def upload(self, session: FollowedSession, on_packet: OnPacket) -> None:
        async with self.connection() as connection:
            answer = await self.send(connection, session, {"Accept": NDJSON, "Prefer": "respond-async"})
            if answer.status != 202:
                await pass_lines(answer, on_packet)  # the server streams although it was asked not to
                return
            session.stream_id, session.position = str(read_json(await answer.read()).get("streamId")), 0
            await self._poll(connection, session.stream_id, 0, on_packet)

    async def follow(self, stream_id: str, position: int, on_packet: OnPacket) -> None:
        async with self.connection() as connection:
            await self._poll(connection, stream_id, position, on_packet)

    async def _poll(self, connection: Connection, stream_id: str, position: int, on_packet: OnPacket) -> None:
        offset, cursor = to_offset(position), ""
        while True:
            query = f"{cursor}live=long-poll&offset={quote(offset, safe='')}"
            answer = await connection.request(
                "GET", f"/streams/{quote(stream_id, safe='')}?{query}", self._server.headers()
            )
            await check(answer)
            for packet in batch(await answer.read()):
                if not await on_packet(packet):
                    return
            if answer.headers.get("stream-closed") == "true":
                return
            offset = answer.headers.get("stream-next-offset", offset)
            cursor = f"cursor={quote(answer.headers.get('stream-cursor', ''), safe='')}&"


async def pass_lines(answer: HttpAnswer, on_packet: OnPacket) -> None:
    """Passes each line of a stream to `on_packet`, until its end or until `on_packet` returns False. Raises
    `Broken` if the stream was cut off."""
    lines = LineSplitter(LINE_LIMIT, NotPinactors)
    while data := await answer.chunk():
        for line in lines.feed(data):
            if line.strip() and not await on_packet(line):
                return


def batch(body: bytes) -> list[bytes]:
    """The packets of a JSON array as raw bytes: in the array each packet begins on a new line."""
    if not body or body == b"[]":
        return []
    if body[:1] != b"[" or body[-1:] != b"]":
        raise NotPinactors(f"it sent something other than packets: {body[:80]!r}")
    return body[1:-1].split(b",\n")


async def check(answer: HttpAnswer) -> None:
    """Raises `PinactorsError` for a refusal, `Broken` for an error of a proxy in between, `NotPinactors` for
    any other answer without success."""
    if not 200 <= answer.status < 300:
        raise_refusal(answer.status, answer.headers, await answer.read())


def raise_refusal(status: int, headers: Headers, body: bytes) -> NoReturn:
    """Raises the error for an answer without success, as described at `check`."""
    try:
        retry_after: float | None = float(headers.get("retry-after", ""))
    except ValueError:
        retry_after = None
    try:
        error = read_json(body)
    except NotPinactors:
        error = {}
    if "errorCode" in error:
        raise refusal_of(error, status=status, retry_after=retry_after)
    if status in (408, 429, 500, 502, 503, 504):  # a proxy or load balancer in between
        raise Broken(f"something between here and the server answers {status}")
    raise NotPinactors(f"it answers {status} without a reason")


def read_json(body: bytes) -> dict[str, Any]:
    """Decodes a JSON object. Raises `NotPinactors` for anything else."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise NotPinactors(f"its answer is not a JSON object: {body[:80]!r}") from error
