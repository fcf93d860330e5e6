"""What a phone gets from a session of the proxy: the answer to its upload and, once the session is open, a
packet log."""

from __future__ import annotations

import trio

from pinactors.api.errors import status_of
from pinactors.api.proxy.metrics import ProxyMetrics
from pinactors.api.proxy.relay.outlet import Outlet, RelayedLog
from pinactors.pipeline.log import PacketLog
from pinactors.protocol import ErrorPacket, PinactorsError
from pinactors.protocol.merge import kind_of
from pinactors.storage.logs.packet_logs import StoredLog


class PhoneSide:
    """The phone's side of one session. `outlet` writes the log; it is None before the session is open. The
    answer to the upload is a log, this session's or another's, or a refusal."""

    def __init__(self, metrics: ProxyMetrics) -> None:
        self.outlet: Outlet | None = None
        self._metrics = metrics
        self._answer: PacketLog | PinactorsError | None = None
        self._answered = trio.Event()

    @property
    def log(self) -> RelayedLog | None:
        return self.outlet.log if self.outlet is not None else None

    @property
    def packets(self) -> int:
        """The number of packets in the log."""
        return len(self.log.packets) if self.log is not None else 0

    @property
    def answered(self) -> bool:
        """Whether the answer to the upload is known."""
        return self._answered.is_set()

    @property
    def answered_elsewhere(self) -> bool:
        """Whether the upload has another answer than this session's log."""
        return self.answered and self._answer is not self.log

    @property
    def done(self) -> bool:
        """Whether the log is closed or, without a log, the upload has its answer."""
        return self.log.closed if self.log is not None else self.answered

    async def answer(self) -> PacketLog:
        """Waits for the log to answer the upload from. Raises `PinactorsError` if the upload is refused."""
        await self._answered.wait()
        if isinstance(self._answer, PinactorsError):
            raise self._answer
        assert self._answer is not None
        return self._answer

    async def wait_answered(self) -> None:
        await self._answered.wait()

    def open(self, log: RelayedLog) -> Outlet:
        """Opens the session with `log`."""
        self.outlet = Outlet(log)
        return self.outlet

    def restore(self, log: RelayedLog, journal: StoredLog) -> None:
        """Opens a session of another process with its log, which answers the upload."""
        self.outlet = Outlet(log, journal)
        self._set_answer(log)

    def join(self, log: PacketLog) -> None:
        """Answers the upload from the log of another session."""
        self._metrics.joined.inc()
        self._set_answer(log)

    async def flush(self, outlet: Outlet) -> None:
        """Flushes the added packets to the log, and answers the upload with the log once it has packets."""
        open_before = not outlet.log.closed
        await outlet.flush()
        if outlet.log.packets and not self.answered:
            self._set_answer(outlet.log)
        if outlet.log.closed and open_before:
            self._metrics.sessions.labels(kind_of(outlet.log.packets[-1]).lower()).inc()

    async def end(self, error: PinactorsError) -> None:
        """Ends the log, or refuses the upload, with `error`; does nothing if the log has ended already or the
        upload has its answer."""
        outlet = self.outlet
        if outlet is not None:
            if not outlet.ended:
                outlet.write(ErrorPacket.of(error))
            await self.flush(outlet)
        elif not self.answered:
            self._metrics.refused.labels(str(status_of(error))).inc()
            self._set_answer(error)

    def _set_answer(self, answer: PacketLog | PinactorsError) -> None:
        self._answer = answer
        self._answered.set()
