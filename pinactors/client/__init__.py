"""A client for trio: upload photographs, get every packet exactly once, whatever the network does."""

from pinactors.client.delivery import NetworkError, Received
from pinactors.client.http import NotPinactors
from pinactors.client.session import Packets, analyze, cancel, follow

__all__ = ["NetworkError", "NotPinactors", "Packets", "Received", "analyze", "cancel", "follow"]
