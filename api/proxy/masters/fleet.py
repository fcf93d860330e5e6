"""The masters: their order for each session, and which of them are available.

A session's order of masters comes from weighted rendezvous hashing (Thaler & Ravishankar 1998; the
logarithmic weights of Schindelhauer & Schomaker 2005): every proxy computes the same order from the same
key, the loss of a master moves only its own sessions, and a master's share of sessions is proportional to its
weight.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog
import trio

from pinactors.api.answers import MasterState
from pinactors.backoff import Backoff
from pinactors.client.connecting import Broken, NotPinactors, split
from pinactors.client.http import Connection
from pinactors.client.transports import read_json
from pinactors.protocol import PinactorsError
from pinactors.settings import Settings

HEALTH_SECONDS = 3.0
"""Time limit of a health check."""

EJECTION_LIMIT = 60.0
"""Longest ejection, in seconds."""

JITTER_SHARE = 0.2
"""Health intervals and ejections vary randomly by this share, so that many proxies do not act at the same
time."""

_ADDRESS = re.compile(r"(?P<url>[^\s;]+)(?:;weight=(?P<weight>[0-9]+(?:\.[0-9]+)?))?")

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Master:
    """One master and its observed state. Times are on trio's clock. `shared` is True if the master's packet
    log is shared with other masters."""

    url: str
    weight: float = 1.0
    healthy: bool = True
    draining: bool = False
    sessions: int = 0
    failures: int = 0
    ejections: int = 0
    ejected_until: float = -math.inf
    shared: bool = False

    @property
    def name(self) -> str:
        """Host and port, for `/health`, metrics and logs."""
        return split(self.url).netloc

    @property
    def state(self) -> Literal["up", "ejected", "draining", "down"]:
        if not self.healthy:
            return "down"
        if self.draining:
            return "draining"
        return "ejected" if trio.current_time() < self.ejected_until else "up"

    @property
    def available(self) -> bool:
        """Whether the master should get new sessions."""
        return self.state == "up"

    def affinity(self, key: str) -> float:
        """Rendezvous score for `key`: the master with the highest score is the first choice."""
        digest = hashlib.blake2b(f"{self.url}\0{key}".encode(), digest_size=8).digest()
        return -self.weight / math.log((int.from_bytes(digest) + 0.5) / 2**64)


def in_turn(masters: Sequence[Master], seconds: float) -> Iterator[tuple[Master, float]]:
    """The masters, each with the time limit for its answer: half of what is left of `seconds`, all of it for
    the last one."""
    ends_at = trio.current_time() + seconds
    for number, master in enumerate(masters, 1):
        left = ends_at - trio.current_time()
        yield master, left if number == len(masters) else left / 2


@dataclass(slots=True)
class Masters:
    """All masters. The list `all` never changes; the state of each master does."""

    all: list[Master]
    settings: Settings

    @classmethod
    def of(cls, settings: Settings) -> Masters:
        """Reads the masters from the settings. Raises `ValueError` for none, a duplicate or an invalid
        address."""
        masters = [_parse(text) for text in settings.proxy_masters.split()]
        if not masters:
            raise ValueError("a proxy needs at least one master")
        if len({master.url for master in masters}) < len(masters):
            raise ValueError("a master is named twice")
        return cls(masters, settings)

    def order(self, key: str) -> list[Master]:
        """All masters in the order in which to try them for `key`; unavailable ones come last."""
        return sorted(self.all, key=lambda master: (master.available, master.affinity(key)), reverse=True)

    def named(self, url: str) -> Master | None:
        return next((master for master in self.all if master.url == url), None)

    @property
    def shared(self) -> bool:
        """Whether each master can continue each other's sessions."""
        return all(master.shared for master in self.all)

    def others_available(self, than: Master) -> bool:
        return any(master.available for master in self.all if master is not than)

    def succeeded(self, master: Master) -> None:
        """Records a success of `master`."""
        master.failures = master.ejections = 0

    def failed(self, master: Master, reason: object) -> None:
        """Records a failure of `master`. After `proxy_eject_failures` failures in a row the master is ejected
        for a time that grows with each ejection."""
        master.failures += 1
        if master.failures >= self.settings.proxy_eject_failures:
            pause = Backoff(self.settings.proxy_eject_pause, EJECTION_LIMIT).after(master.ejections)
            master.failures, master.ejections = 0, master.ejections + 1
            master.ejected_until = trio.current_time() + _spread(pause)
            log.warning("master ejected", master=master.name, seconds=round(pause, 1), reason=str(reason))

    def unreachable(self, master: Master) -> None:
        """Records that no connection to `master` could be made: it counts as down until a health check
        succeeds."""
        if master.healthy:
            master.healthy = False
            log.warning("master down", master=master.name)

    async def check(self, master: Master, connection: Connection) -> None:
        """Runs one health check of `master`, within `HEALTH_SECONDS`, and records its result."""
        healthy = draining = False
        shared = master.shared
        with trio.move_on_after(HEALTH_SECONDS):
            try:
                answer = await connection.request("GET", "/health", {"Accept": "application/json"})
                body = await answer.read()
                draining = answer.status == 503
                healthy = draining
                if answer.status == 200:
                    state = read_json(body)
                    healthy = state.get("status") in ("ok", "degraded")  # degraded: still answers uploads
                    shared = state.get("packetLog") == "shared"
            except (Broken, NotPinactors, PinactorsError) as error:
                log.debug("health check failed", master=master.name, error=str(error))
        if not healthy:
            await connection.close()
        master.shared = shared
        self._note(master, healthy=healthy, draining=draining)

    def _note(self, master: Master, *, healthy: bool, draining: bool) -> None:
        if healthy and not master.healthy:  # probably a new process: the failures of the old one do not count
            master.failures = master.ejections = 0
            master.ejected_until = -math.inf
        if (healthy, draining) != (master.healthy, master.draining):
            log.warning("master changed", master=master.name, healthy=healthy, draining=draining)
        master.healthy, master.draining = healthy, draining


