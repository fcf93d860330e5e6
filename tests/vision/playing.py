"""An HTTP server on loopback that imitates the chat-completions API and its faults."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

GOOD = {
    "characters": ["Marlo the Fox"],
    "series": "Forest Friends",
    "inscriptions": ["LE 500"],
    "description": "A fox with a scarf.",
}


class Player:
    """The imitated API at `url`. `content` is the model's answer; `fault` names a fault, or is empty. `asked`
    holds the requests, each with its headers (lower case) and body; `hanging` is set once a request is left
    unanswered."""

    def __init__(self, content: object = GOOD, fault: str = "") -> None:
        self.content, self.fault = content, fault
        self.asked: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.url = ""
        self.hanging = trio.Event()

    async def serve(self, stream: trio.abc.Stream) -> None:
        async with stream:
            with trio.fail_after(60):
                head, body = await _request(stream)
            self.asked.append((head, body))
            message: dict[str, Any] = {"role": "assistant", "content": json.dumps(self.content)}
            if self.fault == "refusal":
                message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
            answer = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
            status, extra = "200 OK", ""
            match self.fault:
                case "401" | "500" | "429":
                    status, answer = f"{self.fault} Fault", b'{"error": {}}'
                    extra = "Retry-After: 60\r\n" if self.fault == "429" else ""
                case "hang":
                    self.hanging.set()
                    await trio.sleep_forever()
                case "truncated":
                    answer = answer[: len(answer) // 2]
                case "invalid":
                    answer = json.dumps({"choices": [{"message": {"content": "{not json"}}]}).encode()
                case "another schema":
                    answer = json.dumps({"choices": [{"message": {"content": '{"characters": 7}'}}]}).encode()
                case "no choice":
                    answer = b'{"choices": []}'
                case "1 MB":
                    answer += b" " * (1 << 20)
            length = len(answer) + (100 if self.fault == "stall" else 0)
            try:
                await stream.send_all(
                    f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
                    f"{extra}Connection: close\r\n\r\n".encode()
                    + answer
                )
                if self.fault == "stall":
                    await trio.sleep_forever()
            except trio.BrokenResourceError:
                pass  # the client has closed the connection


async def _request(stream: trio.abc.Stream) -> tuple[dict[str, str], dict[str, Any]]:
    data = bytearray()
    while b"\r\n\r\n" not in data:
        piece = await stream.receive_some()
        if not piece:
            raise trio.BrokenResourceError
        data += piece
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += await stream.receive_some()
    return headers, json.loads(body)


@asynccontextmanager
async def playing(
    content: object = GOOD, fault: str = "", certificate: ssl.SSLContext | None = None
) -> AsyncIterator[Player]:
    player = Player(content, fault)

    async def handle(stream: trio.SocketStream) -> None:
        try:
            if certificate is not None:
                await player.serve(trio.SSLStream(stream, certificate, server_side=True))
            else:
                await player.serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        scheme = "https" if certificate is not None else "http"
        player.url = f"{scheme}://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
        yield player
        nursery.cancel_scope.cancel()
