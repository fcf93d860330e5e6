"""Fixtures of the client's tests: those of the server's."""

from tests.api.conftest import gate, server, shared

__all__ = ["gate", "server", "shared"]
