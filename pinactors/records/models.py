"""The database's tables. Each query is executed with its database as argument (`query.execute(database)`), so
that two `Records` share nothing.

A change here also needs a new step in `migrations.STEPS`; a test compares a new schema with a migrated one.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import peewee

PAGE_LIMIT = 200
"""Most rows of one page of a list."""

LARGEST_INTEGER = 2**31 - 1
"""Largest value of an integer column in PostgreSQL."""


def page_size(limit: int) -> int:
    """The number of rows that a page gets if `limit` are asked for."""
    return min(max(limit, 0), PAGE_LIMIT)


class UtcField(peewee.BigIntegerField):
    """A datetime with time zone, stored as milliseconds since 1970, so that it is the same on every database
    and in every time zone."""

    def db_value(self, value: dt.datetime | None) -> int | None:
        return None if value is None else round(value.timestamp() * 1000)

    def python_value(self, value: int | None) -> dt.datetime | None:
        return None if value is None else dt.datetime.fromtimestamp(value / 1000, dt.UTC)


class NumberField(peewee.AutoField):
    """A row's number, given by the database and never given again, even if the row is deleted: clients keep
    the numbers of records. PostgreSQL's sequences have this property; SQLite has it with `AUTOINCREMENT`."""

    def ddl(self, ctx: Any) -> Any:
        definition = super().ddl(ctx)
        if ctx.state.field_types.get(self.field_type) == "SERIAL":  # PostgreSQL
            return definition
        return peewee.NodeList((definition, peewee.SQL("AUTOINCREMENT")))


class SchemaVersion(peewee.Model):
    """The version of the database's schema, in a single row."""

    id = peewee.IntegerField(primary_key=True)
    version = peewee.IntegerField()

    class Meta:
        table_name = "schema_version"


class StoredAnalysis(peewee.Model):
    """One finished session. `id` is the clients' `recordNumber`; `error_code` is null if the session
    completed.

    `provisional` is true for a completed session that nobody has confirmed. It is a column so that the
    clients' frequent query for such sessions uses an index.
    """

    id = NumberField()
    stream_id = peewee.CharField(max_length=64, unique=True)
    session_id = peewee.CharField(max_length=128)
    owner = peewee.CharField(max_length=64)
    idempotency_key = peewee.CharField(max_length=255, null=True)
    fingerprint = peewee.CharField(max_length=64)
    started_at = UtcField()
    finished_at = UtcField()
    processing_ms = peewee.IntegerField()
    verdict = peewee.CharField(max_length=32, null=True)
    authentic = peewee.BooleanField(null=True)
    rating = peewee.IntegerField(null=True)
    confidence = peewee.FloatField(null=True)
    pin_id = peewee.TextField(null=True)
    pin_name = peewee.TextField(null=True)
    degraded = peewee.TextField()
    missing = peewee.TextField()
    error_code = peewee.CharField(max_length=32, null=True)
    provisional = peewee.BooleanField(default=False)

    class Meta:
        table_name = "analysis"
        legacy_table_names = False  # the indexes are named after the table, as in existing databases
        indexes = (
            (("owner", "session_id", "fingerprint"), False),
            (("owner", "idempotency_key"), False),
            (("owner", "provisional", "id"), False),
        )


class LaterKey(peewee.Model):
    """An `Idempotency-Key` that was sent with a duplicate of an upload: from then on it means those
    photographs, like the key of the upload itself. `stream_id` is that of the session that answered the
    duplicate."""

    owner = peewee.CharField(max_length=64)
    idempotency_key = peewee.CharField(max_length=255)
    stream_id = peewee.CharField(max_length=64)
    fingerprint = peewee.CharField(max_length=64)
    added_at = UtcField()

    class Meta:
        table_name = "later_key"
        primary_key = peewee.CompositeKey("owner", "idempotency_key")


class Image(peewee.Model):
    """A photograph, one row per content hash; `path` is relative to the images folder if the file is in
    it."""

    sha256 = peewee.CharField(max_length=64, primary_key=True)
    size = peewee.BigIntegerField()
    path = peewee.TextField()

    class Meta:
        table_name = "image"


