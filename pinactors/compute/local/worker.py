"""What runs inside a worker process. Imports nothing heavy: `prepare` comes before numpy and OpenCV."""

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
"""One thread a worker: the pool is one worker a core, so more threads would only fight over the cores."""


class FunctionFailed(Exception):
    """A function's exception that could not travel between processes; carries its type and text."""


def prepare(niceness: int, memory: int) -> None:
    """Sets a fresh worker up: one thread, lower priority than the event loop, gone when the server is gone,
    and no more than `memory` bytes (0: unlimited).

    SIGTERM is ignored (SIGINT is already): a service manager or terminal signals the whole process group, and
    a draining server still needs its workers. They end when their pipe closes.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(niceness)
    restrict_memory(memory)
    restrict_threads()
    end_with_parent()


def end_with_parent() -> None:
    """This process ends when the one that made it is gone, however that ended."""
    threading.Thread(target=_wait_for_parents_end, name="end with parent", daemon=True).start()


def restrict_memory(limit: int) -> None:
    """No more than `limit` bytes (0: unlimited) of data (`RLIMIT_DATA`: heap and private anonymous mappings),
    not of address space: the mapped catalogue, the values other workers keep and the libraries' files cost no
    memory of this process's own."""
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def restrict_threads() -> None:
    """One thread for each library that would have several. Before numpy is imported."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"
    if importlib.util.find_spec("cv2") is not None:
        import cv2

        cv2.setNumThreads(1)


def _wait_for_parents_end() -> None:
    # Not PR_SET_PDEATHSIG: it fires when the process that forked us ends, and that is the fork server.
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """`function(*arguments)` with handles replaced by their values; what it raises is sure to travel."""
    try:
        return function(*(scratch.load(each) if isinstance(each, Handle) else each for each in arguments))
    except Exception as error:
        if _lacks_memory(error):
            raise OutOfMemory("more memory was needed than a worker may have") from None
        if _travels(error):
            raise
        raise FunctionFailed(f"{type(error).__name__}: {error}") from None
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:  # would end the server, not the analysis
        raise FunctionFailed(f"{type(error).__name__}: {error}") from None


def call_and_keep(folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Handle | None:
    """Like `call`, but the result stays here, in a file of `folder`."""
    value = call(function, arguments)
    try:
        return None if value is None else scratch.save(folder, value)
    except OSError as error:
        raise ScratchFull(str(error)) from None


def itself(value: Any) -> Any:
    """What a handle stands for, on its way back."""
    return value


def warm(function: Callable[[], Any]) -> int:
    """Runs `function` for what it loads; returns the pid."""
    function()
    return os.getpid()


def _lacks_memory(error: Exception) -> bool:
    """Python's and numpy's own exception, OpenCV's `StsNoMem` (-4), and what C++ raises below ONNX."""
    return isinstance(error, MemoryError) or getattr(error, "code", None) == -4 or "bad_alloc" in str(error)


def _travels(error: Exception) -> bool:
    try:
        return isinstance(pickle.loads(pickle.dumps(error)), type(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - pickling runs whatever the exception's class defines
        return False
