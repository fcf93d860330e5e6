"""A process pool for commands, which run without a server and wait for all their results."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from pinactors.compute.local.worker import THREAD_VARIABLES, end_with_parent

ALLOCATOR_VARIABLES = {"MALLOC_MMAP_THRESHOLD_": 32 << 20, "MALLOC_TRIM_THRESHOLD_": 64 << 20}
"""Sizes in bytes from which glibc returns freed memory to the system, the largest that it would choose by
itself. By default a process returns the intermediate pictures of each analysis and gets them again, 12,000
page faults a catalogue picture."""


def process_pool(count: int | None = None) -> ProcessPoolExecutor:
    """A pool of `count` processes of one thread each, by default one per core. They end when this process
    ends, even if it is killed."""
    # They inherit the variables, which numpy and the allocator read at a process's start. Values that the
    # user has set are kept.
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")
    for variable, size in ALLOCATOR_VARIABLES.items():
        os.environ.setdefault(variable, str(size))
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count or os.cpu_count() or 1, context, end_with_parent)
