"""Runs one target with atheris: `python -m benchmarks.faults.fuzz_target TARGET [arguments of libFuzzer]`."""

from __future__ import annotations

import sys

import atheris

INSTRUMENTED = [
    "pinactors.api.uploads",
    "python_multipart",
    "pinactors.analysis.imaging.decode",
    "pinactors.protocol",
]

with atheris.instrument_imports(include=INSTRUMENTED):  # before any other import of these modules
    from benchmarks.faults.fuzz import TARGETS

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
