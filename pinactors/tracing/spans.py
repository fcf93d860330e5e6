"""Spans as everybody sees them, and what they are where nothing is traced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from types import TracebackType
from typing import Self

from pinactors.tracing.correlation import correlation

Attribute = str | int | float | bool


class Kind(Enum):
    """What a span measures: a request that came in, one to another server, or work of this process."""

    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


class Span:
    """A piece of work with a beginning, an end and the span it belongs to. This one records nothing, and is
    its own child.

    It ends with its block, or by `end`. `correlation` has the header fields of a request to the next server:
    those that came in, and the `traceparent` of this span where it is recorded.
    """

    __slots__ = ("_correlation",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._correlation = fields

    @property
    def correlation(self) -> Mapping[str, str]:
        return self._correlation

    def child(self, name: str, kind: Kind = Kind.INTERNAL, /, **attributes: Attribute) -> Span:
        """A span of work that is part of this one's; it may outlive it."""
        return self

    def note(self, **attributes: Attribute) -> None:
        """What is known of the work before it ends."""

    def end(self, error: BaseException | None = None) -> None:
        """The work is done, or `error` ended it. Nothing happens where it ended before."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(error)


NO_SPAN = Span({})


class Tracing:
    """Begins spans for requests. This one records nothing."""

    def begin(
        self,
        name: str,
        fields: Iterable[tuple[str, str]],
        kind: Kind = Kind.SERVER,
        /,
        **attributes: Attribute,
    ) -> Span:
        """The span of a request that came with the header fields `fields`, in its sender's trace where they
        name one."""
        return Span(correlation(fields))


NO_TRACING = Tracing()
