"""A library preloaded into a server, which shifts its time of day and slows its disk while the server
runs."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
FORMAT = "qq"


class Shim:
    """The library, compiled into `folder`. `variables` belong in the environment of a server whose data is
    below `data`."""

    def __init__(self, folder: Path, data: Path) -> None:
        """Raises `RuntimeError` if there is no C compiler, or if the library does not compile (it needs
        Linux)."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise RuntimeError("no C compiler is installed")
        library, self._control = folder / "shim.so", folder / "control"
        command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the shim does not compile: {done.stderr[:500]}")
        self.variables: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAULTS_CONTROL": str(self._control),
            "FAULTS_FOLDER": str(data),
        }
        self.clock = 0
        self._control.write_bytes(struct.pack(FORMAT, 0, 0))

    def step_clock(self, seconds: int) -> None:
        """Shifts the server's time of day by `seconds` from now on, also after a restart."""
        self.clock = seconds
        self._write(0.0)

    @contextmanager
    def slow_disk(self, seconds: float) -> Iterator[None]:
        """Delays each call that reaches the data by `seconds`, inside the `with` block."""
        self._write(seconds)
        try:
            yield
        finally:
            self._write(0.0)

    def _write(self, disk: float) -> None:
        """Overwrites the control file in place, because the server has it mapped into memory."""
        descriptor = os.open(self._control, os.O_WRONLY)
        try:
            os.pwrite(descriptor, struct.pack(FORMAT, self.clock, round(disk * 1e9)), 0)
        finally:
            os.close(descriptor)
