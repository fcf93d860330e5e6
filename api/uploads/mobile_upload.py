"""`POST /mobile-upload`: parses a body as it arrives, opens its session and answers with the packets."""

from __future__ import annotations

import hmac
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import trio
from quart import Request, Response, g, request

from pinactors.api.auth import UPLOADS, authenticate
from pinactors.api.errors import broken_off, not_stored, whole_number
from pinactors.api.http.body import BodyReader, sent_at
from pinactors.api.http.calls import inform
from pinactors.api.services import Services, current_services
from pinactors.api.streams.framings import JSON_TYPE, choose
from pinactors.api.streams.reader import Follow, Overlapping, respond, wants_early
from pinactors.api.uploads.fields import WEBHOOK_FIELD, Region
from pinactors.api.uploads.json_body import JsonUpload
from pinactors.api.uploads.multipart import MultipartUpload, boundary_of, checked_boundary
from pinactors.api.uploads.received import (
    Event,
    OtherField,
    Parser,
    Photograph,
    RegionNamed,
    SessionNamed,
    WebhookNamed,
)
from pinactors.logs import begin_logged
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.upload import Upload
from pinactors.protocol import (
    ErrorCode,
    PinactorsError,
    View,
    check_session_id,
    invalid_field,
    invalid_value,
    none_if_missing,
)
from pinactors.settings import Settings
from pinactors.storage.images import ImageTarget, Lease
from pinactors.webhooks.addresses import check_url

MULTIPART_TYPE = "multipart/form-data"

DEADLINE_HEADER = "x-deadline-ms"
"""Header with which a proxy that restarts a session sends the time left to the phone: milliseconds, counted
from the end of the upload."""

SECRET_HEADER = "x-proxy-secret"
"""Header in which the project's proxies send the setting `proxy_secret`: a master accepts `DEADLINE_HEADER`
only with it, so that nobody else can shorten a session."""

REGION_SECONDS = 0.1
"""How long a photograph waits for its region right behind it: the next field usually comes with its end."""

T = TypeVar("T")

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


async def upload_photographs() -> Response:
    """Handles an upload in one request.

    Checks everything that the headers tell before it reads the body: a phone pays for every byte it sends.
    """
    services = current_services()
    owner = await authenticate(request.headers, services.records, UPLOADS)
    framing = choose(request)
    parser_type = content_type(request)
    reader = BodyReader(request, services.settings, services.settings.max_request_bytes)
    session_id = none_if_missing(request.headers.get("x-session-id"))
    early = bool(session_id) and wants_early(request, framing)
    named = check_session_id(session_id, "x-session-id")
    upload = Upload(named, owner, idempotency_key(request), deadline(request))
    upload.announced = early = early and not await services.registry.may_join(upload)
    upload.span = begin_logged(services.tracing, request, "upload")
    if session_id:
        g.session_id = session_id
    parser = parser_of(parser_type, boundary_of(request.headers["Content-Type"]))
    reception = Reception(services, upload, reader, parser, named=bool(session_id))
    if not early:
        answer = await reception.receive(g)
        return await respond(request, framing, answer, services.settings, since=sent_at(request))
    with reception.failing_with():
        answer = await reception.open()
        if request.headers.get("Expect", "").lower() == "100-continue":
            await inform(request, 100, {})  # an answer without it would mean that the body is not wanted
        response = await respond(request, framing, answer, services.settings)
        if isinstance(response.response, Follow):
            response.response = Overlapping(response.response, reception.receive_rest)
    return response


class Source(Protocol):
    async def chunk(self) -> bytes:
        """Returns the body's next bytes, empty at the end. Raises `PinactorsError`."""
        ...


