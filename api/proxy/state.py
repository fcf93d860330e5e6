"""The objects that the proxy's handlers use, bound to the application once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from quart import current_app
from werkzeug.datastructures import Headers

from pinactors.api.auth import key_of
from pinactors.api.proxy.relay.services import ProxyServices
from pinactors.api.proxy.relay.sessions import Sessions
from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.records.keys import may_be_valid

EXTENSION = "pinactors.proxy"


@dataclass(frozen=True, slots=True)
class Proxy:
    services: ProxyServices
    sessions: Sessions


def current_proxy() -> Proxy:
    """The running application's `Proxy`. Only inside a request or WebSocket."""
    return cast(Proxy, current_app.extensions[EXTENSION])


def key_in(headers: Headers | dict[str, str]) -> str | None:
    """The key of a request, to be forwarded; None without one. Raises `PinactorsError` (`unauthorized`) for a
    text that cannot be a key."""
    api_key = key_of(headers)
    if api_key is not None and not (may_be_valid(api_key) and api_key.isprintable()):
        raise PinactorsError(ErrorCode.UNAUTHORIZED, "Unauthorized", "This is not a valid key")
    return api_key or None
