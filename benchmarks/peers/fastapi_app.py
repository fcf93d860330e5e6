"""Peer: FastAPI on uvicorn, components in parallel in a process pool, packets streamed as lines.

`python -m benchmarks.peers.fastapi_app '{"data": …, "workers": 2}' [h11]` prints its port. With `h11` uvicorn
parses in Python and runs on asyncio's own loop; without it, on httptools and uvloop, its fastest set-up.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.datastructures import UploadFile

from benchmarks.peers.work import PacketLines, Plan, Rows, inputs, start_workers
from pinactors.compute.job import call, call_and_keep
from pinactors.pipeline.declaration import Component, SharedStep
from pinactors.protocol import Packet, View

plan = Plan.given()
analysis = plan.analysis()
app = FastAPI()
sessions = 0


class Graph:
    """One session's shared steps. Each is computed once in a worker, which stores the value in a file of the
    session's folder."""

    def __init__(self, values: dict[str, Any], folder: str) -> None:
        self._values = values
        self._folder = folder
        self._steps = {step.name: step for step in analysis.shared_steps}
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    async def value(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(self._find(self._steps[name]))
        return await self._tasks[name]

    async def _find(self, step: SharedStep) -> Any:
        if step.decided_by is not None:
            first = await self.value(step.decided_by)
            if getattr(first, "decided", False):
                return first
        values = await asyncio.gather(*map(self.value, step.needs))
        if all(value is None for value in values):
            return None
        arguments = (self._folder, step.function, (analysis.context, *values))
        return await asyncio.get_running_loop().run_in_executor(workers, call_and_keep, *arguments)

    async def packet(self, component: Component) -> tuple[Component, Packet | Exception]:
        try:
            values = await asyncio.gather(*map(self.value, component.needs))
            if plan.null:
                return component, component.full(analysis.context, *values)
            arguments = (component.full, (analysis.context, *values))
            packet = await asyncio.get_running_loop().run_in_executor(workers, call, *arguments)
        except Exception as error:  # noqa: BLE001 - an optional component that fails is missing
            return component, error
        return component, packet


async def stream(session_id: str, photographs: dict[str, str]) -> AsyncIterator[bytes]:  # noqa: ASYNC900 - FastAPI's own way
    began = time.perf_counter()
    lines = PacketLines(session_id)
    sent = lines.opening()
    yield sent
    missing: list[str] = []
    with tempfile.TemporaryDirectory(dir=plan.folder) if not plan.null else NoFolder() as folder:
        graph = Graph(dict(inputs(photographs)), folder)
        for next_packet in asyncio.as_completed([graph.packet(each) for each in analysis.components]):
            component, packet = await next_packet
            if isinstance(packet, Packet):
                sent += (line := lines.line(packet))
                yield line  # noqa: ASYNC119 - how Starlette streams
            elif component.required:
                yield lines.failed(packet)  # noqa: ASYNC119 - how Starlette streams
                return
            else:
                missing.append(component.name)
        record = await rows.inserted(sent) if plan.record else sessions
        yield lines.complete(record, round(1000 * (time.perf_counter() - began)), missing)  # noqa: ASYNC119 - how Starlette streams


class NoFolder:
    """Takes the place of the session's folder if components return immediately and store nothing."""

    def __enter__(self) -> str:
        return ""

    def __exit__(self, *_: object) -> None:
        pass


@app.post("/mobile-upload")
async def upload(request: Request) -> StreamingResponse:
    global sessions
    sessions += 1
    photographs = {}
    async with request.form() as form:
        for view in View:
            file = form.get(f"{view}_image")
            if isinstance(file, UploadFile) and not plan.null:
                path = plan.folder / f"{secrets.token_hex(8)}.img"
                await asyncio.to_thread(_save, file, path)
                photographs[str(view)] = str(path)
        session_id = str(form.get("sessionId", ""))
    return StreamingResponse(stream(session_id, photographs), media_type="application/x-ndjson")


def _save(file: UploadFile, path: Path) -> None:
    path.write_bytes(file.file.read())


@app.get("/stats")
async def stats() -> dict[str, int]:
    return {"sessions": sessions}


if __name__ == "__main__":
    rows, workers = Rows(plan.folder), start_workers(plan)
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    plain = sys.argv[2:] == ["h11"]
    config = uvicorn.Config(
        app,
        fd=listening.fileno(),
        http="h11" if plain else "httptools",
        loop="asyncio" if plain else "uvloop",
        log_level="error",
        access_log=False,
    )
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(config).run()
