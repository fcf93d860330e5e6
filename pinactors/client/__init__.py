"""The client: it uploads photographs and delivers every packet exactly once, even if connections break.

Input: a server's URL and photographs, or a stream id. Output: packets, or an error that says why there are
none. These functions are for trio; `pinactors.client.sync` has the same functions for programs without trio.
Webhooks and the proxy use its connections (`http`). The client must not import anything of the server.
"""

from pinactors.client.connecting import NotPinactors
from pinactors.client.follower import NetworkError, Received
from pinactors.client.session import Packets, analyze, cancel, confirm, follow
from pinactors.protocol import ErrorCode, PinactorsError, View

__all__ = [
    "ErrorCode",
    "NetworkError",
    "NotPinactors",
    "Packets",
    "PinactorsError",
    "Received",
    "View",
    "analyze",
    "cancel",
    "confirm",
    "follow",
]
