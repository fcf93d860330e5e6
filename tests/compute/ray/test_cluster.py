"""Compute on a Ray cluster: nodes that are added and removed, values lost with a node, unreachable
addresses."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from pinactors.compute.engines import open_compute
from pinactors.compute.pool import Pool
from pinactors.settings import Settings, SettingUnusable
from tests.compute import jobs
from tests.compute.local.test_processes import run, session
from tests.conftest import ErrorLogs
from tests.failing import fail_once
from tests.ray_cluster import NOTICED_SOON, start_cluster

TIMEOUT = 120


async def test_a_node_that_dies_takes_no_session_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The values of the dead node are computed again on the remaining node."""
    with start_cluster(cpus=1, settings=NOTICED_SOON) as cluster, trio.fail_after(TIMEOUT):
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        second = cluster.add_node(num_cpus=1)
        (tmp_path / "photo").write_bytes(b"0123456789")
        async with open_compute(Settings(data=tmp_path, compute="ray"), jobs.warm) as pool:
            assert (pool.statistics()["nodes"], pool.statistics()["workers"]) == (2, 2)
            async with session(pool) as one, session(pool) as two:
                made = {}
                for each in (one, two):
                    kept = await each.keep(jobs.picture, 500)
                    made[each] = await each.keep(jobs.turned, kept), await each.run(jobs.node)
                assert len({where for _, where in made.values()}) == 2, "sessions are spread over the nodes"
                for each in (one, two):  # each session stays on its node
                    assert {await each.run(jobs.node) for _ in range(5)} == {made[each][1]}
                cluster.remove_node(second, allow_graceful=False)
                await until_workers(pool, 1)
                expected = int(jobs.picture(500).rgb.sum())
                for each in (one, two):
                    assert (await each.run(jobs.look, made[each][0]))[:2] == ("turned", expected)
                assert len({await each.run(jobs.node) for each in (one, two)}) == 1
            cluster.add_node(num_cpus=1)
            await until_workers(pool, 2)


async def until_workers(pool: Pool, count: int) -> None:
    while pool.statistics()["workers"] != count or pool.statistics()["nodes"] != count:  # noqa: ASYNC110
        await trio.sleep(0.05)


async def test_workers_are_bounded_by_the_setting(
    tmp_path: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray_address)
    with trio.fail_after(TIMEOUT):
        async with open_compute(Settings(data=tmp_path, compute="ray", workers=1), jobs.warm) as pool:
            assert pool.statistics()["workers"] == 1
            assert await run(pool, jobs.environment) | {"niceness": 0, "sigint": 0, "sigterm": 0} == {
                "niceness": 0,
                "threads": "1",
                "opencv": 1,
                "sigint": 0,
                "sigterm": 0,
            }


def test_slots_of_a_dead_node_are_added_on_the_nodes_that_remain() -> None:
    """The limit `PINACTORS_WORKERS` is reached again if another node has CPUs without a slot. A replacement
    of the dead node gets slots only up to the limit."""
    ray_cluster = pytest.importorskip("pinactors.compute.ray.cluster")
    first, second, third = ("a" * 56, "b" * 56, "c" * 56)
    cluster = ray_cluster._Cluster(4, 0, jobs.warm)

    def change(cpus: dict[str, int]) -> tuple[list[str], list[str]]:
        new, removed = cluster.update(cpus)
        return [slot.node for slot in new], [slot.node for slot in removed]

    assert change({first: 4, second: 4}) == ([first, second, first, second], [])
    assert change({first: 4}) == ([first, first], [second, second])
    assert change({first: 4, third: 4}) == ([], [])
    assert change({third: 3}) == ([third] * 3, [first] * 4)
    assert change({third: 3, second: 4}) == ([second], [])
    assert len({slot._number for slot in cluster.slots}) == 4


@pytest.mark.parametrize("compute", ["ray", "ray://{address}"])
async def test_an_address_nobody_answers_at_is_one_clear_line(
    tmp_path: Path, compute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken, trio.fail_after(TIMEOUT):  # bound, not listening: refused at once
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        settings = Settings(data=tmp_path, compute=compute.format(address=address))
        with pytest.raises(SettingUnusable, match=f"no Ray cluster at .*{address}") as refused:
            async with open_compute(settings, jobs.warm):
                pass
    assert "\n" not in str(refused.value)


async def test_another_version_on_a_node_is_one_clear_line(
    tmp_path: Path, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray_address)
    monkeypatch.setattr("pinactors.compute.ray.cluster.own_version", lambda: "9.9.9")
    with (
        trio.fail_after(TIMEOUT),
        pytest.raises(RuntimeError, match=r"a node has pinactors .*server 9\.9\.9"),
    ):
        async with open_compute(Settings(data=tmp_path, compute="ray"), jobs.warm):
            pass


async def test_another_ray_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def refuse(**_: object) -> None:
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n    Ray: 2.9\n    Python: 3.10\n"
        )

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(SettingUnusable, match=r"Version mismatch: .* Ray: 2\.9 Python: 3\.10") as refused:
        async with open_compute(Settings(data=tmp_path, compute="ray"), jobs.warm):
            pass
    assert "\n" not in str(refused.value)


async def test_without_ray_it_is_said_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pinactors.compute.ray.cluster", None)
    with pytest.raises(SettingUnusable, match=r"pip install 'pinactors\[ray\]'"):
        async with open_compute(Settings(data=tmp_path, compute="ray"), jobs.warm):
            pass


async def test_following_the_nodes_goes_on_when_it_fails_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    """All calls to Ray are replaced, so the test needs no cluster."""
    ray_cluster = pytest.importorskip("pinactors.compute.ray.cluster")

    async def nothing(*_: object) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(ray_cluster, "_connect", lambda compute: None)
    monkeypatch.setattr(ray_cluster, "_cpus", lambda: {"ab" * 28: 1})
    monkeypatch.setattr(ray_cluster, "NODE_POLL_SECONDS", 0.01)
    monkeypatch.setattr(ray_cluster.ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray_cluster.RayPool, "start", nothing)
    monkeypatch.setattr(ray_cluster.RayPool, "follow_nodes", nothing)
    went_on = fail_once(monkeypatch, ray_cluster.RayPool, "follow_nodes")
    with trio.fail_after(TIMEOUT):
        async with open_compute(Settings(data=tmp_path, compute="ray"), jobs.warm):
            await went_on.wait()
    assert error_logs.take("iteration failed")["task"] == "nodes"
