"""Fixtures of these tests: those of the server's."""

from tests.api.conftest import gate

__all__ = ["gate"]
