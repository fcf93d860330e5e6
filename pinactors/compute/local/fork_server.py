"""Starts the fork server: the process from which workers are forked, after it has imported what they need."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import signal
from collections.abc import Sequence

from pinactors.compute.process_limits import prefer_one_thread


def begin(modules: Sequence[str]) -> None:
    """Starts the fork server, which imports `modules`, without waiting for it. Does nothing if it runs.

    The fork server ignores a module that cannot be imported; the workers then report the error.
    """
    prefer_one_thread()  # here because the fork server imports numpy before the fork
    multiprocessing.set_forkserver_preload(["pinactors.compute.local.preload", *modules])
    multiprocessing.resource_tracker.ensure_running()  # it unblocks the signals, when it starts
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:  # the fork server inherits the mask, so that no signal ends it before `preload` ignores them
        multiprocessing.forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
