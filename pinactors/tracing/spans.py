"""The interface of spans and tracing, and their implementation for a process without tracing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from types import TracebackType
from typing import Self

from pinactors.tracing.correlation import correlation

Attribute = str | int | float | bool


class SpanKind(Enum):
    """What a span measures: a received request, a request to another server, or work of this process."""

    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


class Span:
    """A piece of work with a beginning, an end and a parent span. This class records nothing, and is its own
    child.

    A span ends with its `with` block, or by `end`. `correlation` has the header fields for a request to the
    next server: those that were received and, if the span is recorded, its `traceparent`.
    """

    __slots__ = ("_correlation",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._correlation = fields

    @property
    def correlation(self) -> Mapping[str, str]:
        return self._correlation

    def child(self, name: str, kind: SpanKind = SpanKind.INTERNAL, /, **attributes: Attribute) -> Span:
        """A span for a part of this span's work; it may end after this one."""
        return self

    def note(self, **attributes: Attribute) -> None:
        """Adds attributes to the span."""

    def end(self, error: BaseException | None = None) -> None:
        """Ends the span: its work is done, or `error` ended it. Does nothing if the span has ended."""

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
    """Begins spans for requests. This class records nothing."""

    def begin(
        self,
        name: str,
        fields: Iterable[tuple[str, str]],
        kind: SpanKind = SpanKind.SERVER,
        /,
        **attributes: Attribute,
    ) -> Span:
        """Begins the span of a request with the header fields `fields`, in the sender's trace if they name
        one."""
        return Span(correlation(fields))


NO_TRACING = Tracing()
