"""The process that workers are forked from: it has imported once what each of them needs."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
from collections.abc import Sequence

from pinactors.compute.local.worker import THREAD_VARIABLES


def begin(modules: Sequence[str]) -> None:
    """Starts it, importing `modules`, and does not wait for that. Where it runs already nothing is changed.

    A module that cannot be imported is left to the workers, which say why.
    """
    for variable in THREAD_VARIABLES:  # it imports numpy before any worker could set them
        os.environ.setdefault(variable, "1")
    multiprocessing.set_forkserver_preload(["pinactors.compute.local.preload", *modules])
    multiprocessing.forkserver.ensure_running()
