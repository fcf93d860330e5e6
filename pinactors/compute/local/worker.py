"""The code that runs in a worker process. It imports nothing heavy, because `prepare` has to run before numpy
and OpenCV are imported."""

from __future__ import annotations

import importlib.util
import multiprocessing
import multiprocessing.connection
import os
import pickle
import resource
import signal
import threading
from collections.abc import Callable
from typing import Any

from pinactors.compute import Handle, OutOfMemory, ScratchFull, scratch

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ORT_NUM_THREADS")
"""Variables that limit libraries to one thread per worker: there is one worker per core already."""


class FunctionFailed(Exception):
    """Replaces a function's exception that cannot be pickled; has its type and text."""


def prepare(niceness: int, memory: int) -> None:
    """Sets up a new worker: one thread, lower priority than the event loop, at most `memory` bytes (0:
    unlimited), and an end with the server.

    Ignores SIGTERM (SIGINT is ignored already): a service manager or terminal signals the whole process
    group, and a draining server still needs its workers. They end when their pipe closes.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(niceness)
    restrict_memory(memory)
    restrict_threads()
    end_with_parent()


def end_with_parent() -> None:
    """Ends this process when its parent has ended, even if the parent was killed."""
    threading.Thread(target=_wait_for_parents_end, name="end with parent", daemon=True).start()


def restrict_memory(limit: int) -> None:
    """Limits this process to `limit` bytes (0: unlimited) of data (`RLIMIT_DATA`: heap and private anonymous
    mappings), not of address space: the mapped catalogue, values of other workers and the libraries' files
    take no memory of this process."""
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


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


def _wait_for_parents_end() -> None:
    # PR_SET_PDEATHSIG would not do: it reacts to the end of the forking process, which is the fork server.
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """`function(*arguments)` with handles replaced by their values; raises only exceptions that can be
    pickled."""
    try:
        values = [_loaded(argument) if isinstance(argument, Handle) else argument for argument in arguments]
        return function(*values)
    except Exception as error:
        if _is_out_of_memory(error):
            raise OutOfMemory("it needed more memory than a worker may use") from None
        if _is_picklable(error):
            raise
        raise FunctionFailed(f"{type(error).__name__}: {error}") from None
    except BaseException as error:  # noqa: BLE001 - as SystemExit: it would end the server's process
        raise FunctionFailed(f"{type(error).__name__}: {error}") from None  # noqa: ASYNC104 - not in trio


def _loaded(handle: Handle) -> Any:
    try:
        return scratch.load(handle)
    except OSError as error:
        raise ScratchFull(str(error)) from None


def call_and_keep(folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Handle | None:
    """As `call`, but saves the result in a file in `folder` and returns its handle."""
    value = call(function, arguments)
    try:
        return None if value is None else scratch.save(folder, value)
    except OSError as error:
        raise ScratchFull(str(error)) from None


def identity(value: Any) -> Any:
    """Returns `value`: as a job, it turns a handle into its value."""
    return value


def warm(function: Callable[[], Any]) -> int:
    """Runs `function`, which loads what jobs need; returns the pid."""
    function()
    return os.getpid()


def _is_out_of_memory(error: Exception) -> bool:
    """Whether `error` means too little memory: `MemoryError` of Python and numpy, OpenCV's `StsNoMem` (-4),
    or `bad_alloc` from the C++ code of ONNX."""
    return isinstance(error, MemoryError) or getattr(error, "code", None) == -4 or "bad_alloc" in str(error)


def _is_picklable(error: Exception) -> bool:
    try:
        return isinstance(pickle.loads(pickle.dumps(error)), type(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - pickling runs whatever the exception's class defines
        return False
