"""How a local worker process begins. It imports nothing heavy, because `prepare` has to run before numpy and
OpenCV are imported."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from pinactors.compute.process_limits import end_with_parent, restrict_memory, restrict_threads


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


def warm(function: Callable[[], Any]) -> int:
    """Runs `function`, which loads what jobs need; returns the pid."""
    function()
    return os.getpid()
