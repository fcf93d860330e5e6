"""The start of a server."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pinactors.api import launch, server
from pinactors.pipeline import metrics
from pinactors.settings import Settings
from tests.api.conftest import running
from tests.api.wire import ask
from tests.conftest import ErrorLogs

HELD_UP_SECONDS = 3.0
"""A stall of the event loop that is longer than those of a busy machine."""


async def test_its_own_start_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error_logs: ErrorLogs
) -> None:
    """A long step is not reported as a stall before the server listens, but after that."""
    create = server.create_app

    def slowly(*arguments: Any, **named: Any) -> Any:
        time.sleep(HELD_UP_SECONDS + 0.2)
        return create(*arguments, **named)

    monkeypatch.setattr(server, "create_app", slowly)
    monkeypatch.setattr(metrics, "LOGGED_STALL_SECONDS", HELD_UP_SECONDS)
    async with running(tmp_path) as started:
        assert (await ask(started.port, "GET", "/livez")).status == 200
        assert not [entry for entry in error_logs.entries if entry["event"] == "event loop held up"]
        time.sleep(HELD_UP_SECONDS + 0.2)  # noqa: ASYNC251 - holds the loop up
        await ask(started.port, "GET", "/livez")
    assert [entry for entry in error_logs.entries if entry["event"] == "event loop held up"]


async def test_what_is_loaded_at_the_start_is_not_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full garbage collection of all modules would hold the event loop for 0.1 s."""
    done = []

    async def serve(*_: object, **__: object) -> None:
        done.append("serve")

    monkeypatch.setattr(launch.gc, "freeze", lambda: done.append("freeze"))
    monkeypatch.setattr(launch, "serve", serve)
    await launch.run_master(Settings(data=tmp_path))
    assert done == ["freeze", "serve"]


MAPPED = """
import ctypes
from pinactors.api.launch import return_freed_memory

class Figures(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks".split()]
    _fields_ += [(name, ctypes.c_size_t) for name in "fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype, libc.malloc.restype, libc.free.argtypes = Figures, ctypes.c_void_p, [ctypes.c_void_p]
return_freed_memory()
for _ in range(3):
    before = libc.mallinfo2().hblks
    block = libc.malloc(3 << 20)
    print(libc.mallinfo2().hblks - before)
    libc.free(block)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 or newer")
def test_each_large_block_is_given_back_when_it_is_freed() -> None:
    """By default, only the first such block has memory of its own."""
    ran = subprocess.run([sys.executable, "-c", MAPPED], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1", "1", "1"]
