"""Posts one event once: signed according to Standard Webhooks, to a checked address, without following
redirects."""

from __future__ import annotations

import datetime as dt
import ssl
from urllib.parse import urlsplit

import trio
from standardwebhooks import Webhook

from pinactors.client.connecting import Broken, NotPinactors, target_of
from pinactors.client.http import Body, Connection
from pinactors.protocol.events import message_id
from pinactors.records import ClaimedDelivery
from pinactors.webhooks.addresses import AddressRefused, Dialer, is_public

ATTEMPT_SECONDS = 20.0
"""How long a receiver may take for the whole request; Standard Webhooks recommends 15 to 30 seconds."""

GONE = 410
"""The status with which a receiver refuses all further events."""


class NotAccepted(Exception):
    """The receiver did not accept the event. `final` means that it refuses further events of the session."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


async def post(
    delivery: ClaimedDelivery, secret: str, *, private: bool, tls: ssl.SSLContext | None = None
) -> None:
    """Returns when the receiver has accepted the event (2xx). Raises `NotAccepted`."""
    now = dt.datetime.now(dt.UTC)
    event_id = message_id(delivery.stream_id, delivery.sequence)
    headers = {
        "User-Agent": "pinactors",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, now, delivery.body.decode()),
    }
    url = urlsplit(delivery.url)
    status = 0
    with trio.move_on_after(ATTEMPT_SECONDS) as attempt:
        try:
            async with Connection(
                f"https://{url.netloc}",
                silence=ATTEMPT_SECONDS,
                upload_silence=ATTEMPT_SECONDS,
                tls=tls,
                dial=Dialer(None if private else is_public),
            ) as connection:
                body = Body("application/json", len(delivery.body), [delivery.body])
                status = (await connection.request("POST", target_of(url), headers, body)).status
        except (Broken, AddressRefused) as error:
            raise NotAccepted(str(error)) from error
        except NotPinactors as error:
            raise NotAccepted(f"the receiver cannot be used: {error}") from error
    if attempt.cancelled_caught:
        raise NotAccepted(f"no answer within {ATTEMPT_SECONDS:g} s")
    if 300 <= status < 400:
        raise NotAccepted(f"it answered {status}; redirects are not followed")
    if not 200 <= status < 300:
        raise NotAccepted(f"it answered {status}", final=status == GONE)
