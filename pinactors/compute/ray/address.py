"""Where a Ray cluster is, checked before Ray tries to connect for minutes."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from pinactors.settings import SettingUnusable

CONNECT_SECONDS = 5.0


def check_address(compute: str) -> str:
    """The address that the setting `compute` means: `ray` is the cluster that `RAY_ADDRESS` names or this
    machine is a node of, `ray://host:port` the one behind that Ray client server.

    Raises `SettingUnusable` when nobody answers there.
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
