"""`python -m benchmarks chaos --minutes 10 --seed 7`: phones over every framing while faults are injected.

Connections are cut and stall in both directions, answers are half-closed, workers and the whole server are
killed, workers run out of memory, the disk is slow or full, the clock is stepped by an hour, the database is
locked (SQLite) or missing for a while: its file is moved (SQLite), or the server crashes (PostgreSQL). The
seed determines the faults and the connections they affect. Each session's answer is then compared, byte for
byte, with its record. The exit status is 1 unless nothing was lost, doubled or changed.

The analysis is the fast one of the tests, on real workers and real sockets: the benchmark tests delivery.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, cast, get_args

import trio
import typer

from benchmarks import Say
from benchmarks.commands import errors
from benchmarks.faults.surroundings import LASTING_SECONDS, Database, Fault, surroundings
from pinactors.client.connecting import Broken, NotPinactors
from pinactors.client.uploads import UploadContent
from pinactors.protocol import ErrorCode, PinactorsError, View
from pinactors.protocol.merge import kind_of, merge
from pinactors.records import Records
from tests.faults.network import Break, Network, network
from tests.faults.phones import FRAMINGS, Phone
from tests.faults.servers import Server, kept_packets

SILENCE_SECONDS = 3.0
PATIENCE_SECONDS = 240.0
"""How long a phone tries. It notices a stalled upload after 60 s, and several may stall in a row."""
BREAKING_SHARE = 0.4
"""Share of connections that break."""

TYPICAL_ANSWER, TYPICAL_UPLOAD = 10_000, 90_000
LARGEST_PHOTOGRAPH = 40_000
QUIET_SECONDS = (2.0, 6.0)
"""Seconds between two faults of the server."""

UNFIT_SHARE = 0.05
"""Share of uploads with a photograph that needs more memory than a worker may use."""


@dataclass
class ChaosCounts:
    """The counts of a run. `lost`: phones without a complete answer, or whose answer is not recorded.
    `changes`: packets that were received again with other bytes. `doubled`: records beyond one per session.
    `analysed_again`: sessions with a second record because the database was not reachable when their upload
    was sent again; no upload is refused for that reason. `unfit`: phones whose photograph was correctly
    refused because it needs too much memory."""

    sessions: int = 0
    resumes: int = 0
    joined: int = 0
    refused: int = 0
    unfit: int = 0
    gaps: int = 0
    duplicates: int = 0
    changes: int = 0
    lost: int = 0
    doubled: int = 0
    analysed_again: int = 0
    records: int = 0
    connections_broken: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    framings: Counter[str] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.gaps or self.duplicates or self.changes or self.lost or self.doubled)

    def __str__(self) -> str:
        return (
            f"{self.sessions} sessions, {self.resumes} resumes, {self.refused} refused, "
            f"{self.connections_broken} connections broken, {self.faults.total()} faults"
        )


class Chaos:
    """A run of the benchmark: phones and faults. `faults` are the possible faults of the surroundings, in
    addition to those of the server."""

    def __init__(
        self, server: Server, between: Network, seed: int, until: float, faults: Mapping[str, Fault]
    ) -> None:
        self.counts = ChaosCounts()
        self._server, self._between = server, between
        self._faults: Mapping[str, Fault] = {
            "workers killed": self._kill_workers,
            "server killed": self._kill_server,
            "disk full": self._fill_disk,
            "half-closed": self._half_close,
            **faults,
        }
        self._seed, self._until = seed, until
        between.plan(self._break)

    @property
    def over(self) -> bool:
        return trio.current_time() > self._until

    def _break(self, number: int) -> Break | None:
        """The break of the n-th connection, or None. None at the end of the time, so that the rest can be
        received."""
        chance = random.Random(f"{self._seed} connection {number}")
        if self.over or chance.random() > BREAKING_SHARE:
            return None
        upwards = chance.random() < 0.4
        after = chance.randrange(TYPICAL_UPLOAD if upwards else TYPICAL_ANSWER)
        return Break(chance.choice(["drop", "drop", "stall"]), after, upwards)

    async def phone(self, number: int, results: list[Phone]) -> None:
        """Uploads repeatedly until the time is over; sometimes two phones send the same upload at the same
        time."""
        chance = random.Random(f"{self._seed} phone {number}")
        turn = 0
        while not self.over:
            turn += 1
            session_id = f"chaos-{number}-{turn}"
            unfit = chance.random() < UNFIT_SHARE
            back = "MEMORY" if unfit else f"SLEEP {chance.uniform(0, 0.6):.2f}"
            images = {
                View.FRONT: _photograph(chance, session_id, "PHOTO"),
                View.BACK: _photograph(chance, session_id, back),
            }
            photographs = UploadContent(images, session_id)
            count = 2 if chance.random() < 0.15 else 1
            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    framing = chance.choice(FRAMINGS)
                    phone = Phone(self._between.url, photographs, framing, SILENCE_SECONDS, PATIENCE_SECONDS)
                    nursery.start_soon(self._carry_out, phone, results, unfit)

    async def _carry_out(self, phone: Phone, results: list[Phone], unfit: bool) -> None:
        counts = self.counts
        try:
            await phone.run()
            if (failure := _failure_of(phone)) is not None:
                raise failure
            if unfit:
                raise RuntimeError("a photograph that needs too much memory was analysed")
        except (PinactorsError, Broken, NotPinactors, OSError, RuntimeError) as error:
            if unfit and _names_what_is_unfit(error):
                counts.unfit += 1
            else:
                counts.lost += 1
                counts.reasons.append(f"{phone.photographs.session_id} {phone.framing}: {error!r}")
        else:
            results.append(phone)
        counts.sessions += 1
        counts.framings[phone.framing] += 1
        counts.refused += phone.refused
        counts.resumes += phone.witness.connections - 1

    async def fail(self) -> None:
        """Injects one fault after another until the time is over."""
        chance = random.Random(f"{self._seed} faults")
        while True:
            await trio.sleep(chance.uniform(*QUIET_SECONDS))
            if self.over:
                return
            name = chance.choice(list(self._faults))
            await self._faults[name](chance)
            self.counts.faults[name] += 1

    async def _kill_workers(self, chance: random.Random) -> None:
        self._server.kill_workers(chance.choice([1, None]))

    async def _kill_server(self, chance: random.Random) -> None:
        await self._server.restart()

    async def _fill_disk(self, chance: random.Random) -> None:
        with self._server.full_disk():
            await trio.sleep(chance.uniform(*LASTING_SECONDS))

    async def _half_close(self, chance: random.Random) -> None:
        await self._between.half_close(answered=True)

    async def report(self, status: Say) -> None:
        while True:
            self.counts.connections_broken = self._between.broken
            left = max(0.0, self._until - trio.current_time())
            status(f"{self.counts}; {len(self.counts.reasons)} failures; {left:.0f} s left")
            await trio.sleep(1)


def _photograph(chance: random.Random, session_id: str, start: str) -> bytes:
    filler = bytes(chance.randrange(LARGEST_PHOTOGRAPH))
    return f"{start} {session_id} ".encode() + filler


def _failure_of(phone: Phone) -> PinactorsError | None:
    """The `ERROR` that a streaming phone received as its last packet; None if there is none."""
    last = phone.received[-1].fields if phone.received else {}
    if last.get("packetType") != "ERROR":
        return None
    return PinactorsError(ErrorCode(last["errorCode"]), last["message"], last["error"])


def _names_what_is_unfit(error: Exception) -> bool:
    """Whether the error is the refusal of the back photograph because it needs too much memory."""
    return isinstance(error, PinactorsError) and error.code is ErrorCode.TOO_LARGE and "back" in str(error)


def _first_traceback(log: str) -> str:
    return next(line for line in log.splitlines() if "Traceback" in line)[:2000]


async def compare(server: Server, phones: list[Phone], counts: ChaosCounts) -> None:
    """Compares every answer with the record of its session and counts the differences."""
    records = await Records.open(server.settings)
    try:
        streams: dict[str, set[str]] = {}
        unkept: list[Phone] = []
        for phone in phones:
            session_id = phone.photographs.session_id
            streams.setdefault(session_id, set()).add(phone.stream_id)
            stored = await kept_packets(server.settings, phone.stream_id)
            if stored is not None and (problem := differs(phone, stored)):
                counts.lost += 1
                counts.reasons.append(f"{session_id} {phone.framing}: {problem}")
            elif stored is None:
                unkept.append(phone)
            counts.gaps += phone.witness.gaps
            counts.duplicates += phone.witness.repeats
            counts.changes += phone.witness.changes
            counts.reasons += phone.witness.odd
        counts.joined = len(phones) - len(streams)
        completed, numbers = Counter[str](), dict[int, str]()
        offset, total = 0, 1
        while offset < total:
            pins, total = await records.provisional("", offset=offset)
            completed.update(pin.pin_id for pin in pins)
            numbers |= {pin.record_number: pin.pin_id for pin in pins}
            offset += len(pins)
    finally:
        await records.close()  # noqa: ASYNC102 - nothing cancels it
    for phone in unkept:  # a duplicate that found the disk full has no stored stream, only a recorded answer
        number = phone.received[-1].fields["id"] if phone.received else phone.answer["id"]
        if numbers.get(number) != phone.photographs.session_id:
            counts.lost += 1
            counts.reasons.append(f"{phone.photographs.session_id} {phone.framing}: no record {number}")
    counts.records = completed.total()
    twice = {session_id for session_id, count in completed.items() if count > 1}
    unknown = {
        session_id
        for line in server.log.splitlines()
        if "uploads unknown" in line and (session_id := json.loads(line).get("session")) in twice
    }
    counts.analysed_again = len(unknown)
    counts.doubled = sum(count - 1 for session_id, count in completed.items() if session_id not in unknown)
    counts.reasons += [f"{session_id}: {completed[session_id]} records" for session_id in twice - unknown]


def differs(phone: Phone, stored: list[bytes]) -> str:
    """The difference between a phone's answer and the stored packets, in words; empty if there is none."""
    kinds = [kind_of(packet) for packet in stored]
    if kinds[-1] != "ANALYSIS_COMPLETE" or len(kinds) != len(set(kinds)):
        return f"on record are {kinds}"
    if phone.framing == "buffered":
        return "" if phone.answer == merge(stored) else "the answer is not what is on record"
    if phone.witness.packets(phone.stream_id) != stored:
        return "what came is not what is on record"
    received = [packet.kind for packet in phone.received]
    if received[-1] != kinds[-1] or sorted(received) != sorted(kinds):
        return f"handed out were {received}"
    return ""


