"""Tests of the limits of processes that do CPU work."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

SECONDS = 60
ALLOCATING = """
import time
from pathlib import Path
from pinactors.compute import process_limits

def megabytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) // 1024

blocks = [bytearray(2000) for _ in range(60_000)]
del blocks[:-1]  # the last block keeps the allocator from returning those before it
kept = megabytes()
process_limits.TRIM_SECONDS = 0.01
process_limits.trim_memory_regularly()
while megabytes() > kept - 80:
    time.sleep(0.01)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="another C library than glibc")
def test_freed_memory_is_given_back_although_a_block_behind_it_is_in_use() -> None:
    subprocess.run([sys.executable, "-c", ALLOCATING], timeout=SECONDS, check=True)
