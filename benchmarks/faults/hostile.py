"""Hostile uploads against a running server: broken bodies of eight kinds, from many clients at the same time.

It counts answers by status and valid ("honest") uploads in between that were answered correctly, and measures
the memory of the server and of its workers during the run and at its end.
"""

from __future__ import annotations

import base64
import io
import json
import random
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import trio
from PIL import Image

from benchmarks import Say, phones
from benchmarks.faults import fuzz
from pinactors.catalog.demo import DESIGNS, photograph
from pinactors.protocol import View

CLIENTS = 16
HONEST_EVERY = 500
"""Hostile uploads between two honest ones."""

WARM_UP_UPLOADS = 500
"""Uploads after which workers have loaded what they need."""

GROWTH = 1.2
"""Largest allowed ratio of the memory at the end to that after a tenth of the uploads: caches fill, workers
are replaced."""

REPLAY_SECONDS = 30.0
"""How long packets can be read again: so short that the memory for it is already in use at the first
measurement."""

PHOTOGRAPH_SIDE = 200
"""Longest side of a photograph in pixels: small enough for the limit of a request's size."""

ANSWER_SECONDS = 120.0
JSON, MULTIPART = "application/json", "multipart/form-data; boundary=b"

Upload = tuple[str, bytes, int]
"""Content type, body, and the announced length."""


@dataclass
class HostileCounts:
    """The counts of a run. `honest` are honest uploads that were answered with 200, `lost` those that were
    not; `unanswered` are connections that ended without an answer; `memory` are the measurements of
    memory."""

    statuses: Counter[int] = field(default_factory=Counter)
    honest: int = 0
    lost: int = 0
    unanswered: int = 0
    memory: list[dict[str, int]] = field(default_factory=list)