class Reception:
    """Receives one upload. A photograph is passed on when a field begins that is neither a region nor the
    session id, or none within `REGION_SECONDS`. Opens the session, which starts to work, once the front image
    is passed on and the session id was read or is not the next field.

    If a session id arrives after the session was opened without it, or a region after its photograph was
    analysed without it, a new session replaces the open one.

    `named` is True if the request named a session id. `opened` is the session's log if an earlier process
    opened it. `kept` is True if the received bytes are on disk, so that another process can continue the
    upload when this one ends.
    """

    def __init__(
        self,
        services: Services,
        upload: Upload,
        reader: Source,
        parser: Callable[[Lease], Parser],
        *,
        named: bool,
        opened: PacketLog | None = None,
        kept: bool = False,
    ) -> None:
        self._services = services
        self._upload = upload
        self._reader, self._parser = reader, parser
        self._named = named
        self._regions: dict[View, Region | None] = {}
        self._newest: Photograph | None = None
        self._passed: set[View] = set()
        self._log = opened
        self._kept = kept

    async def receive(self, named: Any) -> PacketLog:
        """Reads the whole body and returns the log to answer from. Each failure also ends the upload, and
        with it the session if one is open.

        The body's session id is assigned to `named.session_id`, where error responses read it. Raises
        `PinactorsError`.
        """
        with self.failing_with(), self._services.store.leasing() as lease:
            await self._read(lease, named)
            self._upload.close()
            opened = self._log or await self._services.registry.open(self._upload)
            self._upload.span.end()
            return await self._services.registry.answer(self._upload, opened)

    async def open(self) -> PacketLog:
        """Opens the session before the body is read. Raises `PinactorsError`."""
        self._log = await self._services.registry.open(self._upload)
        return self._log

    async def receive_rest(self) -> None:
        """Reads the whole body after `open`. Raises no `PinactorsError`: each failure is in the log."""
        with suppress(PinactorsError), self.failing_with(), self._services.store.leasing() as lease:
            await self._read(lease, None)
            self._upload.close()
            self._upload.span.end()

    @contextmanager
    def failing_with(self) -> Iterator[None]:
        """Passes each failure, also a cancellation (the client has disconnected), to the upload, so that its
        session does not wait for the rest. An upload that is `kept` survives a cancellation."""
        try:
            yield
        except BaseException as error:
            if not self._upload.complete and not (self._kept and isinstance(error, trio.Cancelled)):
                self._upload.fail(error if isinstance(error, PinactorsError) else broken_off())
            self._upload.span.end(error)
            raise

    async def _read(self, lease: Lease, named: Any) -> None:
        """Reads the whole body. `named`: see `receive`."""
        parser = self._parser(lease)
        try:
            while data := await self._chunk():
                await self._take(await self._in_thread(parser.feed, data))
            parser.finish()
            self._pass_newest()
        except OSError as error:
            raise not_stored(error, self._upload.session_id) from error
        finally:
            if parser.session_id and named is not None:
                with suppress(PinactorsError):
                    named.session_id = check_session_id(parser.session_id)
            if parser.receiving:
                with trio.CancelScope(shield=True):  # remove the files also when the client has disconnected
                    await self._in_thread(parser.discard)  # noqa: ASYNC102 - shielded, one disk operation

    async def _chunk(self) -> bytes:
        """The next bytes of the body. A photograph waits no longer than `REGION_SECONDS` for them."""
        if self._newest is not None:
            with trio.move_on_after(REGION_SECONDS):
                return await self._reader.chunk()
            self._pass_newest()
            await self._open_when_named()
        return await self._reader.chunk()

    async def _in_thread(self, step: Callable[..., T], *arguments: bytes) -> T:
        return await trio.to_thread.run_sync(step, *arguments, limiter=self._services.disk)

    async def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case SessionNamed(session_id):
                    self._name(session_id)
                case RegionNamed(view, region):
                    self._set_region(view, region)
                case WebhookNamed(url):
                    self._upload.webhook = named_webhook(url, self._services.settings, self._upload.owner)
                case Photograph():
                    self._newest = event
                case OtherField():  # neither its region nor a session id is right behind the photograph
                    self._pass_newest()
                    self._named = self._named or View.FRONT in self._upload.images
            await self._open_when_named()

    async def _open_when_named(self) -> None:
        if self._log is None and self._named and View.FRONT in self._upload.images:
            self._log = await self._services.registry.open(self._upload)

    def _pass_newest(self) -> None:
        """Passes the newest photograph to the session, with its region."""
        if (newest := self._newest) is not None:
            image = replace(newest.image, region=self._regions.get(newest.view))
            self._upload.put(newest.view, image, newest.field)
            self._passed.add(newest.view)
            self._newest = None

    def _set_region(self, view: View, region: Region | None) -> None:
        self._regions[view] = region
        if view not in self._passed or self._upload.images[view].region == region:
            return
        if self._log is not None:
            late = "the photograph was analysed before its region came: send the region first"
            self._begin_again(self._upload.session_id, invalid_field(f"{view}Region", late))
        image = replace(self._upload.images[view], region=region)
        self._upload.put(view, image, self._upload.field_of(view))

    def _name(self, session_id: str | None) -> None:
        if not session_id:
            return
        self._named = True
        name = check_session_id(session_id)
        if self._log is not None and name != self._upload.session_id:
            renamed = f"The session continues as {name}"
            self._begin_again(name, PinactorsError(ErrorCode.SESSION_CONFLICT, "Session renamed", renamed))
        self._upload.session_id = name

    def _begin_again(self, session_id: str, refusal: PinactorsError) -> None:
        """Replaces the upload, which has an open session, by a new one with the same photographs. Raises
        `refusal` if the client may have packets of that session."""
        before = self._upload
        if before.announced:
            raise refusal
        self._log = None
        self._upload = Upload(session_id, before.owner, before.idempotency_key, before.deadline)
        self._upload.resumable, self._upload.webhook = before.resumable, before.webhook
        self._upload.span = before.span
        for view, image in before.images.items():
            self._upload.put(view, image, before.field_of(view))
        before.fail(PinactorsError(ErrorCode.SESSION_CONFLICT, "Session replaced", refusal.detail))