async def run(
    minutes: float,
    seed: int,
    phones: int,
    database: Database,
    status: Say,
    log: Path | None = None,
) -> ChaosCounts:
    """Runs the benchmark. If a failure was found, the server's log is written to `log`."""
    results: list[Phone] = []
    with (
        tempfile.TemporaryDirectory(prefix="pinactors-chaos-") as folder,
        surroundings(Path(folder), database) as (server, faults),
    ):
        async with network(server.port) as between:
            chaos = Chaos(server, between, seed, trio.current_time() + 60 * minutes, faults)
            async with trio.open_nursery() as around:
                around.start_soon(chaos.report, status)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(chaos.fail)
                    for number in range(phones):
                        nursery.start_soon(chaos.phone, number, results)
                around.cancel_scope.cancel()
            chaos.counts.connections_broken = between.broken
        await compare(server, results, chaos.counts)
        if "Traceback" in server.log:
            chaos.counts.reasons.append(f"the server's log has a traceback: {_first_traceback(server.log)}")
        if chaos.counts.reasons and log is not None:
            await trio.Path(log).write_text(server.log, "utf-8")
    return chaos.counts


def main(
    minutes: Annotated[float, typer.Option(help="How long faults go on.")] = 5.0,
    seed: Annotated[int, typer.Option(help="What happens follows from it.")] = 1,
    phones: Annotated[int, typer.Option(help="Phones at the same time.")] = 12,
    database: Annotated[
        str, typer.Option(help="Where packets and records are: sqlite or postgresql.")
    ] = "sqlite",
    log: Annotated[
        Path | None, typer.Option(help="Folder that keeps the server's log if something is wrong.")
    ] = None,
) -> None:
    """Many phones over every framing while faults are injected: prints the counts; status 1 if one is
    wrong."""
    if database not in get_args(Database):
        raise typer.BadParameter(f"databases are {', '.join(get_args(Database))}, not {database}")
    with errors.status("starting") as status:
        try:
            counts = trio.run(run, minutes, seed, phones, cast(Database, database), status.update, log)
        except RuntimeError as error:
            errors.print(str(error), markup=False, style="red")
            raise typer.Exit(1) from error
    shown = {name: value for name, value in vars(counts).items() if name != "reasons"}
    given = {"seed": seed, "minutes": minutes, "phones": phones, "database": database}
    typer.echo(json.dumps({**given, **shown}, indent=2))
    for reason in counts.reasons[:20]:
        errors.print(reason, markup=False)
    raise typer.Exit(0 if counts.clean and not counts.reasons else 1)
