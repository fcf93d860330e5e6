"""Finished analyses in the database. Every function runs inside a transaction of its caller."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import peewee

from pinactors.protocol import View, is_text
from pinactors.records import deliveries
from pinactors.records.models import AnalysisImage, Image, LaterKey, StoredAnalysis, StoredPacket
from pinactors.storage.stored_image import StoredImage


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisRecord:
    """A finished session, to be stored. `packets` are all packets before the final one, encoded, without
    newline.

    `verdict` to `confidence` are None if the session ended with an error, whose code is `error_code`.
    `pin_id` and `pin_name` name the claimed catalogue pin, None if no pin was claimed. `started_at` has a
    time zone. `webhook` is the upload's URL for events (empty: that of its key). `components` has for each
    packet the name of the component that made it, or an empty string.
    """

    stream_id: str
    session_id: str
    owner: str
    idempotency_key: str | None
    fingerprint: str
    images: Mapping[View, StoredImage]
    started_at: dt.datetime
    processing_ms: int
    verdict: str | None
    authentic: bool | None
    rating: int | None
    confidence: float | None
    pin_id: str | None
    degraded: list[str]
    missing: list[str]
    packets: list[bytes]
    error_code: str | None = None
    pin_name: str | None = None
    webhook: str = ""
    components: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A finished session with all its packets, byte for byte as they were sent."""

    stream_id: str
    session_id: str
    owner: str
    packets: list[bytes]
    finished_at: dt.datetime
    record_number: int


def save(
    database: peewee.Database,
    record: AnalysisRecord,
    final_packet: Callable[[int], bytes],
    now: dt.datetime,
    images_folder: Path,
) -> int:
    known = _number_of(database, record.stream_id)
    if known is not None:
        return known
    row = {
        StoredAnalysis.stream_id: record.stream_id,
        StoredAnalysis.session_id: record.session_id,
        StoredAnalysis.owner: record.owner,
        StoredAnalysis.idempotency_key: record.idempotency_key,
        StoredAnalysis.fingerprint: record.fingerprint,
        StoredAnalysis.started_at: record.started_at,
        StoredAnalysis.finished_at: now,
        StoredAnalysis.processing_ms: record.processing_ms,
        StoredAnalysis.verdict: record.verdict,
        StoredAnalysis.authentic: record.authentic,
        StoredAnalysis.rating: record.rating,
        StoredAnalysis.confidence: record.confidence,
        StoredAnalysis.pin_id: record.pin_id,
        StoredAnalysis.pin_name: record.pin_name,
        StoredAnalysis.degraded: json.dumps(record.degraded),
        StoredAnalysis.missing: json.dumps(record.missing),
        StoredAnalysis.error_code: record.error_code,
        StoredAnalysis.provisional: record.error_code is None,
    }
    number = int(StoredAnalysis.insert(row).execute(database))
    # The final packet is made after the row is inserted, so that no other attempt can store another one.
    bodies = [*record.packets, final_packet(number)]
    packets = [(number, sequence, body) for sequence, body in enumerate(bodies)]
    fields = [StoredPacket.analysis, StoredPacket.sequence, StoredPacket.body]
    StoredPacket.insert_many(packets, fields=fields).execute(database)
    if record.webhook or record.owner:
        deliveries.add(
            database, record.stream_id, record.owner, record.webhook, bodies, record.components, now
        )
    for view, image in record.images.items():
        path = Path(image.path)
        relative = path.relative_to(images_folder) if path.is_relative_to(images_folder) else path
        Image.insert(sha256=image.sha256, size=image.size, path=str(relative)).on_conflict_ignore().execute(
            database
        )
        AnalysisImage.insert(analysis=number, view=view.value, image=image.sha256).execute(database)
    return number


def _number_of(database: peewee.Database, stream_id: str) -> int | None:
    number = (
        StoredAnalysis.select(StoredAnalysis.id).where(StoredAnalysis.stream_id == stream_id).scalar(database)
    )
    return None if number is None else int(number)


def known_images(database: peewee.Database, hashes: Sequence[str]) -> set[str]:
    rows = Image.select(Image.sha256).where(Image.sha256.in_(hashes)).tuples().execute(database)
    return {sha256 for (sha256,) in rows}


