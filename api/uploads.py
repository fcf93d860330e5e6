"""`POST /mobile-upload`: from a body that arrives slowly to a session, and to the answer its packets make."""

from __future__ import annotations

import re
from typing import cast

import structlog
import trio
from quart import Blueprint, Request, Response, request

from api.auth import authenticate
from api.body import BodyReader
from api.framings import choose
from api.jsonupload import JsonUpload
from api.multipart import MultipartUpload
from api.reader import respond
from api.received import Event, Parser, Photograph, SessionNamed
from api.services import Services, services
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.protocol import ErrorCode, PinactorsError, View, check_session_id

JSON_TYPE, MULTIPART_TYPE = "application/json", "multipart/form-data"
STORAGE_RETRY = 30.0

blueprint = Blueprint("uploads", __name__)
log = structlog.get_logger(__name__)

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@blueprint.post("/mobile-upload")
async def upload_photographs() -> Response:
    """Everything that can be refused is refused before the body is read: a phone pays for every byte it sends."""
    given = services()
    owner = await authenticate(request.headers, given.records)
    framing = choose(request)
    parser_type = _content_type(request)
    reader = BodyReader(request, given.settings, given.settings.max_request_bytes)
    session_id = request.headers.get("x-session-id")
    reception = Reception(given, Upload(check_session_id(session_id), owner, _idempotency_key(request)))
    reception.named = session_id is not None
    if parser_type == JSON_TYPE:
        parser: Parser = JsonUpload(given.store)
    else:
        parser = MultipartUpload(given.store, request.mimetype_params.get("boundary"))
    return await respond(request, framing, await reception.receive(reader, parser), given.settings)


class Reception:
    """One upload being received: its session opens as soon as the front image and the session's name are in."""

    def __init__(self, given: Services, upload: Upload) -> None:
        self._given = given
        self._upload = upload
        self._log: PacketLog | None = None
        self.named = False

    async def receive(self, reader: BodyReader, parser: Parser) -> PacketLog:
        """Reads to the end; the log to answer from. A session that was opened hears of every failure.

        Raises `PinactorsError`.
        """
        try:
            try:
                while data := await reader.chunk():
                    await self._take(await self._parse(parser.feed, data))
                await self._take(await self._parse(parser.finish))
            except OSError as error:
                log.error("upload not stored", session=self._upload.session_id, error=str(error))
                raise PinactorsError(
                    ErrorCode.OVERLOADED,
                    "Storage unavailable",
                    "The upload could not be stored; it may be sent again",
                    retry_after=STORAGE_RETRY,
                ) from error
            finally:
                parser.discard()
            self._upload.close()
            opened = self._log or await self._given.registry.open(self._upload)
            return await self._given.registry.settle(self._upload, opened)
        except (
            BaseException
        ) as error:  # a cancellation, too: the client is gone, and what it began must not wait
            if not self._upload.complete:
                self._upload.fail(_reason(error))
            raise

    async def _parse(self, step: object, *arguments: bytes) -> list[Event]:
        return cast(
            list[Event],
            await trio.to_thread.run_sync(step, *arguments, limiter=self._given.disk),  # type: ignore[arg-type]
        )

    async def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case SessionNamed(session_id):
                    await self._name(session_id)
                case Photograph(view, image):
                    self._upload.put(view, image)
                case _:
                    await self._open_if_ready(more_fields=True)
            await self._open_if_ready(more_fields=False)

    async def _name(self, session_id: str | None) -> None:
        if not session_id:
            return
        self._upload.session_id = check_session_id(session_id)
        self.named = True

    async def _open_if_ready(self, *, more_fields: bool) -> None:
        if self._log is None and self.named and View.FRONT in self._upload.images:
            self._log = await self._given.registry.open(self._upload)


def _reason(error: BaseException) -> PinactorsError:
    if isinstance(error, PinactorsError):
        return error
    return PinactorsError(
        ErrorCode.CANCELLED, "Upload broken off", "The connection ended before the upload did"
    )


def _content_type(asked: Request) -> str:
    if asked.mimetype not in (JSON_TYPE, MULTIPART_TYPE):
        found = f"not {asked.mimetype[:100]!r}" if asked.mimetype else "and was not given"
        detail = f"Content-Type must be {JSON_TYPE} or {MULTIPART_TYPE}, {found}"
    elif asked.headers.get("Content-Encoding", "identity").lower() != "identity":
        detail = "Content-Encoding must be identity"
    else:
        return asked.mimetype
    raise PinactorsError(ErrorCode.INVALID_FORMAT, "Unsupported content type", detail, status=415)


def _idempotency_key(asked: Request) -> str | None:
    key = asked.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise PinactorsError(
            ErrorCode.INVALID_FORMAT,
            "Invalid Idempotency-Key",
            "Idempotency-Key must be 1 to 255 printable ASCII characters",
            field="Idempotency-Key",
        )
    return key
