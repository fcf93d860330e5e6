"""The interface to the database: analyses with their packets, feedback, keys, tokens and deliveries."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Self

import peewee

from pinactors.records import analyses, deliveries, erasure, feedback, keys, listing, tokens
from pinactors.records.analyses import AnalysisRecord, StoredStream
from pinactors.records.database import RecordsUnavailable, Store, connect
from pinactors.records.deliveries import ClaimedDelivery, DeliveryTally
from pinactors.records.erasure import Erased
from pinactors.records.feedback import Confirmation, Opinion, UnconfirmedAnalysis
from pinactors.records.keys import KeyInfo
from pinactors.records.listing import Activity, Filter, RecordRow
from pinactors.records.models import PAGE_LIMIT
from pinactors.records.tokens import TokenUse
from pinactors.settings import Settings
from pinactors.storage.stored_image import StoredImage

Clock = Callable[[], dt.datetime]


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Records:
    """Access to the records. Every method is one transaction on a thread, and a checkpoint. Any may raise
    `RecordsUnavailable`, after which the same call may be repeated."""

    def __init__(self, store: Store, settings: Settings, clock: Clock = utc_now) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    @classmethod
    async def open(cls, settings: Settings, clock: Clock = utc_now) -> Self:
        """Opens and migrates the database.

        Raises `RecordsUnavailable`, `SchemaTooNew`, `SettingUnusable` (a database that cannot have the
        tables), `ValueError` (bad URL), `OSError` (no data folder).
        """
        store = Store(connect(settings))
        await store.open()
        return cls(store, settings, clock)

    async def close(self) -> None:
        await self._store.close()

    async def save(self, record: AnalysisRecord, final_packet: Callable[[int], bytes]) -> int:
        """Stores the analysis with all packets and returns its id; `final_packet(id)` makes the final packet,
        on another thread.

        Idempotent by `stream_id`: if an earlier attempt has stored the analysis, even if that attempt seemed
        to fail, this changes nothing, does not call `final_packet` and returns the stored id. The packet that
        the latest call of `final_packet` returned is therefore the stored one.
        """
        folder = self._settings.images_folder
        return await self._store.write(
            lambda database: analyses.save(database, record, final_packet, self._clock(), folder)
        )

    async def has_webhook(self, owner: str) -> bool:
        """Whether the key has a webhook."""
        return await self._store.look_up(partial(keys.webhook_of, owner=owner)) is not None

    async def add_deliveries(
        self,
        stream_id: str,
        owner: str,
        webhook: str,
        packets: Sequence[bytes],
        components: Sequence[str],
        first: int,
    ) -> bool:
        """Stores events for packets of a stream, from the sequence `first` on: see `deliveries.add`."""
        return await self._store.write(
            lambda database: deliveries.add(
                database, stream_id, owner, webhook, packets, components, self._clock(), first=first
            )
        )

    async def next_delivery(self) -> dt.datetime | None:
        """When the next event is to be sent; None if none is pending."""
        return await self._store.look_up(deliveries.next_due)

    async def claim_deliveries(
        self, until: dt.datetime, limit: int, under_way: Mapping[str, int], per_owner: int
    ) -> list[ClaimedDelivery]:
        """Claims events for the caller to send, until `until`: see `deliveries.claim`."""
        return await self._store.write(
            lambda database: deliveries.claim(database, self._clock(), until, limit, under_way, per_owner)
        )

    async def delivered(self, number: int) -> None:
        """Notes that the event was delivered."""
        await self._store.write(partial(deliveries.delivered, number=number))

    async def delivery_failed(self, number: int, error: str, due_at: dt.datetime) -> None:
        """Notes that an attempt failed; the next one is at `due_at`."""
        await self._store.write(partial(deliveries.failed, number=number, error=error, due_at=due_at))

    async def give_up_deliveries(self, stream_id: str, error: str) -> int:
        """Gives up the pending events of a stream; returns their number."""
        return await self._store.write(partial(deliveries.give_up, stream_id=stream_id, error=error))

    async def forget_deliveries(self, before: dt.datetime) -> int:
        """Removes deliveries made before `before` that are not pending; returns their number."""
        return await self._store.write(partial(deliveries.forget, before=before))

    async def delivery_tallies(self, stream_ids: Sequence[str]) -> dict[str, DeliveryTally]:
        """The numbers of events by state, for each of these streams; streams without events are missing."""
        return await self._store.read(partial(deliveries.tallies, stream_ids=stream_ids))

    async def stream(self, stream_id: str) -> StoredStream | None:
        """The stored session with its packets, however long ago it ended; the caller decides whether it may
        still be read. None if there is none."""
        return await self._store.read(partial(analyses.stream, stream_id=stream_id))

    async def photograph(self, stream_id: str, view: str) -> StoredImage | None:
        """The photograph of that view of the analysis; None if there is none. Its file may have been
        removed."""
        folder = self._settings.images_folder
        return await self._store.read(
            partial(analyses.photograph, stream_id=stream_id, view=view, images_folder=folder)
        )

    async def known_images(self, hashes: Sequence[str]) -> set[str]:
        """Those of `hashes` (a few hundred at most) whose photographs are in the database."""
        return await self._store.read(partial(analyses.known_images, hashes=hashes))

    async def has_upload(self, owner: str, session_id: str | None, idempotency_key: str | None) -> bool:
        """Whether an analysis with that session id or key completed within the last `settings.replay`
        seconds."""
        return await self._store.read(
            lambda database: analyses.has_upload(database, owner, session_id, idempotency_key, self._since())
        )

    async def find_upload(self, owner: str, session_id: str, fingerprint: str) -> str | None:
        """The newest stream of the same upload that completed within the last `settings.replay` seconds."""
        return await self._store.look_up(
            lambda database: analyses.find_upload(database, owner, session_id, fingerprint, self._since())
        )

    async def find_idempotent(self, owner: str, idempotency_key: str) -> tuple[str, str] | None:
        """Stream id and fingerprint of the newest upload with that key that completed within the last
        `settings.replay` seconds."""
        return await self._store.look_up(
            lambda database: analyses.find_idempotent(database, owner, idempotency_key, self._since())
        )

    async def keep_later_key(
        self, owner: str, idempotency_key: str, stream_id: str, fingerprint: str
    ) -> None:
        """Stores the key of a duplicate of that stream's upload, so that `find_idempotent` finds it."""
        await self._store.write(
            lambda database: analyses.keep_later_key(
                database, owner, idempotency_key, stream_id, fingerprint, self._clock(), self._since()
            )
        )

    async def confirm(
        self,
        record_number: object,
        pin_id: object,
        agreement: object,
        comment: object,
        owner: str,
        *corrected: object,
    ) -> Confirmation:
        """Checks and stores a client's feedback; `corrected` are the corrected verdict, pin id and price. The
        latest confirmation counts; a repeated one is not stored again.

        Raises `PinactorsError`: `missing_fields`, `invalid_agreement`, `invalid_format`, `record_not_found`.
        """
        statement = feedback.check(record_number, pin_id, agreement, comment, *corrected)
        return await self._store.write(
            lambda database: feedback.confirm(database, statement, owner, self._clock())
        )

    async def provisional(
        self, owner: str, limit: int = PAGE_LIMIT, offset: int = 0
    ) -> tuple[list[UnconfirmedAnalysis], int]:
        """Completed analyses of `owner` that nobody has confirmed, newest first, and the number of all of
        them.

        `limit` is clamped to 0 to `PAGE_LIMIT`, `offset` to at least 0.
        """
        return await self._store.read(partial(feedback.provisional, owner=owner, limit=limit, offset=offset))

    async def opinions(self) -> list[Opinion]:
        """The latest feedback on every analysis that has feedback."""
        return await self._store.read(feedback.opinions)

    async def page(
        self, record_filter: Filter, limit: int = PAGE_LIMIT, before: int | None = None
    ) -> tuple[list[RecordRow], int]:
        """Matching analyses with numbers below `before`, newest first, and the number of all matches.

        `limit` is clamped to 0 to `PAGE_LIMIT`.
        """
        return await self._store.read(
            partial(listing.page, record_filter=record_filter, limit=limit, before=before)
        )

    async def activity(self, seconds: float) -> Activity:
        """Counts of the analyses that began within the last `seconds`."""
        since = self._clock() - dt.timedelta(seconds=seconds)
        return await self._store.read(partial(listing.activity, since=since))

    async def record(self, record_filter: Filter) -> StoredStream | None:
        """The newest analysis that matches, with its packets."""

        def find(database: peewee.Database) -> StoredStream | None:
            stream_id = listing.stream_of(database, record_filter)
            return None if stream_id is None else analyses.stream(database, stream_id)

        return await self._store.read(find)

    async def count(self, record_filter: Filter) -> int:
        return await self._store.read(partial(erasure.count, record_filter=record_filter))

    async def erase(self, record_filter: Filter) -> Erased:
        """Erases some of the matching analyses, oldest first; to be called until none is left."""
        return await self._store.write(partial(erasure.erase, record_filter=record_filter))

    async def count_photographs(self, before: dt.datetime) -> int:
        """The number of photographs that only analyses with an end before `before` refer to."""
        return await self._store.read(partial(erasure.count_photographs, before=before))

    async def erase_photographs(self, before: dt.datetime) -> list[str]:
        """Removes some of these photographs' rows and returns their hashes; the analyses stay. To be called
        until it returns none."""
        return await self._store.write(partial(erasure.erase_photographs, before=before))

    async def add_key(self, name: str, webhook: str | None = None, *, admin: bool = False) -> str:
        """Makes a key and returns it; it is not stored and cannot be shown again. An `admin` key may see the
        analyses of all keys and edit the catalogue. Raises `ValueError` for a bad name."""
        name = keys.check_name(name)
        return await self._store.write(
            lambda database: keys.add(database, name, self._clock(), webhook, admin=admin)
        )

    async def set_webhook(self, number: int, url: str | None) -> bool:
        """Sets the URL for the events of a key's sessions. Returns False if there is no such key."""
        return await self._store.write(partial(keys.set_webhook, number=number, url=url))

    async def webhook_secret(self, number: int) -> str | None:
        """The secret that signs the events of a key; None for an unknown or revoked key."""
        return await self._store.write(partial(keys.secret_of, owner=str(number)))

    async def keys(self) -> list[KeyInfo]:
        return await self._store.read(keys.list_all)

    async def revoke_key(self, number: int) -> bool:
        """Revokes a key. Returns False if there is no such key or it was revoked before."""
        return await self._store.write(lambda database: keys.revoke(database, number, self._clock()))

    async def authenticate(self, key: str) -> str | None:
        """The owner (key number as text) of a key; None for an unknown or revoked key."""
        if not keys.may_be_valid(key):
            return None
        return await self._store.look_up(partial(keys.owner_of, key=key))

    async def add_token(self, owner: str, stream_id: str | None, seconds: int) -> tuple[str, dt.datetime]:
        """Makes a token of the key `owner`, for one stream or for uploads; returns it and when it expires.
        Raises `PinactorsError` (429)."""
        now = self._clock()
        expires_at = now + dt.timedelta(seconds=seconds)
        token = await self._store.write(
            lambda database: tokens.add(database, owner, stream_id, now, expires_at)
        )
        return token, expires_at

    async def token_use(self, token: str) -> TokenUse | None:
        """What a token may be used for now; None if it is not valid."""
        if not keys.may_be_valid(token):
            return None
        return await self._store.look_up(lambda database: tokens.use_of(database, token, self._clock()))

    async def is_admin(self, key: str) -> bool:
        """Whether `key` is an admin key that is not revoked."""
        if not keys.may_be_valid(key):
            return False
        return await self._store.look_up(partial(keys.is_admin, key=key))

    async def has_keys(self) -> bool:
        """Whether keys were ever configured: a server whose last key was revoked stays closed."""
        return await self._store.look_up(keys.any_known)

    async def check(self) -> bool:
        """Whether the database answers."""
        try:
            await self._store.look_up(keys.any_known)
        except RecordsUnavailable:
            return False
        return True

    def _since(self) -> dt.datetime:
        return self._clock() - dt.timedelta(seconds=self._settings.replay)
