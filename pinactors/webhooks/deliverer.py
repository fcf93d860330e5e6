"""The delivery task: sends events that are due, a limited number at a time, and repeats those that were not
accepted.

An event is sent at least once: if the process is killed while sending it, it is due again when the process's
claim has expired. An event is sent only after its session's previous event was accepted.
"""

from __future__ import annotations

import datetime as dt
import math
import random
import ssl
from collections import Counter
from functools import partial

import prometheus_client
import structlog
import trio

from pinactors.backoff import Backoff
from pinactors.records import ClaimedDelivery, Records, RecordsUnavailable
from pinactors.settings import Settings
from pinactors.supervision import Supervision
from pinactors.webhooks.sending import ATTEMPT_SECONDS, NotAccepted, post

MAX_CONCURRENT = 16
"""Most events that are being sent at the same time."""

MAX_CONCURRENT_PER_OWNER = 4
"""Most events of one key that are being sent at the same time, so that a receiver that does not answer does
not delay the events of other keys."""

CLAIM_SECONDS = 3 * ATTEMPT_SECONDS
"""How long a claimed delivery is reserved for this process."""

POLL_SECONDS = 5.0
"""Pause between two searches for deliveries that other processes stored or left."""

LONGEST_PAUSE = 3600.0
"""Longest pause between two attempts, in seconds."""

RETENTION = dt.timedelta(days=30)
"""How long deliveries are kept, and shown, after they have ended."""

CLEANUP_SECONDS = 3600.0

log = structlog.get_logger(__name__)


class Deliverer:
    """Sends deliveries; `run` never returns. `tls` replaces the system's certificates if it is given."""

    def __init__(
        self,
        records: Records,
        settings: Settings,
        supervision: Supervision,
        registry: prometheus_client.CollectorRegistry,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._records, self._settings, self._supervision = records, settings, supervision
        self._tls = tls
        self._pauses = Backoff(settings.webhook_retry, LONGEST_PAUSE)
        self._under_way: Counter[str] = Counter()
        self._wake = trio.Event()
        self._cleaned_at = -math.inf
        self._attempts = prometheus_client.Counter(
            "pinactors_webhook_attempts",
            "Events sent to webhooks, by how that ended: delivered, failed, dead",
            ["outcome"],
            registry=registry,
        )

    def wake(self) -> None:
        """Makes the task search for due deliveries at once."""
        self._wake.set()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            await self._supervision.repeat("webhooks", partial(self._send_due, nursery))

    async def _send_due(self, nursery: trio.Nursery) -> None:
        """Starts sending due deliveries, then waits for `wake`, a finished delivery, or the next due time."""
        self._wake = trio.Event()
        pause = POLL_SECONDS
        try:
            await self._remove_old()
            free_slots = MAX_CONCURRENT - self._under_way.total()
            due_at = await self._records.next_delivery() if free_slots else None
            now = dt.datetime.now(dt.UTC)
            if due_at is not None and due_at <= now:
                until = now + dt.timedelta(seconds=CLAIM_SECONDS)
                for claimed in await self._records.claim_deliveries(
                    until, free_slots, self._under_way, MAX_CONCURRENT_PER_OWNER
                ):
                    self._under_way[claimed.owner] += 1
                    nursery.start_soon(self._deliver_one, claimed, name="webhook")
            elif due_at is not None:
                pause = min(pause, (due_at - now).total_seconds())
        except RecordsUnavailable as error:
            log.warning("deliveries not readable", error=repr(error))
        with trio.move_on_after(pause):
            await self._wake.wait()

    async def _deliver_one(self, claimed: ClaimedDelivery) -> None:
        """Sends one delivery. If the outcome cannot be stored, its claim expires and it is sent again."""
        try:
            await self._supervision.once("webhook", partial(self._deliver, claimed))
        finally:
            self._under_way[claimed.owner] -= 1
            self._wake.set()

    async def _deliver(self, claimed: ClaimedDelivery) -> None:
        secret = claimed.secret or (self._settings.webhook_secret if not claimed.owner else None)
        if not secret:
            await self._give_up(claimed, "its key was revoked" if claimed.owner else "nothing signs it")
            return
        try:
            await post(claimed, secret, private=self._settings.webhook_private, tls=self._tls)
        except NotAccepted as failure:
            await self._failed(claimed, failure)
        except Exception as error:
            # An event that can never be sent must expire too, and wait longer after each attempt.
            refusal = NotAccepted(f"unexpected error: {type(error).__name__}")
            await self._failed(claimed, refusal)  # noqa: ASYNC120 - a cancellation ends the delivery as well
            raise  # to be logged and counted
        else:
            self._attempts.labels("delivered").inc()
            await self._records.delivered(claimed.id)

    async def _failed(self, claimed: ClaimedDelivery, failure: NotAccepted) -> None:
        now = dt.datetime.now(dt.UTC)
        pause = self._pauses.after(claimed.attempts - 1) * random.uniform(0.9, 1.1)
        due_at = now + dt.timedelta(seconds=pause)
        expires_at = claimed.created_at + dt.timedelta(seconds=self._settings.webhook_expiry)
        if failure.final or due_at > expires_at:
            await self._give_up(claimed, str(failure))
            return
        self._attempts.labels("failed").inc()
        log.info(
            "event not accepted", stream=claimed.stream_id[:8], event_type=claimed.event, reason=str(failure)
        )
        await self._records.delivery_failed(claimed.id, str(failure), due_at)

    async def _give_up(self, claimed: ClaimedDelivery, reason: str) -> None:
        count = await self._records.give_up_deliveries(claimed.stream_id, reason)
        self._attempts.labels("dead").inc(count)
        log.warning("events given up", stream=claimed.stream_id[:8], count=count, reason=reason)

    async def _remove_old(self) -> None:
        if trio.current_time() >= self._cleaned_at + CLEANUP_SECONDS:
            await self._records.forget_deliveries(dt.datetime.now(dt.UTC) - RETENTION)
            self._cleaned_at = trio.current_time()
