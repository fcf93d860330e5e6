"""A process pool for commands, which run without a server and wait for all their results."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from pinactors.compute.local.worker import end_with_parent


def process_pool(count: int | None = None) -> ProcessPoolExecutor:
    """A pool of `count` processes, by default one per core. They end when this process ends, even if it is
    killed."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count or os.cpu_count() or 1, context, end_with_parent)
