"""The benchmarks: `python -m benchmarks`."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
"""Shows a line about a benchmark's progress."""
