"""The masters: their order for a session, ejection and health checks."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from pinactors.api.proxy.masters.fleet import EJECTION_LIMIT, JITTER_SHARE, Masters, in_turn
from pinactors.settings import Settings
from tests.api.conftest import running
from tests.api.proxy.conftest import LIMIT, proxying, wait_for_failures
from tests.api.proxy.scripted import says, scripted
from tests.failing import fail_once


def masters_of(text: str, **settings: Any) -> Masters:
    return Masters.of(Settings(proxy_masters=text, **settings))


KEYS = [f"key{number}" for number in range(4000)]


async def test_a_masters_share_is_its_weights() -> None:
    masters = masters_of("http://a http://b;weight=2 http://c;weight=0.5")
    first = Counter(masters.order(key)[0].url for key in KEYS)
    for url, share in (("http://a", 1 / 3.5), ("http://b", 2 / 3.5), ("http://c", 0.5 / 3.5)):
        deviation = math.sqrt(share * (1 - share) / len(KEYS))
        assert abs(first[url] / len(KEYS) - share) < 4 * deviation, url


async def test_a_master_that_goes_moves_only_its_own_sessions() -> None:
    masters = masters_of("http://a http://b http://c")
    before = {key: masters.order(key) for key in KEYS}
    gone = masters.all[1]
    masters.unreachable(gone)
    for key, order in before.items():
        now = masters.order(key)
        assert now[0] is next(master for master in order if master is not gone)
        assert now[-1] is gone, "it is the last resort"


async def test_the_order_is_the_same_in_every_process() -> None:
    """The order must never change: after such an update, resumed uploads would be sent to other masters."""
    masters = masters_of("http://a http://b http://c")
    names = ["".join(master.url[-1] for master in masters.order(key)) for key in ("1", "2", "3", "4")]
    again = masters_of("http://c http://b http://a")
    assert names == ["".join(master.url[-1] for master in again.order(key)) for key in ("1", "2", "3", "4")]
    assert names == ["abc", "acb", "cba", "bca"]


async def test_failures_in_a_row_eject_for_longer_each_time(mock_clock: trio.testing.MockClock) -> None:
    masters = masters_of("http://a", proxy_eject_failures=2, proxy_eject_pause=10)
    [master] = masters.all
    masters.failed(master, "x")
    masters.succeeded(master)
    masters.failed(master, "x")
    assert master.available, "not in a row"
    for pause in (10, 20, 40, EJECTION_LIMIT, EJECTION_LIMIT):
        masters.failed(master, "x")
        if master.available:
            masters.failed(master, "x")
        assert master.state == "ejected"
        mock_clock.jump(pause * (1 - JITTER_SHARE) - 0.01)
        assert not master.available
        mock_clock.jump(pause * 2 * JITTER_SHARE + 0.02)
        assert master.available


@pytest.mark.parametrize(
    "text",
    ["", "ftp://a", "http://", "http://a http://a", "http://a;weight=0", "http://a;weight=x", "http://a;b=1"],
)
def test_bad_masters_are_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"master|server"):
        masters_of(text)


async def test_health_checks_see_draining_death_and_return(tmp_path: Path) -> None:
    draining = b'HTTP/1.1 503 No\r\nContent-Length: 21\r\n\r\n{"status":"draining"}'
    html = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"
    with trio.fail_after(LIMIT):
        for script, state in ((says(draining), "draining"), (says(html), "down"), (says(b""), "down")):
            async with scripted(script, reads=False) as server:
                masters = masters_of(server.url)
                await check(masters)
                assert masters.all[0].state == state
        async with running(tmp_path) as good:
            masters = masters_of(f"http://127.0.0.1:{good.port}")
            [master] = masters.all
            masters.unreachable(master)
            master.ejected_until = math.inf
            await check(masters)
            assert master.state == "up", "another process: what the last one did says nothing about it"


async def check(masters: Masters) -> None:
    from pinactors.client.http import Connection

    [master] = masters.all
    async with Connection(master.url, silence=LIMIT) as connection:
        await masters.check(master, connection)


async def test_a_master_that_hangs_leaves_the_others_time(mock_clock: trio.testing.MockClock) -> None:
    limits = []
    for _, seconds in in_turn(masters_of("http://a http://b http://c").all, 8.0):
        limits.append(seconds)
        mock_clock.jump(seconds)
    assert limits == [4.0, 2.0, 2.0]


async def test_health_checks_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_logs: Any) -> None:
    went_on = fail_once(monkeypatch, Masters, "check")
    with trio.fail_after(LIMIT):
        async with (
            running(tmp_path / "master") as master,
            proxying(
                tmp_path / "proxy", [f"http://127.0.0.1:{master.port}"], proxy_health_interval=0.05
            ) as port,
        ):
            await went_on.wait()
            await wait_for_failures(port, "health check", error_logs)
