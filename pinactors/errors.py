"""The base class of errors that a command shows as one line."""

from __future__ import annotations


class ExternalError(Exception):
    """Something outside of this program, such as a database of a newer version, does not allow what was asked
    for. The message is one line for the person who runs the program."""
