"""Limits of a process that does CPU work: its threads, its memory, its end with its parent. Imports nothing
heavy, because the number of threads has to be set before numpy and OpenCV are imported."""

from __future__ import annotations

import importlib.util
import multiprocessing
import multiprocessing.connection
import os
import resource
import threading

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ORT_NUM_THREADS")
"""Variables that limit libraries to one thread per worker: there is one worker per core already."""


def prefer_one_thread() -> None:
    """Has multithreaded libraries use one thread, here if they are imported later and in every process that
    starts from here, unless the user has set another number. Idle threads of OpenBLAS wait actively."""
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")


def restrict_threads() -> None:
    """Limits multithreaded libraries to one thread. To be called before numpy is imported."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"
    if importlib.util.find_spec("cv2") is not None:
        import cv2

        cv2.setNumThreads(1)


def restrict_memory(limit: int) -> None:
    """Limits this process to `limit` bytes (0: unlimited) of data (`RLIMIT_DATA`: heap and private anonymous
    mappings), not of address space: the mapped catalogue, values of other workers and the libraries' files
    take no memory of this process."""
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def end_with_parent() -> None:
    """Ends this process when its parent has ended, even if the parent was killed."""
    threading.Thread(target=_wait_for_parents_end, name="end with parent", daemon=True).start()


def _wait_for_parents_end() -> None:
    # PR_SET_PDEATHSIG would not do: it reacts to the end of the forking process, which is the fork server.
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
