"""Starts the design under test, our server or a peer, in separate processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import trio

from benchmarks import phones
from benchmarks.peers.work import Plan

OURS = "ours"
DESIGNS = (OURS, "buffered", "express", "fastapi-h11", "fastapi")
HERE = Path(__file__).parent
NPM_SECONDS = 120.0


def unavailable(design: str) -> str:
    """Why a design cannot run on this machine; empty if it can."""
    if design in ("express", "durable-streams") and not (shutil.which("node") and shutil.which("npm")):
        return "node and npm are not installed"
    if design.startswith("fastapi"):
        wanted = ["fastapi", "uvicorn", "python_multipart"]
        wanted += [] if design.endswith("h11") else ["httptools", "uvloop"]
        missing = [name for name in wanted if find_spec(name) is None]
        return f"not installed: {', '.join(missing)} (pip install '.[bench]')" if missing else ""
    return ""


@asynccontextmanager
async def running(
    design: str, data: Path | None = None, *, null: bool = False, record: bool = True, **settings: Any
) -> AsyncIterator[phones.ServerProcess]:
    """Starts the design with the catalogue of a data folder, or with components that return immediately.

    `settings` apply only to our server. Raises `RuntimeError` if the design does not start.
    """
    with tempfile.TemporaryDirectory(prefix="pinactors-peer-") as folder:
        # A new folder: with the records of an earlier run uploads would join its sessions, not be analysed.
        if data is not None:
            (Path(folder) / "catalog").symlink_to(data / "catalog")
        if design == OURS:
            kind, most = ("inline", 100_000) if null else ("real", 500)
            async with phones.server(kind, data=Path(folder), max_sessions=most, **settings) as server:
                yield server
            return
        workers = 1 if null else len(os.sched_getaffinity(0))
        given = json.dumps(asdict(Plan(folder, workers, null, record)))
        async with _started(await _command(design, given, Path(folder))) as server:
            yield server


async def _command(design: str, plan: str, folder: Path) -> list[str]:
    if design == "buffered":
        return [sys.executable, "-m", "benchmarks.peers.buffered", plan]
    if design.startswith("fastapi"):
        given = ["h11"] if design.endswith("h11") else []
        return [sys.executable, "-m", "benchmarks.peers.fastapi_app", plan, *given]
    home = await _installed("express", folder)
    return ["node", str(home / "server.js"), sys.executable, plan]


@asynccontextmanager
async def durable_streams(*, files: bool) -> AsyncIterator[phones.ServerProcess]:
    """Starts the public Durable Streams server. Raises `RuntimeError` if it does not start."""
    with tempfile.TemporaryDirectory(prefix="pinactors-peer-") as folder:
        home = await _installed("durable_streams", Path(folder))
        data = [str(home / "data")] if files else []
        async with _started(["node", str(home / "server.mjs"), *data]) as server:
            yield server


async def _installed(peer: str, folder: Path) -> Path:
    """Copies a Node peer to `folder` and installs its packages. Raises `RuntimeError` if npm fails."""
    home = folder / peer
    await trio.to_thread.run_sync(shutil.copytree, HERE / peer, home)
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
    with trio.fail_after(NPM_SECONDS):
        installed = await trio.run_process(
            install, cwd=home, capture_stdout=True, capture_stderr=True, check=False
        )
    if installed.returncode:
        raise RuntimeError(f"npm cannot install {peer}: {installed.stderr.decode()[-500:]}")
    return home


@asynccontextmanager
async def _started(command: list[str]) -> AsyncIterator[phones.ServerProcess]:
    """Starts a process that prints its port; at the end, kills it and its child processes as a group."""
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, command, stdout=subprocess.PIPE, check=False, start_new_session=True)
        process: trio.Process = await nursery.start(run)
        try:
            assert process.stdout is not None
            line = await process.stdout.receive_some(100)
            if not line:
                raise RuntimeError("the peer did not start; its message is above")
            yield phones.ServerProcess(int(line), process.pid)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