class Watch:
    """Health checks of one master, over one connection until it breaks."""

    def __init__(self, masters: Masters, master: Master) -> None:
        self._masters, self._master = masters, master
        self._connection = self._connect()

    async def check(self) -> None:
        """Runs one check. After an exception, the next check uses a new connection."""
        try:
            await self._masters.check(self._master, self._connection)
        except BaseException:
            connection, self._connection = self._connection, self._connect()
            await connection.close()  # noqa: ASYNC102, ASYNC120 - closes at once
            raise

    async def close(self) -> None:
        """Closes the connection."""
        await self._connection.close()

    def pause(self) -> float:
        """Seconds until the next check."""
        return _spread(self._masters.settings.proxy_health_interval)

    def _connect(self) -> Connection:
        return Connection(self._master.url, silence=HEALTH_SECONDS)


def describe(masters: Iterable[Master]) -> list[MasterState]:
    """The masters' states, as `/health` shows them."""
    return [MasterState(master.name, master.state, master.weight, master.sessions) for master in masters]


def _spread(seconds: float) -> float:
    return seconds * random.uniform(1 - JITTER_SHARE, 1 + JITTER_SHARE)


def _parse(text: str) -> Master:
    found = _ADDRESS.fullmatch(text)
    if found is None or (weight := float(found["weight"] or 1)) <= 0:
        raise ValueError(f"not a master: {text!r} (expected URL or URL;weight=2)")
    address = split(found["url"])
    try:
        (address.hostname or "").encode("idna")  # as the resolver does
    except UnicodeError:
        raise ValueError(f"not a master: {text!r} (no server can have such a name)") from None
    if "://" not in text and address.port is None:
        raise ValueError(f"not a master: {text!r} (expected a URL such as http://master:8080)")
    if "@" in address.netloc:  # hide the password: startup messages are kept in logs
        shown = text.replace(address.netloc.rpartition("@")[0], "***", 1)
        raise ValueError(
            f"not a master: {shown!r} (a URL without user and password; keys are the clients' own)"
        )
    if address.path.strip("/") or "?" in text or "#" in text:
        raise ValueError(f"not a master: {text!r} (a URL without a path: masters are asked at its root)")
    return Master(found["url"].rstrip("/"), weight)
