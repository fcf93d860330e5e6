"""The base class of errors that a command shows as one line, and the exit status after Ctrl-C."""

from __future__ import annotations

INTERRUPTED = 130


class ExternalError(Exception):
    """Something outside of this program, such as a database of a newer version, does not allow what was asked
    for. The message is one line for the person who runs the program."""
