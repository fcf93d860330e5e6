"""Runs a job's function in a worker process, with handles replaced by their values, on every engine."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from pinactors.compute import Handle, OutOfMemory, ScratchFull, scratch


class FunctionFailed(Exception):
    """Replaces a function's exception that cannot be pickled; has its type and text."""


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


def _loaded(handle: Handle) -> Any:
    try:
        return scratch.load(handle)
    except OSError as error:
        raise ScratchFull(str(error)) from None


def _is_out_of_memory(error: Exception) -> bool:
    """Whether `error` means too little memory: `MemoryError` of Python and numpy, OpenCV's `StsNoMem` (-4),
    or `bad_alloc` from the C++ code of ONNX."""
    return isinstance(error, MemoryError) or getattr(error, "code", None) == -4 or "bad_alloc" in str(error)


def _is_picklable(error: Exception) -> bool:
    try:
        return isinstance(pickle.loads(pickle.dumps(error)), type(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - pickling runs whatever the exception's class defines
        return False
