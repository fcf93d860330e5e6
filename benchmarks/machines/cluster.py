"""`python -m benchmarks cluster`: Ray compared with local workers, and several masters on one PostgreSQL.

All parts are real processes on this machine: nodes of `ray.cluster_utils.Cluster` with together as many CPUs
as there are local workers, masters, a separate PostgreSQL. If something is not installed, its part is left
out, with the reason.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import trio

from benchmarks import Say, phones
from benchmarks.figures import Percentiles, machine, percentiles
from benchmarks.load.arrivals import Pin, prepare
from benchmarks.load.capacity import saturate
from benchmarks.machines import masters
from pinactors.catalog.demo import DESIGNS
from pinactors.compute.engines import open_compute
from pinactors.compute.pool import Pool
from pinactors.settings import Settings
from tests.compute import jobs
from tests.compute.local.test_processes import cpu_seconds, session
from tests.ray_cluster import NOTICED_SOON, start_cluster

NODES = 2
WORKERS = 2
JOBS = 200
CANCELS = 10
FIRST_RESULTS = 10
ROUNDS = 2
"""How often each engine is measured, in turn, because the machine's other load changes."""

SATURATED_SECONDS = 40.0
UNDER_LOAD = 6
"""Number of sessions under way when a node is killed."""

PATIENCE_SECONDS = 240.0
"""Most seconds for each session, also for those that are under way when a node is killed."""

NO_RESULTS = "CONNECTION_ESTABLISHED", "PROCESSING_STARTED"


async def measure(say: Say, parts: Sequence[str], *, quick: bool = False) -> dict[str, Any]:
    """Runs the named `parts` of `PARTS`, one after the other. Raises `RuntimeError` if a server does not
    start."""
    result: dict[str, Any] = {"benchmark": "cluster", "machine": machine(), "skipped": {}}
    for name in parts:
        try:
            result[name] = await PARTS[name](say, quick=quick)
        except pytest.skip.Exception as reason:
            result["skipped"][name] = str(reason)
    return result


async def engines(say: Say, *, quick: bool) -> dict[str, Any]:
    """Runs the same jobs and the same photographs on local workers and on two nodes, in turn.

    `throughput_ratio` compares sessions a second; `throughput_ratio_of_free_cpu` compares sessions per second
    of CPU that no other process on the machine used: on an otherwise idle machine the two are equal.
    """
    count, first, seconds = (10, 1, 1.0) if quick else (JOBS, FIRST_RESULTS, SATURATED_SECONDS)
    result: dict[str, Any] = {"local": {"saturated": []}, "ray": {"saturated": []}}
    with tempfile.TemporaryDirectory(prefix="pinactors-benchmark-") as name:
        folder = Path(name)
        say("drawing the catalogue and the photographs")
        pins, catalogue = (1, 2) if quick else (4, len(DESIGNS))
        data, drawn = await trio.to_thread.run_sync(prepare, folder, pins, catalogue)
        for number in range(1 if quick else ROUNDS):
            for engine, measured in result.items():
                with _engine(engine):
                    if number == 0:
                        say(f"{engine}: jobs that do nothing")
                        settings = Settings(data=folder / engine, compute=engine, workers=WORKERS)
                        async with open_compute(settings, jobs.warm) as pool:
                            measured["job_seconds"] = await _overhead(pool, count)
                            measured["cpu_free_after_cancel_seconds"] = await _cancel(pool, folder, CANCELS)
                    say(f"{engine}: analyses")
                    given: dict[str, Any] = {
                        "compute": engine,
                        "workers": WORKERS,
                        "deadline": PATIENCE_SECONDS,
                    }
                    async with phones.server("real", data=data, **given) as server:
                        if number == 0:
                            measured["first_result_seconds"] = await _first_results(server.port, drawn, first)
                        measured["saturated"].append(
                            await saturate(say, server, drawn, seconds, root=os.getpid())
                        )
        result["throughput_ratio"] = _ratio(result, lambda each: 1.0)
        result["throughput_ratio_of_free_cpu"] = _ratio(
            result, lambda each: each["cores"] * (1 - each["others_cpu_share"])
        )
        say("a node is killed under load")
        result["node_killed"] = await _node_killed(data, drawn, 2 if quick else UNDER_LOAD)
    return result


def _ratio(result: dict[str, Any], of: Callable[[dict[str, Any]], float]) -> float:
    """Ray's sessions a second per unit of `of`, divided by the local workers'."""
    ray, local = (
        sum(each["sessions_per_second"] / of(each) for each in result[engine]["saturated"])
        for engine in ("ray", "local")
    )
    return float(ray / local)


