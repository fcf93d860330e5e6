"""A pipeline without processes and database, scripted and on the mock clock."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import trio

from pinactors.compute import GracePeriod, Handle, Priority, WorkerDied
from pinactors.compute.job import identity
from pinactors.pipeline.actors.produce import bounded, produce
from pinactors.pipeline.declaration import Analysis, Component, SharedStep
from pinactors.pipeline.log import PacketLog
from pinactors.pipeline.registry import Registry, open_registry
from pinactors.pipeline.upload import Upload
from pinactors.protocol import (
    AnalysisComplete,
    AuthenticationResult,
    Candidate,
    CharacterIdentification,
    DetailedAnalysis,
    ErrorCode,
    HtmlDisplayData,
    Packet,
    PricingAnalysis,
    Verdict,
    View,
    decode,
)
from pinactors.protocol.events import event_of
from pinactors.records import AnalysisRecord, RecordsUnavailable, StoredStream
from pinactors.settings import Settings
from pinactors.storage.logs.files import LogFiles
from pinactors.storage.stored_image import StoredImage

T = TypeVar("T")

# -- the analysis ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    text: str
    decided: bool = False


def front(context: str, image: StoredImage) -> Seen:
    return Seen(f"front {image.sha256}", decided=context == "decided")


def back(context: str, image: StoredImage) -> Seen:
    return Seen(f"back {image.sha256}")


def match(context: str, first: Seen, other: Seen | None) -> Seen:
    return Seen(f"match of {first.text} and {other.text if other else None}")


def authenticity(
    context: str, first: Seen | None, other: Seen | None, matched: Seen | None
) -> AuthenticationResult:
    return _authenticity(True)


def authenticity_basic(context: str, first: Seen) -> AuthenticationResult:
    return _authenticity(False)


def _authenticity(authentic: bool) -> AuthenticationResult:
    return AuthenticationResult(
        authentic=authentic,
        authenticity_rating=77 if authentic else 20,
        confidence=0.7 if authentic else 0.2,
        verdict=Verdict.AUTHENTIC if authentic else Verdict.UNDETERMINED,
        evidence=[],
    )


def characters(context: str, matched: Seen) -> CharacterIdentification:
    pin = Candidate(pin_id="p1", name="A pin", characters="Figaro", series=None, year=None, score=0.9)
    return CharacterIdentification(
        characters="Figaro", identification=matched.text, candidates=[pin], identified=True
    )


def characters_basic(context: str, first: Seen) -> CharacterIdentification:
    return CharacterIdentification(characters="", identification="basic", candidates=[])


def pricing(context: str, matched: Seen) -> PricingAnalysis:
    return PricingAnalysis(pricing="none", estimate=None)


def details(context: str, first: Seen) -> DetailedAnalysis:
    return DetailedAnalysis(analysis="seen", details={})


def display(context: str, first: Seen) -> HtmlDisplayData:
    return HtmlDisplayData(front_html="<p>front</p>")


COMPONENTS = (
    Component(
        "authenticity",
        AuthenticationResult,
        ("front", "back", "match"),
        authenticity,
        ("front",),
        authenticity_basic,
        required=True,
    ),
    Component("characters", CharacterIdentification, ("match",), characters, ("front",), characters_basic),
    Component("pricing", PricingAnalysis, ("match",), pricing, ("match",), None),
    Component("details", DetailedAnalysis, ("front",), details, ("front",), details),
    Component("display", HtmlDisplayData, ("front",), display, ("front",), None),
)

ANALYSIS = Analysis(
    context="",
    shared_steps=(
        SharedStep("front", ("front_image",), front),
        SharedStep("back", ("back_image",), back),
        SharedStep("match", ("front", "back"), match, decided_by="front"),
    ),
    components=COMPONENTS,
)

NAMES = [component.name for component in COMPONENTS]

# -- compute -----------------------------------------------------------------------------------------------


class Die:
    """A step at which the worker dies."""


Step = float | Exception | type[Die] | Callable[[], Any]
"""What happens before a function runs: a number of seconds, an exception, `Die`, or a call."""


class FakeCompute:
    """A compute engine that runs functions in this process. `script[name]` has one list of steps for each
    future call of the function `name`."""

    def __init__(self) -> None:
        self.script: defaultdict[str, deque[list[Step]]] = defaultdict(deque)
        self.always: dict[str, list[Step]] = {}
        self.started: list[str] = []
        self.running: list[str] = []
        self.cancelled: list[str] = []
        self._values: dict[str, Any] = {}

    def plan(self, name: str, *steps: Step) -> None:
        """Adds the steps of one call to the script of the function `name`."""
        self.script[name].append(list(steps))

    seconds = 0.0
    waiting = 0

    def statistics(self) -> dict[str, Any]:
        return {
            "workers": 1,
            "busy": len(self.running),
            "queued": 0,
            "waiting": self.waiting,
            "restarts": 0,
            "scratchFull": False,
        }

    @asynccontextmanager
    async def session(self, name: str, priority: Priority, grace: GracePeriod) -> AsyncIterator[Self]:
        yield self

    def stop(self) -> None:
        """Does nothing: cancelled jobs have ended already."""

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        named = arguments[0] if function in (produce, bounded) else function
        name = getattr(named, "func", named).__name__
        await trio.lowlevel.checkpoint()
        self.started.append(name)
        self.running.append(name)
        try:
            steps = self.script[name].popleft() if self.script[name] else self.always.get(name, [])
            for step in steps:
                await self._take(step)
        except trio.Cancelled:
            self.cancelled.append(name)
            raise
        finally:
            self.running.remove(name)
        return function(
            *(self._values[each.path] if isinstance(each, Handle) else each for each in arguments)
        )

    async def fetch(self, value: Any) -> Any:
        if isinstance(value, Handle):
            return await self.run(identity, value)
        await trio.lowlevel.checkpoint()
        return value

    async def keep(self, function: Callable[..., Any], *arguments: Any, early: bool = False) -> Handle | None:
        value = await self.run(function, *arguments)
        if value is None:
            return None
        handle = Handle(f"{len(self._values)}", bool(getattr(value, "decided", False)))
        self._values[handle.path] = value
        return handle

    async def _take(self, step: Step) -> None:
        if isinstance(step, int | float):
            await trio.sleep(step)
        elif isinstance(step, Exception):
            raise step
        elif step is Die:
            raise WorkerDied("killed by the test")
        else:
            step()


# -- records -----------------------------------------------------------------------------------------------


@dataclass
class FakeRecords:
    """Records in memory, unavailable while `away` is true and for the next `failures` calls."""

    away: bool = False
    failures: int = 0
    attempts: int = 0
    saved: dict[str, tuple[int, AnalysisRecord, list[bytes]]] = field(default_factory=dict)
    webhooks: dict[str, str] = field(default_factory=dict)
    """Webhook URLs by owner."""
    deliveries: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    """URL and event, by stream and sequence."""
    deliveries_away: bool = False
    later_keys: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    lookup: trio.Event | None = None
    """If set, look-ups wait for this event."""

    def _answer(self) -> None:
        if self.away or self.failures > 0:
            self.failures -= 1
            raise RecordsUnavailable(ErrorCode.OVERLOADED, "Records are unavailable", "database is locked")

    async def save(self, record: AnalysisRecord, final_packet: Callable[[int], bytes]) -> int:
        await trio.lowlevel.checkpoint()
        self.attempts += 1
        self._answer()
        if record.stream_id not in self.saved:
            number = len(self.saved) + 1
            self.saved[record.stream_id] = (number, record, [*record.packets, final_packet(number)])
        return self.saved[record.stream_id][0]

    async def has_webhook(self, owner: str) -> bool:
        await trio.lowlevel.checkpoint()
        return bool(self.webhooks.get(owner))

    async def add_deliveries(
        self,
        stream_id: str,
        owner: str,
        webhook: str,
        packets: Sequence[bytes],
        components: Sequence[str],
        first: int,
    ) -> bool:
        await trio.lowlevel.checkpoint()
        if self.deliveries_away:
            raise RecordsUnavailable(ErrorCode.OVERLOADED, "Records are unavailable", "database is locked")
        url = webhook or self.webhooks[owner]
        for sequence, (packet, component) in enumerate(zip(packets, components, strict=True), first):
            if (event := event_of(packet, component)) is not None:
                self.deliveries.setdefault((stream_id, sequence), (url, event))
        return True

    async def stream(self, stream_id: str) -> StoredStream | None:
        await trio.lowlevel.checkpoint()
        self._answer()
        if stream_id not in self.saved:
            return None
        number, record, packets = self.saved[stream_id]
        now = dt.datetime.now(dt.UTC)
        return StoredStream(stream_id, record.session_id, record.owner, packets, now, number)

    async def find_upload(self, owner: str, session_id: str, fingerprint: str) -> str | None:
        return await self._find(
            lambda record: (
                (record.owner, record.session_id, record.fingerprint) == (owner, session_id, fingerprint)
            )
        )

    async def has_upload(self, owner: str, session_id: str | None, idempotency_key: str | None) -> bool:
        await trio.lowlevel.checkpoint()
        return any(
            record.owner == owner
            and record.error_code is None
            and (
                record.session_id == session_id
                or (idempotency_key is not None and record.idempotency_key == idempotency_key)
            )
            for _, record, _ in self.saved.values()
        )

    async def find_idempotent(self, owner: str, idempotency_key: str) -> tuple[str, str] | None:
        found = await self._find(
            lambda record: (record.owner, record.idempotency_key) == (owner, idempotency_key)
        )
        if found is None:
            return self.later_keys.get((owner, idempotency_key))
        return found, self.saved[found][1].fingerprint

    async def keep_later_key(
        self, owner: str, idempotency_key: str, stream_id: str, fingerprint: str
    ) -> None:
        await trio.lowlevel.checkpoint()
        self._answer()
        self.later_keys.setdefault((owner, idempotency_key), (stream_id, fingerprint))

    async def _find(self, matches: Callable[[AnalysisRecord], bool]) -> str | None:
        await trio.lowlevel.checkpoint()
        if self.lookup is not None:
            await self.lookup.wait()
        self._answer()
        found = [stream_id for stream_id, (_, record, _) in self.saved.items() if matches(record)]
        return found[-1] if found else None


# -- storage -----------------------------------------------------------------------------------------------


class InPlace:
    """A `Disk` without a thread: while a thread works, a clock that jumps takes the event loop for idle."""

    async def run(self, operation: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint()
        return operation()


# -- the pipeline ------------------------------------------------------------------------------------------


def image(name: str) -> StoredImage:
    return StoredImage(path=f"/nowhere/{name}", sha256=name, size=len(name))


def upload(
    *views: View,
    session_id: str = "250101120000",
    owner: str = "",
    idempotency_key: str | None = None,
    content: str = "pin",
    complete: bool = True,
) -> Upload:
    """An upload of `views` (default: front and back)."""
    result = Upload(session_id, owner, idempotency_key)
    for view in views or (View.FRONT, View.BACK):
        result.put(view, image(f"{content} {view}"), f"{view}ImageData")
    if complete:
        result.close()
    return result


@dataclass
class Pipeline:
    registry: Registry
    compute: FakeCompute
    records: FakeRecords
    settings: Settings
    failures: list[OSError]
    """Errors of the stored logs."""

    async def analyse(self, sent: Upload | None = None) -> list[Packet]:
        """Runs a session with a reader to its end, and returns all packets."""
        log = await self.registry.open(sent or upload())
        return await watch(log)

    async def idle(self) -> None:
        """Waits until all sessions have ended and are cleaned up."""
        while self.registry.statistics()["sessions"]:  # noqa: ASYNC110 - on a clock that jumps
            await trio.sleep(0.001)


async def watch(log: PacketLog) -> list[Packet]:
    return [decode(packet) for packet in await watch_raw(log)]


async def watch_raw(log: PacketLog) -> list[bytes]:
    with log.watching():
        await log.wait_closed()
    return log.packets


@asynccontextmanager
async def open_pipeline(
    data: Path,
    *,
    analysis: Analysis = ANALYSIS,
    compute: FakeCompute | None = None,
    records: FakeRecords | None = None,
    **settings: Any,
) -> AsyncIterator[Pipeline]:
    compute = compute or FakeCompute()
    records = records or FakeRecords()
    chosen = Settings(data=data, **settings)
    chosen.journal_folder.mkdir(parents=True, exist_ok=True)
    failures: list[OSError] = []
    logs = LogFiles(chosen.journal_folder, InPlace(), failures.append)
    with trio.fail_after(86_400):
        async with open_registry(analysis, compute, records, chosen, logs=logs) as registry:  # type: ignore[arg-type]
            yield Pipeline(registry, compute, records, chosen, failures)


def types(packets: list[Packet]) -> list[str]:
    return [packet.packet_type for packet in packets]


def only(packets: list[Packet], kind: type[Packet]) -> Any:
    """The one packet of `kind`."""
    (found,) = [packet for packet in packets if isinstance(packet, kind)]
    return found


def final(packets: list[Packet]) -> AnalysisComplete:
    last = packets[-1]
    assert isinstance(last, AnalysisComplete), last
    return last
