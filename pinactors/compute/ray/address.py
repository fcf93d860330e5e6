"""The address of a Ray cluster. It is checked first because Ray itself tries to connect for minutes."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from pinactors.settings import SettingUnusable

CONNECT_SECONDS = 5.0


def check_address(compute: str) -> str:
    """The address that the setting `compute` names. `ray` is the cluster of `RAY_ADDRESS`, or the one of
    which this machine is a node; `ray://host:port` is the cluster behind that Ray client server.

    Raises `SettingUnusable` if nothing answers at the address.
    """
    address = compute if "://" in compute else os.environ.get("RAY_ADDRESS", "auto")
    if address == "auto":
        return address
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = parts.port or 10001
        socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise SettingUnusable(f"no Ray cluster at {address}: {error}") from error
    return address