def stream(database: peewee.Database, stream_id: str) -> StoredStream | None:
    if not is_text(stream_id):  # PostgreSQL would fail, not find nothing
        return None
    row = (
        StoredAnalysis.select(
            StoredAnalysis.id, StoredAnalysis.session_id, StoredAnalysis.owner, StoredAnalysis.finished_at
        )
        .where(StoredAnalysis.stream_id == stream_id)
        .tuples()
        .first(database)
    )
    if row is None:
        return None
    number, session_id, owner, finished_at = row
    bodies = (
        StoredPacket.select(StoredPacket.body)
        .where(StoredPacket.analysis == number)
        .order_by(StoredPacket.sequence)
        .tuples()
        .execute(database)
    )
    packets = [bytes(body) for (body,) in bodies]
    return StoredStream(stream_id, session_id, owner, packets, finished_at, number)


def photograph(
    database: peewee.Database, stream_id: str, view: str, images_folder: Path
) -> StoredImage | None:
    """The photograph that an analysis used as `view`, as in `AnalysisRecord.images`; None if there is
    none."""
    if not is_text(stream_id + view):
        return None
    query = (
        Image.select(Image.path, Image.sha256, Image.size)
        .join(AnalysisImage)
        .join(StoredAnalysis)
        .where(StoredAnalysis.stream_id == stream_id, AnalysisImage.view == view)
        .tuples()
    )
    row = query.first(database)
    return None if row is None else StoredImage(str(images_folder / row[0]), row[1], row[2])


def find_upload(
    database: peewee.Database, owner: str, session_id: str, fingerprint: str, since: dt.datetime
) -> str | None:
    """Stream id of the newest analysis with this owner, session id and fingerprint, if it ended after
    `since`."""
    matching = (
        (StoredAnalysis.owner == owner)
        & (StoredAnalysis.session_id == session_id)
        & (StoredAnalysis.fingerprint == fingerprint)
    )
    found = _newest(database, matching, since)
    return found[0] if found else None


def find_idempotent(
    database: peewee.Database, owner: str, idempotency_key: str, since: dt.datetime
) -> tuple[str, str] | None:
    """Stream id and fingerprint of the newest analysis with this owner and key, if it ended after `since`;
    otherwise of the analysis of which a duplicate was uploaded with the key after `since`."""
    matching = (StoredAnalysis.owner == owner) & (StoredAnalysis.idempotency_key == idempotency_key)
    later_keys = (
        LaterKey.select(LaterKey.stream_id, LaterKey.fingerprint)
        .where(
            LaterKey.owner == owner, LaterKey.idempotency_key == idempotency_key, LaterKey.added_at >= since
        )
        .tuples()
    )
    return _newest(database, matching, since) or later_keys.first(database)


def keep_later_key(
    database: peewee.Database,
    owner: str,
    idempotency_key: str,
    stream_id: str,
    fingerprint: str,
    now: dt.datetime,
    since: dt.datetime,
) -> None:
    """Stores the key of a duplicate of that stream's upload; an existing row stays as it is. Removes the keys
    stored before `since`."""
    LaterKey.delete().where(LaterKey.added_at < since).execute(database)
    row = {
        LaterKey.owner: owner,
        LaterKey.idempotency_key: idempotency_key,
        LaterKey.stream_id: stream_id,
        LaterKey.fingerprint: fingerprint,
        LaterKey.added_at: now,
    }
    LaterKey.insert(row).on_conflict_ignore().execute(database)


def has_upload(
    database: peewee.Database,
    owner: str,
    session_id: str | None,
    idempotency_key: str | None,
    since: dt.datetime,
) -> bool:
    """Whether there is an analysis with that session id, or with that key, that ended after `since`."""
    matching = (StoredAnalysis.owner == owner) & (StoredAnalysis.session_id == session_id)
    if session_id is not None and _newest(database, matching, since) is not None:
        return True
    return idempotency_key is not None and (
        find_idempotent(database, owner, idempotency_key, since) is not None
    )


def _newest(
    database: peewee.Database, matching: peewee.Expression, since: dt.datetime
) -> tuple[str, str] | None:
    """Stream id and fingerprint of the newest matching analysis, if it ended after `since`. Only one row is
    read. Failed analyses do not count: they may have had only some of the photographs, and the client that
    sends these again needs a new analysis."""
    row = (
        StoredAnalysis.select(
            StoredAnalysis.stream_id, StoredAnalysis.fingerprint, StoredAnalysis.finished_at
        )
        .where(matching, StoredAnalysis.error_code.is_null())
        .order_by(StoredAnalysis.id.desc())
        .limit(1)
        .tuples()
        .first(database)
    )
    if row is None:
        return None
    stream_id, fingerprint, finished_at = row
    return (stream_id, fingerprint) if finished_at >= since else None
