"""Photographs on their way out: from memory or from files, as one multipart body or piece by piece."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from pinactors.client.http import Body
from pinactors.protocol import View, new_session_id

PIECE = 64 * 1024

Photograph = bytes | Path


@dataclass(frozen=True, slots=True)
class Photographs:
    """What one upload sends. The idempotency key lets a repeated upload join the session of the first one."""

    images: Mapping[View, Photograph]
    session_id: str = field(default_factory=new_session_id)
    idempotency_key: str = field(default_factory=partial(secrets.token_urlsafe, 18))

    def __post_init__(self) -> None:
        """Raises `ValueError` without a front image."""
        if View.FRONT not in self.images:
            raise ValueError("a front image is required")

    @property
    def views(self) -> list[View]:
        """In the order in which work on them can start."""
        return [view for view in View if view in self.images]

    async def multipart(self) -> Body:
        """The whole upload as `multipart/form-data`. Raises `OSError` for a file that cannot be read."""
        boundary = secrets.token_hex(16)
        parts: list[tuple[bytes, Photograph]] = [(_head(boundary, "sessionId"), self.session_id.encode())]
        for view in self.views:
            parts.append((_head(boundary, f"{view}_image", f"{view}.img"), self.images[view]))
        end = f"--{boundary}--\r\n".encode()
        size = len(end)
        for head, content in parts:
            size += len(head) + await size_of(content) + 2

        async def pieces() -> AsyncGenerator[bytes, None]:
            for head, content in parts:
                yield head
                async with aclosing(pieces_of(content)) as pieces_of_one:
                    async for piece in pieces_of_one:
                        yield piece
                yield b"\r\n"
            yield end

        return Body(f"multipart/form-data; boundary={boundary}", size, pieces)


def _head(boundary: str, name: str, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"\r\nContent-Type: application/octet-stream' if filename else ""
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()


async def size_of(content: Photograph) -> int:
    return len(content) if isinstance(content, bytes) else (await trio.Path(content).stat()).st_size


async def pieces_of(content: Photograph) -> AsyncGenerator[bytes, None]:
    """The content in pieces of at most `PIECE` bytes. Raises `OSError`."""
    if isinstance(content, bytes):
        for start in range(0, len(content), PIECE):
            yield content[start : start + PIECE]
        return
    async with await trio.open_file(content, "rb") as file:
        while piece := await file.read(PIECE):
            yield piece


async def whole(content: Photograph) -> bytes:
    """The content in one. Raises `OSError`."""
    return content if isinstance(content, bytes) else await trio.Path(content).read_bytes()
