"""Reads the photographs that a model names: paths, and URLs of this machine or of public servers."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import trio

from pinactors.client.connecting import Broken, NotPinactors, target_of
from pinactors.client.http import Connection
from pinactors.webhooks.addresses import AddressRefused, Dialer, is_public_or_here

FETCH_SECONDS = 30.0
"""How long fetching a photograph from a URL may take."""


async def read(source: str, max_bytes: int) -> bytes:
    """The bytes of the photograph at a path or URL. Raises `OSError`, `ValueError` (bad URL, more than
    `max_bytes`)."""
    url = urlsplit(source)
    if url.scheme in ("http", "https"):
        return await _fetch(source, max_bytes)
    if url.scheme == "file" and url.netloc in ("", "localhost"):
        source = unquote(url.path)
    path = trio.Path(source)
    if (await path.stat()).st_size > max_bytes:
        raise ValueError(f"{source} is larger than {max_bytes} bytes")
    return await path.read_bytes()


async def _fetch(source: str, max_bytes: int) -> bytes:
    """Fetches a photograph. Raises `OSError` (with the server's answer), `ValueError`."""
    url = urlsplit(source)
    content = bytearray()
    with trio.move_on_after(FETCH_SECONDS):
        try:
            async with Connection(
                f"{url.scheme}://{url.netloc}",
                silence=FETCH_SECONDS,
                dial=Dialer(is_public_or_here),
            ) as connection:
                answer = await connection.request(
                    "GET", target_of(url), {"Accept": "image/*", "User-Agent": "pinactors"}
                )
                if answer.status != 200:
                    raise OSError(f"{source} answers {answer.status}; redirects are not followed")
                while piece := await answer.chunk():
                    content += piece
                    if len(content) > max_bytes:
                        raise ValueError(f"{source} is larger than {max_bytes} bytes")
                return bytes(content)
        except (Broken, NotPinactors, AddressRefused) as error:
            raise OSError(f"{source} cannot be read: {error}") from error
    raise OSError(f"{source} takes too long")
