"""Decides which master a session uses, which one is next, and when no master is left to try."""

from __future__ import annotations

from dataclasses import dataclass

from pinactors.api.errors import status_of
from pinactors.api.proxy.masters.fleet import Master
from pinactors.api.proxy.relay.refusals import no_master, session_lost
from pinactors.api.proxy.relay.services import ProxyServices
from pinactors.backoff import Backoff
from pinactors.client.connecting import Broken, NotPinactors, Unreachable
from pinactors.protocol import ErrorCode, PinactorsError

MAX_RESUMES = 3
"""Connections in a row to one master that may break without a packet before another master is tried."""

MAX_ROUNDS = 2
"""How often all masters are tried for an upload that none of them accepts, or if each of them misbehaves."""

PAUSES = Backoff(0.1, 2.0)
"""Seconds between attempts if there is no other master to try."""


@dataclass(slots=True)
class Upstream:
    """The master that a session uses, with the stream's id there. `received` is the number of packets
    received from that stream, `broken_in_a_row` the number of broken connections in a row.

    `whole` is True if the master has the whole upload. A session that fails before that can only be started
    again.
    """

    master: Master
    stream_id: str | None = None
    received: int = 0
    broken_in_a_row: int = 0
    whole: bool = True

    @property
    def working(self) -> bool:
        """Whether the master has sent packets beyond the opening one and its connection has not broken
        since."""
        return self.received > 1 and not self.broken_in_a_row

    def expects(self, sequence: int) -> bool:
        """Whether that packet is the next one; False if it was received before. Raises `Broken` if a packet
        before it is missing."""
        if sequence > self.received:
            raise Broken(f"packet {self.received} is missing")
        return sequence == self.received

    def note_packet(self) -> None:
        """Counts a received packet."""
        self.received += 1
        self.broken_in_a_row = 0


class Failover:
    """Chooses the masters of one session. `upstream` is the current master, None if one has to be chosen;
    `pause` is the number of seconds to wait before its next request. `refusal` is the last refusal after
    which other masters were tried.

    `route` is the routing key for the session's order of masters. `can_restart` is True if the proxy has the
    upload, so that another master can start the session again.
    """

    def __init__(
        self, services: ProxyServices, route: str, upstream: Upstream | None, *, can_restart: bool
    ) -> None:
        self.upstream = upstream
        self.pause = 0.0
        self.refusal: PinactorsError | None = None
        self._masters, self._metrics = services.masters, services.metrics
        self._route = route
        self._can_restart = can_restart
        self._avoided: set[Master] = set()
        self._rounds = 0
        self._misbehaved = 0

    def choose(self, *, answered: bool) -> PinactorsError | None:
        """Sets `upstream` to the next master in the session's order, or returns the error to end the session
        with.

        `answered` is True if the phone has packets already, so that its upload can no longer be refused.
        """
        order = self._masters.order(self._route)
        for master in order:
            if master not in self._avoided:
                self.upstream = Upstream(master)
                return None
        self._rounds += 1
        self._avoided.clear()
        if self.misbehaved:
            return self.refusal or session_lost()
        if not answered and (self._rounds >= MAX_ROUNDS or self.refusal is not None):
            return self.refusal or no_master()
        self.pause = PAUSES.after(self._rounds)
        self.upstream = Upstream(order[0])
        return None

    @property
    def misbehaved(self) -> bool:
        """Whether the masters have misbehaved `MAX_ROUNDS` times each, on average."""
        return self._misbehaved >= MAX_ROUNDS * len(self._masters.all)

    def refused(self, upstream: Upstream, refusal: PinactorsError, packets: int) -> PinactorsError | None:
        """Handles a master's refusal. Returns the error for the phone, which has received that many
        `packets`, or None if another attempt may succeed."""
        stream_lost = upstream.stream_id is not None and refusal.code is ErrorCode.STREAM_NOT_FOUND
        if stream_lost and self._can_restart:
            self._leave(upstream, "lost")
            self._avoided.discard(upstream.master)
            return None
        if status_of(refusal) >= 500 and self._others_have_packets(upstream):
            return self._continue_at_next_master(upstream, "refused")
        if not self._can_restart or (status_of(refusal) < 500 and packets <= 1):
            return refusal
        self.refusal = refusal
        self._misbehaved += status_of(refusal) < 500
        self._leave(upstream, "refused")
        return None

    def failed(self, upstream: Upstream, failure: Broken | NotPinactors) -> PinactorsError | None:
        """Handles a broken connection or a master that misbehaves. Returns None if the session continues, at
        the same master or another one, or the error to end it with."""
        unreachable = isinstance(failure, Unreachable)
        if unreachable:
            self._masters.unreachable(upstream.master)
        else:
            self._masters.failed(upstream.master, failure)
            self._misbehaved += isinstance(failure, NotPinactors)
        if upstream.stream_id is not None and upstream.whole:
            elsewhere = self._can_restart or self._masters.shared
            alone = not elsewhere or not self._masters.others_available(upstream.master)
            waits = unreachable and alone
            again = (
                isinstance(failure, Broken)
                and not unreachable
                and (alone or upstream.broken_in_a_row < MAX_RESUMES)
            )
            if waits or again:
                upstream.broken_in_a_row += 1
                self.pause = PAUSES.after(upstream.broken_in_a_row) if upstream.broken_in_a_row > 1 else 0.0
                self._metrics.resumes.labels(upstream.master.name).inc()
                return None
        reason = "unreachable" if unreachable else "failed"
        if self._others_have_packets(upstream):
            return self._continue_at_next_master(upstream, reason)
        self._leave(upstream, reason)
        return None if self._can_restart else session_lost()

    def _others_have_packets(self, upstream: Upstream) -> bool:
        """Whether the other masters have the session's packets and take the session over if its own master is
        gone."""
        return self._masters.shared and upstream.stream_id is not None and upstream.whole

    def _continue_at_next_master(self, upstream: Upstream, reason: str) -> PinactorsError | None:
        """Continues to read the same stream at the next master. Returns an error if there is no master."""
        self._leave(upstream, reason)
        if error := self.choose(answered=True):
            return error
        assert self.upstream is not None
        self.upstream = Upstream(
            self.upstream.master, upstream.stream_id, upstream.received, upstream.broken_in_a_row + 1
        )
        return None

    def _leave(self, upstream: Upstream, reason: str) -> None:
        self._avoided.add(upstream.master)
        self._metrics.failovers.labels(upstream.master.name, reason).inc()
        self.upstream = None
