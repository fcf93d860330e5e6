"""Checks of phones' keys. The proxy stores no keys, so it asks the masters."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict

import trio

from pinactors.api.proxy.masters import requests
from pinactors.api.proxy.masters.fleet import Masters
from pinactors.api.proxy.relay.failover import Upstream

KEY_SECONDS = 5.0
"""For how long a master's answer that a key is valid is reused."""

KEYS_REMEMBERED = 10_000


def owner_of(api_key: str | None) -> str:
    """The owner id of a session: the hash of its key, empty without one."""
    return hashlib.sha256(api_key.encode()).hexdigest() if api_key else ""


class ValidKeys:
    """Keys that a master has accepted within `KEY_SECONDS`, by their hash."""

    def __init__(self, masters: Masters) -> None:
        self._masters = masters
        self._since: OrderedDict[str, float] = OrderedDict()

    async def check(self, api_key: str | None, upstream: Upstream | None) -> None:
        """Asks the session's master, or any if `upstream` is None, whether the session's key is still valid.

        If no master answers, the key counts as valid, so that the packets at the proxy stay readable. Raises
        `PinactorsError` (`unauthorized`).
        """
        if api_key is None:
            return
        owner, now = owner_of(api_key), trio.current_time()
        if now < self._since.get(owner, -math.inf) + KEY_SECONDS:
            return
        self._since.pop(owner, None)
        if upstream is not None and upstream.stream_id is not None:
            await requests.check_key([upstream.master], api_key, upstream.stream_id)
        else:
            await requests.check_key(self._masters.order(owner), api_key)
        self._since[owner] = now
        while len(self._since) > KEYS_REMEMBERED:
            self._since.popitem(last=False)
