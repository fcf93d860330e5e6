"""`python -m benchmarks cluster --demo`: the system that docs/deploy starts in containers, as processes on
loopback.

It starts PostgreSQL, an object store, two Ray nodes, three masters and two proxies, masters and proxies by
the commands in the docs. A pin is analysed through each proxy, a master is killed, and a pin is analysed
through each proxy again.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from unittest import mock

import trio

from benchmarks import Say, phones
from pinactors.catalog.demo import DESIGNS, photograph
from pinactors.client import analyze
from pinactors.protocol import View
from tests.postgres_server import empty_database, serve_postgres
from tests.ray_cluster import start_cluster
from tests.storage.s3_server import BUCKET, VARIABLES, serve_s3

MASTERS, PROXIES, NODES = 3, 2, 2
READY_SECONDS = 300.0
"""Most seconds until all are ready. Ray is the slowest part: each master has a separate process on each CPU,
which imports the analysis."""


async def run(say: Say, *, stay: bool) -> None:
    """Runs the demonstration; ends when the pins are analysed, or with `stay` on an interrupt. Raises
    `RuntimeError` if a process does not become ready or an analysis does not complete."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # hides the object store's log of requests
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pinactors-cluster-")))
        say("PostgreSQL and an object store")
        url = empty_database(stack.enter_context(serve_postgres()))
        shared = {
            **VARIABLES,
            "AWS_ENDPOINT_URL": stack.enter_context(serve_s3()),
            "PINACTORS_DATABASE_URL": url,
            "PINACTORS_STORAGE": f"s3://{BUCKET}/demo",
            "PINACTORS_CATALOG_VERSION": "latest",
            "PINACTORS_COMPUTE": "ray",
            "RAY_num_workers_soft_limit": str(MASTERS * NODES),
        }
        stack.enter_context(mock.patch.dict(os.environ, shared))  # Ray's nodes read the catalogue too
        say(f"{NODES} Ray nodes")
        cluster = stack.enter_context(start_cluster(NODES, cpus=1))
        stack.enter_context(mock.patch.dict(os.environ, RAY_ADDRESS=cluster.address))
        say("the demonstration catalogue, published")
        await _publish(folder)
        masters = [stack.enter_context(_started(folder, f"master-{n}", "serve", {})) for n in range(MASTERS)]
        addresses = " ".join(f"http://127.0.0.1:{port}" for port, _ in masters)
        proxies = [
            stack.enter_context(
                _started(folder, f"proxy-{n}", "proxy", {"PINACTORS_PROXY_MASTERS": addresses})
            )
            for n in range(PROXIES)
        ]
        say(f"masters at {addresses}")
        for port, process in (*masters, *proxies):
            await _ready(port, process)
        say(f"proxies at {' '.join(f'http://127.0.0.1:{port}' for port, _ in proxies)}, all ready")
        await _analyse(say, folder, [port for port, _ in proxies])
        say("a master is killed")
        masters[0][1].send_signal(signal.SIGKILL)
        await _analyse(say, folder, [port for port, _ in proxies])
        if stay:
            say("Ctrl-C ends it")
            await trio.sleep_forever()


async def _publish(folder: Path) -> None:
    drawn, data = folder / "drawn", folder / "catalogue"
    steps: list[list[str | Path]] = [
        ["demo", drawn],
        ["import", drawn, "--data", data],
        ["publish", "--data", data],
    ]
    for arguments in steps:
        command = [sys.executable, "-m", "pinactors", "catalog", *arguments]
        await trio.run_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def _started(
    folder: Path, name: str, command: str, variables: dict[str, str]
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Starts a command of pinactors with its log in a file; ends it with SIGTERM, as an operator would."""
    port = phones.free_port()
    with (folder / f"{name}.log").open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pinactors", command, "--port", str(port), "--data", str(folder / name)],
            env=os.environ | variables,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield port, process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _ready(port: int, process: subprocess.Popen[bytes]) -> None:
    answer = "nothing"
    with trio.move_on_after(READY_SECONDS):
        while process.poll() is None:
            with suppress(OSError):
                answer = await phones.fetch(port, "/readyz")
                if json.loads(answer)["status"] == "ready":
                    return
            await trio.sleep(0.2)
    raise RuntimeError(f"port {port} is not ready: it says {answer}; status {process.poll()}")


async def _analyse(say: Say, folder: Path, ports: list[int]) -> None:
    """Analyses one pin through each of `ports`, at the same time."""
    async with trio.open_nursery() as nursery:
        for number, port in enumerate(ports):
            nursery.start_soon(_one, say, folder, port, number)


async def _one(say: Say, folder: Path, port: int, number: int) -> None:
    images = {view: folder / f"{number}-{view}.jpg" for view in View}
    for view, path in images.items():
        await trio.Path(path).write_bytes(await trio.to_thread.run_sync(photograph, DESIGNS[number], view))
    began, kinds = time.perf_counter(), []
    async with analyze(f"http://127.0.0.1:{port}", images) as packets:
        async for packet in packets:
            kinds.append(packet.kind)
    if kinds[-1] != "ANALYSIS_COMPLETE":
        raise RuntimeError(f"through port {port} came {kinds}")
    say(f"through port {port}: {len(kinds)} packets, complete after {time.perf_counter() - began:.1f} s")