@contextmanager
def _engine(engine: str) -> Iterator[None]:
    """Runs the cluster only while Ray is measured, because its processes use CPU even without jobs."""
    if engine == "local":
        yield
        return
    with (
        start_cluster(NODES, cpus=WORKERS // NODES) as cluster,
        mock.patch.dict(os.environ, RAY_ADDRESS=cluster.address),
    ):
        yield


async def _overhead(pool: Pool, count: int) -> Percentiles | None:
    """The time from requesting a job that returns its process id to its answer, one job at a time."""
    took: list[float] = []
    async with session(pool) as compute:
        for _ in range(count):
            began = time.perf_counter()
            await compute.run(jobs.pid)
            took.append(time.perf_counter() - began)
    return percentiles(took)


async def _cancel(pool: Pool, folder: Path, count: int) -> Percentiles | None:
    """The time from cancelling a job that never ends to the end of its process."""
    took: list[float] = []
    for number in range(count):
        path = folder / f"pid-{time.monotonic_ns()}-{number}"
        async with session(pool) as compute, trio.open_nursery() as nursery:
            nursery.start_soon(compute.run, jobs.spin, str(path))
            while not path.exists():  # noqa: ASYNC110 - another process writes the file
                await trio.sleep(0.005)
            began = time.perf_counter()
            nursery.cancel_scope.cancel()
        pid = int(path.read_text())
        while cpu_seconds(pid) is not None:  # noqa: ASYNC110 - waits for the end of another process
            await trio.sleep(0.001)
        took.append(time.perf_counter() - began)
    return percentiles(took)


async def _first_results(port: int, pins: list[Pin], count: int) -> Percentiles | None:
    """The time from the upload's first byte to the first component's packet, one session at a time."""
    took: list[float | None] = []
    for number in range(count + 1):
        times = await _packet_times(port, pins[number % len(pins)])
        took.append(times[1][1] - times[0][1] if len(times) > 1 else None)
    return percentiles(took[1:])  # the first session is a warm-up


async def _packet_times(port: int, pin: Pin) -> list[tuple[str, float]]:
    """Each result's type and time of arrival; the first entry is the begin of the upload."""
    times = [("", time.perf_counter())]
    await phones.watch(
        port, phones.read(pin), lambda packet: times.append((packet["packetType"], time.perf_counter()))
    )
    return [times[0], *(each for each in times[1:] if each[0] not in NO_RESULTS)]


async def _node_killed(data: Path, pins: list[Pin], count: int) -> dict[str, Any]:
    """Kills one of two nodes when the first of `count` sessions has a result.

    `whole`: sessions that completed with every component. `seconds_until_they_go_on`: from the kill to a
    session's next result, for sessions that were still under way.
    """
    sessions: list[list[tuple[dict[str, Any], float]]] = [[] for _ in range(count)]
    with start_cluster(1, cpus=1, settings=NOTICED_SOON) as cluster:
        second = cluster.add_node(num_cpus=1)
        with mock.patch.dict(os.environ, RAY_ADDRESS=cluster.address):
            async with (
                phones.server("real", data=data, compute="ray") as server,
                trio.open_nursery() as nursery,
            ):
                begun = trio.Event()

                async def phone(number: int) -> None:
                    def note(packet: dict[str, Any]) -> None:
                        if packet["packetType"] not in NO_RESULTS:
                            sessions[number].append((packet, time.perf_counter()))
                            begun.set()

                    with trio.move_on_after(PATIENCE_SECONDS):
                        await phones.watch(server.port, phones.read(pins[number % len(pins)]), note)

                for number in range(count):
                    nursery.start_soon(phone, number)
                await begun.wait()
                killed = time.perf_counter()
                cluster.remove_node(second, allow_graceful=False)
    last = [results[-1][0] if results else {} for results in sessions]
    complete = [packet for packet in last if packet.get("packetType") == "ANALYSIS_COMPLETE"]
    return {
        "sessions": count,
        "complete": len(complete),
        "whole": sum(not packet["missing"] and not packet["degraded"] for packet in complete),
        "seconds_until_they_go_on": percentiles(
            next((at - killed for _, at in results if at > killed), None) for results in sessions
        ),
        "seconds_until_complete": percentiles(results[-1][1] - killed for results in sessions if results),
    }


PARTS = {"ray": engines, "masters": masters.measure}
