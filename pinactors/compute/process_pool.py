"""A process pool for commands, which run without a server and wait for all their results."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from pinactors.compute.process_limits import end_with_parent, prefer_one_thread

ALLOCATOR_VARIABLES = {"MALLOC_MMAP_THRESHOLD_": 32 << 20, "MALLOC_TRIM_THRESHOLD_": 64 << 20}
"""Sizes in bytes from which glibc returns freed memory to the system, the largest that it would choose by
itself. By default a process returns the intermediate pictures of each analysis and gets them again, 12,000
page faults a catalogue picture."""


def process_pool(count: int | None = None) -> ProcessPoolExecutor:
    """A pool of `count` processes of one thread each, by default one per core. They end when this process
    ends, even if it is killed."""
    prefer_one_thread()
    for variable, size in ALLOCATOR_VARIABLES.items():
        os.environ.setdefault(variable, str(size))  # read when a process starts
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count or os.cpu_count() or 1, context, end_with_parent)
