"""Checks the servers of webhooks: the URLs when they are given, and the addresses when connecting.

Without these checks a client could name a URL that makes this machine send requests to servers that only it
can reach (server-side request forgery). A host name is resolved once, each address is checked, and the
connection goes to a checked address, so that a later change of the name has no effect.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import trio

from pinactors.protocol import invalid_field

URL_LIMIT = 2000

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv6 addresses with an IPv4 address in their last 32 bits (RFC 6052)."""

SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")

PROTOCOL_ASSIGNMENTS = ipaddress.IPv4Network("192.0.0.0/24")
"""IANA's addresses for protocols (RFC 6890), among them that of a cloud's metadata, which older versions of
Python count as global."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(Exception):
    """All addresses of the host are private, or otherwise not allowed for events, or no host can have its
    name."""


def check_url(url: str, *, private: bool) -> str:
    """A webhook's URL, stripped of white space. With `private` all addresses are allowed.

    Raises `PinactorsError` (`invalid_format`, field `webhook`) if the URL cannot be used.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise invalid_field("webhook", "it is not a URL") from None
    if len(url) > URL_LIMIT or not url.isascii() or not url.isprintable() or " " in url:
        raise invalid_field(
            "webhook", f"it must be at most {URL_LIMIT} printable ASCII characters without spaces"
        )
    if parts.scheme.lower() != "https":
        raise invalid_field("webhook", "it must begin with https://")
    if not host or port == 0:
        raise invalid_field("webhook", "it names no server")
    if parts.username is not None or parts.password is not None:
        raise invalid_field("webhook", "it must not hold a user name or a password")
    if parts.fragment:
        raise invalid_field("webhook", "it must not have a fragment")
    try:
        host.encode("idna")  # as the resolver does it
    except UnicodeError:
        raise invalid_field(
            "webhook", "a part of its server's name is empty or longer than 63 characters"
        ) from None
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return url
    if not private and not is_public(literal):
        raise invalid_field("webhook", "its address is private")
    return url


def is_public(address: Address) -> bool:
    """Whether `address` is public: not private, shared, loopback, link-local, multicast or reserved, nor an
    IPv6 form of such an address."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address in SIX_TO_FOUR or address.is_site_local:
            return False
    elif address in PROTOCOL_ASSIGNMENTS:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def is_public_or_here(address: Address) -> bool:
    """Whether `address` is public or a loopback address; for programs that only this machine's user can
    reach."""
    return address.is_loopback or is_public(address)


class Dialer:
    """Connects only to addresses for which `allowed` returns True; to all if it is None."""

    def __init__(self, allowed: Callable[[Address], bool] | None = is_public) -> None:
        self._allowed = allowed or (lambda address: True)

    async def __call__(self, host: str, port: int) -> trio.SocketStream:
        """A connection to the host. Raises `AddressRefused`, and `OSError` if no connection is possible."""
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise AddressRefused(f"{host} cannot be the name of a server") from None
        addresses = [str(sockaddr[0]) for _, _, _, _, sockaddr in found]
        allowed = [text for text in addresses if self._allowed(ipaddress.ip_address(text))]
        if not allowed:
            raise AddressRefused(f"{host} has no public address")
        failure: OSError | None = None
        for text in dict.fromkeys(allowed):
            try:
                return await trio.open_tcp_stream(text, port)  # an address, so that it is not resolved again
            except OSError as error:
                failure = error
        assert failure is not None
        raise failure
