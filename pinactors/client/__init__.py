"""A client: upload photographs, get every packet exactly once, whatever the network does.

The functions here are trio's; `pinactors.client.sync` has the same for programs without it. Nothing of the
analysis is imported.
"""

from pinactors.client.connecting import NotPinactors
from pinactors.client.delivery import NetworkError, Received
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
