"""What a process does before its server starts."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from pinactors.api import launch
from pinactors.settings import Settings


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
