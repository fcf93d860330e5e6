"""Fixtures of the client's tests: those of the server's."""

from tests.api.conftest import server, shared

__all__ = ["server", "shared"]