class AnalysisImage(peewee.Model):
    """The photograph of one view of an analysis."""

    analysis = peewee.ForeignKeyField(
        StoredAnalysis, backref="images", index=False
    )  # the primary key begins with it
    view = peewee.CharField(max_length=16)
    image = peewee.ForeignKeyField(Image, backref="analyses")

    class Meta:
        table_name = "analysis_image"
        primary_key = peewee.CompositeKey("analysis", "view")


class StoredPacket(peewee.Model):
    """A packet as it was sent, byte for byte."""

    analysis = peewee.ForeignKeyField(StoredAnalysis, backref="packets", index=False)
    sequence = peewee.IntegerField()
    body = peewee.BlobField()

    class Meta:
        table_name = "packet"
        primary_key = peewee.CompositeKey("analysis", "sequence")


class Feedback(peewee.Model):
    """A person's feedback on an analysis. The newest row counts; earlier rows are kept as history.

    `verdict`, `pin_id` and `price` (US dollars) are the person's corrections, null if not corrected.
    """

    id = NumberField()
    analysis = peewee.ForeignKeyField(StoredAnalysis, backref="feedback")
    agreement = peewee.CharField(max_length=16)
    comment = peewee.TextField()
    created_at = UtcField()
    verdict = peewee.CharField(max_length=32, null=True)
    pin_id = peewee.TextField(null=True)
    price = peewee.FloatField(null=True)

    class Meta:
        table_name = "feedback"


class ApiKey(peewee.Model):
    """An API key. `digest` is its SHA-256, `prefix` its start, which lists show. An
    `admin` key may see the analyses of all keys and edit the catalogue.

    `webhook` is the URL for the events of its sessions, null for none; `webhook_secret` signs them and is
    stored in plain text, because signing needs it.
    """

    id = NumberField()
    name = peewee.CharField(max_length=100)
    prefix = peewee.CharField(max_length=16)
    digest = peewee.CharField(max_length=64, unique=True)
    created_at = UtcField()
    revoked_at = UtcField(null=True)
    webhook = peewee.TextField(null=True)
    webhook_secret = peewee.CharField(max_length=100, null=True)
    admin = peewee.BooleanField(default=False)

    class Meta:
        table_name = "api_key"


class AccessToken(peewee.Model):
    """A short-lived token of a key, identified by its SHA-256: for one stream, or for uploads if `stream_id`
    is null."""

    digest = peewee.CharField(max_length=64, primary_key=True)
    key = peewee.ForeignKeyField(ApiKey)
    stream_id = peewee.CharField(max_length=64, null=True)
    expires_at = UtcField()

    class Meta:
        table_name = "access_token"


class Delivery(peewee.Model):
    """An event for a webhook: the packet `sequence` of a stream, as it is posted to `url`.

    `state` is `pending`, `delivered` or `dead` (given up, with the last `error`). `due_at` is the time of the
    next attempt; a process sets it to a later time before it tries, so that no other process tries at the
    same time. `body` is empty once the event is delivered or given up.
    """

    id = NumberField()
    stream_id = peewee.CharField(max_length=64)
    sequence = peewee.IntegerField()
    owner = peewee.CharField(max_length=64)
    url = peewee.TextField()
    event = peewee.CharField(max_length=100)
    body = peewee.BlobField()
    created_at = UtcField()
    due_at = UtcField()
    attempts = peewee.IntegerField(default=0)
    state = peewee.CharField(max_length=16)
    error = peewee.TextField(null=True)

    class Meta:
        table_name = "delivery"
        indexes = (
            (("stream_id", "sequence"), True),
            (("state", "due_at"), False),
        )


TABLES: tuple[type[peewee.Model], ...] = (
    SchemaVersion,
    StoredAnalysis,
    Image,
    AnalysisImage,
    StoredPacket,
    Feedback,
    ApiKey,
    AccessToken,
    Delivery,
    LaterKey,
)
