"""Peer: one buffered answer after sequential analysis, like the system that pinactors replaced. Quart, one
worker per request.

`python -m benchmarks.peers.buffered '{"data": …, "workers": 2}'` prints its port.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time

import hypercorn.asyncio
from hypercorn.config import Config
from quart import Quart, Response, request

from benchmarks.peers.work import PacketLines, Plan, Rows, analyse, start_workers
from pinactors.protocol import View

plan = Plan.given()
app = Quart(__name__)
app.config.update(RESPONSE_TIMEOUT=None, BODY_TIMEOUT=None, MAX_CONTENT_LENGTH=50 << 20)
sessions = 0


@app.post("/mobile-upload")
async def upload() -> Response:
    global sessions
    sessions += 1
    began = time.perf_counter()
    lines = PacketLines((await request.form).get("sessionId", ""))
    photographs = {}
    for view in View:
        file = (await request.files).get(f"{view}_image")
        if file is not None:
            path = plan.folder / f"{secrets.token_hex(8)}.img"
            if not plan.null:
                await file.save(path)
                photographs[str(view)] = str(path)
    body = lines.opening()
    try:
        if plan.null:
            packets, missing = analyse(plan, {})
        else:
            loop = asyncio.get_running_loop()
            packets, missing = await loop.run_in_executor(workers, analyse, plan, photographs)
    except Exception as error:  # noqa: BLE001 - the phone gets an error
        return Response(body + lines.failed(error), content_type="application/json")
    body += b"".join(map(lines.line, packets))
    record = await rows.inserted(body) if plan.record else sessions
    body += lines.complete(record, round(1000 * (time.perf_counter() - began)), missing)
    return Response(body, content_type="application/json")


@app.get("/stats")
async def stats() -> dict[str, int]:
    return {"sessions": sessions}


if __name__ == "__main__":
    rows, workers = Rows(plan.folder), start_workers(plan)
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.loglevel = "ERROR"
    print(listening.getsockname()[1], flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(hypercorn.asyncio.serve(app, config))
