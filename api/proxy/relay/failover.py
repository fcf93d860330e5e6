"""Which master a session is at, which one is next, and when there is none left to try."""

from __future__ import annotations

from dataclasses import dataclass

from pinactors.api.errors import status_of
from pinactors.api.proxy.masters.fleet import Master
from pinactors.api.proxy.relay.refusals import LOST, NO_MASTER
from pinactors.api.proxy.relay.services import ProxyServices
from pinactors.backoff import Backoff
from pinactors.client.connecting import Broken, NotPinactors, Unreachable
from pinactors.protocol import ErrorCode, PinactorsError

MOST_RESUMES = 3
"""Connections in a row to one master that may break before a packet has come."""

MOST_ROUNDS = 2
"""How often all masters are tried for an upload that none of them takes, or while each of them misbehaves.
"""

PAUSES = Backoff(0.1, 2.0)
"""Between attempts when there is no other master to go to."""


@dataclass(slots=True)
class Place:
    """Where the session is: at a master, under the id it has there. `taken` packets of that log are known.

    `whole`: it has the upload; what breaks before can only begin again.
    """

    master: Master
    stream_id: str | None = None
    taken: int = 0
    breaks: int = 0
    whole: bool = True


class Failover:
    """`place` is where the session is, `pause` how many seconds to wait before it goes on there. `refusal` is
    the last refusal of a master after which others were tried.

    `route` is what the session's order of masters comes from. `can_restart`: the upload is here, so that
    another master can begin again.
    """

    def __init__(
        self, services: ProxyServices, route: str, place: Place | None, *, can_restart: bool
    ) -> None:
        self.place = place
        self.pause = 0.0
        self.refusal: PinactorsError | None = None
        self._masters, self._metrics = services.masters, services.metrics
        self._route = route
        self._can_restart = can_restart
        self._avoided: set[Master] = set()
        self._rounds = 0
        self._misbehaved = 0

    def choose(self, *, answered: bool) -> PinactorsError | None:
        """`place` is the next master in the session's order, or the error returned says why there is none.

        `answered`: the phone has packets already, and is not refused any more.
        """
        order = self._masters.order(self._route)
        for master in order:
            if master not in self._avoided:
                self.place = Place(master)
                return None
        self._rounds += 1
        self._avoided.clear()
        if self.misbehaved:
            return self.refusal or LOST
        if not answered and (self._rounds >= MOST_ROUNDS or self.refusal is not None):
            return self.refusal or NO_MASTER
        self.pause = PAUSES.after(self._rounds)
        self.place = Place(order[0])
        return None

    @property
    def misbehaved(self) -> bool:
        """Whether every master has misbehaved, as often as each is tried."""
        return self._misbehaved >= MOST_ROUNDS * len(self._masters.all)

    def refused(self, place: Place, refusal: PinactorsError, packets: int) -> PinactorsError | None:
        """A master says no. The phone, which has had so many `packets`, hears of it (the error returned),
        unless another master may say yes."""
        lost = place.stream_id is not None and refusal.code is ErrorCode.STREAM_NOT_FOUND
        if lost and self._can_restart:
            self._leave(place, "lost")
            self._avoided.discard(place.master)
            return None
        if status_of(refusal) >= 500 and self._is_known_elsewhere(place):
            return self._go_on_elsewhere(place, "refused")
        if not self._can_restart or (status_of(refusal) < 500 and packets <= 1):
            return refusal
        self.refusal = refusal
        self._misbehaved += status_of(refusal) < 500
        self._leave(place, "refused")
        return None

    def failed(self, place: Place, failure: Broken | NotPinactors) -> PinactorsError | None:
        """A connection broke or a master misbehaved: the session goes on there, or elsewhere. The error
        returned ends it."""
        unreachable = isinstance(failure, Unreachable)
        if unreachable:
            self._masters.unreachable(place.master)
        else:
            self._masters.failed(place.master, failure)
            self._misbehaved += isinstance(failure, NotPinactors)
        if place.stream_id is not None and place.whole:
            elsewhere = self._can_restart or self._masters.shared
            alone = not elsewhere or not self._masters.others_available(place.master)
            waits = unreachable and alone
            again = isinstance(failure, Broken) and not unreachable and (alone or place.breaks < MOST_RESUMES)
            if waits or again:
                place.breaks += 1
                self.pause = PAUSES.after(place.breaks) if place.breaks > 1 else 0.0
                self._metrics.resumes.labels(place.master.name).inc()
                return None
        reason = "unreachable" if unreachable else "failed"
        if self._is_known_elsewhere(place):
            return self._go_on_elsewhere(place, reason)
        self._leave(place, reason)
        return None if self._can_restart else LOST

    def _is_known_elsewhere(self, place: Place) -> bool:
        """Whether any other master has the session's packets, and takes it over should its own be gone."""
        return self._masters.shared and place.stream_id is not None and place.whole

    def _go_on_elsewhere(self, place: Place, reason: str) -> PinactorsError | None:
        """The same stream is read on at the next master."""
        self._leave(place, reason)
        if error := self.choose(answered=True):
            return error
        assert self.place is not None
        self.place = Place(self.place.master, place.stream_id, place.taken, place.breaks + 1)
        return None

    def _leave(self, place: Place, reason: str) -> None:
        self._avoided.add(place.master)
        self._metrics.failovers.labels(place.master.name, reason).inc()
        self.place = None
