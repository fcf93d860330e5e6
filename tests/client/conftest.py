"""The client's tests use the server's fixtures."""

from tests.api.conftest import server, shared

__all__ = ["server", "shared"]
