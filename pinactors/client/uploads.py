"""The photographs of an upload as a request body, from memory or from files."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from pinactors.client.http import Body
from pinactors.protocol import View, new_session_id

Photograph = bytes | Path


@dataclass(frozen=True, slots=True)
class UploadContent:
    """The content of one upload. With the idempotency key a repeated upload joins the session of the first
    one; `webhook` is the URL to which the session's events are to be sent."""

    images: Mapping[View, Photograph]
    session_id: str = field(default_factory=new_session_id)
    idempotency_key: str = field(default_factory=partial(secrets.token_urlsafe, 18))
    webhook: str | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` without a front image."""
        if View.FRONT not in self.images:
            raise ValueError("a front image is required")

    @property
    def views(self) -> list[View]:
        """The views in the order in which they are sent: front first, so that work can begin early."""
        return [view for view in View if view in self.images]

    async def multipart(self) -> Body:
        """The whole upload as `multipart/form-data`. Raises `OSError` for a file that cannot be read."""
        boundary = secrets.token_hex(16)
        contents: list[Photograph] = [part_head(boundary, "sessionId") + self.session_id.encode()]
        if self.webhook:
            contents.append(b"\r\n" + part_head(boundary, "webhook") + self.webhook.encode())
        for view in self.views:
            contents += [b"\r\n" + part_head(boundary, f"{view}_image", f"{view}.img"), self.images[view]]
        contents.append(f"\r\n--{boundary}--\r\n".encode())
        size = sum([await size_of(content) for content in contents])
        return Body(f"multipart/form-data; boundary={boundary}", size, contents)


PIECE_BYTES = 256 * 1024
"""Bytes read from a file at once."""


class Part:
    """`length` bytes of a body from `offset` on, as content of a request."""

    def __init__(self, body: Body, sizes: Sequence[int], offset: int, length: int) -> None:
        self._parts = list(zip(body.contents, sizes, strict=True))
        self._offset, self._length = offset, length

    async def read(self, position: int) -> bytes:
        """At most `PIECE_BYTES` bytes from `position` on; empty at the end. Raises `OSError`."""
        max_bytes = min(PIECE_BYTES, self._length - position)
        start = self._offset + position
        for content, size in self._parts if max_bytes > 0 else ():
            if start < size:
                if isinstance(content, bytes):
                    await trio.lowlevel.checkpoint()
                    return content[start : start + max_bytes]
                assert isinstance(content, Path)
                async with await trio.open_file(content, "rb") as file:
                    await file.seek(start)
                    piece = await file.read(min(max_bytes, size - start))
                if not piece:
                    raise OSError(f"{content} became shorter while it was being sent")
                return piece
            start -= size
        await trio.lowlevel.checkpoint()
        return b""


def part_head(boundary: str, name: str, filename: str | None = None, extra_headers: str = "") -> bytes:
    """The boundary and header lines before a part's content; the caller adds a line break after the content.
    `extra_headers` are further header lines, each with its line end."""
    file = f'; filename="{filename}"\r\nContent-Type: application/octet-stream' if filename else ""
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n{extra_headers}\r\n'.encode()
    )


async def size_of(content: Photograph) -> int:
    return len(content) if isinstance(content, bytes) else (await trio.Path(content).stat()).st_size


async def sizes_of(body: Body) -> list[int]:
    """The sizes of the body's contents in bytes. Raises `OSError`."""
    return [await size_of(content) for content in body.contents if isinstance(content, bytes | Path)]


async def read_whole(content: Photograph) -> bytes:
    """The whole content as bytes. Raises `OSError`."""
    return content if isinstance(content, bytes) else await trio.Path(content).read_bytes()