def parser_of(content_type: str, boundary: str | None) -> Callable[[ImageTarget | None], Parser]:
    """The parser class for bodies of that type. Raises `PinactorsError` (`invalid_format`) for an unusable
    boundary."""
    if content_type == JSON_TYPE:
        return JsonUpload
    return partial(MultipartUpload, boundary=checked_boundary(boundary))


def named_webhook(url: str | None, settings: Settings, owner: str) -> str:
    """The checked URL to which an upload's events are sent, empty for none. Raises `PinactorsError`
    (`invalid_format`)."""
    if none_if_missing(url) is None:
        return ""
    if not owner and not settings.webhook_secret:
        why = "its events cannot be signed: send an API key, or set webhook_secret on the server"
        raise invalid_field(WEBHOOK_FIELD, why)
    return check_url(url or "", private=settings.webhook_private)


def content_type(request: Request) -> str:
    """The media type of an upload. Raises `PinactorsError` (`invalid_format`, 415) for a type or encoding
    that is not accepted."""
    if request.mimetype not in (JSON_TYPE, MULTIPART_TYPE):
        found = f"not {request.mimetype[:100]!r}" if request.mimetype else "but it was not given"
        detail = f"Content-Type must be {JSON_TYPE} or {MULTIPART_TYPE}, {found}"
    elif request.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
        detail = "Content-Encoding must be identity: send the body uncompressed"
    else:
        return request.mimetype
    raise PinactorsError(ErrorCode.INVALID_FORMAT, "Unsupported content type", detail, status=415)


def idempotency_key(request: Request) -> str | None:
    return check_idempotency_key(request.headers.get("Idempotency-Key"))


def check_idempotency_key(key: str | None, field: str = "Idempotency-Key") -> str | None:
    """Returns the key, or None for a missing key or one of `MISSING_VALUES`. Raises `PinactorsError`
    (`invalid_format`), naming `field`, for a key that is too long or has other characters."""
    key = none_if_missing(key)
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise invalid_value(field, f"{field} must be 1 to 255 printable ASCII characters without spaces")
    return key


def deadline(request: Request) -> float:
    """The deadline in seconds from `DEADLINE_HEADER`; infinity if the header is missing or the sender is not
    one of our proxies. Raises `PinactorsError` (`invalid_format`)."""
    text = request.headers.get(DEADLINE_HEADER)
    if text is None or not _from_proxy(request):
        return math.inf
    milliseconds = whole_number(text)
    if milliseconds is None:
        raise invalid_value(DEADLINE_HEADER, f"{DEADLINE_HEADER} must be a number of milliseconds")
    return milliseconds / 1000


def _from_proxy(request: Request) -> bool:
    secret, sent = current_services().settings.proxy_secret, request.headers.get(SECRET_HEADER, "")
    return bool(secret) and hmac.compare_digest(sent.encode(), secret.encode())
