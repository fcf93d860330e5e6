"""Finished analyses in the database. Every function runs inside a transaction of its caller."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import peewee

from pinactors.protocol import View
from pinactors.records.models import Analysis, AnalysisImage, Image, StoredPacket
from pinactors.records.prepared import Inserting, Prepared
from pinactors.storage.stored_image import StoredImage


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisRecord:
    """A session at its end. `packets` are those before the final one, encoded, without newline.

    `verdict` to `confidence` are None when it ended in an error, whose code `error_code` then is. `pin_id`
    and `pin_name` are the catalogue pin that was claimed, None when none was. `started_at` is aware.
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


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A finished session's packets, the final one included, byte for byte as they went out."""

    stream_id: str
    session_id: str
    owner: str
    packets: list[bytes]
    finished_at: dt.datetime
    record_number: int


_number_of = Prepared(lambda: Analysis.select(Analysis.id).where(Analysis.stream_id == ":stream_id"))
_insert_analysis = Inserting(Analysis)
_insert_packets = Inserting(StoredPacket)
_insert_image = Inserting(Image, ignore=True)
_insert_analysis_image = Inserting(AnalysisImage)


def save(
    database: peewee.Database,
    record: AnalysisRecord,
    seal: Callable[[int], bytes],
    now: dt.datetime,
    images_folder: Path,
) -> int:
    known = _number_of(database, stream_id=record.stream_id).fetchone()
    if known is not None:
        return int(known[0])
    row = (
        record.stream_id,
        record.session_id,
        record.owner,
        record.idempotency_key,
        record.fingerprint,
        record.started_at,
        now,
        record.processing_ms,
        record.verdict,
        record.authentic,
        record.rating,
        record.confidence,
        record.pin_id,
        record.pin_name,
        json.dumps(record.degraded),
        json.dumps(record.missing),
        record.error_code,
        record.error_code is None,
    )
    _insert_analysis(database, [row])
    number = int(_number_of(database, stream_id=record.stream_id).fetchone()[0])
    # Sealed only after the row is in: from here on no other attempt can store another final packet.
    packets = [*record.packets, seal(number)]
    _insert_packets(database, [(number, sequence, body) for sequence, body in enumerate(packets)])
    for view, image in record.images.items():
        path = Path(image.path)
        relative = path.relative_to(images_folder) if path.is_relative_to(images_folder) else path
        _insert_image(database, [(image.sha256, image.size, str(relative))])
        _insert_analysis_image(database, [(number, view.value, image.sha256)])
    return number


def known_images(database: peewee.Database, hashes: Sequence[str]) -> set[str]:
    rows = Image.select(Image.sha256).where(Image.sha256.in_(hashes)).tuples().execute(database)
    return {sha256 for (sha256,) in rows}


def stream(database: peewee.Database, stream_id: str) -> StoredStream | None:
    row = (
        Analysis.select(Analysis.id, Analysis.session_id, Analysis.owner, Analysis.finished_at)
        .where(Analysis.stream_id == stream_id)
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


def _newest(same: peewee.Expression) -> Prepared:
    """One row is read, however many there are. An analysis that failed is none: it may have had only some of
    its photographs, and whoever sends them again wants another try."""
    columns = (Analysis.stream_id, Analysis.fingerprint, Analysis.finished_at)
    return Prepared(
        lambda: (
            Analysis.select(*columns)
            .where(same, Analysis.error_code.is_null())
            .order_by(Analysis.id.desc())
            .limit(1)
        )
    )


_same_upload = _newest(
    (Analysis.owner == ":owner")
    & (Analysis.session_id == ":session_id")
    & (Analysis.fingerprint == ":fingerprint")
)
_same_session = _newest((Analysis.owner == ":owner") & (Analysis.session_id == ":session_id"))
_same_key = _newest((Analysis.owner == ":owner") & (Analysis.idempotency_key == ":idempotency_key"))


def find_upload(
    database: peewee.Database, owner: str, session_id: str, fingerprint: str, since: dt.datetime
) -> str | None:
    """Stream id of the newest such analysis, if it ended after `since`."""
    cursor = _same_upload(database, owner=owner, session_id=session_id, fingerprint=fingerprint)
    found = _ended_after(since, cursor.fetchone())
    return found[0] if found else None


def find_idempotent(
    database: peewee.Database, owner: str, idempotency_key: str, since: dt.datetime
) -> tuple[str, str] | None:
    """Stream id and fingerprint of the newest such analysis, if it ended after `since`."""
    cursor = _same_key(database, owner=owner, idempotency_key=idempotency_key)
    return _ended_after(since, cursor.fetchone())


def has_named(
    database: peewee.Database, owner: str, session_id: str, idempotency_key: str | None, since: dt.datetime
) -> bool:
    """Whether there is an analysis of that session id, or of that key, that ended after `since`."""
    cursor = _same_session(database, owner=owner, session_id=session_id)
    if _ended_after(since, cursor.fetchone()) is not None:
        return True
    return idempotency_key is not None and (
        find_idempotent(database, owner, idempotency_key, since) is not None
    )


def _ended_after(since: dt.datetime, row: tuple[str, str, int] | None) -> tuple[str, str] | None:
    if row is None:
        return None
    stream_id, fingerprint, finished_at = row
    return (stream_id, fingerprint) if finished_at >= since.timestamp() * 1000 else None
