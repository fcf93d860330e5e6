"""Functions that the tests run in worker processes, on module level as `Compute` requires."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pinactors.protocol import ErrorCode, PinactorsError
from pinactors.storage.stored_image import StoredImage

WARMED: list[int] = []


@dataclass(frozen=True, slots=True)
class Picture:
    rgb: npt.NDArray[np.uint8]
    name: str
    decided: bool = True


def warm() -> None:
    WARMED.append(os.getpid())


def warmed() -> tuple[int, bool]:
    return os.getpid(), os.getpid() in WARMED


def pid() -> int:
    return os.getpid()


def environment() -> dict[str, Any]:
    import cv2

    return {
        "niceness": os.nice(0),
        "threads": os.environ["OMP_NUM_THREADS"],
        "opencv": cv2.getNumThreads(),
        "sigint": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
        "sigterm": signal.getsignal(signal.SIGTERM) == signal.SIG_IGN,
    }


def spin(path: str) -> None:
    """Writes the process id to `path`, then uses the CPU until it is killed."""
    _announce(path)
    while True:
        pass


def _announce(path: str) -> None:
    Path(f"{path}.part").write_text(str(os.getpid()))
    os.replace(f"{path}.part", path)


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def picture(side: int) -> Picture:
    return Picture(np.arange(side * side * 3, dtype=np.uint32).astype(np.uint8).reshape(side, side, 3), "pin")


def awaited_picture(path: str) -> Picture:
    """Writes the process id to `path`, then waits until the file `path`.go exists."""
    _announce(path)
    while not Path(f"{path}.go").exists():
        time.sleep(0.01)
    return picture(10)


def nothing() -> None:
    return None


def look(image: Picture) -> tuple[str, int, bool]:
    return image.name, int(image.rgb.sum()), image.rgb.flags.writeable


def refuse() -> None:
    raise PinactorsError(ErrorCode.TOO_LARGE, "Too large", "64 megapixels", field="front", retry_after=2.0)


class Awkward(Exception):
    """An exception that cannot be unpickled: its constructor takes more arguments than `args` holds."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("awkward")


def awkward() -> None:
    raise Awkward(1, 2)


def leave() -> None:
    raise SystemExit(3)


def cancel() -> None:
    """Raises what `asyncio.run` raises if its task is cancelled."""
    raise asyncio.CancelledError("the request")


def allocate(size: int) -> int:
    """Allocates `size` bytes and writes to all of them, so that the memory is really used."""
    return int(np.ones(size, np.uint8).sum())


def read(photograph: StoredImage) -> tuple[bytes, str, int]:
    return Path(photograph.path).read_bytes(), photograph.sha256, photograph.size


def turned(image: Picture) -> Picture:
    return Picture(np.ascontiguousarray(image.rgb[::-1]), "turned")


def node() -> str:
    """The id of the Ray node that runs this function."""
    import ray

    return str(ray.get_runtime_context().get_node_id())
