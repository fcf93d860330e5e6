"""Processes for commands, which run without a server and wait for all they ask for."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from pinactors.compute.local.worker import end_with_parent


def process_pool(count: int | None = None) -> ProcessPoolExecutor:
    """One a core unless `count` is given. They end with this process, however that ends."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count or os.cpu_count() or 1, context, end_with_parent)