class Hostile:
    """Makes uploads from a seed, so that each run has the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        drawn = Image.open(io.BytesIO(photograph(DESIGNS[0], View.FRONT, seed)))
        drawn.thumbnail((PHOTOGRAPH_SIDE, PHOTOGRAPH_SIDE))
        self.photographs: list[bytes] = []
        for kind in ("JPEG", "PNG", "WEBP"):
            file = io.BytesIO()
            drawn.save(file, kind)
            self.photographs.append(file.getvalue())
        self._makers = (
            self._noise,
            self._damaged,
            self._cut_short,
            self._bad_base64,
            self._many_fields,
            self._claims,
            self._wrong_type,
            self._announced_longer,
        )

    def honest(self, number: int) -> Upload:
        """A valid upload with a photograph that was not sent before."""
        content = self.photographs[0] + number.to_bytes(8)
        return self._json(frontImageData=base64.b64encode(content).decode())

    def upload(self) -> Upload:
        """An upload of a random hostile kind."""
        return self._random.choice(self._makers)()

    def _json(self, **fields: Any) -> Upload:
        body = json.dumps(fields).encode()
        return JSON, body, len(body)

    def _noise(self) -> Upload:
        body = self._random.randbytes(self._random.randrange(5000))
        return self._random.choice((JSON, MULTIPART)), body, len(body)

    def _damaged(self) -> Upload:
        """A photograph with some bytes changed, which workers try to decode."""
        content = bytearray(self._random.choice(self.photographs))
        for _ in range(self._random.randrange(1, 40)):
            content[self._random.randrange(len(content))] = self._random.randrange(256)
        return self._part("front_image", bytes(content))

    def _cut_short(self) -> Upload:
        kind, body, _ = self._part("front_image", self._random.choice(self.photographs))
        body = body[: self._random.randrange(len(body))]
        return kind, body, len(body)

    def _bad_base64(self) -> Upload:
        text = base64.b64encode(self._random.choice(self.photographs)).decode()
        at = self._random.randrange(len(text))
        return self._json(frontImageData=text[:at] + self._random.choice("%@é\0\\") + text[at:])

    def _many_fields(self) -> Upload:
        return self._json(**{f"field{number}": number for number in range(self._random.randrange(50, 300))})

    def _claims(self) -> Upload:
        """A PNG with a valid header that claims an enormous size."""
        content = bytearray(self.photographs[1])
        content[16:24] = self._random.randbytes(8)
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
        return self._part("front_image", bytes(content))

    def _wrong_type(self) -> Upload:
        value = self._random.choice([5, True, [], {}, [[[[]]]], "x" * 10_000])
        return self._json(frontImageData=value, sessionId=self._random.choice(["a b", 5, "é", None]))

    def _announced_longer(self) -> Upload:
        """An upload whose client closes the connection before all is sent."""
        kind, body, length = self._part("front_image", self.photographs[0])
        return kind, body[: length // 2], length

    def _part(self, name: str, content: bytes) -> Upload:
        head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'.encode()
        body = head + content + b"\r\n--b--\r\n"
        return MULTIPART, body, len(body)


async def measure(say: Say, *, count: int = 100_000, seed: int = 1, analysis: bool = False) -> dict[str, Any]:
    """Sends `count` hostile uploads to a new server without catalogue and key. Only with `analysis` are
    photographs analysed that can be decoded although they are broken: analysis takes most of the time."""
    makes, counts = Hostile(seed), HostileCounts()
    with tempfile.TemporaryDirectory() as folder:
        data, port = Path(folder) / "data", phones.free_port()
        process = _start(data, port, analysis=analysis)
        try:
            await trio.to_thread.run_sync(fuzz.wait_for, port)
            todo = iter(range(count))
            async with trio.open_nursery() as nursery:
                for _ in range(CLIENTS):
                    nursery.start_soon(_client, port, makes, counts, todo, count, process.pid, say)
            counts.memory.append(_memory(process.pid, count))
        finally:
            process.kill()
            process.wait()
    return {
        "benchmark": "hostile",
        "uploads": count,
        "seed": seed,
        "analysis": analysis,
        "statuses": {str(status): number for status, number in sorted(counts.statuses.items())},
        "unanswered": counts.unanswered,
        "honest": {"answered": counts.honest, "lost": counts.lost},
        "memory": counts.memory,
    }


def failures(result: dict[str, Any]) -> list[str]:
    """The failures of a run, in words."""
    wrong = [
        f"{number} answers of {status}"
        for status, number in result["statuses"].items()
        if int(status) >= 500 and status != "503"
    ]
    if result["honest"]["lost"]:
        wrong.append(f"{result['honest']['lost']} honest uploads not answered")
    settled = max(WARM_UP_UPLOADS, result["uploads"] // 10)
    *seen, last = result["memory"]
    first = next((each for each in seen if each["uploads"] >= settled), last)
    for name in ("server", "workers"):
        if last[name] > GROWTH * first[name]:
            wrong.append(f"memory of the {name} grew from {first[name] >> 20} to {last[name] >> 20} MiB")
    return wrong


def _start(data: Path, port: int, *, analysis: bool) -> subprocess.Popen[bytes]:
    settings = {
        "data": str(data),
        "port": port,
        "workers": 2,
        "max_request_bytes": 200_000,
        "max_image_pixels": 4_000_000,
        "rate_per_minute": 100_000_000,
        "replay": REPLAY_SECONDS,
        "log_level": "warning",
    }
    kind = "pins" if analysis else "drawn"
    command = [sys.executable, "-m", "tests.api.serving", json.dumps(settings), kind]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def _client(
    port: int, makes: Hostile, counts: HostileCounts, todo: Any, count: int, pid: int, say: Say
) -> None:
    for number in todo:
        if number in (WARM_UP_UPLOADS, count // 10, count // 2):
            counts.memory.append(_memory(pid, number))
        if number % HONEST_EVERY == 0:
            say(f"hostile uploads: {number} of {count}")
            if await _send(port, makes.honest(number)) == 200:
                counts.honest += 1
            else:
                counts.lost += 1
        status = await _send(port, makes.upload())
        if status:
            counts.statuses[status] += 1
        else:
            counts.unanswered += 1


async def _send(port: int, upload: Upload) -> int:
    """Sends an upload and returns the status of the answer, 0 if there is none."""
    kind, body, length = upload
    head = (
        f"POST /mobile-upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    )
    answer = b""
    with trio.move_on_after(ANSWER_SECONDS):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            try:
                await stream.send_all(head.encode() + body)
                if length > len(body):
                    return 0  # this client closes the connection early
                async for data in stream:
                    answer += data
            except trio.BrokenResourceError:
                pass
    return int(answer[9:12]) if answer[9:12].isdigit() else 0


def _memory(pid: int, uploads: int) -> dict[str, int]:
    """Bytes in use after so many uploads by the server, and by its child processes together (workers and the
    process that starts them). `server` and `workers` are anonymous memory, a process's own; pages that are
    shared by forking count for each. `files` is what is mapped from files, such as libraries' code that has
    run and the database's index of its log: all processes together, pages counted for each."""
    server = psutil.Process(pid)
    resident = [each.memory_info() for each in (server, *server.children(recursive=True))]
    own = [each.rss - each.shared for each in resident]
    return {
        "uploads": uploads,
        "server": own[0],
        "workers": sum(own[1:]),
        "files": sum(each.shared for each in resident),
    }
