"""Starts the fork server: the process from which workers are forked, after it has imported what they need."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
from collections.abc import Sequence

from pinactors.compute.process_limits import prefer_one_thread


def begin(modules: Sequence[str]) -> None:
    """Starts the fork server, which imports `modules`, without waiting for it. Does nothing if it runs.

    The fork server ignores a module that cannot be imported; the workers then report the error.
    """
    prefer_one_thread()  # here because the fork server imports numpy before the fork
    multiprocessing.set_forkserver_preload(["pinactors.compute.local.preload", *modules])
    multiprocessing.forkserver.ensure_running()
