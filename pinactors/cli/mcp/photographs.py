"""Photographs as a model names them: paths, and URLs of this machine or of public servers."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import trio

from pinactors.client.connecting import Broken, NotPinactors, target_of
from pinactors.client.http import Connection
from pinactors.webhooks.addresses import AddressRefused, Dialer, is_public_or_here

FETCH_SECONDS = 30.0
"""How long a photograph may take to come from a URL."""


async def read(source: str, most: int) -> bytes:
    """A photograph's bytes. Raises `OSError`, `ValueError` (no such URL, too large)."""
    url = urlsplit(source)
    if url.scheme in ("http", "https"):
        return await _fetch(source, most)
    if url.scheme == "file" and url.netloc in ("", "localhost"):
        source = unquote(url.path)
    path = trio.Path(source)
    if (await path.stat()).st_size > most:
        raise ValueError(f"{source} has more than {most} bytes")
    return await path.read_bytes()


async def _fetch(source: str, most: int) -> bytes:
    """Raises `OSError` (with what the server said), `ValueError`."""
    url = urlsplit(source)
    content = bytearray()
    with trio.move_on_after(FETCH_SECONDS):
        try:
            async with Connection(
                f"{url.scheme}://{url.netloc}",
                silence=FETCH_SECONDS,
                on_activity=lambda: None,
                dial=Dialer(is_public_or_here),
            ) as connection:
                answer = await connection.request(
                    "GET", target_of(url), {"Accept": "image/*", "User-Agent": "pinactors"}
                )
                if answer.status != 200:
                    raise OSError(f"{source} answers {answer.status}; redirects are not followed")
                while piece := await answer.chunk():
                    content += piece
                    if len(content) > most:
                        raise ValueError(f"{source} has more than {most} bytes")
                return bytes(content)
        except (Broken, NotPinactors, AddressRefused) as error:
            raise OSError(f"{source} cannot be read: {error}") from error
    raise OSError(f"{source} takes too long")
