"""Phones at three masters on one PostgreSQL while one master is killed, one is cut off from the database and
one is restarted: each stream is complete, without gaps and the same for each reader, and has one record."""

from __future__ import annotations

import signal
from pathlib import Path

import trio

from tests.api.conftest import DEADLINE
from tests.api.drawn import Gate
from tests.api.wire import metric
from tests.faults.masters import Phone, check, complete, three_masters
from tests.records.conftest import postgres  # noqa: F401 - a fixture
from tests.waiting import until

TIMEOUT = 480
PHONES = 12


async def test_killed_cut_off_and_restarted(postgres: Path, tmp_path: Path, gate: Gate) -> None:  # noqa: F811
    with trio.fail_after(TIMEOUT):
        async with three_masters(tmp_path, postgres, deadline=DEADLINE) as (masters, relay):
            phones = [Phone(number, masters) for number in range(PHONES)]
            async with trio.open_nursery() as nursery:
                for phone in phones:
                    nursery.start_soon(phone.run, gate)
                while await trio.to_thread.run_sync(complete, masters.urls["killed"]) < PHONES:  # noqa: ASYNC110
                    await trio.sleep(0.1)
                await until(lambda: all(phone.stream_id for phone in phones))  # else it cannot continue
                masters.processes["killed"].kill()
                del masters.ports["killed"]
                relay.cut = True
                masters.processes["restarted"].send_signal(signal.SIGTERM)
                await masters.start("restarted'")
                del masters.ports["restarted"]
                gate.open()
            check(phones, masters.urls["killed"])
            relay.cut = False
            while await metric(masters.ports["cut"], "pinactors_live_sessions") > 0:  # noqa: ASYNC110
                await trio.sleep(0.1)
            check(phones, masters.urls["killed"])
