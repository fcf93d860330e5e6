"""The JSON bodies of answers that are no packets: encoded from these types, and described by them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from pinactors import __version__
from pinactors.protocol import ErrorCode, Verdict, View
from pinactors.records.feedback import Agreement


class Failure(msgspec.Struct, rename="camel", kw_only=True):
    """The body of every refusal. `field` names what is at fault, as it was sent, where that is one field, and
    `view` the photograph it belongs to."""

    success: Literal[False] = False
    message: str
    error: str
    error_code: ErrorCode
    session_id: str | None
    timestamp: str
    field: str | msgspec.UnsetType = msgspec.UNSET
    view: View | msgspec.UnsetType = msgspec.UNSET


class PinConfirmed(msgspec.Struct, rename="camel", kw_only=True):
    """What was recorded; the latest word on an analysis counts. Corrections are there where they were
    sent."""

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
    """An analysis without a confirmation: `pinId` is its session id, `name` that of the pin it claimed."""

    pin_id: str
    record_number: int
    name: str
    created_at: str


class ProvisionalPins(msgspec.Struct, rename="camel", kw_only=True):
    """One page of them, newest first; `total` counts all."""

    success: Literal[True] = True
    provisional_pins: list[ProvisionalPin]
    total: int
    timestamp: str


class Events(msgspec.Struct, rename="camel"):
    """How many of an analysis's events for its webhook wait, were taken, or were given up (dead letters);
    `error` is why the last one that failed did."""

    pending: int
    delivered: int
    dead: int
    error: str | None


class Record(msgspec.Struct, rename="camel", kw_only=True):
    """One analysis in a list. `verdict` to `confidence` are null where it failed, `pinId` and `name` where no
    catalogue entry was claimed, `userAgreement` where nobody said anything, `webhook` where it has none."""

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
    """One page of them, newest first; `total` counts all that match, `next` is the `before` of the next page,
    null on the last one."""

    success: Literal[True] = True
    records: list[Record]
    total: int
    next: int | None
    timestamp: str


class TokenMade(msgspec.Struct, rename="camel", kw_only=True):
    """A short-lived token, shown this once: for uploads, or for one stream where `streamId` names it."""

    success: Literal[True] = True
    token: str
    expires_at: str
    seconds: int
    stream_id: str | None
    timestamp: str


class Card(msgspec.Struct, rename="camel"):
    """What the service calls itself; `endpoints` by purpose."""

    service: str
    status: str
    timestamp: str
    endpoints: dict[str, str]


class CatalogueState(msgspec.Struct, rename="camel", omit_defaults=True):
    """The other fields are there when it is `available`. `outdated`: another version of the program made it,
    and nothing is found in it until `catalog rebuild` has been run."""

    available: bool
    pins: int | None = None
    version: str | None = None
    demonstration: bool | None = None
    outdated: bool | None = None


class DatabaseState(msgspec.Struct, rename="camel"):
    """Whether the database answered."""

    available: bool


class StorageState(msgspec.Struct, rename="camel"):
    """`waiting`: photographs that are on this machine alone, as the object store cannot be reached."""

    waiting: int = 0


class DiskState(msgspec.Struct, rename="camel"):
    """Whether there is room for one more upload on every volume that is written to."""

    available: bool


class Health(msgspec.Struct, rename="camel"):
    """`ok`, or `degraded`: it answers, but not everything works. `actors` and `queue` are figures by name;
    `packet_log` says whether other masters have this one's packets too."""

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
    """The process answers. It says nothing of what the process needs: a restart would not bring that back."""

    status: Literal["alive"]
    timestamp: str


class Readiness(msgspec.Struct, rename="camel"):
    """Whether new uploads should be sent here; `checks` says what of it works."""

    status: Literal["ready", "not_ready"]
    timestamp: str
    checks: dict[str, bool]


class MasterState(msgspec.Struct, rename="camel"):
    """A master as its proxy sees it."""

    name: str
    state: Literal["up", "ejected", "draining", "down"]
    weight: float
    sessions: int


class ProxyHealth(msgspec.Struct, rename="camel"):
    """The proxy's `/health`: `degraded` where not every master is up, `unavailable` (503) where none is."""

    status: Literal["ok", "degraded", "unavailable"]
    service: str
    timestamp: str
    sessions: int
    masters: list[MasterState]
    disk: DiskState
    version: str = __version__


class FoundPin(msgspec.Struct, rename="camel"):
    """An entry of the catalogue, as a search by name shows it."""

    pin_id: str
    name: str
    characters: str
    series: str | None
    year: int | None


class FoundPins(msgspec.Struct, rename="camel"):
    """The first entries a search found, by pin id."""

    pins: list[FoundPin]
