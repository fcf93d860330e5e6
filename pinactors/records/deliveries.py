"""Deliveries: events to be sent to a webhook. Every function runs inside a transaction of its caller.

A row is pending until its event was delivered or given up. Of each stream only the earliest pending event is
sent; the next one waits for it. A process that claims a delivery sets its `due_at` to a later time in the
same transaction, so that only one of several processes sends it; if that process is killed, the delivery
becomes due again.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import peewee

from pinactors.protocol.events import body_of, event_of
from pinactors.records import keys
from pinactors.records.models import Delivery

PENDING, DELIVERED, DEAD = "pending", "delivered", "dead"

ERROR_LIMIT = 500
"""Most characters stored of the reason why a delivery failed."""

CLAIM_ROWS = 100
"""Most rows that one claim reads."""


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """An event to be sent now. `secret` is the signing secret of its key; None for an upload without a key or
    if the key was revoked. `attempts` includes the attempt for which it was claimed."""

    id: int
    stream_id: str
    sequence: int
    owner: str
    url: str
    event: str
    body: bytes
    created_at: dt.datetime
    attempts: int
    secret: str | None


@dataclass(frozen=True, slots=True)
class DeliveryTally:
    """The numbers of a stream's events by state; `error` is the error of the last event that has one."""

    pending: int
    delivered: int
    dead: int
    error: str | None


def add(
    database: peewee.Database,
    stream_id: str,
    owner: str,
    webhook: str,
    packets: Sequence[bytes],
    components: Iterable[str],
    now: dt.datetime,
    *,
    first: int = 0,
) -> bool:
    """Stores events for `packets`, whose sequences begin at `first` and which `components` made, to be sent
    to `webhook` or, if that is empty, to the key's webhook. Existing rows stay as they are. Returns False if
    there is no webhook."""
    url = webhook or keys.webhook_of(database, owner)
    if not url:
        return False
    made_by = chain(components, repeat(""))
    events = [
        (first + number, event, body_of(event, stream_id, packet))
        for number, (packet, component) in enumerate(zip(packets, made_by, strict=False))
        if (event := event_of(packet, component)) is not None
    ]
    rows = [
        {
            Delivery.stream_id: stream_id,
            Delivery.sequence: sequence,
            Delivery.owner: owner,
            Delivery.url: url,
            Delivery.event: event,
            Delivery.body: body,
            Delivery.created_at: now,
            Delivery.due_at: now,
            Delivery.state: PENDING,
        }
        for sequence, event, body in events
    ]
    if rows:
        Delivery.insert_many(rows).on_conflict_ignore().execute(database)
    return True


def claim(
    database: peewee.Database,
    now: dt.datetime,
    until: dt.datetime,
    limit: int,
    under_way: Mapping[str, int],
    per_owner: int,
) -> list[ClaimedDelivery]:
    """Claims at most `limit` due deliveries for the caller, until `until`; at most `per_owner` of each owner,
    including those `under_way`."""
    counts = Counter(under_way)
    busy_owners = [owner for owner, count in counts.items() if count >= per_owner]
    due = _first_of_stream() & (Delivery.due_at <= now) & Delivery.owner.not_in(busy_owners)
    query = Delivery.select().where(due).order_by(Delivery.due_at, Delivery.id)
    claimed: list[ClaimedDelivery] = []
    for row in list(query.limit(CLAIM_ROWS).execute(database)):
        if len(claimed) < limit and counts[row.owner] < per_owner and _try_claim(database, row, until):
            counts[row.owner] += 1
            secret = keys.secret_of(database, row.owner)
            claimed.append(_delivery_of(row, secret))
    return claimed


def _first_of_stream() -> Any:
    """The condition that a delivery is pending and no earlier one of its stream is."""
    earlier = Delivery.alias()
    waits = earlier.select(earlier.id).where(
        earlier.stream_id == Delivery.stream_id,
        earlier.state == PENDING,
        earlier.sequence < Delivery.sequence,
    )
    return (Delivery.state == PENDING) & ~peewee.fn.EXISTS(waits)


def _try_claim(database: peewee.Database, row: Delivery, until: dt.datetime) -> bool:
    """Claims the row. Returns False if another process has claimed it first."""
    unclaimed = (Delivery.id == row.id) & (Delivery.due_at == row.due_at)
    changes = {Delivery.due_at: until, Delivery.attempts: Delivery.attempts + 1}
    return bool(Delivery.update(changes).where(unclaimed).execute(database))


def _delivery_of(row: Delivery, secret: str | None) -> ClaimedDelivery:
    return ClaimedDelivery(
        row.id,
        row.stream_id,
        row.sequence,
        row.owner,
        row.url,
        row.event,
        bytes(row.body),
        row.created_at,
        row.attempts + 1,
        secret,
    )


def next_due(database: peewee.Database) -> dt.datetime | None:
    """The earliest time at which a delivery is due; None if none is pending."""
    due = Delivery.select(Delivery.due_at).where(_first_of_stream()).order_by(Delivery.due_at)
    found = due.limit(1).tuples().first(database)
    return None if found is None else found[0]


def delivered(database: peewee.Database, number: int) -> None:
    changes = {Delivery.state: DELIVERED, Delivery.body: b"", Delivery.error: None}
    Delivery.update(changes).where(Delivery.id == number).execute(database)


def failed(database: peewee.Database, number: int, error: str, due_at: dt.datetime) -> None:
    """Stores the error of an attempt; the next attempt is at `due_at`."""
    changes = {Delivery.error: error[:ERROR_LIMIT], Delivery.due_at: due_at}
    Delivery.update(changes).where(Delivery.id == number).execute(database)


def give_up(database: peewee.Database, stream_id: str, error: str) -> int:
    """Gives up all pending events of a stream and returns their number. All of them, because sending the rest
    would leave a gap in the order. Their bodies are emptied, as those of delivered events are."""
    pending = (Delivery.stream_id == stream_id) & (Delivery.state == PENDING)
    changes = {Delivery.state: DEAD, Delivery.body: b"", Delivery.error: error[:ERROR_LIMIT]}
    return int(Delivery.update(changes).where(pending).execute(database))


def tallies(database: peewee.Database, stream_ids: Sequence[str]) -> dict[str, DeliveryTally]:
    """The tallies by stream id; streams without events are missing."""
    columns = (Delivery.stream_id, Delivery.state, Delivery.error)
    query = Delivery.select(*columns).where(Delivery.stream_id.in_(stream_ids)).order_by(Delivery.id)
    found: dict[str, list[tuple[str, str | None]]] = {}
    for stream_id, state, error in query.tuples().execute(database):
        found.setdefault(stream_id, []).append((state, error))
    return {stream_id: _tally(rows) for stream_id, rows in found.items()}


def _tally(rows: Sequence[tuple[str, str | None]]) -> DeliveryTally:
    counts = Counter(state for state, _ in rows)
    error = next((error for _, error in reversed(rows) if error), None)
    return DeliveryTally(counts[PENDING], counts[DELIVERED], counts[DEAD], error)


def erase(database: peewee.Database, stream_ids: Sequence[str]) -> None:
    Delivery.delete().where(Delivery.stream_id.in_(stream_ids)).execute(database)


def forget(database: peewee.Database, before: dt.datetime) -> int:
    """Removes deliveries made before `before` that are no longer pending; returns their number."""
    old = (Delivery.state != PENDING) & (Delivery.created_at < before)
    return int(Delivery.delete().where(old).execute(database))
