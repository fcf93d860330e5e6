"""Opening a connection to a server: its URL, TCP, TLS; and the errors of a connection."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from urllib.parse import SplitResult, urlsplit

import trio

CONNECT_SECONDS = 15.0

Dial = Callable[[str, int], Awaitable[trio.SocketStream]]
"""Opens a TCP connection to a host's port. Raises `OSError`."""


class Broken(Exception):
    """The connection broke, was silent for too long or could not be opened: another connection may
    succeed."""


class NotPinactors(Exception):
    """The server does not speak the protocol: another attempt will not help."""


class Unreachable(Broken):
    """The connection could not be opened, so that nothing was sent."""


class NoServer(Unreachable):
    """No host has the server's name, or its port does not speak TLS. Another attempt can only help a client
    that has reached the server before: a device without a network cannot look up names either."""


def split(server: str) -> SplitResult:
    """Parses the server's URL; without a scheme it is http. Raises `ValueError` unless it is an http or https
    URL with a host, and a valid port if any."""
    try:
        url = urlsplit(server if "://" in server else f"http://{server}")
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:  # for a port beyond 65535 or an incomplete IPv6 address
        usable = False
    if not usable:
        raise ValueError(f"not the URL of a server: {server!r}")
    return url


def target_of(url: SplitResult) -> str:
    """The request target for `url`: its path and query."""
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


async def open_stream(
    url: SplitResult, tls: ssl.SSLContext | None = None, dial: Dial = trio.open_tcp_stream
) -> trio.abc.Stream:
    """Opens a connection, with TLS for https. Raises `Unreachable`, and `NotPinactors` for a bad
    certificate or an invalid host."""
    secure = url.scheme == "https"
    with trio.move_on_after(CONNECT_SECONDS):
        try:
            plain = await dial(url.hostname or "", url.port or (443 if secure else 80))
            if not secure:
                return plain
            context = tls or ssl.create_default_context()
            stream = trio.SSLStream(plain, context, server_hostname=url.hostname, https_compatible=True)
            try:
                await stream.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(plain)
                raise
        except UnicodeError as error:  # of the resolver, for a host such as a..b
            raise NotPinactors(f"no server can have the name {url.hostname!r}: {error}") from error
        except (OSError, trio.BrokenResourceError) as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise NotPinactors(
                    f"its certificate is not trusted: {error.__cause__.verify_message}"
                ) from error
            reason = str(error) or error.__cause__  # trio's errors of TLS have no text
            kind = NoServer if _is_no_server(error) else Unreachable
            raise kind(f"cannot connect: {reason}") from error
        return stream
    raise Unreachable("cannot connect: no answer")


def _is_no_server(error: Exception) -> bool:
    if isinstance(error, socket.gaierror):  # EAI_AGAIN: the resolver cannot be asked now
        return error.errno == socket.EAI_NONAME
    return isinstance(error.__cause__, ssl.SSLError) and error.__cause__.reason == "WRONG_VERSION_NUMBER"
