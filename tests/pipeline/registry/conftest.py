"""The database that masters share."""

from __future__ import annotations

from tests.records.conftest import postgres

__all__ = ["postgres"]
