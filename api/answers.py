"""Types of the JSON bodies of answers other than packets, from which the OpenAPI schemas are made; and the
answer without a body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from quart import Response

from pinactors import __version__
from pinactors.protocol import ErrorCode, Verdict, View
from pinactors.records.feedback import Agreement


def empty(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An answer without a body, and so without a content type."""
    response = Response(b"", status, dict(headers or {}))
    del response.headers["Content-Type"]
    return response


class Failure(msgspec.Struct, rename="camel", kw_only=True):
    """The body of every error. If one field is at fault, `field` names it as it was sent and `view` the
    photograph that it belongs to."""

    success: Literal[False] = False
    message: str
    error: str
    error_code: ErrorCode
    session_id: str | None
    timestamp: str
    field: str | msgspec.UnsetType = msgspec.UNSET
    view: View | msgspec.UnsetType = msgspec.UNSET


class PinConfirmed(msgspec.Struct, rename="camel", kw_only=True):
    """The feedback that was recorded; only the latest feedback on an analysis counts. Corrections are present
    if they were sent."""

    success: Literal[True] = True
    message: str
    timestamp: str
    session_id: str
    record_number: int
    pin_id: str
    user_agreement: Agreement
    feedback_comment: str
    corrected_verdict: Verdict | msgspec.UnsetType = msgspec.UNSET
    corrected_pin_id: str | msgspec.UnsetType = msgspec.UNSET
    corrected_price: float | msgspec.UnsetType = msgspec.UNSET


class ProvisionalPin(msgspec.Struct, rename="camel"):
    """An analysis without feedback. `pinId` is its session id, `name` the name of the identified pin."""

    pin_id: str
    record_number: int
    name: str
    created_at: str


class ProvisionalPins(msgspec.Struct, rename="camel", kw_only=True):
    """One page of analyses without feedback, newest first; `total` is the number of all."""

    success: Literal[True] = True
    provisional_pins: list[ProvisionalPin]
    total: int
    timestamp: str


class Events(msgspec.Struct, rename="camel"):
    """How many of an analysis's webhook events are pending, delivered, or given up (dead letters); `error` is
    the reason of the last failed attempt."""

    pending: int
    delivered: int
    dead: int
    error: str | None


class Record(msgspec.Struct, rename="camel", kw_only=True):
    """One analysis in a list. `verdict`, `authenticityRating` and `confidence` are null if it failed, `pinId`
    and `name` if no pin was identified, `userAgreement` if there is no feedback, `webhook` if it has none."""

    record_number: int
    session_id: str
    created_at: str
    verdict: Verdict | None
    authenticity_rating: int | None
    confidence: float | None
    pin_id: str | None
    name: str | None
    views: list[str]
    degraded: list[str]
    missing: list[str]
    error_code: str | None
    user_agreement: str | None
    webhook: Events | None


class RecordPage(msgspec.Struct, rename="camel", kw_only=True):
    """One page of analyses, newest first. `total` is the number of all that match; `next` is the `before` of
    the next page, null on the last page."""

    success: Literal[True] = True
    records: list[Record]
    total: int
    next: int | None
    timestamp: str


class TokenMade(msgspec.Struct, rename="camel", kw_only=True):
    """A short-lived token, which cannot be shown again: for uploads, or for one stream if `streamId` names
    it."""

    success: Literal[True] = True
    token: str
    expires_at: str
    seconds: int
    stream_id: str | None
    timestamp: str


class Card(msgspec.Struct, rename="camel"):
    """The service's name, and its `endpoints` by purpose."""

    service: str
    status: str
    timestamp: str
    endpoints: dict[str, str]


class CatalogueState(msgspec.Struct, rename="camel", omit_defaults=True):
    """The state of the catalogue. The other fields are present if it is `available`. `outdated` is true if
    another version of the program made the catalogue; no pin is identified until `catalog rebuild` has been
    run."""

    available: bool
    pins: int | None = None
    version: str | None = None
    demonstration: bool | None = None
    outdated: bool | None = None


class DatabaseState(msgspec.Struct, rename="camel"):
    """Whether the records' database answered."""

    available: bool


class StorageState(msgspec.Struct, rename="camel"):
    """The state of the object store. `waiting` is the number of photographs that are only on this machine,
    because the object store cannot be reached."""

    waiting: int = 0


class DiskState(msgspec.Struct, rename="camel"):
    """Whether each volume that is written to has room for one more upload."""

    available: bool


class Health(msgspec.Struct, rename="camel"):
    """The state of a master: `ok`, or `degraded` if it answers but not everything works. `actors` and `queue`
    are figures by name; `packet_log` is `shared` if other masters have this master's packets too."""

    status: Literal["ok", "degraded"]
    timestamp: str
    actors: dict[str, Any]
    queue: dict[str, Any]
    database: DatabaseState
    catalogue: CatalogueState
    storage: StorageState
    disk: DiskState
    packet_log: Literal["own", "shared"]
    version: str = __version__


class Liveness(msgspec.Struct, rename="camel"):
    """The process answers. The state of other services is not checked: a restart would not repair them."""

    status: Literal["alive"]
    timestamp: str


class Readiness(msgspec.Struct, rename="camel"):
    """Whether new uploads should be sent here; `checks` has the result of each check."""

    status: Literal["ready", "not_ready"]
    timestamp: str
    checks: dict[str, bool]


class MasterState(msgspec.Struct, rename="camel"):
    """The state of a master, as observed by the proxy."""

    name: str
    state: Literal["up", "ejected", "draining", "down"]
    weight: float
    sessions: int


class ProxyHealth(msgspec.Struct, rename="camel"):
    """The state of a proxy: `degraded` if a master is not up or the disk is full, `unavailable` (503) if no
    master is up."""

    status: Literal["ok", "degraded", "unavailable"]
    service: str
    timestamp: str
    sessions: int
    masters: list[MasterState]
    disk: DiskState
    version: str = __version__


class FoundPin(msgspec.Struct, rename="camel"):
    """A catalogue entry in the result of a search."""

    pin_id: str
    name: str
    characters: str
    series: str | None
    year: int | None


class FoundPins(msgspec.Struct, rename="camel"):
    """The first catalogue entries that a search found, ordered by pin id."""

    pins: list[FoundPin]
