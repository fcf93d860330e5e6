"""Measurements of other processes, from /proc."""

from __future__ import annotations

from pathlib import Path


def peak_memory(pid: int) -> int:
    """The process's peak resident memory in bytes, since its start or the last `forget_peak`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def forget_peak(pid: int) -> None:
    """Sets the process's peak to the memory that it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
