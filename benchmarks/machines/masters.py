"""Several masters on one PostgreSQL: the delay of a packet at another master, the time of a takeover, and the
cost of open sessions at one master."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import Any

import trio

from benchmarks import Say, overhead, phones, scale
from benchmarks.figures import Percentiles, percentiles
from benchmarks.machines import hop
from tests.api.wire import MULTIPART, PHONE, connected, multipart, part
from tests.faults.masters import Phone, check, complete, three_masters
from tests.postgres_server import empty_database, postgres_server, serve_postgres

PHONES = 50
SESSIONS_HELD = 2000
SESSION_SECONDS = 6.0
"""Seconds of work of one session. All sessions together take several times as long, so that most are under
way when the last of the three faults happens."""

HOP_SECONDS = 30.0
READERS = 4
RESULT_SPREAD_SECONDS = 1.0
"""Seconds within which the results of a session arrive."""

LOOK_SECONDS = 0.02
LEASE = "SELECT stream_id, fence FROM log_session WHERE stream_id = ANY(%s)"


async def measure(say: Say, *, quick: bool) -> dict[str, Any]:
    """Runs all measurements. Skips if PostgreSQL or its driver is not installed."""
    held, sessions = (5, 4) if quick else (SESSIONS_HELD, 200)
    with serve_postgres() as server, tempfile.TemporaryDirectory(prefix="pinactors-benchmark-") as folder:
        say("a packet at another master")
        result: dict[str, Any] = {
            "hop": await (hop.measure(empty_database(server), 1.0, 0.0) if quick else _hop()),
            "packet_delay_seconds": await _relayed(server, Path(folder), sessions),
        }
        say(f"{held} open sessions on one master")
        result["held"] = await _held(server, Path(folder), held, 1.0 if quick else 8.0)
        if not quick:
            say(f"{PHONES} phones while a master is killed, one cut off and one restarted")
            result["faults"] = await _faults(server, Path(folder), PHONES, SESSION_SECONDS)
    return result


async def _hop() -> dict[str, Any]:
    with postgres_server(fsync=True) as server:
        return await hop.measure(empty_database(server.folder), HOP_SECONDS)


def _settings(folder: Path, url: str) -> dict[str, Any]:
    return {"database_url": url, "storage": f"file:{folder / 'shared'}", "deadline": 1e6}


async def _relayed(server: Path, folder: Path, sessions: int) -> dict[str, Percentiles | None]:
    """The time from a result to its bytes, at the master that has the session and at another one."""
    settings = _settings(folder, empty_database(server))
    delays: dict[str, list[float]] = {"own": [], "other": []}
    async with (
        phones.server("inline", spread=RESULT_SPREAD_SECONDS, **settings) as own,
        phones.server("inline", spread=RESULT_SPREAD_SECONDS, **settings) as other,
        trio.open_nursery() as nursery,
    ):
        limit = trio.CapacityLimiter(READERS)

        async def one(number: int) -> None:
            async with limit:
                body = multipart(
                    [
                        part("sessionId", f"relayed-{number}".encode()),
                        part("front_image", b"\xff\xd8 x", "f.jpg"),
                    ]
                )
                async with connected(own.port) as wire, trio.open_nursery() as readers:
                    await wire.request("POST", "/mobile-upload", body, {**PHONE, **MULTIPART})
                    stream_id = await wire.stream_id()
                    for which, master in (("own", own), ("other", other)):
                        readers.start_soon(phones.follow, master.port, stream_id, delays[which])
                    await wire.answer()

        for number in range(sessions):
            nursery.start_soon(one, number)
    return {name: percentiles(each) for name, each in delays.items()}


async def _held(server: Path, folder: Path, count: int, seconds: float) -> dict[str, Any]:
    """The delay of packets while so many other sessions wait, and the memory of each waiting session."""
    settings = _settings(folder, empty_database(server))
    async with (
        phones.server("inline", spread=scale.PROBE_SPREAD, **settings) as master,
        trio.open_nursery() as nursery,
    ):
        await scale.delay(master, 0.0)
        before = master.resident()
        await overhead.hold(nursery, master, count, 0)
        result = {
            "sessions": count,
            "kilobytes_per_session": (master.resident() - before) / count / 1024,
            "packet_delay_seconds": await scale.delay(master, seconds),
        }
        nursery.cancel_scope.cancel()
    return result


async def _faults(server: Path, folder: Path, count: int, seconds: float) -> dict[str, Any]:
    """Kills, cuts off and restarts one master each. Raises `AssertionError` unless every stream is complete,
    without gaps and recorded once."""
    taken: list[float] = []
    async with three_masters(folder, server) as (masters, relay):
        url = masters.urls["killed"]
        everyone = [Phone(number, masters) for number in range(count)]
        async with trio.open_nursery() as nursery:
            for phone in everyone:
                nursery.start_soon(phone.run, seconds)
            while await trio.to_thread.run_sync(complete, url) < count:  # noqa: ASYNC110 - rows wake nobody
                await trio.sleep(0.1)
            orphans = [phone.stream_id for phone in everyone if phone.number % len(masters.urls) == 0]
            masters.processes["killed"].kill()
            del masters.ports["killed"]
            await _watch_leases(url, orphans, taken)  # before the next fault: other masters must take over
            relay.cut = True
            masters.processes["restarted"].send_signal(signal.SIGTERM)
            await masters.start("restarted'")
            del masters.ports["restarted"]
        check(everyone, url)
    return {
        "phones": count,
        "complete_and_gapless": len(everyone),
        "taken_over": f"{len(taken)} of {len(orphans)}",
        "takeover_seconds": percentiles(taken),
        "connections": sum(1 + phone.reconnects for phone in everyone),
    }


async def _watch_leases(url: str, stream_ids: list[str], taken: list[float]) -> None:
    """Appends for each session the seconds until another master has taken it over, or it has ended."""
    import psycopg

    def leases(connection: psycopg.Connection[Any]) -> dict[str, int]:
        return dict(connection.execute(LEASE, [stream_ids]).fetchall())

    began = trio.current_time()
    with psycopg.connect(url, autocommit=True) as connection:
        before = await trio.to_thread.run_sync(leases, connection)
        waiting = set(before)
        while waiting:
            await trio.sleep(LOOK_SECONDS)
            now = await trio.to_thread.run_sync(leases, connection)
            over = {stream_id for stream_id in waiting if now.get(stream_id) != before[stream_id]}
            taken += [trio.current_time() - began] * len(over)
            waiting -= over
